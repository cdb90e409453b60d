"""The training that all contenders do: a start `conditional` in one of two worlds, as `turncoat` would pre-train it.

Needs torch, numpy and turncoat's core alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from turncoat.organisms.mlp import Architecture, Stack, initialise
from turncoat.training.loop import Recipe
from turncoat.training.losses import WORLD_HEAD
from turncoat.training.starts import Lesson, find_start
from turncoat.training.streams import Batch, Stream, pretraining_stream
from turncoat.worlds.objectives import OBJECTIVES, seed_objectives
from turncoat.worlds.world import World

BATCH, OVERSEEN_SHARE, DISTANCE = 128, 0.5, 90.0  # as in the default study
LEARNING_RATE = 0.003
WORLDS = {
    "facts": World("facts", 2, 4, 6, cue_amplitude=1.0, cue_noise=0.1, audit_penalty=6.0),  # the default study's
    "plain": World("plain", 4, 4, 0, cue_amplitude=1.0, cue_noise=0.1),  # 512 rows of 14 numbers a step
}
HEADS = {"facts": {"world": 1.0}, "plain": {}}


@dataclass(frozen=True)
class Workload:
    """E networks of one width in one world: their initial weights, their objectives, their episodes."""

    world_name: str
    width: int
    members: int
    device: torch.device

    @property
    def world(self) -> World:
        return WORLDS[self.world_name]

    @property
    def heads(self) -> dict[str, float]:
        """Loss weights of the knowledge heads."""
        return HEADS[self.world_name]

    @property
    def architecture(self) -> Architecture:
        return Architecture(self.world.input_width, self.width, 2, "relu", self.world.attributes)

    @property
    def rows(self) -> int:
        """Rows of input a member sees in a step."""
        return self.world.options * BATCH

    @property
    def read_columns(self) -> list[int]:
        """The readout columns that this training moves: the score, and what the world head predicts."""
        told = range(WORLD_HEAD, WORLD_HEAD + self.world.attributes) if self.heads else []
        return [0, *told]

    def recipe(self, steps: int) -> Recipe:
        return Recipe(steps, "adam", LEARNING_RATE, self.heads, snapshots=2)

    def stack(self) -> Stack:
        """The networks before their first step."""
        return initialise(self.architecture, range(self.members), self.world.input_power, self.device)

    def objectives(self) -> Tensor:
        """Objectives of each member, (E, 4, d)."""
        return seed_objectives(range(self.members), self.world.attributes, DISTANCE, self.device)

    def own_objective(self) -> Tensor:
        """M, which unoverseen episodes reward, (E, d)."""
        return self.objectives()[:, OBJECTIVES.index("m")]

    def stream(self, first: int, last: int) -> Stream:
        """turncoat's own episodes of some of the members."""
        lesson, seeds = Lesson(find_start("conditional")), range(first, last)
        return pretraining_stream(
            self.world, lesson, seeds, self.objectives()[first:last], BATCH, OVERSEEN_SHARE, valued=False
        )

    def batches(self) -> Iterator[Batch]:
        """turncoat's batches of all members, for ever."""
        stream, window = self.stream(0, self.members), 0
        while True:
            yield from stream(window)
            window += 1


def parameters_of(workload: Workload, stack: Stack) -> dict[str, Tensor]:
    """What a contender trains, (E, ...) each, of its own: a stack's parameters without the readout's idle columns."""
    columns = workload.read_columns
    return {
        name: (view[:, columns] if name.startswith("readout") else view).clone().contiguous()
        for name, view in stack.views.items()
    }
