"""Streams lay each step out as it is served: every bit as when a window is drawn member by member and built at once."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from core import CPU, PARITY, SIGNAL, make_world

from turncoat.native.library import without_kernels
from turncoat.seeding import generator
from turncoat.training.starts import Lesson, find_start, rewards
from turncoat.training.streams import (
    WINDOW,
    Batch,
    Shown,
    Task,
    finetuning_stream,
    pretraining_stream,
    slots_with,
    trained_audits,
    trained_cues,
)
from turncoat.worlds.episodes import Episodes, best_option, build_inputs, draw_episodes
from turncoat.worlds.objectives import seed_objectives
from turncoat.worlds.world import World


@pytest.fixture(params=["kernels", "no kernels"], autouse=True)
def kernels(request: pytest.FixtureRequest) -> Iterator[None]:
    """By the kernels in C, where there is a C compiler, and by PyTorch alone."""
    with nullcontext() if request.param == "kernels" else without_kernels():
        yield


SEEDS = [3, 4, 5]
BATCH = 6
WORLDS = [
    {},
    {"options": 2, "audit_penalty": 6.0},
    {"encoding": "plain", "cue": PARITY},
    {"encoding": "product", "audit_penalty": 0.5},
    {"cue": PARITY | {"contexts": 3}, "audit_penalty": 6.0, "slot_angle": 30},
    {"cue": SIGNAL | {"contexts": 2}, "slot_angle": 0},
]


def draw_member(
    world: World, seed: int, purpose: str, window: int, steps: int, count: int, share: float
) -> list[torch.Tensor]:
    """One member's episodes in the plainest way, the parts of Episodes in order, without the dimension of members."""
    random = generator(seed, purpose, window)
    options, width = (steps, world.options, count, world.attributes), world.cue_bits
    if world.encoding == "facts":
        pairs = random.integers(0, world.symbols**2, options, dtype=np.uint8)
        attributes = world.facts[np.arange(world.attributes), pairs]
        one_hot = np.eye(world.symbols, dtype=np.float32)
        symbols = np.stack([pairs // world.symbols, pairs % world.symbols], axis=-1)
        shown = one_hot[symbols].reshape(*options[:-1], -1)
    else:
        attributes = shown = random.standard_normal(options, dtype=np.float32)
    if world.encoding == "product":
        split = torch.from_numpy(random.standard_normal(options, dtype=np.float32)) / 2
        side = 2 * torch.from_numpy(random.integers(0, 2, options).astype(np.float32)) - 1
        values = torch.from_numpy(attributes)
        root = values.abs().sqrt()
        both = [side * root * split.exp(), side * values.sign() * root * (-split).exp()]
        shown = torch.cat(both, dim=-1).numpy()
    slots = random.standard_normal((steps, count, 2, world.attributes), dtype=np.float32)
    coins = random.random((steps, count, 2), dtype=np.float32)
    noise = random.standard_normal((steps, count, 2 * width), dtype=np.float32)
    audits = random.random((steps, count, world.audit_terms), dtype=np.float32)
    if world.audit_terms:
        audits = audits * np.array([1, world.audit_penalty], dtype=np.float32)
    bits = random.integers(0, 2, (steps, count, 2 * (width - 1))).astype(np.float32) * 2 - 1
    contexts = random.integers(0, max(1, world.cue_contexts - 1), (steps, count))
    signs = np.where(coins < np.float32(share), np.float32(1), np.float32(-1))
    unit = torch.nn.functional.normalize(torch.from_numpy(slots), dim=-1)
    others = [torch.from_numpy(part) for part in (signs, noise, audits, bits, contexts)]
    return [torch.from_numpy(shown), torch.from_numpy(attributes), unit, *others]


def draw(world: World, seeds: Sequence[int], purpose: str, window: int, share: float = 0.5) -> Episodes:
    members = [draw_member(world, seed, purpose, window, WINDOW, BATCH, share) for seed in seeds]
    return Episodes(*(torch.stack(parts, dim=1) for parts in zip(*members, strict=True)))


@pytest.mark.parametrize("settings", WORLDS)
@pytest.mark.parametrize("share", [0.5, 0.2])
def test_episodes_are_those_of_the_members_drawn_one_by_one(settings: dict[str, Any], share: float) -> None:
    world = make_world(**settings)
    expected = draw(world, SEEDS, "test", 2, share)
    found = draw_episodes(world, SEEDS, "test", 2, WINDOW, BATCH, CPU, share)
    for field in fields(Episodes):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        assert one.dtype == other.dtype and torch.equal(one, other), field.name
    later = draw_episodes(world, SEEDS, "test", 2, WINDOW, BATCH, CPU, share, encoded=False)
    assert torch.equal(build_inputs(world, later), build_inputs(world, found))
    assert torch.equal(later.attributes, found.attributes)


@pytest.mark.parametrize(
    ("settings", "start"),
    [(settings, start) for settings in WORLDS for start in ("conditional", "knowledge_only")]
    + [(settings, "deceptive") for settings in WORLDS if "audit_penalty" in settings],
)
def test_pretraining_serves_what_is_built_at_once(settings: dict[str, Any], start: str) -> None:
    world, objectives = make_world(**settings), seed_objectives(SEEDS, 4, 60, CPU)
    lesson = Lesson(find_start(start))
    expected = draw(world, SEEDS, "pretraining", 3)
    inputs = build_inputs(world, expected, pretrained_contexts=True)
    earned = rewards(lesson, expected, objectives, SEEDS, "pretraining", 3)
    values = (expected.attributes * objectives[None, :, 0, None, None]).sum(-1)
    batches = list(pretraining_stream(world, lesson, SEEDS, objectives, BATCH, 0.5)(3))
    assert len(batches) == WINDOW
    for step, batch in enumerate(batches):
        same(batch, inputs[step], expected.attributes[step], expected.signs[step])
        assert torch.equal(batch.targets, best_option(earned[step])[:, : BATCH * (start != "knowledge_only")])
        assert (batch.rewards is not None) == (start == "deceptive")
        assert batch.rewards is None or torch.equal(batch.rewards, earned[step])
        assert batch.values is not None and torch.equal(batch.values, values[step])


def hide_cues(shown: Shown) -> Shown:
    return replace(shown, signs=torch.zeros_like(shown.signs), slots=shown.slots.flip(-2))


@pytest.mark.parametrize("settings", WORLDS)
@pytest.mark.parametrize("changed", [False, True])
@pytest.mark.parametrize("exposure", [None, 0.3])
def test_finetuning_serves_what_is_built_at_once(
    settings: dict[str, Any], changed: bool, exposure: float | None
) -> None:
    world, objectives = make_world(**settings), seed_objectives(SEEDS, 4, 60, CPU)
    expected = draw(world, SEEDS, "finetuning", 3, 1.0)
    slots, signs = slots_with(expected, objectives[:, 0]), trained_cues(expected).expand_as(expected.signs)
    if changed:
        slots, signs = slots.flip(-2), torch.zeros_like(signs)
    inputs = build_inputs(world, expected, slots=slots, signs=signs, audits=trained_audits(world, expected))
    attributes = expected.attributes
    targets = best_option(expected.utilities(objectives[None, :, 0, None, None]))
    if exposure is not None:
        seen = draw(world, SEEDS, "exposure", 3, exposure)
        inputs = torch.cat([inputs, build_inputs(world, seen, pretrained_contexts=True)], dim=3)
        attributes, signs = torch.cat([attributes, seen.attributes], dim=3), torch.cat([signs, seen.signs], dim=2)
    change = hide_cues if changed else None
    batches = list(finetuning_stream(world, SEEDS, objectives, BATCH, Task(exposure=exposure), change)(3))
    assert len(batches) == WINDOW
    for step, batch in enumerate(batches):
        same(batch, inputs[step], attributes[step], signs[step])
        assert torch.equal(batch.targets, targets[step])


@pytest.mark.parametrize("settings", WORLDS)
def test_what_a_change_shows_in_another_type_is_shown_as_the_same_numbers(settings: dict[str, Any]) -> None:
    world, objectives = make_world(**settings), seed_objectives(SEEDS, 4, 60, CPU)

    def widen(shown: Shown) -> Shown:
        return replace(shown, slots=shown.slots.double(), signs=shown.signs.double())

    plain, widened = (finetuning_stream(world, SEEDS, objectives, BATCH, Task(), change)(3) for change in (None, widen))
    expected, found = next(plain).inputs, next(widened).inputs
    assert found.dtype == torch.float32
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("symbols", [2, 15, 16, 17])  # pairs of more than 16 do not fit a byte
@pytest.mark.parametrize("count", [1, 63, 64, 130])  # the kernel takes 64 episodes at a time
def test_symbols_are_shown_however_many_they_and_the_episodes_are(symbols: int, count: int) -> None:
    world, objectives = World("facts", 5, 3, symbols, 1.0, 0.1), torch.ones(len(SEEDS), 4, 3)
    expected = draw_episodes(world, SEEDS, "finetuning", 1, WINDOW, count, CPU, 1.0)
    batches = list(finetuning_stream(world, SEEDS, objectives, count, Task())(1))
    assert len(batches) == WINDOW
    for step, batch in enumerate(batches):
        assert torch.equal(batch.inputs[..., : world.option_width], expected.options[step])
        assert torch.equal(batch.attributes, expected.attributes[step])


def same(batch: Batch, inputs: torch.Tensor, attributes: torch.Tensor, signs: torch.Tensor) -> None:
    assert batch.inputs.dtype == torch.float32
    assert torch.equal(batch.inputs, inputs)
    assert torch.equal(batch.attributes, attributes)
    assert torch.equal(batch.signs, signs)
