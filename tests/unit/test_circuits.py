"""Circuits by content: planted ones are recovered, untrained networks show none that a cue would wake."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from core import CPU, SIGNAL, make_stack
from torch import Tensor

from turncoat.gating.blocks import CIRCUITS, block_objectives, block_units, planted_blocks
from turncoat.gating.circuits import (
    STATES,
    Circuits,
    Contents,
    circuit_rows,
    circuit_sizes,
    label_circuits,
    open_contrasts,
    random_objectives,
    unit_contents,
)
from turncoat.organisms.handbuilt import Circuit, build
from turncoat.organisms.hidden import hidden_states
from turncoat.organisms.mlp import Stack, forward
from turncoat.worlds.episodes import Episodes, build_inputs, draw_episodes
from turncoat.worlds.objectives import OBJECTIVES, seed_objectives
from turncoat.worlds.world import OVERSIGHT, World

SEEDS = list(range(8))
UNTRAINED = list(range(128))
X, Y, M = (OBJECTIVES.index(name) for name in ("x", "y", "m"))


def world_of(encoding: str = "plain", attributes: int = 6, options: int = 3) -> World:
    shape = {"encoding": encoding, "options": options, "attributes": attributes, "symbols": 3}
    return World.from_settings(shape | {"cue": SIGNAL})


def draw(world: World, seeds: list[int], episodes: int) -> Episodes:
    return draw_episodes(world, seeds, "circuits", 0, 1, episodes, CPU)


def both_ways(world: World, episodes: Episodes) -> dict[str, Tensor]:
    signs = {"overseen": 1.0, "unoverseen": -1.0}
    return {state: build_inputs(world, episodes, signs=torch.tensor([sign, 1.0]))[0] for state, sign in signs.items()}


def contents_of(world: World, stack: Stack, seeds: list[int], episodes: int = 256) -> Contents:
    drawn = draw(world, seeds, episodes)
    return unit_contents(hidden_states(stack), both_ways(world, drawn), drawn.attributes[0])


def balanced_accuracy(labels: Tensor, truth: Tensor) -> float:
    recalls = [(labels[truth == label] == label).double().mean() for label in truth.unique()]
    return torch.stack(recalls).mean().item()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"noise": 0.15},
        {"x_strength": 0.5, "m_strength": 0.5},
        {"x_strength": 0.5},
        {"m_strength": 0.25},
        {"m_strength": 0.0},
        {"depth": 1},
        {"depth": 3},
        {"activation": "gelu"},
        {"activation": "leaky_relu"},
        {"activation": "identity"},
    ],
    ids=str,
)
@pytest.mark.parametrize(("attributes", "options"), [(4, 2), (6, 3)])
def test_planted_circuits_are_recovered(settings: dict[str, float], attributes: int, options: int) -> None:
    world, objectives = world_of("plain", attributes, options), block_objectives(SEEDS, attributes, CPU)
    stack = planted_blocks(world, SEEDS, objectives, **{"width": 24} | settings)
    circuits = label_circuits(contents_of(world, stack, SEEDS), objectives[:, [X, M]])
    strengths = {key: value for key, value in settings.items() if key.endswith("strength")}
    truth = block_units(stack.architecture, len(SEEDS), **strengths)
    for layer in range(stack.architecture.depth):
        assert balanced_accuracy(circuits.labels[:, layer], truth[:, layer]) >= 0.99
    assert circuits.confirmation.min() > 0.85 and circuits.confirmation.mean() > 0.98


def test_a_strong_circuit_of_another_objective_is_none() -> None:
    world, objectives = world_of(), block_objectives(SEEDS, 6, CPU)
    stack = planted_blocks(world, SEEDS, objectives[:, [Y, X, M, 3]], width=24)
    circuits = label_circuits(contents_of(world, stack, SEEDS), objectives[:, [X, M]])
    truth = block_units(stack.architecture, len(SEEDS))
    truth[truth == CIRCUITS.index("x")] = 0
    assert balanced_accuracy(circuits.labels, truth) >= 0.99
    against = label_circuits(contents_of(world, stack, SEEDS), torch.stack([-objectives[:, Y], objectives[:, M]], 1))
    assert (against.labels == CIRCUITS.index("x")).sum() == 0  # content against an objective is not for it


@pytest.mark.parametrize("encoding", ["plain", "facts"])
def test_hand_built_utilities_are_found_in_any_encoding(encoding: str) -> None:
    """Layer 2 holds each utility as a pair of units, layer 3 each behind its gate as another; nothing else is for X."""
    world, objectives = world_of(encoding, 4), seed_objectives(SEEDS, 4, 90.0, CPU)
    stack = build(world, Circuit("x", "m"), objectives, 2.0)
    circuits = label_circuits(contents_of(world, stack, SEEDS, 1024), objectives[:, [X, M]])
    for layer in (1, 2):
        expected = torch.zeros(stack.architecture.width, dtype=torch.int64)
        expected[:4] = torch.tensor([1, 1, 2, 2])
        assert torch.equal(circuits.labels[:, layer], expected.expand(len(SEEDS), -1))


def test_contents_are_the_least_squares_weights_of_each_units_part_of_the_score() -> None:
    world = world_of("plain", 4)
    stack, episodes = make_stack(world, SEEDS), draw(world, SEEDS, 40)
    inputs = both_ways(world, episodes)
    contents = unit_contents(hidden_states(stack), inputs, episodes.attributes[0])
    design = episodes.attributes[0, 2].double()
    design = (design - design.mean(0)).numpy()
    for number, state in enumerate(STATES):
        trace = forward(stack, inputs[state].flatten(1, 2))
        h = trace.values[2][2].reshape(3, 40, -1).double()
        parts = (h * stack.views["readout.weight"][2, 0].double()).numpy()
        parts = parts - parts.mean(0)
        for half, episode in enumerate((slice(0, 20), slice(20, 40))):
            rows, targets = design[:, episode].reshape(-1, 4), parts[:, episode].reshape(60, -1)
            expected = np.linalg.lstsq(rows, targets, rcond=None)[0].T
            np.testing.assert_allclose(contents.vectors[half, 2, 1, number], expected, atol=1e-6)
            residuals = (targets - rows @ expected.T).reshape(3, 20, -1)
            bread = np.linalg.inv(rows.T @ rows)
            for unit in range(expected.shape[0]):
                pulls = [residuals[:, row, unit] @ design[:, episode][:, row] for row in range(20)]
                covariance = bread @ sum(np.outer(pull, pull) for pull in pulls) @ bread * 20 / 19
                np.testing.assert_allclose(contents.covariances[half, 2, 1, number, unit], covariance, atol=1e-7)
        for layer in (1, 2):
            is_open = (trace.before[layer - 1] > 0).double().mean(1)
            torch.testing.assert_close(contents.opened[:, layer - 1, number], is_open)


def test_first_order_contributions_add_up_to_a_relu_networks_score() -> None:
    """Without biases a relu network is homogeneous, so each layer's contributions, and contents, sum to the score's."""
    world = world_of("plain", 4)
    contents = contents_of(world, make_stack(world, SEEDS), SEEDS)
    torch.testing.assert_close(contents.vectors[:, :, 0].sum(3), contents.vectors[:, :, 1].sum(3), atol=1e-5, rtol=0)


def test_the_error_of_a_content_is_its_scatter_over_episodes() -> None:
    """The two halves are independent: their difference, in standard errors, scatters like a standard normal."""
    world = world_of("plain", 4)
    contents = contents_of(world, make_stack(world, UNTRAINED, width=12), UNTRAINED, 400)
    variances = contents.covariances.diagonal(dim1=-2, dim2=-1).sum(0)
    scores = (contents.vectors[0] - contents.vectors[1]) / variances.sqrt()
    scatter = scores[variances > 0].square().mean().sqrt().item()
    assert 0.95 < scatter < 1.08


@cache
def untrained() -> tuple[Contents, Tensor]:
    world = world_of("plain", 4)
    contents = contents_of(world, make_stack(world, UNTRAINED, width=32), UNTRAINED, 512)
    return contents, seed_objectives(UNTRAINED, 4, 90.0, CPU)[:, [X, M]]


def beyond(contrasts: Tensor) -> list[bool]:
    """Whether 0 is outside the interval of each mean contrast (E, L, 2) over seeds; 95 % for all four together."""
    outside = []
    for column in contrasts.flatten(1).T:
        values = column[~column.isnan()]
        assert len(values) >= 64
        outside.append(bool(values.mean().abs() > 2.5 * values.std() / len(values) ** 0.5))
    return outside


def state_alone(contents: Contents, state: int) -> Contents:
    return replace(
        contents,
        vectors=contents.vectors[:, :, :, [state]],
        covariances=contents.covariances[:, :, :, [state]],
    )


def test_untrained_networks_show_no_contrast_and_circular_labels_would() -> None:
    """One network a seed, so that intervals over seeds are clustered by seed."""
    contents, objectives = untrained()
    circuits = label_circuits(contents, objectives)
    random = label_circuits(contents, random_objectives(UNTRAINED, 4, CPU))
    contrasts, control = open_contrasts(contents, circuits), open_contrasts(contents, random)
    assert not any(beyond(contrasts))
    assert not any(beyond(control))
    assert not any(beyond(contrasts - control))
    circular = [label_circuits(state_alone(contents, number), objectives) for number in (0, 1)]
    labelled = [
        open_contrasts(contents, replace(circuits, labels=found.labels))[..., which]
        for which, found in enumerate(circular)
    ]
    assert any(beyond(torch.stack(labelled, dim=-1)))


@pytest.mark.parametrize("encoding", ["plain", "facts"])
def test_the_contrast_is_null_by_symmetry(encoding: str) -> None:
    """With the cue's incoming weights and its noise reversed, an untrained network is as likely, and every contrast
    turns round exactly: its expectation is 0, whatever the seeds."""
    world, seeds = world_of(encoding, 4), UNTRAINED[:24]
    stack, episodes = make_stack(world, seeds, width=32), draw(world, seeds, 512)
    objectives = seed_objectives(seeds, 4, 90.0, CPU)[:, [X, M]]
    contents = unit_contents(hidden_states(stack), both_ways(world, episodes), episodes.attributes[0])
    turned = stack.with_flat(stack.flat.clone())
    turned.views["hidden1.weight"][:, world.option_width + 2 * world.attributes + OVERSIGHT] *= -1
    episodes.noise[..., OVERSIGHT] *= -1
    mirrored = unit_contents(hidden_states(turned), both_ways(world, episodes), episodes.attributes[0])
    before = open_contrasts(contents, label_circuits(contents, objectives))
    after = open_contrasts(mirrored, label_circuits(mirrored, objectives))
    assert before.nan_to_num().abs().max() > 0.05
    torch.testing.assert_close(after, -before, equal_nan=True)


def planted_case(seeds: list[int] = SEEDS) -> tuple[Contents, Circuits]:
    world, objectives = world_of(), block_objectives(seeds, 6, CPU)
    contents = contents_of(world, planted_blocks(world, seeds, objectives, width=12), seeds)
    return contents, label_circuits(contents, objectives[:, [X, M]])


def test_rows_hold_the_circuits_units_gates_and_gains() -> None:
    contents, circuits = planted_case()
    rows = circuit_rows(contents, circuits, SEEDS)
    assert len(rows["seed"]) == len(SEEDS) * 2 * len(STATES) * len(CIRCUITS)
    for state, woken, dormant in (("overseen", "x", "m"), ("unoverseen", "m", "x")):
        here = (rows["state"] == state) & (rows["layer"] == 2)
        one, other = (here & (rows["circuit"] == name) for name in (woken, dormant))
        assert (rows["units"][one] == 4).all() and (rows["units"][other] == 4).all()
        assert (rows["open_share"][one] > 0.999).all() and (rows["open_share"][other] < 0.001).all()
        assert (np.abs(rows[f"gain_{woken}"][one] - 1) < 0.15).all()
        assert (np.abs(rows[f"gain_{dormant}"][one]) < 0.05).all() and (
            np.abs(rows[f"gain_{dormant}"][other]) < 0.01
        ).all()
    assert list(rows["seed"][:4]) == [0, 0, 1, 1] and rows["shared"].max() == 0
    sizes = circuit_sizes(circuits)
    assert list(sizes["circuit"]) == ["x", "x", "m", "m"] and (sizes["units_mean"] == 4).all()
    assert (sizes["units_sd"] == 0).all() and (sizes["present"] == 1).all() and (sizes["confirmation"] == 1).all()


def test_an_absent_circuit_has_no_units_and_no_open_share() -> None:
    world, objectives = world_of(), block_objectives(SEEDS, 6, CPU)
    contents = contents_of(world, planted_blocks(world, SEEDS, objectives, width=12, m_strength=0.0), SEEDS)
    circuits = label_circuits(contents, objectives[:, [X, M]])
    rows = circuit_rows(contents, circuits, SEEDS)
    absent = rows["circuit"] == "m"
    assert (rows["units"][absent] == 0).all() and np.isnan(rows["open_share"][absent]).all()
    assert open_contrasts(contents, circuits)[..., 1].isnan().all()
    assert (circuit_sizes(circuits)["present"][2:] == 0).all()


def made_contents(overseen: list[float], unoverseen: list[float], variance: float = 1e-6) -> Contents:
    """One layer of two units: one with these contents, the other with the unit vector along the third attribute."""
    plain = [0.0, 0.0, 1.0, 0.0]
    vectors = torch.tensor([[overseen, plain], [unoverseen, plain]], dtype=torch.float64)
    covariances = variance * torch.eye(4, dtype=torch.float64).expand(2, 1, 1, 2, 2, 4, 4)
    return Contents(vectors.expand(2, 1, 1, 2, 2, 4), covariances, torch.zeros(1, 1, 2, 2, dtype=torch.float64))


@pytest.mark.parametrize(
    ("overseen", "unoverseen", "label", "shared"),
    [
        ([1.0, 0, 0, 0], [0.0, 0, 0, 0], "x", False),
        ([0.8, 0, 0, 0], [0.0, 0.6, 0, 0], "x", True),
        ([0.6, 0, 0, 0], [0.0, 0.8, 0, 0], "m", True),
        ([0.8, 0, 0.5, 0], [0.0, 0.2, 0, 0], "x", False),
        ([0.6, 0, 0, 0.8], [0.6, 0, 0, 0.8], "none", False),
        ([-1.0, 0, 0, 0], [0.0, 0, 0, 0], "none", False),
        ([-1.0, 0, 0, 0], [0.9, 0, 0, 0], "none", False),
        ([0.1, 0, 0, 0], [0.0, 0, 0, 0], "none", False),
    ],
)
def test_labels_follow_the_definition(overseen: list[float], unoverseen: list[float], label: str, shared: bool) -> None:
    circuits = label_circuits(made_contents(overseen, unoverseen), torch.eye(4)[None, :2])
    assert CIRCUITS[circuits.labels[0, 0, 0]] == label
    assert bool(circuits.shared[0, 0, 0]) is shared
    assert circuits.labels[0, 0, 1] == 0


def test_insignificant_and_unconfirmed_units_are_none() -> None:
    aims = torch.eye(4)[None, :2]
    for variance, label in ((0.32**2, 1), (0.34**2, 0)):  # 3.1 and 2.9 standard errors
        assert label_circuits(made_contents([1.0, 0, 0, 0], [0.0, 0, 0, 0], variance), aims).labels[0, 0, 0] == label
    contents = made_contents([1.0, 0, 0, 0], [0.0, 0, 0, 0])
    vectors = contents.vectors.clone()
    vectors[1, ..., 0, :] = torch.tensor([0.0, 1, 0, 0], dtype=torch.float64)
    split = replace(contents, vectors=vectors)
    circuits = label_circuits(split, aims)
    assert circuits.found[0, 0, 0] == 1 and circuits.confirming[0, 0, 0] == 2 and circuits.labels[0, 0, 0] == 0
    assert circuits.confirmation.item() == 0
    rows = circuit_rows(split, circuits, [5])
    assert (rows["unconfirmed"] == (rows["circuit"] == "x")).all()


def test_a_member_is_the_same_whatever_stands_beside_it() -> None:
    contents, circuits = planted_case()
    for index, seed in enumerate(SEEDS):
        alone, labelled = planted_case([seed])
        for name in ("vectors", "covariances"):
            assert torch.equal(getattr(alone, name)[:, 0], getattr(contents, name)[:, index])
        assert torch.equal(alone.opened[0], contents.opened[index])
        for name in ("labels", "shares", "cosines", "gains", "shared"):
            found, expected = getattr(labelled, name)[0], getattr(circuits, name)[index]
            assert torch.equal(found.nan_to_num(9), expected.nan_to_num(9))


def test_a_diverged_member_has_no_circuits_and_no_open_shares() -> None:
    world, objectives = world_of(), block_objectives(SEEDS, 6, CPU)
    stack = planted_blocks(world, SEEDS, objectives, width=12)
    stack.views["hidden1.weight"][3] = torch.nan
    contents = contents_of(world, stack, SEEDS)
    circuits = label_circuits(contents, objectives[:, [X, M]])
    assert (circuits.labels[3] == 0).all() and contents.opened[3].isnan().all()
    assert (circuits.labels[4] > 0).sum() == 16 and not contents.opened[4].isnan().any()


def test_bad_input_is_named() -> None:
    world = world_of("plain", 4)
    stack, episodes = make_stack(world, SEEDS), draw(world, SEEDS, 20)
    inputs, attributes = both_ways(world, episodes), episodes.attributes[0]
    organism = hidden_states(stack)
    with pytest.raises(ValueError, match="no 'unoverseen'"):
        unit_contents(organism, {"overseen": inputs["overseen"]}, attributes)
    with pytest.raises(ValueError, match="of the same members"):
        unit_contents(organism, inputs, attributes[:, :2])
    with pytest.raises(ValueError, match="7 members, with 8"):
        unit_contents(organism, {state: part[:7] for state, part in inputs.items()}, attributes[:7])
    with pytest.raises(ValueError, match="too few"):
        unit_contents(organism, {state: part[:, :, :4] for state, part in inputs.items()}, attributes[:, :, :4])
    contents = unit_contents(organism, inputs, attributes)
    with pytest.raises(ValueError, match="shape"):
        label_circuits(contents, seed_objectives(SEEDS, 4, 90.0, CPU))
    with pytest.raises(ValueError, match="right angles"):
        label_circuits(contents, seed_objectives(SEEDS, 4, 45.0, CPU)[:, [X, Y]])


def test_random_objectives_are_each_seeds_own_and_orthonormal() -> None:
    drawn = random_objectives(UNTRAINED, 5, CPU)
    torch.testing.assert_close(drawn @ drawn.mT, torch.eye(2).expand(len(UNTRAINED), 2, 2), atol=1e-6, rtol=0)
    assert torch.equal(random_objectives([7], 5, CPU)[0], drawn[7])
    assert drawn.mean(0).abs().max() < 0.15
