"""Training a block of seeds, chunk by chunk."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from turncoat.organisms.choices import agreement, option_scores
from turncoat.organisms.fingerprints import fingerprints
from turncoat.organisms.mlp import Architecture, Stack, initialise
from turncoat.training.device_streams import DRAWS, DeviceStream, finetuning_on_device, pretraining_on_device
from turncoat.training.devices import bounded_chunk, chunk_size, member_bytes, memory_chunk, release_memory
from turncoat.training.interventions import Intervention
from turncoat.training.loop import Measure, Progress, Recipe, Trajectory, check_device_draws, train, warmed_state
from turncoat.training.starts import Lesson, rewards
from turncoat.training.streams import Stream, Task, finetuning_stream, pretraining_stream, shown_inputs, task_episodes
from turncoat.worlds.episodes import best_option, build_inputs, draw_episodes
from turncoat.worlds.objectives import seed_objectives
from turncoat.worlds.world import World

log = logging.getLogger("turncoat")

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


@dataclass(frozen=True)
class Origin:
    """What fine-tuning starts from, (E, parameters) each: the parents' weights, None for each seed's own initial ones;
    the parents' optimizer state, None for a fresh one. warm_steps: steps at learning rate 0 that warm a fresh one."""

    weights: Tensor | None = None
    optimizer_state: Mapping[str, Tensor] | None = None
    warm_steps: int = 0


def pretrain_block(
    world: World,
    architecture: Architecture,
    lesson: Lesson,
    recipe: Recipe,
    batch: int,
    overseen_share: float,
    distance: float,
    seeds: Sequence[int],
    device: torch.device,
    progress: ChunkProgress,
    make_intervention: Callable[[], Intervention] = Intervention,
    draws: str = "host",
) -> Trained:
    """Pre-train one organism per seed from its own initial weights. X stands at `distance`, for what is told of it.

    `draws` says where the episodes are drawn, `host` or `device`. Raises ValueError for what cannot be had with it.
    """
    _check_draws(draws, make_intervention, recipe, "fresh")

    def train_chunk(seeds: Sequence[int], _: slice, objectives: Tensor, progress: Progress) -> Parts:
        intervention = make_intervention()
        stack = initialise(architecture, seeds, world.input_power, device)
        before = fingerprints(stack)
        stream: Stream | DeviceStream
        if draws == "device":
            stream = pretraining_on_device(world, lesson, seeds, objectives, batch, overseen_share)
        else:
            valued, change = recipe.heads.get("objective", 0.0) > 0, intervention.episodes
            stream = pretraining_stream(world, lesson, seeds, objectives, batch, overseen_share, change, valued)
        held_out = draw_episodes(world, seeds, "matching", 0, 1, MATCHING_EPISODES, device, overseen_share)
        best = best_option(rewards(lesson.without_noise(), held_out, objectives, seeds, "matching", 0))[0]
        measure = _measure(build_inputs(world, held_out, pretrained_contexts=True)[0], best)
        if lesson.start.overseen is None:
            measure = _nothing
        trajectory = train(stack, stream, recipe, measure, progress, None, intervention, seeds)
        return before, trajectory, fingerprints(stack)

    size = _chunk(world, architecture, batch, recipe.snapshots, device)
    return _by_chunk(world, seeds, distance, device, size, train_chunk, progress)


def finetune_block(
    world: World,
    architecture: Architecture,
    distance: float,
    task: Task,
    recipe: Recipe,
    batch: int,
    seeds: Sequence[int],
    origin: Origin,
    device: torch.device,
    progress: ChunkProgress,
    make_intervention: Callable[[], Intervention] = Intervention,
    draws: str = "host",
) -> Trained:
    """Fine-tune on a task, from parents or from scratch; `draws` and errors as in `pretrain_block`."""
    _check_draws(draws, make_intervention, recipe, "warmed" if origin.warm_steps else "")
    # Capability is that of overseen choices; elicitation has none.
    judged = replace(task, label_noise=0.0, overseen=float(task.overseen > 0))

    def train_chunk(seeds: Sequence[int], members: slice, objectives: Tensor, progress: Progress) -> Parts:
        intervention = make_intervention()
        untrained = initialise(architecture, seeds, world.input_power, device)
        stack = untrained
        if origin.weights is not None:
            stack = Stack.from_rows(architecture, origin.weights[members].to(device))
        before = fingerprints(stack)
        if intervention.begin is not None:
            intervention.begin(stack, untrained)
        shown = task_episodes(world, seeds, objectives, judged, "matching", 0, 1, MATCHING_EPISODES)
        measure = _measure(shown_inputs(world, shown)[0], best_option(shown.rewards)[0])
        stream: Stream | DeviceStream
        if draws == "device":
            stream = finetuning_on_device(world, seeds, objectives, batch, task)
        else:
            stream = finetuning_stream(world, seeds, objectives, batch, task, intervention.episodes)
        state = None
        if origin.optimizer_state is not None:
            state = _state_of(architecture, origin.optimizer_state, members, device)
        elif origin.warm_steps:
            # Of a data budget the warming takes its first episodes; with ever new ones it has some of its own.
            purpose = "warming" if task.budget is None else "finetuning"
            warming = finetuning_stream(world, seeds, objectives, batch, task, intervention.episodes, purpose)
            state = warmed_state(stack, warming, recipe, origin.warm_steps, seeds)
        trajectory = train(stack, stream, recipe, measure, progress, state, intervention, seeds)
        return before, trajectory, fingerprints(stack)

    size = _chunk(world, architecture, batch, recipe.snapshots, device)
    return _by_chunk(world, seeds, distance, device, size, train_chunk, progress)


def _check_draws(draws: str, make_intervention: Callable[[], Intervention], recipe: Recipe, state: str) -> None:
    if draws not in DRAWS:
        raise ValueError(f"draws is {draws!r}; allowed: {', '.join(DRAWS)}")
    if draws == "device":
        check_device_draws(make_intervention(), recipe.gate.mode, state)


def _chunk(world: World, architecture: Architecture, batch: int, snapshots: int, device: torch.device) -> int:
    rows, judged = world.options * batch, world.options * MATCHING_EPISODES
    if device.type == "cpu":
        return bounded_chunk(chunk_size(device), device, rows, architecture.width)
    hidden = architecture.width * architecture.depth
    needed = member_bytes(architecture.parameters, architecture.inputs, hidden, rows, judged, snapshots)
    return memory_chunk(device, needed)


def _state_of(
    architecture: Architecture, state: Mapping[str, Tensor], members: slice, device: torch.device
) -> dict[str, Tensor]:
    """The part of an optimizer's state, (E, parameters), that belongs to some members, as flat buffers."""
    return {
        name: Stack.from_rows(architecture, value[members].to(device)).flat if value.ndim else value.to(device)
        for name, value in state.items()
    }


Parts = tuple[list[str], Trajectory, list[str]]
TrainChunk = Callable[[Sequence[int], slice, Tensor, Progress], Parts]


def _measure(inputs: Tensor, best: Tensor) -> Measure:
    """Capability, the share of best options chosen, and cross-entropy on them, in nats."""

    def measure(stack: Stack) -> tuple[Tensor, Tensor]:
        scores = option_scores(stack, inputs)
        chosen = torch.where(scores.isfinite().all(1), best_option(scores), -1)
        surprise = -scores.double().log_softmax(1).gather(1, best.unsqueeze(1)).mean((1, 2))
        return agreement(chosen, best), surprise

    return measure


def _nothing(stack: Stack) -> tuple[Tensor, Tensor]:
    """Capability and cross-entropy where no choice is rewarded."""
    unknown = torch.full((stack.members,), torch.nan, dtype=torch.float64, device=stack.flat.device)
    return unknown, unknown


def _by_chunk(
    world: World,
    seeds: Sequence[int],
    distance: float,
    device: torch.device,
    size: int,
    train_chunk: TrainChunk,
    progress: ChunkProgress,
) -> Trained:
    objectives = seed_objectives(seeds, world.attributes, distance, device)
    before: list[str] = []
    after: list[str] = []
    trajectories: list[Trajectory] = []
    first = 0
    while first < len(seeds):
        members = slice(first, min(first + size, len(seeds)))
        told = progress(first, members.stop - first, len(seeds))
        try:
            began, trajectory, ended = train_chunk(seeds[members], members, objectives[members], told)
        except torch.OutOfMemoryError as problem:
            size, reason = (members.stop - first) // 2, str(problem).split("\n")[0]
            if not size:
                raise RuntimeError(f"the device's memory does not hold even one member: {reason}") from problem
        else:
            before += began
            after += ended
            trajectories.append(on_host(trajectory))
            first = members.stop
            continue
        # Out of the handler, whose exception keeps the chunk's tensors alive.
        log.warning("out of memory with %d members at once: again with %d (%s)", members.stop - first, size, reason)
        release_memory(device)
    return Trained(objectives, _join(trajectories), before, after)


def on_host(trajectory: Trajectory) -> Trajectory:
    """The same trajectory in the host's memory, which leaves the device's to the next chunk."""
    found: dict[str, Any] = {name: value.cpu() for name, value in vars(trajectory).items() if isinstance(value, Tensor)}
    state = {name: value.cpu() for name, value in trajectory.optimizer_state.items()}
    return replace(trajectory, optimizer_state=state, **found)


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
        across("cross_entropy"),
        across("update_norm"),
        across("displacement"),
        state,
    )
