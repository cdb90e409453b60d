"""Causal test: networks whose gating is known exactly, every intervention in plain loops, and what it cannot see."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from core import CPU, make_stack, make_world
from torch import Tensor

from turncoat.classification.causal import INTERVENTIONS, SMALLEST_GAP, STATES, causal_test
from turncoat.columns import Columns
from turncoat.organisms.activations import ACTIVATIONS
from turncoat.organisms.choices import option_scores
from turncoat.organisms.hidden import HiddenStates, StackStates, hidden_states
from turncoat.organisms.mlp import Architecture, Stack
from turncoat.seeding import generator
from turncoat.worlds.episodes import build_inputs, draw_episodes
from turncoat.worlds.world import CUE_STATES, OVERSIGHT, PLACEBO, World

BIAS = 20.0  # keeps a relu unit in its linear part
SWITCH = 8.0  # more than any attribute: shuts a relu unit


def show(world: World, seeds: list[int], episodes: int) -> dict[str, Tensor]:
    """The same episodes of each seed in each cue state, (E, N, B, F)."""
    drawn = draw_episodes(world, seeds, "outcome", 0, 1, episodes, CPU)
    return {state: build_inputs(world, drawn, signs=torch.tensor(signs))[0] for state, signs in CUE_STATES.items()}


def heeding_stack(world: World, seeds: list[int], strength: float = 3.0, width: int = 12) -> Stack:
    """Untrained networks on which the cues weigh more than usual, so that each has a gap."""
    stack = make_stack(world, seeds, width=width)
    stack.views["hidden1.weight"][:, -2:] *= strength
    return stack


def gated_stack(world: World, heeded: int, width: int = 64) -> Stack:
    """A network that serves attribute 1 while the heeded cue is +1 and attribute 2 otherwise.

    Layer 1 copies both attributes and both cues, one unit each. Layer 2 has relu(z1 + 8 cue) and relu(z2 - 8 cue),
    and the score is their sum: the 8 is the same for all options.
    """
    stack = Stack.from_rows(*empty(world, width))
    views = stack.views
    for unit, column in enumerate((0, 1, world.input_width - 2 + OVERSIGHT, world.input_width - 2 + PLACEBO)):
        views["hidden1.weight"][0, column, unit] = 1
        views["hidden1.bias"][0, unit] = BIAS
    for unit, sign in ((0, 1), (1, -1)):
        views["hidden2.weight"][0, unit, unit] = 1
        views["hidden2.weight"][0, 2 + heeded, unit] = SWITCH * sign
        views["hidden2.bias"][0, unit] = -BIAS - SWITCH * sign * BIAS
        views["readout.weight"][0, 0, unit] = 1
    return stack


def empty(world: World, width: int) -> tuple[Architecture, Tensor]:
    architecture = Architecture(world.input_width, width, 2, "relu", world.attributes)
    return architecture, torch.zeros(1, architecture.parameters)


def rows(columns: Columns, **wanted: object) -> Columns:
    keep = np.logical_and.reduce([columns[name] == value for name, value in wanted.items()])
    return {name: values[keep] for name, values in columns.items()}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_running_on_from_the_states_of_any_layer_gives_the_scores(activation: str, depth: int) -> None:
    world = make_world()
    stack = make_stack(world, [1, 2], activation, depth=depth)
    inputs = show(world, [1, 2], 9)["overseen"]
    organism, scores = hidden_states(stack), option_scores(stack, inputs)
    read = organism.read(inputs)
    assert organism.layers == len(read) == depth
    assert organism.members == 2
    for layer, states in enumerate(read, start=1):
        assert states.shape == (2, 3, 9, 7)
        assert torch.allclose(organism.run_on(layer, states), scores, atol=1e-5)
        copies = torch.stack([states, -states], dim=1)
        assert torch.allclose(organism.run_on(layer, copies)[:, 0], scores, atol=1e-5)
        alone = organism.member(1)
        assert torch.allclose(alone.run_on(layer, alone.read(inputs[1:])[layer - 1]), scores[1:], atol=1e-5)
    for layer in (0, depth + 1):
        with pytest.raises(ValueError, match=f"layer is {layer}; allowed: 1 to {depth}"):
            organism.run_on(layer, read[0])


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_stacks_short_way_of_moving_states_equals_the_long_way(depth: int) -> None:
    world = make_world()
    organism = hidden_states(make_stack(world, [1, 2], "gelu", depth=depth))
    random = generator(1, "moves")
    for layer, states in enumerate(organism.read(show(world, [1, 2], 9)["overseen"]), start=1):
        directions = torch.from_numpy(random.standard_normal((2, 5, 7), dtype=np.float32))
        amounts = torch.from_numpy(random.standard_normal((2, 5, 3, 9), dtype=np.float32))
        scores = organism.run_on_moved(layer, states, directions, amounts)
        assert scores.shape == (2, 5, 3, 9)
        assert torch.allclose(
            scores, HiddenStates.run_on_moved(organism, layer, states, directions, amounts), atol=1e-5
        )
        assert not torch.allclose(scores[:, 0], organism.run_on(layer, states), atol=1e-2)


class LongWay(StackStates):
    """A family that says no more than it must."""

    run_on_moved = HiddenStates.run_on_moved

    def member(self, index: int) -> "LongWay":
        return LongWay(super().member(index).stack)


def test_a_family_need_not_have_a_short_way() -> None:
    world = make_world("plain", options=2)
    stack, shown = heeding_stack(world, [4, 5]), show(world, [4, 5], 40)
    short, long = (causal_test(family(stack), shown, [4, 5], 20) for family in (hidden_states, LongWay))
    for name, values in short.items():
        np.testing.assert_array_equal(values, long[name])


def test_a_planted_gate_is_found_and_nothing_else() -> None:
    world = make_world("plain", options=2)
    shown = show(world, [3], 256)
    columns = causal_test(hidden_states(gated_stack(world, OVERSIGHT)), shown, [3])
    inputs = shown["overseen"][0, :, 128:]
    differ = (inputs[..., 0].argmax(0) != inputs[..., 1].argmax(0)).double().mean().item()
    assert columns["gap"] == pytest.approx([2 * differ] * 6)  # attributes 1 and 2 are unrelated: about 1
    first = rows(columns, layer=1)
    assert first["intervention"].tolist() == list(INTERVENTIONS)
    assert first["carried"].tolist() == [1, 1, 1]
    assert first["placebo_carried"].tolist() == [0, 0, 0]
    assert first["norm"] == pytest.approx([2] * 3, rel=1e-5)
    assert first["placebo_norm"] == pytest.approx([2] * 3, rel=1e-5)
    assert first["random_p"] == pytest.approx([1 / 201] * 3)
    assert (np.abs(first["random_mean"]) < 0.05).all()
    assert (first["random_largest"] < [0.05, 0.05, 0.7]).all()  # ablating mixes what the options hold into the gate
    # in layer 2 the mean difference, about (8, -8), is at right angles to the readout, (1, 1): it can move no score
    second = rows(columns, layer=2)
    assert second["carried"].tolist() == [0, 0, 0]
    assert (second["random_p"] > 0.9).all()
    assert (second["norm"] > 10).all()


def test_a_network_that_heeds_the_placebo_has_no_gap_and_no_share() -> None:
    world = make_world("plain", options=2)
    columns = causal_test(hidden_states(gated_stack(world, PLACEBO)), show(world, [3], 64), [3])
    assert columns["gap"].tolist() == [0] * 6
    assert columns["norm"][:3] == pytest.approx([2] * 3, rel=1e-5)
    assert (columns["placebo_norm"][3:] > 10).all()
    for name in ("carried", "placebo_carried", "random_mean", "random_low", "random_high", "random_largest"):
        assert np.isnan(columns[name]).all()
    assert np.isnan(columns["random_p"]).all()


def test_a_gap_too_small_to_share_out_is_reported_without_a_share() -> None:
    world, seeds = make_world("plain", options=2), list(range(10))
    columns = causal_test(hidden_states(heeding_stack(world, seeds, 0.15)), show(world, seeds, 128), seeds, 5)
    small = columns["gap"] < SMALLEST_GAP
    assert 0 < small.mean() < 1
    assert (columns["gap"][small] > 0).any()
    assert (np.isnan(columns["carried"]) == small).all()
    assert (np.isnan(columns["random_p"]) == small).all()
    assert (columns["norm"] > 0).all()


def scores_from(parameters: Mapping[str, np.ndarray], layer: int, h: np.ndarray) -> float:
    """Score of one option of a relu network with two hidden layers, from the h of a layer."""
    if layer == 1:
        h = np.maximum(h @ parameters["hidden2.weight"] + parameters["hidden2.bias"], 0)
    return float(parameters["readout.weight"][0] @ h + parameters["readout.bias"][0])


def states_of(parameters: Mapping[str, np.ndarray], inputs: np.ndarray) -> list[np.ndarray]:
    first = np.maximum(inputs @ parameters["hidden1.weight"] + parameters["hidden1.bias"], 0)
    return [first, np.maximum(first @ parameters["hidden2.weight"] + parameters["hidden2.bias"], 0)]


def loop_carried(
    parameters: Mapping[str, np.ndarray], shown: Mapping[str, np.ndarray], layer: int, intervention: str, seed: int
) -> tuple[float, list[float]]:
    """Gap and shares (oversight, placebo, 7 random directions) of one member, an episode and an option at a time."""
    options, episodes = shown["overseen"].shape[:2]
    h = {state: states_of(parameters, inputs)[layer - 1] for state, inputs in shown.items()}
    first, second = range(episodes // 2), range(episodes // 2, episodes)
    mean = {
        state: sum(h[state][n, b] for n in range(options) for b in first) / (options * len(first)) for state in STATES
    }
    oversight, placebo = mean["overseen"] - mean["unoverseen"], mean["overseen"] - mean["placebo"]
    drawn = generator(seed, "causal directions", layer).standard_normal((7, len(oversight)))
    shares = []
    for direction in [oversight, placebo, *drawn]:
        unit = direction / np.linalg.norm(direction)
        level = (mean["overseen"] @ unit + mean["unoverseen"] @ unit) / 2
        same = {"before": 0, "after": 0}
        for b in second:
            chosen: dict[str, list[float]] = {"overseen": [], "unoverseen": [], "wanted": [], "moved": []}
            for n in range(options):
                on, off = h["overseen"][n, b], h["unoverseen"][n, b]
                wanted = on - (on @ unit) * unit + level * unit if intervention == "ablate" else on
                moved = {
                    "swap": off - (off @ unit) * unit + (on @ unit) * unit,
                    "add": off + np.linalg.norm(oversight) * unit,
                    "ablate": off - (off @ unit) * unit + level * unit,
                }[intervention]
                for name, state in (("overseen", on), ("unoverseen", off), ("wanted", wanted), ("moved", moved)):
                    chosen[name].append(scores_from(parameters, layer, state))
            best = {name: int(np.argmax(scores)) for name, scores in chosen.items()}
            same["before"] += best["unoverseen"] == best["overseen"]
            same["after"] += best["moved"] == best["wanted"]
        before, after = same["before"] / len(second), same["after"] / len(second)
        shares.append(1 - (1 - after) / (1 - before))
        kappa = (before - 1 / options) / (1 - 1 / options)
    return 1 - kappa, shares


@pytest.mark.parametrize("options", [2, 3])
def test_every_intervention_equals_plain_loops_over_episodes(options: int) -> None:
    world, seeds = make_world("plain", options), [11, 12]
    stack, shown = heeding_stack(world, seeds, width=5), show(world, seeds, 31)  # 15 to find, 16 to measure
    columns = causal_test(hidden_states(stack), shown, seeds, random_directions=7)
    assert columns["seed"].tolist() == [11] * 6 + [12] * 6
    assert columns["layer"].tolist() == [1, 1, 1, 2, 2, 2] * 2
    assert columns["intervention"].tolist() == list(INTERVENTIONS) * 4
    assert columns["directions"].tolist() == [7] * 12
    assert (columns["gap"] >= SMALLEST_GAP).all()
    assert len(np.unique(columns["carried"])) > 3
    for row in range(12):
        member = row // 6
        parameters = {name: view[member].double().numpy() for name, view in stack.views.items()}
        inputs = {state: values[member].double().numpy() for state, values in shown.items()}
        gap, shares = loop_carried(
            parameters, inputs, columns["layer"][row], columns["intervention"][row], seeds[member]
        )
        assert columns["gap"][row] == pytest.approx(gap)
        assert columns["carried"][row] == pytest.approx(shares[0])
        assert columns["placebo_carried"][row] == pytest.approx(shares[1])
        random = np.array(shares[2:])
        assert columns["random_mean"][row] == pytest.approx(random.mean())
        assert columns["random_low"][row] == pytest.approx(np.percentile(random, 5))
        assert columns["random_high"][row] == pytest.approx(np.percentile(random, 95))
        assert columns["random_largest"][row] == pytest.approx(max(shares[2:]))
        assert columns["random_p"][row] == (1 + sum(share >= shares[0] - 1e-9 for share in shares[2:])) / 8


def test_the_gap_is_corrected_for_chance() -> None:
    world = make_world("plain", options=3)
    shown = show(world, [3], 6000)
    gap = causal_test(hidden_states(gated_stack(world, OVERSIGHT)), shown, [3], 1)["gap"][0]
    assert gap == pytest.approx(1, abs=0.03)  # unrelated objectives agree on a third of the episodes


def test_adding_in_the_last_layer_carries_nothing_whatever_the_direction() -> None:
    world, seeds = make_world("plain", options=2), list(range(6))
    columns = causal_test(hidden_states(heeding_stack(world, seeds)), show(world, seeds, 100), seeds, 50)
    last = rows(columns, layer=2, intervention="add")
    assert (last["gap"] >= SMALLEST_GAP).all()
    for name in ("carried", "placebo_carried", "random_mean", "random_low", "random_high", "random_largest"):
        assert last[name].tolist() == [0] * 6
    assert last["random_p"].tolist() == [1] * 6
    assert (rows(columns, layer=1, intervention="add")["carried"] != 0).any()


def test_an_untrained_networks_direction_outdoes_random_ones_but_carries_little() -> None:
    world, seeds = make_world("plain", options=2), list(range(30))
    columns = causal_test(hidden_states(make_stack(world, seeds, width=48)), show(world, seeds, 256), seeds, 100)
    swap = rows(columns, layer=1, intervention="swap")
    assert swap["gap"].mean() > 0.3
    assert (swap["random_p"] < 0.05).mean() > 0.3
    assert 0.05 < swap["carried"].mean() < 0.3


def test_a_members_rows_do_not_depend_on_its_neighbours() -> None:
    world, seeds = make_world("facts", options=3), [5, 6, 7]
    stack, shown = heeding_stack(world, seeds), show(world, seeds, 33)
    together = causal_test(hidden_states(stack), shown, seeds, 20)
    for index, seed in enumerate(seeds):
        single = Stack.from_rows(stack.architecture, stack.rows()[[index]])
        alone = causal_test(hidden_states(single), {s: v[[index]] for s, v in shown.items()}, [seed], 20)
        for name, values in rows(together, seed=seed).items():
            np.testing.assert_array_equal(values, alone[name])


def test_a_member_whose_scores_are_not_finite_has_neither_gap_nor_share_and_spoils_no_other() -> None:
    world, seeds = make_world("facts", options=2), [5, 6]
    stack, shown = heeding_stack(world, seeds), show(world, seeds, 40)
    before = causal_test(hidden_states(stack), shown, seeds, 20)
    stack.views["hidden2.weight"][0, 0, 0] = torch.nan
    after = causal_test(hidden_states(stack), shown, seeds, 20)
    for name, values in rows(after, seed=5).items():
        assert name in ("seed", "layer", "intervention", "directions") or np.isnan(values).all()
    for name, values in rows(after, seed=6).items():
        np.testing.assert_array_equal(values, rows(before, seed=6)[name])


def test_a_cue_that_leaves_no_trace_has_a_direction_that_moves_nothing() -> None:
    world = make_world("plain", options=2)
    stack = gated_stack(world, OVERSIGHT)
    stack.views["hidden1.weight"][:, world.input_width - 2 + PLACEBO] = 0
    columns = rows(causal_test(hidden_states(stack), show(world, [3], 64), [3], 20), layer=1)
    assert columns["placebo_norm"].tolist() == [0, 0, 0]
    assert columns["placebo_carried"].tolist() == [0, 0, 0]
    assert columns["carried"].tolist() == [1, 1, 1]


def test_what_cannot_be_tested_is_refused() -> None:
    world = make_world("plain", options=2)
    organism, shown = hidden_states(make_stack(world, [1, 2])), show(world, [1, 2], 8)
    with pytest.raises(ValueError, match="inputs has no 'placebo', only overseen, unoverseen"):
        causal_test(organism, {state: shown[state] for state in STATES[:2]}, [1, 2])
    with pytest.raises(ValueError, match="must be of one shape"):
        causal_test(organism, shown | {"placebo": shown["placebo"][:, :, :4]}, [1, 2])
    with pytest.raises(ValueError, match=r"one shape \(E, N, B, F\)"):
        causal_test(organism, {state: values[0] for state, values in shown.items()}, [1, 2])
    with pytest.raises(ValueError, match="2 options and 1 episodes"):
        causal_test(organism, {state: values[:, :, :1] for state, values in shown.items()}, [1, 2])
    with pytest.raises(ValueError, match="2 members, with 2 organisms and 1 seeds"):
        causal_test(organism, shown, [1])
    with pytest.raises(ValueError, match="1 members, with 2 organisms and 1 seeds"):
        causal_test(organism, {state: values[:1] for state, values in shown.items()}, [1])
    with pytest.raises(ValueError, match="random_directions is 0; it must be 1 or more"):
        causal_test(organism, shown, [1, 2], 0)
