"""Training a block of seeds, chunk by chunk."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from turncoat.organisms.choices import agreement, choices
from turncoat.organisms.fingerprints import fingerprints
from turncoat.organisms.mlp import Architecture, Stack, initialise
from turncoat.training.devices import chunk_size
from turncoat.training.loop import Progress, Recipe, Trajectory, train
from turncoat.training.starts import Start, rewards
from turncoat.training.streams import finetuning_stream, pretraining_stream, slots_with, trained_audits, trained_cues
from turncoat.worlds.episodes import best_option, build_inputs, draw_episodes
from turncoat.worlds.objectives import OBJECTIVES, REFERENCE_DISTANCE, seed_objectives
from turncoat.worlds.world import World

MATCHING_EPISODES = 1024  # held out for capability, apart from those that outcomes are measured on


@dataclass(frozen=True)
class Trained:
    """A trained block of E members; tensors as in Trajectory, objectives (E, 4, d), fingerprints one per member."""

    objectives: Tensor
    trajectory: Trajectory
    initial_fingerprints: list[str]
    final_fingerprints: list[str]

    @property
    def diverged(self) -> Tensor:
        """Members whose loss or weights were not finite at some check or snapshot, (E,)."""
        weights = self.trajectory.weights.isfinite().all(-1).all(0)
        return ~(weights & self.trajectory.loss[1:].isfinite().all(0))


ChunkProgress = Callable[[int, int, int], Progress]
"""Given the members already trained, the members of this chunk and of the block, makes the chunk's progress."""


def pretrain_block(
    world: World,
    architecture: Architecture,
    start: Start,
    recipe: Recipe,
    batch: int,
    overseen_share: float,
    seeds: Sequence[int],
    device: torch.device,
    progress: ChunkProgress,
) -> Trained:
    """Pre-train one organism per seed from its own initial weights."""

    def train_chunk(seeds: Sequence[int], _: slice, objectives: Tensor, progress: Progress) -> Parts:
        stack = initialise(architecture, seeds, world.input_power, device)
        before = fingerprints(stack)
        stream = pretraining_stream(world, start, seeds, objectives, batch, overseen_share)
        held_out = draw_episodes(world, seeds, "matching", 0, 1, MATCHING_EPISODES, device, overseen_share)
        best = best_option(rewards(start, held_out, objectives))[0]
        measure = _capability(build_inputs(world, held_out)[0], best)
        return before, train(stack, stream, recipe, measure, progress), fingerprints(stack)

    return _by_chunk(world, seeds, REFERENCE_DISTANCE, device, train_chunk, progress)


def finetune_block(
    world: World,
    architecture: Architecture,
    distance: float,
    exposure: float | None,
    recipe: Recipe,
    batch: int,
    seeds: Sequence[int],
    parents: Tensor | None,
    device: torch.device,
    progress: ChunkProgress,
) -> Trained:
    """Fine-tune towards X: `parents` (E, parameters), or each seed's own initial weights where None."""

    def train_chunk(seeds: Sequence[int], members: slice, objectives: Tensor, progress: Progress) -> Parts:
        if parents is None:
            stack = initialise(architecture, seeds, world.input_power, device)
        else:
            stack = Stack.from_rows(architecture, parents[members].to(device))
        before = fingerprints(stack)
        stream = finetuning_stream(world, seeds, objectives, batch, exposure)
        held_out = draw_episodes(world, seeds, "matching", 0, 1, MATCHING_EPISODES, device)
        x = objectives[:, OBJECTIVES.index("x")]
        best = best_option(held_out.utilities(x[None, :, None, None]))[0]
        inputs = build_inputs(
            world,
            held_out,
            slots=slots_with(held_out, x),
            signs=trained_cues(held_out),
            audits=trained_audits(world, held_out),
        )
        measure = _capability(inputs[0], best)
        return before, train(stack, stream, recipe, measure, progress), fingerprints(stack)

    return _by_chunk(world, seeds, distance, device, train_chunk, progress)


Parts = tuple[list[str], Trajectory, list[str]]
TrainChunk = Callable[[Sequence[int], slice, Tensor, Progress], Parts]


def _capability(inputs: Tensor, best: Tensor) -> Callable[[Stack], Tensor]:
    return lambda stack: agreement(choices(stack, inputs), best)


def _by_chunk(
    world: World,
    seeds: Sequence[int],
    distance: float,
    device: torch.device,
    train_chunk: TrainChunk,
    progress: ChunkProgress,
) -> Trained:
    objectives = seed_objectives(seeds, world.attributes, distance, device)
    size = chunk_size(device)
    before: list[str] = []
    after: list[str] = []
    trajectories: list[Trajectory] = []
    for first in range(0, len(seeds), size):
        members = slice(first, min(first + size, len(seeds)))
        told = progress(first, members.stop - first, len(seeds))
        began, trajectory, ended = train_chunk(seeds[members], members, objectives[members], told)
        before += began
        after += ended
        trajectories.append(trajectory)
    return Trained(objectives, _join(trajectories), before, after)


def _join(parts: Sequence[Trajectory]) -> Trajectory:
    """Put the chunks of one block side by side."""
    first = parts[0]

    def across(name: str) -> Tensor:
        return torch.cat([getattr(part, name) for part in parts], dim=1)

    state = {
        name: torch.cat([part.optimizer_state[name] for part in parts]) if value.ndim else value
        for name, value in first.optimizer_state.items()
    }
    return Trajectory(
        first.snapshots,
        across("weights"),
        first.checks,
        across("loss"),
        across("capability"),
        across("update_norm"),
        across("displacement"),
        state,
    )
