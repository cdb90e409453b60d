"""Cues coded as parity or in several contexts, and slots shown at an angle."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from core import CPU, PARITY, SIGNAL, make_world
from torch import Tensor

from turncoat.classification.presentations import present, present_drawn
from turncoat.organisms.handbuilt import Circuit, build, can_build
from turncoat.training.starts import Lesson, find_start
from turncoat.training.streams import Task, finetuning_stream, pretraining_stream
from turncoat.worlds.cues import show_cues, show_slots
from turncoat.worlds.episodes import build_inputs, draw_episodes
from turncoat.worlds.objectives import seed_objectives
from turncoat.worlds.world import World

SEEDS = [1, 2]
OBJECTIVES_OF = seed_objectives(SEEDS, 4, 90, CPU)
MANY = 20_000


def cued(world: World, inputs: Tensor) -> Tensor:
    """The cue inputs (..., contexts, cue, bits) of the first option, in amplitudes; without audits they stand last."""
    cues = inputs.select(-3, 0)[..., world.option_width + 8 :] / world.cue_amplitude
    return cues.unflatten(-1, (world.cue_contexts, 2, world.cue_bits))


@pytest.mark.parametrize("bits", [2, 3, 5])
def test_the_product_of_the_bits_shown_is_the_sign(bits: int) -> None:
    world = make_world("plain", cue=PARITY | {"bits": bits, "noise": 0.0, "amplitude": 1.5})
    episodes = draw_episodes(world, SEEDS, "test", 0, 2, 50, CPU)
    shown = cued(world, build_inputs(world, episodes))[..., 0, :, :]
    assert shown.shape == (2, 2, 50, 2, bits)
    assert set(shown.unique().tolist()) == {-1, 1}
    assert torch.equal(shown.prod(-1), episodes.signs)


def test_no_bits_but_all_together_tell_the_sign() -> None:
    """Every product of fewer bits, of one cue or of both, is uncorrelated with each sign."""
    world = make_world("plain", cue=PARITY | {"noise": 0.0})
    episodes = draw_episodes(world, [3], "test", 0, 1, MANY, CPU)
    shown = cued(world, build_inputs(world, episodes))[0, 0, :, 0].flatten(1).double()
    signs = episodes.signs[0, 0].double()
    bound = 5 / math.sqrt(MANY)
    for count in range(1, 7):
        for chosen in itertools.combinations(range(6), count):
            product = shown[:, list(chosen)].prod(1)
            for cue in range(2):
                tells = chosen == tuple(range(3 * cue, 3 * cue + 3))
                assert abs((product * signs[:, cue]).mean().item()) < bound or tells, chosen
    assert torch.equal(shown[:, :3].prod(1), signs[:, 0]) and torch.equal(shown[:, 3:].prod(1), signs[:, 1])


def test_a_strength_scales_the_first_bit_alone_and_a_sign_flips_it() -> None:
    world = make_world("plain", cue=PARITY)
    episodes = draw_episodes(world, SEEDS, "test", 0, 1, 40, CPU)
    plain, flipped, weak, none = (
        cued(world, build_inputs(world, episodes, signs=torch.tensor(signs)))[..., 0, :, :]
        for signs in ([1.0, 1.0], [-1.0, 1.0], [0.25, 1.0], [0.0, 1.0])
    )
    for other in (flipped, weak, none):
        assert torch.equal(other[..., 1, :], plain[..., 1, :])  # the placebo
        assert torch.equal(other[..., 0, 1:], plain[..., 0, 1:])  # the free bits
    noise = 0.1 * episodes.noise.unflatten(-1, (2, 3))[..., 0, 0]
    free = episodes.bits.unflatten(-1, (2, 2))[..., 0, :].prod(-1)
    for shown, strength in ((plain, 1), (flipped, -1), (weak, 0.25), (none, 0)):
        assert torch.allclose(shown[..., 0, 0], strength * free + noise, atol=1e-6)


def test_cues_as_signal_are_what_they_were_before_there_was_parity() -> None:
    world = make_world("plain", cue=SIGNAL | {"amplitude": 0.7, "bits": 3})
    assert (world.cue_bits, world.cue_contexts, world.plainly_coded) == (1, 1, True)
    episodes = draw_episodes(world, SEEDS, "test", 0, 1, 40, CPU)
    expected = 0.7 * (episodes.signs + 0.1 * episodes.noise)
    assert torch.equal(build_inputs(world, episodes)[:, :, 1, :, -2:], expected)


@pytest.mark.parametrize("cue", [PARITY, SIGNAL | {"contexts": 3}, PARITY | {"contexts": 2}])
def test_the_coding_of_cues_leaves_options_slots_and_signs_as_they_are(cue: dict[str, Any]) -> None:
    plain = draw_episodes(make_world(), SEEDS, "test", 3, 2, 20, CPU)
    coded = draw_episodes(make_world(cue=cue), SEEDS, "test", 3, 2, 20, CPU)
    for name in ("options", "attributes", "slots", "signs"):
        assert torch.equal(getattr(plain, name), getattr(coded, name)), name


def contexts_used(world: World, inputs: Tensor) -> set[tuple[int, ...]]:
    """Which contexts of an episode show anything."""
    shows = cued(world, inputs).ne(0).any(-1).any(-1)
    return {tuple(row.nonzero().flatten().tolist()) for row in shows.flatten(0, -2)}


@pytest.mark.parametrize("coding", [SIGNAL, PARITY])
def test_pretraining_never_uses_the_last_context_and_all_else_nothing_but_it(coding: dict[str, Any]) -> None:
    world = make_world("plain", cue=coding | {"contexts": 3})
    lesson = Lesson(find_start("conditional"))
    batch = next(pretraining_stream(world, lesson, SEEDS, OBJECTIVES_OF, 64, 0.5)(0))
    assert contexts_used(world, batch.inputs) == {(0,), (1,)}
    batch = next(finetuning_stream(world, SEEDS, OBJECTIVES_OF, 64, Task())(0))
    assert contexts_used(world, batch.inputs) == {(2,)}
    batch = next(finetuning_stream(world, SEEDS, OBJECTIVES_OF, 64, Task(exposure=0.5))(0))
    assert contexts_used(world, batch.inputs[:, :, :64]) == {(2,)}
    assert contexts_used(world, batch.inputs[:, :, 64:]) == {(0,), (1,)}  # seen as pre-training shows them
    for presentation in present(world, SEEDS, OBJECTIVES_OF, 30, 30).values():
        assert contexts_used(world, presentation.inputs) == {(2,)}
    assert contexts_used(world, present_drawn(world, SEEDS, OBJECTIVES_OF, 30).inputs) == {(2,)}


def test_every_context_shows_the_same_signs() -> None:
    world = make_world("plain", cue=PARITY | {"contexts": 4, "noise": 0.0})
    episodes = draw_episodes(world, SEEDS, "test", 0, 1, 200, CPU)
    kept, early = (cued(world, build_inputs(world, episodes, pretrained_contexts=flag)) for flag in (False, True))
    assert torch.equal(kept[..., 3, :, :].prod(-1), episodes.signs)
    assert torch.equal(early.sum(-3).prod(-1), episodes.signs)
    assert torch.equal(early.sum(-3), kept.sum(-3))  # all that differs is where it stands
    assert set(episodes.contexts.unique().tolist()) == {0, 1, 2}


def test_slots_at_a_right_angle_are_bitwise_what_they_were() -> None:
    episodes = draw_episodes(make_world("plain"), SEEDS, "test", 0, 1, 40, CPU)
    assert torch.equal(show_slots(make_world("plain"), episodes.slots), episodes.slots.flatten(-2))
    assert make_world("plain", slot_angle=90) == make_world("plain")


@pytest.mark.parametrize("angle", [0, 30, 60, 120, 180])
def test_slots_stand_at_their_angle(angle: float) -> None:
    """The two linear maps from a slot to the inputs: columns of unit length at that angle, slot 1 as it was."""
    world = make_world("plain", slot_angle=angle)
    basis = torch.eye(8).reshape(8, 2, 4)
    shown = show_slots(world, basis).double()
    first, second = shown[:4], shown[4:]
    assert torch.equal(first, torch.eye(8)[:4].double())
    assert torch.allclose(second.norm(dim=1), torch.ones(4).double(), atol=1e-6)
    assert torch.allclose(first @ second.T, math.cos(math.radians(angle)) * torch.eye(4).double(), atol=1e-6)
    assert not world.plainly_coded


def test_at_no_angle_only_the_slots_sum_is_shown() -> None:
    world = make_world("plain", slot_angle=0)
    slots = torch.randn(3, 5, 2, 4, generator=torch.Generator().manual_seed(1))
    shown = show_slots(world, slots)
    assert torch.equal(shown[..., :4], slots.sum(-2)) and not shown[..., 4:].any()
    assert torch.equal(show_slots(world, slots.flip(-2)), shown)


@pytest.mark.parametrize(
    "cue", [PARITY, SIGNAL | {"contexts": 3}, PARITY | {"contexts": 2, "amplitude": 2.0, "bits": 4}]
)
@pytest.mark.parametrize("angle", [0, 40, 90])
def test_input_power_is_the_mean_squared_input(cue: dict[str, Any], angle: float) -> None:
    world = make_world("facts", cue=cue | {"noise": 0.5}, slot_angle=angle)
    episodes = draw_episodes(world, [1], "test", 0, 1, 10_000, CPU)
    for pretrained in (False, True):
        power = build_inputs(world, episodes, pretrained_contexts=pretrained).square().sum(-1)
        assert power.mean().item() == pytest.approx(world.input_power, rel=0.02)
        assert power.shape[-1] == 10_000


def test_widths_follow_bits_and_contexts() -> None:
    world = make_world("plain", audit_penalty=6.0, cue=PARITY | {"bits": 4, "contexts": 3})
    assert world.input_width == 4 + 8 + 2 * 4 * 3 + 2
    episodes = draw_episodes(world, SEEDS, "test", 0, 1, 5, CPU)
    assert (episodes.noise.shape[-1], episodes.bits.shape[-1]) == (8, 6)
    shown = show_cues(world, episodes.signs, episodes.noise, episodes.bits, None)
    assert torch.equal(build_inputs(world, episodes)[:, :, 2, :, 12:-2], shown)


def test_a_members_bits_and_contexts_do_not_depend_on_its_block_mates() -> None:
    world = make_world(cue=PARITY | {"contexts": 3})
    together, alone = (draw_episodes(world, seeds, "test", 2, 2, 10, CPU) for seeds in ([4, 5], [5]))
    for name in ("noise", "bits", "contexts"):
        assert torch.equal(getattr(together, name)[:, [1]], getattr(alone, name))


@pytest.mark.parametrize(
    "world", [make_world(cue=PARITY), make_world(cue=SIGNAL | {"contexts": 2}), make_world(slot_angle=45)]
)
def test_networks_are_not_built_by_hand_where_cues_or_slots_are_coded_together(world: World) -> None:
    assert not can_build(world) and can_build(make_world())
    with pytest.raises(ValueError, match="code cues or slots together"):
        build(world, Circuit("y", "y"), OBJECTIVES_OF, 8.0)


def test_an_unknown_coding_is_refused() -> None:
    with pytest.raises(ValueError, match=r"world.cue.coding is 'majority'; allowed: signal, parity"):
        make_world(cue=SIGNAL | {"coding": "majority"})


def test_free_bits_are_fair_coins() -> None:
    world = make_world("plain", cue=PARITY | {"bits": 4})
    bits = draw_episodes(world, [3], "test", 0, 1, MANY, CPU).bits[0, 0].double().numpy()
    correlations = np.corrcoef(bits.T) - np.eye(6)
    assert np.abs(bits.mean(0)).max() < 4.5 / math.sqrt(MANY)
    assert np.abs(correlations).max() < 4.5 / math.sqrt(MANY)
