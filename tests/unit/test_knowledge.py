"""What a model knows: the probe against scikit-learn's, and directions whose use is known, being built in."""

import numpy as np
import pytest
import torch
from core import CPU, PARITY, SIGNAL, make_architecture, make_recipe, make_stack, make_world, silent
from sklearn.linear_model import Ridge
from torch import Tensor

from turncoat.classification.knowledge import RANDOM_DIRECTIONS, RIDGE, measure_knowledge, probe_accuracy
from turncoat.classification.presentations import Presentation, present_drawn
from turncoat.organisms.handbuilt import Circuit, build
from turncoat.organisms.mlp import Stack, forward
from turncoat.seeding import generator
from turncoat.training.block import pretrain_block
from turncoat.training.starts import Lesson, find_start
from turncoat.worlds.objectives import seed_objectives
from turncoat.worlds.world import World

SEEDS = [1, 2, 3]
OBJECTIVES_OF = seed_objectives(SEEDS, 4, 90, CPU)
EPISODES = 800
HEAD = 7  # the readout's row of the objective head, in a world of four attributes


def known(stack: Stack, world: World, episodes: int = EPISODES) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Value and reference of each quantity, one number per model."""
    shown = present_drawn(world, SEEDS, OBJECTIVES_OF, episodes)
    columns = measure_knowledge(stack, shown, SEEDS, OBJECTIVES_OF)
    assert columns["seed"].tolist() == np.repeat(SEEDS, 3).tolist()
    assert columns["quantity"].tolist() == ["oversight", "placebo", "objective"] * 3
    return {
        name: (columns["value"][place::3], columns["reference"][place::3])
        for place, name in enumerate(("oversight", "placebo", "objective"))
    }


def states_of(stack: Stack, shown: Presentation) -> Tensor:
    """The last hidden layer's h, (E, N, B, H)."""
    return forward(stack, shown.inputs.flatten(1, 2)).values[-1].unflatten(1, shown.inputs.shape[1:3])


NOISY = make_world(cue=SIGNAL | {"noise": 3})


@pytest.mark.parametrize("world", [make_world(), make_world("plain", cue=PARITY), NOISY])
def test_the_probe_equals_scikit_learns_ridge_on_the_same_split(world: World) -> None:
    stack = make_stack(world, SEEDS, width=24)
    found = known(stack, world)
    shown = present_drawn(world, SEEDS, OBJECTIVES_OF, EPISODES)
    means = states_of(stack, shown).double().mean(1).numpy()
    signs = shown.signs.numpy()
    half = EPISODES // 2
    for member in range(len(SEEDS)):
        variance = means[member, :half].var(axis=0).mean()
        for place, name in enumerate(("oversight", "placebo")):
            own = signs[member, :, place]
            for labels, accuracy in zip((own, np.roll(own, 1)), found[name], strict=True):
                ridge = Ridge(alpha=half * RIDGE * variance).fit(means[member, :half], labels[:half])
                expected = ((ridge.predict(means[member, half:]) > 0) == (labels[half:] > 0)).mean()
                assert accuracy[member] == pytest.approx(expected, abs=1e-12)


def test_a_signal_is_plain_to_an_untrained_network_and_parity_is_not() -> None:
    """Of four bits: some units of an untrained network tell a little of three (measured: 0.60 at width 48)."""
    signal, parity = (make_world("plain", cue=cue) for cue in (SIGNAL, PARITY | {"bits": 4}))
    for world, low, high in ((signal, 0.97, 1.0), (parity, 0.42, 0.58)):
        found = known(make_stack(world, SEEDS, width=24), world, 2000)
        for name in ("oversight", "placebo"):
            value, reference = found[name]
            assert ((value >= low) & (value <= high)).all(), (name, value)
            assert ((reference > 0.42) & (reference < 0.58)).all(), (name, reference)


def test_a_head_makes_parity_known_and_the_placebo_without_one_stays_unknown() -> None:
    world = make_world("plain", options=2, cue=PARITY)
    architecture = make_architecture(world, width=48)
    recipe = make_recipe(600, heads={"oversight": 1.0})
    trained = pretrain_block(
        world, architecture, Lesson(find_start("knowledge_only")), recipe, 128, 0.5, 90, SEEDS, CPU, silent
    )
    found = known(Stack.from_rows(architecture, trained.trajectory.weights[-1]), world, 1000)
    assert found["oversight"][0].min() > 0.95
    assert found["placebo"][0].max() < 0.6


def test_the_probe_reads_signs_and_not_sizes() -> None:
    """States that are the label times 1 or 3, and noise that a ridge cannot use."""
    random = torch.Generator().manual_seed(1)
    labels = torch.where(torch.rand(1, 200, generator=random) < 0.8, 1.0, -1.0).double()
    states = torch.stack([5 + labels, torch.rand(1, 200, generator=random).double()], dim=2)
    both = torch.stack([labels, -labels], dim=2)
    parts = (states[:, :100], both[:, :100], states[:, 100:])
    assert probe_accuracy(*parts, both[:, 100:]).tolist() == [[1, 1]]
    assert probe_accuracy(*parts, both.flip(2)[:, 100:]).tolist() == [[0, 0]]


def with_head(stack: Stack, row: Tensor) -> Stack:
    """The same models with an objective head that reads `row`, (E, width)."""
    changed = stack.with_flat(stack.flat.clone())
    changed.views["readout.weight"][:, HEAD] = row
    return changed


def network(world: World) -> Stack:
    """Networks built to serve X when overseen and M when not."""
    return build(world, Circuit("x", "m"), OBJECTIVES_OF, 8.0)


def test_taking_out_the_direction_that_the_choice_uses_costs_the_agreement_and_another_direction_nothing() -> None:
    world = make_world("plain", audit_penalty=6.0)
    stack = network(world)
    score = stack.views["readout.weight"][:, 0]
    used = known(with_head(stack, 3 * score), world)["objective"][0]
    assert ((used > 1 - 1 / 3 - 0.1) & (used < 1 - 1 / 3 + 0.1)).all()  # from always right, overseen, to chance
    aside = torch.randn(score.shape, generator=torch.Generator().manual_seed(2))
    aside -= (aside * score).sum(1, keepdim=True) / score.square().sum(1, keepdim=True) * score
    unused = known(with_head(stack, aside), world)["objective"][0]
    assert np.abs(unused).max() <= 2 / EPISODES  # but for rounding
    assert not known(stack, world)["objective"][0].any()  # there is no head: its row is 0


def agreement_lost(stack: Stack, world: World, member: int, direction: Tensor) -> float:
    """By hand: on overseen episodes, with the centred states' part along a direction taken away."""
    shown = present_drawn(world, SEEDS, OBJECTIVES_OF, EPISODES)
    states = states_of(stack, shown)[member].double()
    unit = direction.double() / direction.double().norm()
    centred = states - states.mean((0, 1))
    without = states - (centred @ unit).unsqueeze(2) * unit
    score = stack.views["readout.weight"][member, 0].double()
    best = (shown.attributes[member] @ OBJECTIVES_OF[member, 0]).argmax(0)
    overseen = shown.signs[member, :, 0] > 0
    before, after = ((part @ score).argmax(0) == best for part in (states, without))
    return float(before[overseen].double().mean() - after[overseen].double().mean())


def test_the_ablation_equals_plain_loops_and_its_reference_is_the_mean_over_random_directions() -> None:
    world = make_world("plain", options=2)
    stack = make_stack(world, SEEDS, width=12)
    value, reference = known(stack, world)["objective"]
    for member, seed in enumerate(SEEDS):
        head = stack.views["readout.weight"][member, HEAD]
        assert value[member] == pytest.approx(agreement_lost(stack, world, member, head), abs=3 / EPISODES)
        drawn = generator(seed, "ablated directions").standard_normal((RANDOM_DIRECTIONS, 12))
        lost = [agreement_lost(stack, world, member, torch.from_numpy(row)) for row in drawn]
        assert reference[member] == pytest.approx(np.mean(lost), abs=1 / EPISODES)


def test_a_model_that_is_not_finite_has_no_knowledge_and_its_mates_keep_theirs() -> None:
    world = make_world()
    stack = make_stack(world, SEEDS)
    before = known(stack, world, 100)
    for value in (torch.nan, torch.inf):
        broken = stack.with_flat(stack.flat.clone())
        broken.views["hidden1.weight"][1] = value
        for name, columns in known(broken, world, 100).items():
            for column, healthy in zip(columns, before[name], strict=True):
                assert np.isnan(column[1])
                assert column[[0, 2]].tolist() == healthy[[0, 2]].tolist()


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_one_state_that_is_not_finite_leaves_its_model_without_accuracy(part: int, value: float) -> None:
    random = torch.Generator().manual_seed(1)
    states = [torch.randn(3, 40, 5, dtype=torch.float64, generator=random) for _ in range(2)]
    labels = torch.randn(3, 40, 2, dtype=torch.float64, generator=random).sign()
    healthy = probe_accuracy(states[0], labels, states[1], labels)
    states[part][1, 39, 4] = value
    found = probe_accuracy(states[0], labels, states[1], labels)
    assert found[1].isnan().all() and healthy.isfinite().all()
    assert torch.equal(found[[0, 2]], healthy[[0, 2]])
