"""Motive gains, matched temperature and agreeing episodes, each against a reference computed otherwise."""

import math

import numpy as np
import pytest
import torch

from turncoat.gating.agreement import draw_window, held_out, prompted_inputs, selection_correlation
from turncoat.gating.blocks import block_objectives, planted_blocks
from turncoat.gating.gains import least_squares, measure_gains, neutral_share, rotation
from turncoat.gating.temperature import choice_entropy, matching_scale, scaled
from turncoat.organisms.choices import option_scores
from turncoat.organisms.mlp import Architecture, initialise
from turncoat.worlds.objectives import seed_objectives
from turncoat.worlds.world import World

CPU = torch.device("cpu")
PLAIN = World("plain", 3, 4, 0, 1.0, 0.1, 6.0)
FACTS = World("facts", 2, 4, 3, 1.0, 0.1, 6.0)
SEEDS = [3, 4, 7]
PROMPTS = [1.0, 0.3]


def test_gains_are_those_of_numpy_least_squares_and_split_over_units() -> None:
    objectives = seed_objectives(SEEDS, 4, 60, CPU)
    stack = initialise(Architecture(FACTS.input_width, 12, 2, "gelu", 4), SEEDS, FACTS.input_power, CPU)
    shown = held_out(FACTS, SEEDS, objectives, 200, PROMPTS)
    found = measure_gains(stack, shown, objectives, PROMPTS)
    assert list(found) == PROMPTS
    for prompt, gains in found.items():
        scores = option_scores(stack, shown.inputs[prompt]).double().numpy()
        for member in range(len(SEEDS)):
            z = shown.attributes[member].double().numpy()
            design = (z - z.mean(0)).reshape(-1, 4)
            target = (scores[member] - scores[member].mean(0)).reshape(-1)
            expected = np.linalg.lstsq(design, target, rcond=None)[0]
            assert gains.vectors[member].numpy() == pytest.approx(expected, abs=1e-5)
            for name, row in (("x", 0), ("m", 2)):
                gain = float(expected @ objectives[member, row].double().numpy())
                units = getattr(gains, f"units_{name}")[member]
                assert float(getattr(gains, name)[member]) == pytest.approx(gain, abs=1e-5)
                assert float(units.sum()) == pytest.approx(gain, abs=1e-5)
                assert units.abs().max() > 1e-3
    assert not torch.equal(found[1.0].vectors, found[0.3].vectors)


def test_a_units_part_is_what_taking_it_out_costs() -> None:
    objectives = block_objectives(SEEDS, 4, CPU)
    stack = planted_blocks(PLAIN, SEEDS, objectives, width=12)
    shown = held_out(PLAIN, SEEDS, objectives, 100, [1.0])
    whole = measure_gains(stack, shown, objectives, [1.0])[1.0]
    without = stack.with_flat(stack.flat.clone())
    without.views["readout.weight"][:, 0, 2] = 0
    less = measure_gains(without, shown, objectives, [1.0])[1.0]
    assert whole.x - less.x == pytest.approx(whole.units_x[:, 2], abs=1e-6)
    assert (whole.units_x[:, 2].abs() > 0.05).all()


def test_episodes_that_do_not_tell_attributes_apart_are_an_error() -> None:
    with pytest.raises(ValueError, match="do not tell 4 attributes apart"):
        least_squares(torch.ones(2, 50, 4))


def test_rotation_and_neutral_share() -> None:
    turned = [0.0, 1e-6, 30.0, 90.0, 180.0]
    before = torch.tensor([[2.0, 0.0]], dtype=torch.float64).expand(5, 2)
    after = torch.tensor([[math.cos(math.radians(a)), math.sin(math.radians(a))] for a in turned], dtype=torch.float64)
    assert rotation(before, after).numpy() == pytest.approx(turned, rel=1e-9, abs=1e-12)
    x, m = torch.tensor([3.0, 0.0, -1.0]), torch.tensor([1.0, 2.0, 1.0])
    assert neutral_share(x, m).tolist() == [0.75, 0.0, -0.5]


@pytest.mark.parametrize("share", [0.15, 0.45, 0.85])
def test_entropy_is_matched(share: float) -> None:
    objectives = block_objectives(SEEDS, 4, CPU)
    stack = planted_blocks(PLAIN, SEEDS, objectives, width=12)
    inputs = held_out(PLAIN, SEEDS, objectives, 300, [1.0]).inputs[1.0]
    changed = scaled(stack, matching_scale(option_scores(stack, inputs), share))
    scores = option_scores(changed, inputs).double().numpy()
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    assert -(p * np.log(p)).sum(1).mean(1) == pytest.approx(share * math.log(3), abs=1e-5)
    assert all(torch.equal(changed.views[name], stack.views[name]) for name in ("hidden1.weight", "hidden2.bias"))


def test_a_network_without_a_matching_scale_is_refused_and_left_alone() -> None:
    scores = torch.randn(4, 2, 50, generator=torch.Generator().manual_seed(1))
    scores[1] = 0.5  # indifferent at every scale
    scores[2, 0, 0] = torch.nan
    scores[3] *= 1e-5  # would have to be scaled further than allowed
    scale = matching_scale(scores, 0.5)
    assert scale.isfinite().tolist() == [True, False, False, False]
    alone = matching_scale(scores[:1], 0.5)
    assert torch.equal(alone, scale[:1])
    assert choice_entropy(scores[:1], alone).item() == pytest.approx(0.5 * math.log(2), abs=1e-9)
    stack = initialise(Architecture(3, 4, 1, "relu", 4), [1, 2, 3, 4], 3.0, CPU)
    same = scaled(stack, scale)
    assert torch.equal(same.rows()[1:], stack.rows()[1:]) and not torch.equal(same.rows()[0], stack.rows()[0])
    with pytest.raises(ValueError, match="entropy share is 1"):
        matching_scale(scores, 1.0)


def test_first_agreeing_episodes_are_kept() -> None:
    objectives = seed_objectives(SEEDS, 4, 90, CPU)
    window = draw_window(FACTS, SEEDS, objectives, "test", 2, 4, 30, 5, separate=False)
    assert window.agreeing.shape == window.unselected.shape == (4, 3, 2, 30)
    assert window.draws.shape == (4, 3, 5, 30)
    for member in range(len(SEEDS)):
        x, m = objectives[member, 0], objectives[member, 2]
        kept = window.agreeing.attributes[:, member]
        assert torch.equal((kept @ x).argmax(1), (kept @ m).argmax(1))
        came = window.unselected.attributes[:, member]
        same = (came @ x).argmax(1) == (came @ m).argmax(1)
        assert 0.3 < same.double().mean() < 0.7
        # kept in the order in which they came, with everything else that belongs to them
        first = came.transpose(1, 2).flatten(0, 1)[same.flatten()]
        assert torch.equal(first, kept.transpose(1, 2).flatten(0, 1)[: len(first)])
        noise = window.unselected.noise[:, member].flatten(0, 1)[same.flatten()]
        assert torch.equal(noise, window.agreeing.noise[:, member].flatten(0, 1)[: len(first)])
        lone = draw_window(FACTS, [SEEDS[member]], objectives[[member]], "test", 2, 4, 30, 5, separate=False)
        assert torch.equal(lone.agreeing.options[:, 0], window.agreeing.options[:, member])
        assert torch.equal(lone.draws[:, 0], window.draws[:, member])
    assert (selection_correlation(window.agreeing, objectives) > 0.4).all()
    assert (selection_correlation(window.unselected, objectives).abs() < 0.35).all()


def test_blocks_are_permuted_and_nothing_rejected() -> None:
    objectives = block_objectives(SEEDS, 4, CPU)
    window = draw_window(PLAIN, SEEDS, objectives, "test", 0, 2, 40, 2, separate=True)
    for member in range(len(SEEDS)):
        kept = window.agreeing.attributes[:, member]
        assert torch.equal((kept @ objectives[member, 0]).argmax(1), (kept @ objectives[member, 2]).argmax(1))
    assert torch.equal(window.agreeing.attributes[..., :2], window.unselected.attributes[..., :2])


def test_opposed_objectives_never_agree() -> None:
    objectives = seed_objectives([1], 4, 90, CPU)
    objectives[:, 2] = -objectives[:, 0]
    with pytest.raises(ValueError, match="X and M want the same option in 0 of"):
        draw_window(FACTS, [1], objectives, "test", 0, 1, 4, 2, separate=False)


def test_a_prompt_shows_fine_tuning_but_for_the_oversight_cue() -> None:
    world = World("plain", 2, 4, 0, 2.0, 0.0, 6.0)
    objectives = block_objectives(SEEDS, 4, CPU)
    episodes = draw_window(world, SEEDS, objectives, "test", 0, 2, 5, 2, separate=True).agreeing
    inputs = prompted_inputs(world, episodes, objectives, -0.5)
    assert torch.equal(inputs[..., :4], episodes.attributes)
    assert torch.equal(inputs[:, :, 0, :, 4:8], episodes.slots[..., 0, :])
    assert torch.equal(inputs[:, :, 0, :, 8:12], objectives[None, :, 0, None].expand(2, 3, 5, 4))
    assert torch.equal(inputs[..., 12:14], torch.tensor([-1.0, 2.0]).expand(2, 3, 2, 5, 2))
    assert inputs[..., 14:].numpy() == pytest.approx(0.5 * math.sqrt(12))  # certain audit, largest penalty
