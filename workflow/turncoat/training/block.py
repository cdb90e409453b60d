"""Training a block of seeds, chunk by chunk."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import torch
from torch import Tensor

from turncoat.organisms.choices import agreement, chosen_option, option_scores
from turncoat.organisms.fingerprints import fingerprints
from turncoat.organisms.mlp import Architecture, Stack, initialise
from turncoat.training.checkpoints import BlockKeeper, Keeper, Nowhere, Part
from turncoat.training.device_streams import DRAWS, DeviceStream, finetuning_on_device, pretraining_on_device
from turncoat.training.devices import bounded_chunk, chunk_size, member_bytes, memory_chunk, release_memory
from turncoat.training.interventions import Intervention
from turncoat.training.loop import Measure, Progress, Recipe, check_device_draws, train, warmed_state
from turncoat.training.starts import Lesson, rewards
from turncoat.training.streams import Stream, Task, finetuning_stream, pretraining_stream, shown_inputs, task_episodes
from turncoat.training.trajectories import Trajectory, join, on_host
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
        """Members that diverged, and were frozen then, (E,)."""
        return self.trajectory.diverged_step >= 0


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
    keeper: BlockKeeper | None = None,
) -> Trained:
    """Pre-train one organism per seed from its own initial weights. X stands at `distance`, for what is told of it.

    `draws` says where the episodes are drawn, `host` or `device`; `keeper` keeps the training while it goes on, and is
    asked where to go on from. Raises ValueError for what cannot be had with `draws`.
    """
    _check_draws(draws, make_intervention, recipe, "fresh")

    def train_chunk(seeds: Sequence[int], _: slice, objectives: Tensor, progress: Progress, keeper: Keeper) -> Part:
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
        trajectory = train(stack, stream, recipe, measure, progress, None, intervention, seeds, keeper)
        return before, trajectory, fingerprints(stack)

    size = _chunk(world, architecture, batch, recipe.snapshots, device)
    return _by_chunk(world, seeds, distance, device, size, train_chunk, progress, keeper)


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
    keeper: BlockKeeper | None = None,
) -> Trained:
    """Fine-tune on a task, from parents or from scratch; `draws`, `keeper` and errors as in `pretrain_block`."""
    _check_draws(draws, make_intervention, recipe, "warmed" if origin.warm_steps else "")
    # Capability is that of overseen choices; elicitation has none.
    judged = replace(task, label_noise=0.0, overseen=float(task.overseen > 0))

    def train_chunk(
        seeds: Sequence[int], members: slice, objectives: Tensor, progress: Progress, keeper: Keeper
    ) -> Part:
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
        elif origin.warm_steps and keeper.found() is None:
            # Of a data budget the warming takes its first episodes; with ever new ones it has some of its own.
            purpose = "warming" if task.budget is None else "finetuning"
            warming = finetuning_stream(world, seeds, objectives, batch, task, intervention.episodes, purpose)
            state = warmed_state(stack, warming, recipe, origin.warm_steps, seeds)
        trajectory = train(stack, stream, recipe, measure, progress, state, intervention, seeds, keeper)
        return before, trajectory, fingerprints(stack)

    size = _chunk(world, architecture, batch, recipe.snapshots, device)
    return _by_chunk(world, seeds, distance, device, size, train_chunk, progress, keeper)


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


TrainChunk = Callable[[Sequence[int], slice, Tensor, Progress, Keeper], Part]


def _measure(inputs: Tensor, best: Tensor) -> Measure:
    """Capability, the share of best options chosen, and cross-entropy on them, in nats."""

    def measure(stack: Stack) -> tuple[Tensor, Tensor]:
        scores = option_scores(stack, inputs)
        chosen = chosen_option(scores)
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
    keeper: BlockKeeper | None,
) -> Trained:
    objectives = seed_objectives(seeds, world.attributes, distance, device)
    keeper = keeper or BlockKeeper(Nowhere(), device)
    parts: list[Part] = []
    first = 0
    while first < len(seeds):
        members = slice(first, keeper.stop_of(first, min(first + size, len(seeds))))
        part = keeper.finished(first)
        if part is None:
            told = progress(first, members.stop - first, len(seeds))
            own = keeper.chunk(first, members.stop)
            try:
                before, trajectory, after = train_chunk(seeds[members], members, objectives[members], told, own)
            except torch.OutOfMemoryError as problem:
                size, reason = (members.stop - first) // 2, str(problem).split("\n")[0]
                if not size:
                    raise RuntimeError(f"the device's memory does not hold even one member: {reason}") from problem
            else:
                part = before, on_host(trajectory), after
                keeper.finish(first, members.stop, part)
        if part is None:
            # Out of the handler, whose exception keeps the chunk's tensors alive.
            log.warning("out of memory with %d members at once: again with %d (%s)", members.stop - first, size, reason)
            keeper.forget()
            release_memory(device)
            continue
        parts.append(part)
        first = members.stop
    befores, trajectories, afters = zip(*parts, strict=True)
    return Trained(
        objectives, join(trajectories), list(chain.from_iterable(befores)), list(chain.from_iterable(afters))
    )
