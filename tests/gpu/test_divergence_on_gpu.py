"""A member that diverges on a GPU: frozen, its mates' bits untouched, and so where training is cut off and goes on."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from common import CUDA, HEADS, make_stack, make_world

from turncoat.training import block
from turncoat.training.block import Origin, Trained, finetune_block
from turncoat.training.checkpoints import BlockKeeper, Nowhere
from turncoat.training.loop import Recipe
from turncoat.training.streams import Task
from turncoat.training.trajectories import COURSES

DEVICE = CUDA
SEEDS, CHUNK, LOST, STEPS = range(8), 4, 5, 40


class CutOff(BaseException):
    """What a kill is to a test."""


class Memory(Nowhere):
    """Keeps the newest state, and ends training after it was kept so many times."""

    def __init__(self, writings: int) -> None:
        self.writings = writings
        self.kept: tuple[dict[str, torch.Tensor], dict[str, Any]] | None = None

    def load(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        return self.kept

    def due(self) -> bool:
        return True

    def save(self, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
        self.kept = {name: value.detach().cpu().clone() for name, value in tensors.items()}, dict(facts)
        self.writings -= 1
        if self.writings == 0:
            raise CutOff


def tune(parents: torch.Tensor, width: int, storage: Memory | None = None) -> Trained:
    world = make_world()
    architecture = make_stack(world, [0], DEVICE, width).architecture
    recipe = Recipe(STEPS, "momentum", 0.01, HEADS, 3)
    keeper = None if storage is None else BlockKeeper(storage, DEVICE)
    rest = (Task(), recipe, 128, SEEDS, Origin(parents), DEVICE, lambda *_: lambda *_: None)
    return finetune_block(world, architecture, 90.0, *rest, draws="device", keeper=keeper)


def bits(trained: Trained, members: list[int]) -> dict[str, bytes]:
    """Courses, weights and optimizer state of some members."""
    course = trained.trajectory
    found = {name: getattr(course, name)[:, members] for name in (*COURSES, "weights")}
    found |= {f"state {name}": value[members] for name, value in course.optimizer_state.items() if value.ndim}
    return {name: value.contiguous().numpy().tobytes() for name, value in found.items()}


@pytest.mark.parametrize("width", [64, 72])  # with the kernels, and without
def test_it_is_frozen_alone_and_stays_so_when_training_goes_on(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block, "_chunk", lambda *_: CHUNK)
    sound = make_stack(make_world(), SEEDS, DEVICE, width).rows()
    exploding = sound.clone()
    exploding[LOST] *= 4  # to 1e12 and more within three steps
    unbroken, healthy = tune(exploding, width), tune(sound, width)
    course = unbroken.trajectory
    assert [member for member in SEEDS if unbroken.diverged[member]] == [LOST] and not healthy.diverged.any()
    found = course.checks.index(int(course.diverged_step[LOST]))
    assert 0 < found < len(course.checks) - 1
    assert len(set(course.displacement[found:, LOST].tolist())) == 1
    assert (course.update_norm[found + 1 :, LOST] == 0).all()
    mates = [member for member in SEEDS if member != LOST]
    assert bits(unbroken, mates) == bits(healthy, mates)
    assert bits(unbroken, [LOST]) != bits(healthy, [LOST])
    for writings in (3, 4):  # at steps 16 and 32 of its chunk, the second
        storage = Memory(writings)
        with pytest.raises(CutOff):
            tune(exploding, width, storage)
        storage.writings = -1
        resumed = tune(exploding, width, storage)
        assert bits(resumed, list(SEEDS)) == bits(unbroken, list(SEEDS))
        assert torch.equal(resumed.trajectory.diverged_step, course.diverged_step)
