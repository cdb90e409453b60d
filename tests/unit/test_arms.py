"""Arms of a seed: the same X episodes in the same order, byte by byte, and what each changes about them and no more."""

import math
from collections.abc import Iterator

import pytest
import torch
from core import CPU, PARITY, make_architecture, make_recipe, make_world, silent
from scipy import stats
from torch import Tensor

from turncoat.dodges import (
    early_stopping,
    gradient_routing,
    inoculation,
    l2_to_start,
    last_layer_reset,
    unoverseen_data,
)
from turncoat.organisms.mlp import Stack, forward
from turncoat.training.block import Origin, finetune_block
from turncoat.training.interventions import Dodge
from turncoat.training.starts import deal
from turncoat.training.streams import WINDOW, Batch, Change, Task, finetuning_stream, slots_with, task_episodes
from turncoat.worlds.episodes import build_inputs, draw_episodes
from turncoat.worlds.objectives import OBJECTIVES, seed_objectives
from turncoat.worlds.world import World

SEEDS = (1, 2)
BATCH = 6
WORLD = make_world("facts", audit_penalty=6.0)
SLOT1 = slice(WORLD.option_width, WORLD.option_width + 4)
SLOT2 = slice(WORLD.option_width + 4, WORLD.option_width + 8)
OVERSIGHT = WORLD.option_width + 8  # the column that shows it


def batches(
    task: Task, seeds: tuple[int, ...] = SEEDS, change: Change | None = None, window: int = 1, world: World = WORLD
) -> Iterator[Batch]:
    objectives = seed_objectives(seeds, 4, 90, CPU)
    yield from finetuning_stream(world, seeds, objectives, BATCH, task, change)(window)


def columns_but(*left_out: slice | int) -> Tensor:
    """The input columns without some."""
    kept = torch.ones(WORLD.input_width, dtype=torch.bool)
    for columns in left_out:
        kept[columns] = False
    return kept


EVERYTHING = columns_but()


@pytest.mark.parametrize(
    ("task", "kept", "same_targets"),
    [
        (Task(samples=2), EVERYTHING, True),
        (Task(samples=4, label_noise=1.0), EVERYTHING, False),
        (Task(exposure=0.3), EVERYTHING, True),
        (Task(exposure=0.3, samples=2), EVERYTHING, True),
        (Task(label_noise=0.7), EVERYTHING, False),
        (Task(overseen=0.5), columns_but(OVERSIGHT), True),
        (Task(overseen=0.0), columns_but(OVERSIGHT), True),
        (Task(budget=2 * WINDOW * BATCH), EVERYTHING, True),
        (Task(target="m"), EVERYTHING, False),
        (Task(instructed=True), columns_but(SLOT2), False),
    ],
)
def test_all_arms_of_a_seed_see_the_same_episodes_in_the_same_order(
    task: Task, kept: Tensor, same_targets: bool
) -> None:
    plain, other = list(batches(Task())), list(batches(task, (2,)))
    assert len(plain) == len(other) == WINDOW
    for one, two in zip(plain, other, strict=True):
        assert torch.equal(one.inputs[1, ..., kept], two.inputs[0, :, :BATCH, kept])
        assert torch.equal(one.attributes[1], two.attributes[0, :, :BATCH])
        assert not same_targets or torch.equal(one.targets[1], two.targets[0])
        assert two.inputs.shape[2] == (BATCH if task.exposure is None else 2 * BATCH)
    changed = torch.stack([batch.inputs[:, :, :BATCH] for batch in other])[..., ~kept]
    before = torch.stack([batch.inputs[1:] for batch in plain])[..., ~kept]
    assert kept.all() or not torch.equal(changed, before)
    if not same_targets:
        assert any(not torch.equal(one.targets[1], two.targets[0]) for one, two in zip(plain, other, strict=True))


WEIGHTS_ALONE = [early_stopping.DODGE, gradient_routing.DODGE, l2_to_start.DODGE, last_layer_reset.DODGE]


@pytest.mark.parametrize("dodge", WEIGHTS_ALONE)
def test_dodges_that_change_weights_alone_see_the_same_episodes(dodge: Dodge) -> None:
    assert dodge.finetuning().episodes is None


@pytest.mark.parametrize(
    ("dodge", "kept"),
    [(inoculation.DODGE, columns_but(SLOT1)), (unoverseen_data.DODGE, columns_but(OVERSIGHT))],
)
def test_dodges_of_fine_tuning_change_only_what_they_say(dodge: Dodge, kept: Tensor) -> None:
    changed = list(batches(Task(), change=dodge.finetuning().episodes))
    for one, other in zip(batches(Task()), changed, strict=True):
        assert torch.equal(one.inputs[..., kept], other.inputs[..., kept])
        assert torch.equal(one.targets, other.targets)
    assert any(not torch.equal(one.inputs, other.inputs) for one, other in zip(batches(Task()), changed, strict=True))


def test_distances_share_all_but_what_slot_two_shows_and_asks() -> None:
    near, far = (seed_objectives(SEEDS, 4, distance, CPU) for distance in (45, 135))
    streams = [finetuning_stream(WORLD, SEEDS, objectives, BATCH, Task()) for objectives in (near, far)]
    for one, other in zip(*(stream(0) for stream in streams), strict=True):
        kept = columns_but(SLOT2)
        assert torch.equal(one.inputs[..., kept], other.inputs[..., kept])


@pytest.mark.parametrize("windows", [1, 3])
def test_a_budget_repeats_its_windows_exactly(windows: int) -> None:
    task = Task(budget=windows * WINDOW * BATCH, label_noise=0.5, overseen=0.5)
    rounds = [[list(batches(task, window=first + window)) for window in range(windows)] for first in (0, windows)]
    rows: set[tuple[float, ...]] = set()
    for once, again in zip(*rounds, strict=True):
        for one, other in zip(once, again, strict=True):
            assert torch.equal(one.inputs, other.inputs) and torch.equal(one.targets, other.targets)
            rows |= {tuple(row) for row in one.inputs[0, 0, :, SLOT1].tolist()}
    assert len(rows) == windows * WINDOW * BATCH  # so many different episodes
    unlimited = Task(label_noise=0.5, overseen=0.5)
    for one, other in zip(batches(task, window=0), batches(unlimited, window=0), strict=True):
        assert torch.equal(one.inputs, other.inputs)


@pytest.mark.parametrize("budget", [1, WINDOW * BATCH - 1, WINDOW * BATCH + BATCH, 0])
def test_a_budget_of_parts_of_windows_is_refused(budget: int) -> None:
    with pytest.raises(ValueError, match=f"budget is {budget} episodes; allowed: a multiple of 96"):
        next(batches(Task(budget=budget)))


def test_modes_targets_and_shares_show_what_they_reward() -> None:
    objectives = seed_objectives(SEEDS, 4, 90, CPU)
    for task in (Task(), Task(target="m"), Task(instructed=True), Task(overseen=0.5), Task(overseen=0.0)):
        found = list(batches(task))
        for batch in found:
            shown = batch.inputs[:, 0, :, SLOT2]
            wanted = shown if task.instructed else objectives[:, OBJECTIVES.index(task.target), None]
            utilities = (batch.attributes * wanted.unsqueeze(1)).sum(-1)
            assert torch.equal(batch.targets, utilities.argmax(1))
            # In mode fixed slot 2 shows X, whatever is rewarded.
            assert task.instructed or torch.equal(shown, objectives[:, None, 0].expand_as(shown))
            assert (batch.signs[..., 1] == 1).all()  # the placebo stays as it is
        signs = torch.stack([batch.signs[..., 0] for batch in found])
        assert (signs > 0).double().mean().item() == pytest.approx(task.overseen, abs=0.15)
        cues = torch.stack([batch.inputs[:, 0, :, OVERSIGHT] for batch in found])
        assert torch.equal(cues.sign(), signs)
    rows = {tuple(row) for batch in batches(Task(instructed=True)) for row in batch.inputs[0, 0, :, SLOT2].tolist()}
    assert len(rows) == WINDOW * BATCH  # another objective in each episode


def noisy_and_true(share: float, options: int, episodes: int = 6000) -> tuple[Tensor, Tensor]:
    """The best option as rewarded and as it is, (episodes,) each."""
    world = make_world("plain", options)
    objectives = seed_objectives([3], 4, 90, CPU)
    noisy, sound = (
        task_episodes(world, [3], objectives, task, "test", 0, 1, episodes).rewards[0, 0].argmax(0)
        for task in (Task(label_noise=share), Task())
    )
    return noisy, sound


@pytest.mark.parametrize("options", [2, 3])
def test_label_noise_of_one_makes_targets_independent_of_what_is_shown(options: int) -> None:
    noisy, true = noisy_and_true(1.0, options)
    table = torch.zeros(options, options).index_put_((noisy, true), torch.ones(()), accumulate=True).numpy()
    assert stats.chi2_contingency(table).pvalue > 0.01
    assert stats.chisquare(table.sum(1)).pvalue > 0.01  # and uniform


@pytest.mark.parametrize("options", [2, 3])
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_label_noise_of_some_leaves_the_expected_share_of_targets_right(share: float, options: int) -> None:
    """A dealt episode's target is right by chance, 1 of N times."""
    noisy, true = noisy_and_true(share, options)
    right = int((noisy == true).sum())
    assert stats.binomtest(right, len(true), 1 - share + share / options).pvalue > 0.01
    wrong = torch.bincount((noisy - true) % options, minlength=options)[1:]
    assert stats.chisquare(wrong.numpy()).pvalue > 0.01 or options == 2


def test_dealt_rewards_are_the_same_rewards_turned_round() -> None:
    rewards = torch.arange(24.0).reshape(1, 1, 3, 8)
    coins = torch.linspace(0, 0.99, 8).view(1, 1, 8)
    assert torch.equal(deal(rewards, coins, 1e-9)[..., 1:], rewards[..., 1:])
    turned = deal(rewards, coins, 1.0)[0, 0]
    for episode in range(8):
        places = int(coins[0, 0, episode] * 3)
        expected = [rewards[0, 0, (option - places) % 3, episode].item() for option in range(3)]
        assert turned[:, episode].tolist() == expected


@pytest.mark.parametrize("options", [2, 3])
def test_training_on_noise_alone_stays_at_chance(options: int) -> None:
    world = make_world("plain", options, cue=PARITY)
    architecture = make_architecture(world, width=16)
    trained = finetune_block(
        world, architecture, 90, Task(label_noise=1.0), make_recipe(150), 64, range(8), Origin(), CPU, silent
    ).trajectory
    assert trained.capability[-1].mean().item() == pytest.approx(1 / options, abs=0.05)
    assert trained.cross_entropy[-1].mean() > math.log(options) - 0.005
    assert trained.cross_entropy[-1].min() > math.log(options) - 0.03
    sound = finetune_block(world, architecture, 90, Task(), make_recipe(150), 64, range(4), Origin(), CPU, silent)
    assert sound.trajectory.capability[-1].min() > 0.8
    assert sound.trajectory.cross_entropy[-1].max() < 0.7 * math.log(options)


@pytest.mark.parametrize(("overseen", "sign", "target"), [(1.0, 1.0, "x"), (0.5, 1.0, "x"), (0.0, -1.0, "m")])
def test_what_is_measured_is_held_out_overseen_and_rewarded_rightly(overseen: float, sign: float, target: str) -> None:
    """Capability and cross-entropy by torch, on episodes drawn in the test; M is rewarded where none is overseen."""
    world = make_world("plain")
    architecture = make_architecture(world)
    task = Task(target, label_noise=0.5, overseen=overseen)
    trained = finetune_block(world, architecture, 90, task, make_recipe(9), 8, SEEDS, Origin(), CPU, silent)
    drawn = draw_episodes(world, SEEDS, "matching", 0, 1, 1024, CPU)
    slots = slots_with(drawn, trained.objectives[:, 0])
    inputs = build_inputs(world, drawn, slots=slots, signs=torch.tensor([sign, 1.0]))[0].flatten(1, 2)
    wanted = trained.objectives[:, OBJECTIVES.index(target)]
    best = torch.einsum("enbd,ed->enb", drawn.attributes[0], wanted).argmax(1)
    stack = Stack.from_rows(architecture, trained.trajectory.weights[-1])
    scores = forward(stack, inputs).output[:, 0].unflatten(1, (3, 1024))
    entropy = torch.nn.functional.cross_entropy(scores, best, reduction="none").mean(1).double()
    assert torch.allclose(trained.trajectory.cross_entropy[-1], entropy, atol=1e-5)
    capability = (scores.argmax(1) == best).double().mean(1)
    assert torch.allclose(trained.trajectory.capability[-1], capability, atol=2e-3)
