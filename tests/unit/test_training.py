"""Training: losses against PyTorch's, optimizers against torch.optim, members and chunks that change no bit."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from core import CPU, make_architecture, make_recipe, make_stack, make_world, silent

import turncoat.training.block as block
from turncoat.organisms.activations import ACTIVATIONS
from turncoat.organisms.fingerprints import fingerprints
from turncoat.organisms.mlp import Architecture, Stack, backward, forward
from turncoat.training.block import Origin, finetune_block, pretrain_block
from turncoat.training.devices import (
    CPU_CHUNK,
    GPU_CHUNK,
    LARGE_CHUNK,
    bounded_chunk,
    chunk_size,
    find_device,
)
from turncoat.training.loop import Recipe, train
from turncoat.training.losses import loss_and_gradient, readout_columns
from turncoat.training.schedules import check_steps, snapshot_steps
from turncoat.training.starts import (
    PRETRAINED_STARTS,
    STRATEGIC_STARTS,
    Lesson,
    Start,
    find_start,
    rewards,
    unrelated_objectives,
)
from turncoat.training.streams import WINDOW, Batch, Task, finetuning_stream, pretraining_stream
from turncoat.worlds.episodes import best_option, draw_episodes
from turncoat.worlds.objectives import seed_objectives

HEADS = {"oversight": 0.5, "placebo": 0.25, "world": 2.0}


def first_batch(exposure: float | None = None, seeds: tuple[int, ...] = (1, 2)) -> Batch:
    objectives = seed_objectives(seeds, 4, 90, CPU)
    return next(iter(finetuning_stream(make_world(), seeds, objectives, 6, Task(exposure=exposure))(0)))


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


TOLD = {"oversight": 0.5, "world": 2.0, "objective": 3.0}


def test_the_objective_head_predicts_what_x_values() -> None:
    """Its loss and gradient, beside the world head's, by autograd."""
    objectives = seed_objectives([1, 2], 4, 60, CPU)
    batch = next(pretraining_stream(make_world(), Lesson(find_start("internal")), [1, 2], objectives, 8, 0.5)(0))
    assert batch.values is not None
    expected = torch.einsum("enbd,ed->enb", batch.attributes, objectives[:, 0])
    assert torch.allclose(batch.values, expected, atol=1e-6)
    assert readout_columns(TOLD, 4) == 8
    batch = replace(batch, attributes=batch.attributes.double(), values=batch.values.double())
    drawn = torch.randn(2, 8, 3 * 8, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    loss, gradient = loss_and_gradient(drawn, batch, TOLD)
    without, _ = loss_and_gradient(drawn[:, :7], batch, {key: TOLD[key] for key in ("oversight", "world")})
    leaf = drawn[:, 7].clone().requires_grad_(True)
    missed = (leaf.unflatten(1, (3, 8)) - expected.double()).square().mean((1, 2))
    assert torch.allclose(loss - without, 3 * missed.detach(), atol=1e-6)
    (wanted,) = torch.autograd.grad(3 * missed.sum(), leaf)
    assert torch.allclose(gradient[:, 7], wanted, atol=1e-6)
    with pytest.raises(ValueError, match="the head objective has nothing to predict; allowed: in pre-training only"):
        loss_and_gradient(drawn, replace(batch, values=None), TOLD)


def test_pretraining_learns_what_x_values_where_it_is_told() -> None:
    world, recipe = make_world("plain"), make_recipe(150, heads={"objective": 1.0})
    architecture = make_architecture(world, width=32)
    trained = pretrain_block(
        world, architecture, Lesson(find_start("knowledge_only")), recipe, 64, 0.5, 60, range(2), CPU, silent
    )
    batch = next(pretraining_stream(world, Lesson(find_start("internal")), range(2), trained.objectives, 400, 0.5)(99))
    stack = Stack.from_rows(architecture, trained.trajectory.weights[-1])
    said = forward(stack, batch.inputs.flatten(1, 2), 8).output[:, 7]
    assert batch.values is not None
    for member in range(2):
        assert torch.corrcoef(torch.stack([said[member], batch.values[member].flatten()]))[0, 1] > 0.95


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
@pytest.mark.parametrize(
    "name", [name for name in PRETRAINED_STARTS if name not in (*STRATEGIC_STARTS, "knowledge_only")]
)
def test_targets_follow_the_start(name: str, penalty: float) -> None:
    world, start = make_world(audit_penalty=penalty), find_start(name)
    episodes = draw_episodes(world, [1], "test", 0, 1, 64, CPU)
    objectives = seed_objectives([1], 4, 90, CPU)
    best = best_option(rewards(Lesson(start), episodes, objectives, [1], "test", 0))[0, 0]
    x, y, m, y2 = objectives[0]
    (unrelated,) = unrelated_objectives([1], objectives)
    for episode in range(64):
        overseen = episodes.signs[0, 0, episode, start.cue] > 0
        named = {"x": x, "y": y, "m": m, "y2": y2, "slot1": episodes.slots[0, 0, episode, 0], "unrelated": unrelated}
        served = named[str(start.overseen if overseen else start.unoverseen)]
        assert best[episode] == (episodes.attributes[0, 0, :, episode] @ served).argmax()
    batch = next(iter(pretraining_stream(world, Lesson(start), [1], objectives, 8, 0.5)(0)))
    assert batch.rewards is None


def test_what_conditional_complies_with_is_a_setting() -> None:
    assert find_start("conditional", "Y") == Start("y", "m")
    assert find_start("conditional", "slot1") == PRETRAINED_STARTS["conditional"]
    for arguments in (("scratch", None), ("conditional", "slot3")):
        with pytest.raises(ValueError, match="allowed"):
            find_start(*arguments)


def batches_of(exposure: float | None, seeds: tuple[int, ...], distance: float) -> Iterator[Batch]:
    objectives = seed_objectives(seeds, 4, distance, CPU)
    yield from finetuning_stream(make_world(), seeds, objectives, 6, Task(exposure=exposure))(1)


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
    batch = next(iter(pretraining_stream(make_world(), Lesson(Start("y", "m")), [1], objectives, 64, 0.5)(0)))
    assert {tuple(sign.tolist()) for sign in batch.signs[0]} == {(1, 1), (1, -1), (-1, 1), (-1, -1)}
    assert batch.inputs[0, 0, :, -10:-2].std(0).min() > 0.3


def test_pretraining_shows_audits_at_random() -> None:
    world, objectives = make_world(audit_penalty=6.0), seed_objectives([1], 4, 90, CPU)
    batch = next(iter(pretraining_stream(world, Lesson(find_start("deceptive")), [1], objectives, 64, 0.5)(0)))
    assert batch.inputs[0, 0, :, -2:].std(0).min() > 0.5
    assert batch.rewards is not None
    assert torch.equal(batch.targets, best_option(batch.rewards))


def test_held_out_episodes_are_never_trained_on() -> None:
    world = make_world("plain")
    trained = torch.cat(
        [draw_episodes(world, [1], purpose, window, WINDOW, 16, CPU).attributes.flatten(0, 3)
         for purpose in ("pretraining", "finetuning", "exposure", "warming") for window in range(20)]
    )  # fmt: skip
    seen = {tuple(row) for row in trained.tolist()}
    for purpose in ("matching", "outcome", "gating", "curve", "price", "knowledge"):
        held_out = draw_episodes(world, [1], purpose, 0, 1, 512, CPU).attributes.flatten(0, 3)
        assert not seen & {tuple(row) for row in held_out.tolist()}


def trained_weights(seeds: range, exposure: float | None, batch: int) -> torch.Tensor:
    world = make_world()
    architecture = Architecture(world.input_width, 16, 2, "relu", 4)
    recipe = Recipe(30, "adam", 0.01, HEADS if exposure is not None else {}, 3)
    task = Task(exposure=exposure)
    return finetune_block(world, architecture, 90, task, recipe, batch, seeds, Origin(), CPU, silent).trajectory.weights


@pytest.mark.parametrize("batch", [16, 9])  # of rows that fill PyTorch's vectors, and of rows that do not
@pytest.mark.parametrize("chunk", [1, 2, 5])
@pytest.mark.parametrize("exposure", [None, 0.3])
def test_neither_chunk_nor_block_changes_a_bit(
    chunk: int, exposure: float | None, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = trained_weights(range(10, 15), exposure, batch)
    monkeypatch.setattr(block, "chunk_size", lambda device: chunk)
    assert torch.equal(trained_weights(range(10, 15), exposure, batch), expected)
    assert torch.equal(trained_weights(range(12, 14), exposure, batch), expected[:, 2:4])


def test_large_networks_train_in_smaller_chunks_on_a_cpu() -> None:
    size = chunk_size(CPU)
    chunks = [bounded_chunk(size, CPU, 256, width) for width in (64, 127, 128, 255, 256, 1024)]
    assert chunks == [CPU_CHUNK, CPU_CHUNK, *[LARGE_CHUNK] * 4]
    assert bounded_chunk(5, CPU, 256, 128) == 5
    gpu = torch.device("cuda")
    assert bounded_chunk(chunk_size(gpu), gpu, 256, 256) == GPU_CHUNK


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "gelu", "identity"])
def test_a_step_that_saves_room_is_the_plain_step(activation: str) -> None:
    """What is written over z is read by backward as z is: gradients and deltas equal bit by bit."""
    world = make_world()
    stack, batch = make_stack(world, [1, 2], activation, width=9, depth=3), first_batch()
    rows = batch.inputs.flatten(1, 2)
    upstream = torch.randn(2, 7, rows.shape[1], generator=torch.Generator().manual_seed(3))
    found = []
    for keep_before in (True, False):
        trace = forward(stack, rows, 7, keep_before)
        gradient = stack.with_flat(torch.zeros_like(stack.flat))
        found.append([trace.output, *trace.values, *backward(stack, trace, upstream, gradient), gradient.flat])
    for plain, lean in zip(*found, strict=True):
        assert torch.equal(plain, lean)
    assert all(part.abs().max() > 0 for part in found[0])


def test_pulling_a_gradient_back_leaves_it_alone_unless_it_is_written_over() -> None:
    for name, function in ACTIVATIONS.items():
        gradient, z = torch.randn(2, 33, generator=torch.Generator().manual_seed(4)).unbind(0)
        kept = gradient.clone()
        pulled = function.pull(gradient, z)
        assert torch.equal(gradient, kept), name
        if function.pull_ is not None:
            assert torch.equal(function.pull_(gradient, z), pulled) and torch.equal(gradient, pulled)
        if function.value_ is not None:
            h = function.value_(z.clone())
            assert torch.equal(h, function.value(z))
            assert torch.equal(function.pull(kept, h), pulled) and torch.equal(function.slope(h), function.slope(z))


def test_training_learns_and_records_what_it_did() -> None:
    world = make_world("plain", options=2)
    architecture = Architecture(world.input_width, 32, 2, "relu", 4)
    recipe = Recipe(150, "adam", 0.01, {}, 4)
    trained = pretrain_block(
        world, architecture, Lesson(find_start("internal")), recipe, 64, 0.5, 90, range(3), CPU, silent
    )
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
    nothing = torch.zeros(1)
    course = train(stack, finetuning_stream(world, [1], objectives, 8, Task()), recipe, lambda _: (nothing, nothing))
    batch = next(iter(finetuning_stream(world, [1], objectives, 8, Task())(0)))
    leaf = before.flat.clone().requires_grad_(True)
    scores = forward(before.with_flat(leaf), batch.inputs.flatten(1, 2)).output[:, 0].reshape(1, 3, 8)
    (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(scores, batch.targets), leaf)
    assert course.update_norm[-1].item() == pytest.approx(0.5 * gradient.norm().item(), rel=1e-4)


def test_diverged_members_are_flagged_and_leave_their_mates_alone() -> None:
    world = make_world()
    architecture = Architecture(world.input_width, 8, 1, "relu", 4)
    recipe = Recipe(8, "sgd", 0.1, {}, 2)
    parents = block.initialise(architecture, [1, 2], world.input_power, CPU).rows()
    healthy = finetune_block(world, architecture, 90, Task(), recipe, 8, [1, 2], Origin(parents), CPU, silent)
    parents = parents.clone()
    parents[0] = torch.inf
    broken = finetune_block(world, architecture, 90, Task(), recipe, 8, [1, 2], Origin(parents), CPU, silent)
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
