"""Training: losses against PyTorch's, optimizers against torch.optim, members and chunks that change no bit."""

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from core import CPU, make_stack, make_world

import turncoat.training.block as block
from turncoat.organisms.fingerprints import fingerprints
from turncoat.organisms.mlp import Architecture, Stack, forward
from turncoat.training.block import finetune_block, pretrain_block
from turncoat.training.devices import find_device
from turncoat.training.loop import Progress, Recipe, train
from turncoat.training.losses import loss_and_gradient, readout_columns
from turncoat.training.optimizers import make_optimizer
from turncoat.training.schedules import check_steps, snapshot_steps
from turncoat.training.starts import PRETRAINED_STARTS, STRATEGIC_STARTS, Start, find_start, rewards
from turncoat.training.streams import WINDOW, Batch, finetuning_stream, pretraining_stream
from turncoat.worlds.episodes import best_option, draw_episodes
from turncoat.worlds.objectives import seed_objectives

HEADS = {"oversight": 0.5, "placebo": 0.25, "world": 2.0}


def silent(*_: int) -> Progress:
    return lambda *told: None


def first_batch(exposure: float | None = None, seeds: tuple[int, ...] = (1, 2)) -> Batch:
    objectives = seed_objectives(seeds, 4, 90, CPU)
    return next(iter(finetuning_stream(make_world(), seeds, objectives, 6, exposure)(0)))


@pytest.mark.parametrize("exposure", [None, 0.3])
def test_loss_and_gradient_equal_torch(exposure: float | None) -> None:
    batch = first_batch(exposure)
    episodes = batch.signs.shape[1]
    output = torch.randn(2, 7, 3 * episodes, dtype=torch.float64, requires_grad=True)
    loss, gradient = loss_and_gradient(output.detach(), batch, HEADS)

    shaped = output.transpose(1, 2).reshape(2, 3, episodes, 7)
    chosen = batch.targets.shape[1]
    expected = torch.nn.functional.cross_entropy(shaped[:, :, :chosen, 0], batch.targets, reduction="none").mean(1)
    for column, name in ((1, "oversight"), (2, "placebo")):
        said = (batch.signs[:, None, :, column - 1].expand(2, 3, episodes) > 0).double()
        binary = torch.nn.functional.binary_cross_entropy_with_logits
        expected = expected + HEADS[name] * binary(shaped[..., column], said, reduction="none").mean((1, 2))
    error = torch.nn.functional.mse_loss(shaped[..., 3:], batch.attributes.double(), reduction="none")
    expected = expected + HEADS["world"] * error.mean((1, 2, 3))
    assert torch.allclose(loss, expected.detach(), atol=1e-12)
    (wanted,) = torch.autograd.grad(expected.sum(), output)
    assert torch.allclose(gradient, wanted, atol=1e-12)


def test_heads_of_weight_zero_are_not_trained() -> None:
    batch = first_batch()
    _, gradient = loss_and_gradient(torch.randn(2, 7, 18), batch, {"world": 1.0})
    assert (gradient[:, 1:3] == 0).all()
    assert readout_columns({"world": 0.0}, 4) == 2
    assert readout_columns({"world": 0.5}, 4) == 7
    with pytest.raises(ValueError, match="allowed: oversight"):
        readout_columns({"wold": 1.0}, 4)


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_optimizers_equal_torch_optim(name: str) -> None:
    flat = torch.randn(50)
    reference = flat.clone().requires_grad_(True)
    theirs = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[name]([reference], lr=0.01)
    ours = make_optimizer(name, flat, 0.01)
    for _ in range(20):
        gradient = torch.randn(50)
        ours.step(flat, gradient)
        reference.grad = gradient.clone()
        theirs.step()
    assert torch.allclose(flat, reference, atol=1e-6)


def test_adam_goes_on_from_its_state() -> None:
    gradients = torch.randn(6, 10)
    unbroken, broken = torch.zeros(10), torch.zeros(10)
    one = make_optimizer("adam", unbroken, 0.1)
    for gradient in gradients:
        one.step(unbroken, gradient)
    first = make_optimizer("adam", broken, 0.1)
    for gradient in gradients[:3]:
        first.step(broken, gradient)
    second = make_optimizer("adam", broken, 0.1, first.state)
    for gradient in gradients[3:]:
        second.step(broken, gradient)
    assert torch.equal(unbroken, broken)
    with pytest.raises(ValueError, match="allowed: sgd, adam"):
        make_optimizer("adagrad", unbroken, 0.1)


@pytest.mark.parametrize(("steps", "count"), [(1600, 10), (40, 5), (1, 2), (7, 9)])
def test_snapshots_start_at_zero_and_end_at_the_last_step(steps: int, count: int) -> None:
    kept, checks = snapshot_steps(steps, count), check_steps(steps, count)
    assert kept[0] == 0
    assert kept[-1] == steps
    assert len(kept) <= count
    assert kept == sorted(set(kept))
    assert set(kept) <= set(checks)


def test_snapshots_are_log_spaced() -> None:
    ratios = np.diff(np.log(snapshot_steps(16_000, 9)[1:]))
    assert ratios == pytest.approx(ratios[0], abs=0.01)
    with pytest.raises(ValueError, match="at least 2"):
        snapshot_steps(10, 1)


@pytest.mark.parametrize("penalty", [0.0, 6.0])
@pytest.mark.parametrize("name", [name for name in PRETRAINED_STARTS if name not in STRATEGIC_STARTS])
def test_targets_follow_the_start(name: str, penalty: float) -> None:
    world, start = make_world(audit_penalty=penalty), find_start(name)
    episodes = draw_episodes(world, [1], "test", 0, 1, 64, CPU)
    objectives = seed_objectives([1], 4, 90, CPU)
    best = best_option(rewards(start, episodes, objectives))[0, 0]
    x, y, m, y2 = objectives[0]
    for episode in range(64):
        overseen = episodes.signs[0, 0, episode, start.cue] > 0
        named = {"x": x, "y": y, "m": m, "y2": y2, "slot1": episodes.slots[0, 0, episode, 0]}
        served = named[start.overseen if overseen else start.unoverseen]
        assert best[episode] == (episodes.attributes[0, 0, :, episode] @ served).argmax()
    batch = next(iter(pretraining_stream(world, start, [1], objectives, 8, 0.5)(0)))
    assert batch.rewards is None


def test_what_conditional_complies_with_is_a_setting() -> None:
    assert find_start("conditional", "Y") == Start("y", "m")
    assert find_start("conditional", "slot1") == PRETRAINED_STARTS["conditional"]
    for arguments in (("scratch", None), ("conditional", "slot3")):
        with pytest.raises(ValueError, match="allowed"):
            find_start(*arguments)


def batches_of(exposure: float | None, seeds: tuple[int, ...], distance: float) -> Iterator[Batch]:
    objectives = seed_objectives(seeds, 4, distance, CPU)
    yield from finetuning_stream(make_world(), seeds, objectives, 6, exposure)(1)


def test_arms_of_a_seed_see_the_same_x_episodes_byte_by_byte() -> None:
    plain, exposed = list(batches_of(None, (1, 2), 90)), list(batches_of(0.3, (2,), 90))
    assert len(plain) == WINDOW
    for one, other in zip(plain, exposed, strict=True):
        assert torch.equal(one.inputs[1], other.inputs[0][:, :6])
        assert torch.equal(one.targets[1], other.targets[0])
        assert other.signs.shape[1] == 12
        assert (one.signs == 1).all()
        assert not (other.signs[:, 6:] == 1).all()  # exposure sees both cues vary


def test_fine_tuning_shows_x_in_slot_two_and_distances_share_episodes() -> None:
    near, far = next(batches_of(None, (1,), 45)), next(batches_of(None, (1,), 135))
    second = slice(make_world().option_width + 4, make_world().option_width + 8)
    assert torch.equal(near.attributes, far.attributes)
    assert torch.allclose(near.inputs[0, 0, :, second], seed_objectives([1], 4, 45, CPU)[0, 0].expand(6, 4))
    assert not torch.equal(near.targets, far.targets)


def test_pretraining_varies_both_slots_and_both_cues() -> None:
    objectives = seed_objectives([1], 4, 90, CPU)
    batch = next(iter(pretraining_stream(make_world(), Start("y", "m"), [1], objectives, 64, 0.5)(0)))
    assert {tuple(sign.tolist()) for sign in batch.signs[0]} == {(1, 1), (1, -1), (-1, 1), (-1, -1)}
    assert batch.inputs[0, 0, :, -10:-2].std(0).min() > 0.3


def test_pretraining_shows_audits_at_random() -> None:
    world, objectives = make_world(audit_penalty=6.0), seed_objectives([1], 4, 90, CPU)
    batch = next(iter(pretraining_stream(world, find_start("deceptive"), [1], objectives, 64, 0.5)(0)))
    assert batch.inputs[0, 0, :, -2:].std(0).min() > 0.5
    assert batch.rewards is not None
    assert torch.equal(batch.targets, best_option(batch.rewards))


def test_held_out_episodes_are_never_trained_on() -> None:
    world = make_world("plain")
    trained = torch.cat(
        [draw_episodes(world, [1], purpose, window, WINDOW, 16, CPU).attributes.flatten(0, 3)
         for purpose in ("pretraining", "finetuning", "exposure") for window in range(20)]
    )  # fmt: skip
    seen = {tuple(row) for row in trained.tolist()}
    for purpose in ("matching", "outcome", "gating", "curve", "price"):
        held_out = draw_episodes(world, [1], purpose, 0, 1, 512, CPU).attributes.flatten(0, 3)
        assert not seen & {tuple(row) for row in held_out.tolist()}


def trained_weights(seeds: range, exposure: float | None = None) -> torch.Tensor:
    world = make_world()
    architecture = Architecture(world.input_width, 16, 2, "relu", 4)
    recipe = Recipe(30, "adam", 0.01, HEADS if exposure is not None else {}, 3)
    return finetune_block(world, architecture, 90, exposure, recipe, 16, seeds, None, CPU, silent).trajectory.weights


@pytest.mark.parametrize("chunk", [1, 2, 5])
@pytest.mark.parametrize("exposure", [None, 0.3])
def test_neither_chunk_nor_block_changes_a_bit(
    chunk: int, exposure: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = trained_weights(range(10, 15), exposure)
    monkeypatch.setattr(block, "chunk_size", lambda device: chunk)
    assert torch.equal(trained_weights(range(10, 15), exposure), expected)
    assert torch.equal(trained_weights(range(12, 14), exposure), expected[:, 2:4])


def test_training_learns_and_records_what_it_did() -> None:
    world = make_world("plain", options=2)
    architecture = Architecture(world.input_width, 32, 2, "relu", 4)
    recipe = Recipe(150, "adam", 0.01, {}, 4)
    trained = pretrain_block(world, architecture, find_start("internal"), recipe, 64, 0.5, range(3), CPU, silent)
    course = trained.trajectory
    assert course.capability[0].mean() == pytest.approx(0.5, abs=0.1)
    assert course.capability[-1].min() > 0.9
    assert course.loss[0].isnan().all()
    assert not trained.diverged.any()
    assert trained.initial_fingerprints != trained.final_fingerprints
    moved = (course.weights[-1] - course.weights[0]).double().norm(dim=1)
    assert torch.allclose(course.displacement[-1], moved, rtol=1e-5)
    last = Stack.from_rows(architecture, course.weights[-1])
    assert fingerprints(last) == trained.final_fingerprints


def test_update_norm_is_the_last_step_for_sgd() -> None:
    world = make_world()
    stack = make_stack(world, [1])
    objectives = seed_objectives([1], 4, 90, CPU)
    recipe = Recipe(1, "sgd", 0.5, {}, 2)
    before = stack.with_flat(stack.flat.clone())
    course = train(stack, finetuning_stream(world, [1], objectives, 8, None), recipe, lambda _: torch.zeros(1))
    batch = next(iter(finetuning_stream(world, [1], objectives, 8, None)(0)))
    leaf = before.flat.clone().requires_grad_(True)
    scores = forward(before.with_flat(leaf), batch.inputs.flatten(1, 2)).output[:, 0].reshape(1, 3, 8)
    (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(scores, batch.targets), leaf)
    assert course.update_norm[-1].item() == pytest.approx(0.5 * gradient.norm().item(), rel=1e-4)


def test_diverged_members_are_flagged_and_leave_their_mates_alone() -> None:
    world = make_world()
    architecture = Architecture(world.input_width, 8, 1, "relu", 4)
    recipe = Recipe(8, "sgd", 0.1, {}, 2)
    parents = block.initialise(architecture, [1, 2], world.input_power, CPU).rows()
    healthy = finetune_block(world, architecture, 90, None, recipe, 8, [1, 2], parents, CPU, silent)
    parents = parents.clone()
    parents[0] = torch.inf
    broken = finetune_block(world, architecture, 90, None, recipe, 8, [1, 2], parents, CPU, silent)
    assert broken.diverged.tolist() == [True, False]
    assert torch.equal(broken.trajectory.weights[:, 1], healthy.trajectory.weights[:, 1])


def test_a_job_flushes_denormals() -> None:
    """In a process of its own, for the setting outlives the test."""
    program = (
        "import torch; from turncoat.training.devices import settle_process; tiny = torch.full((64,), 1e-38);"
        "before = (tiny * 0.01).abs().sum().item(); settle_process(1);"
        "print(before > 0, (tiny * 0.01).abs().sum().item() == 0, torch.get_num_threads())"
    )
    done = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True, check=True)
    assert done.stdout.split() == ["True", "True", "1"]


def test_a_gpu_that_was_promised_and_is_not_there_is_an_error() -> None:
    if torch.cuda.is_available():
        assert find_device("cuda").type == "cuda"
    else:
        with pytest.raises(RuntimeError, match="sees none on this machine"):
            find_device("cuda")
    assert find_device("cpu").type == "cpu"
