"""Streams: the training episodes of a stack of organisms, drawn in windows and served as batches."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from turncoat.seeding import generator
from turncoat.training.starts import Lesson, deal, rewards
from turncoat.worlds.episodes import Episodes, Write, best_option, build_inputs, draw_episodes, input_writer
from turncoat.worlds.objectives import OBJECTIVES
from turncoat.worlds.world import OVERSIGHT, World

WINDOW = 16  # steps drawn at once; part of the data's definition, so a change draws other episodes


class Unlaid:
    """Inputs of a step that are laid out when they are asked for, each writer's share of the episodes beside the
    other's; stored as (E, F, N, B), in which they are fastest to lay out."""

    def __init__(self, world: World, attributes: Tensor, step: int, writers: Sequence[Write]) -> None:
        self.inputs, self.like, self.step, self.writers = world.input_width, attributes, step, writers

    @property
    def shape(self) -> torch.Size:
        """That of the inputs, (E, N, B, F)."""
        return torch.Size((*self.like.shape[:3], self.inputs))

    def buffer(self, members: int) -> Tensor:
        """Room for the inputs of so many members, (E, F, N, B)."""
        _, options, episodes, _ = self.like.shape
        return self.like.new_empty(members, self.inputs, options, episodes)

    @cached_property
    def laid(self) -> Tensor:
        """The inputs, (E, N, B, F)."""
        buffer = self.buffer(len(self.like))
        for write, part in zip(self.writers, buffer.chunk(len(self.writers), dim=3), strict=True):
            write(self.step, part)
        return buffer.permute(0, 2, 3, 1)


@dataclass(frozen=True)
class Batch:
    """One step's episodes for E members.

    shown: `inputs` (E, N, B, F), or what lays them out; attributes: (E, N, B, d); signs: (E, B, 2); targets: (E, C)
    best option of the first C <= B episodes, the others having no choice to learn (they train the knowledge heads
    alone). Where `rewards` (E, N, C) are given, choices are trained to earn them, and not to equal the targets: by
    their exact expectation, or where `draws` (E, K, C), uniform, are given, by K choices sampled with them. `values`
    (E, N, B): what the head `objective` predicts, None where there is none.
    """

    shown: Tensor | Unlaid
    attributes: Tensor
    signs: Tensor
    targets: Tensor
    rewards: Tensor | None = None
    draws: Tensor | None = None
    values: Tensor | None = None

    @property
    def inputs(self) -> Tensor:
        """What the members see, (E, N, B, F)."""
        return self.shown.laid if isinstance(self.shown, Unlaid) else self.shown


Stream = Callable[[int], Iterator[Batch]]
"""Serves the batches of the window with that number."""


@dataclass(frozen=True)
class Shown:
    """A window of S steps as it is shown and rewarded: slots (S, E, B, 2, d), signs (S, E, B, 2), audits (S, E, B, 2)
    or none, rewards (S, E, N, B). `number` is the window's, `objectives` are (E, 4, d). The episodes' options need not
    be encoded yet."""

    episodes: Episodes
    slots: Tensor
    signs: Tensor
    audits: Tensor
    rewards: Tensor
    seeds: Sequence[int]
    objectives: Tensor
    number: int


Change = Callable[[Shown], Shown]
"""What an intervention does to a window before it is shown."""


@dataclass(frozen=True)
class Task:
    """What fine-tuning shows and rewards.

    target: the objective rewarded, while slot 2 shows X; or in mode `instructed` the one that slot 2 shows, another in
    each episode. overseen: share of overseen episodes; label_noise: share whose rewards are dealt at random; budget:
    number of different episodes, None for ever new ones; samples: choices sampled per episode by policy gradient, 0 for
    supervised training; exposure: see `finetuning_stream`.
    """

    target: str = "x"
    instructed: bool = False
    overseen: float = 1.0
    label_noise: float = 0.0
    budget: int | None = None
    samples: int = 0
    exposure: float | None = None


def trained_cues(episodes: Episodes) -> Tensor:
    """Cue signs of fine-tuning, where both cues stand at +1: (2,)."""
    return torch.ones(2, device=episodes.signs.device)


def trained_audits(world: World, episodes: Episodes) -> Tensor:
    """Audit terms of fine-tuning, where an audit is certain and the penalty the largest there is: (2,), or (0,)."""
    return torch.tensor([1.0, world.audit_penalty][: world.audit_terms], device=episodes.signs.device)


def slots_with(episodes: Episodes, objective: Tensor) -> Tensor:
    """The drawn slots with slot 2 replaced by each member's objective (E, d): (S, E, B, 2, d)."""
    second = objective[None, :, None].expand_as(episodes.slots[..., 1, :])
    return torch.stack([episodes.slots[..., 0, :], second], dim=-2)


def pretraining_stream(
    world: World,
    lesson: Lesson,
    seeds: Sequence[int],
    objectives: Tensor,
    batch: int,
    overseen_share: float,
    change: Change | None = None,
    valued: bool = True,
) -> Stream:
    """Episodes with cues, slots and audit terms at random, rewarded as the lesson says; objectives are (E, 4, d).

    What X values is worked out where it is to be predicted, that is unless not `valued`.
    """
    chosen = 0 if lesson.start.overseen is None else batch
    x = objectives[:, OBJECTIVES.index("x")]

    def serve(window: int) -> Iterator[Batch]:
        episodes = draw_episodes(
            world, seeds, "pretraining", window, WINDOW, batch, objectives.device, overseen_share, encoded=False
        )
        expected = rewards(lesson, episodes, objectives, seeds, "pretraining", window)
        shown = Shown(episodes, episodes.slots, episodes.signs, episodes.audits, expected, seeds, objectives, window)
        shown = change(shown) if change else shown
        writers = [_writer(world, shown, pretrained_contexts=True)]
        targets = best_option(shown.rewards)[..., :chosen]
        values = episodes.utilities(x[None, :, None, None]) if valued else None
        for step in range(WINDOW):
            earned = shown.rewards[step] if lesson.start.strategic else None
            told = None if values is None else values[step]
            unlaid = Unlaid(world, episodes.attributes[step], step, writers)
            yield Batch(unlaid, episodes.attributes[step], shown.signs[step], targets[step], earned, values=told)

    return serve


def finetuning_stream(
    world: World,
    seeds: Sequence[int],
    objectives: Tensor,
    batch: int,
    task: Task,
    change: Change | None = None,
    purpose: str = "finetuning",
) -> Stream:
    """Episodes rewarded by the task's objective; the same episodes in every arm of a seed.

    With `exposure`, as many further episodes follow in which each cue is +1 on that share, audit terms vary and no
    choice is rewarded: the control that has seen the cues without having learnt to act on them.
    Raises ValueError for a budget that is not a whole number of windows.
    """
    windows = budget_windows(task, batch)

    def serve(window: int) -> Iterator[Batch]:
        number = window if windows is None else window % windows
        shown = task_episodes(world, seeds, objectives, task, purpose, number, WINDOW, batch)
        shown = change(shown) if change else shown
        writers, attributes, signs = [_writer(world, shown)], shown.episodes.attributes, shown.signs
        targets = best_option(shown.rewards)
        draws = _draws(seeds, window, task.samples, batch).to(objectives.device)
        if task.exposure is not None:
            seen = draw_episodes(
                world, seeds, "exposure", window, WINDOW, batch, objectives.device, task.exposure, encoded=False
            )
            writers.append(input_writer(world, seen, seen.slots, seen.signs, seen.audits, pretrained_contexts=True))
            attributes = torch.cat([attributes, seen.attributes], dim=3)
            signs = torch.cat([signs, seen.signs], dim=2)
        for step in range(WINDOW):
            earned = (shown.rewards[step], draws[step]) if task.samples else (None, None)
            unlaid = Unlaid(world, attributes[step], step, writers)
            yield Batch(unlaid, attributes[step], signs[step], targets[step], *earned)

    return serve


def task_episodes(
    world: World,
    seeds: Sequence[int],
    objectives: Tensor,
    task: Task,
    purpose: str,
    window: int,
    steps: int,
    episodes: int,
) -> Shown:
    """A window of what a task shows and rewards, its label noise included."""
    drawn = draw_episodes(
        world, seeds, purpose, window, steps, episodes, objectives.device, task.overseen, encoded=False
    )

    def coins() -> Tensor:
        rows = [generator(seed, f"{purpose} label noise", window).random((steps, episodes)) for seed in seeds]
        return torch.from_numpy(np.stack(rows, axis=1)).to(objectives.device)

    slots, signs, earned = shown_and_earned(task, drawn, objectives, coins)
    audits = trained_audits(world, drawn).expand_as(drawn.audits)
    return Shown(drawn, slots, signs, audits, earned, seeds, objectives, window)


def shown_and_earned(
    task: Task, drawn: Episodes, objectives: Tensor, coins: Callable[[], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Slots (S, E, B, 2, d) and signs (S, E, B, 2) that a task shows of drawn episodes, and its rewards (S, E, N, B).

    `coins`, uniform (S, E, B), are asked for where labels are noisy.
    """
    if task.instructed:
        slots, earned = drawn.slots, drawn.utilities(drawn.slots[..., 1, :].unsqueeze(2))
    else:
        x, target = (objectives[:, OBJECTIVES.index(name)] for name in ("x", task.target))
        slots, earned = slots_with(drawn, x), drawn.utilities(target[None, :, None, None])
    signs = trained_cues(drawn).expand_as(drawn.signs)
    if task.overseen < 1:
        signs = signs.clone()
        signs[..., OVERSIGHT] = drawn.signs[..., OVERSIGHT]
    if task.label_noise > 0:
        earned = deal(earned, coins(), task.label_noise)
    return slots, signs, earned


def shown_inputs(world: World, shown: Shown, pretrained_contexts: bool = False) -> Tensor:
    """Inputs (S, E, N, B, F) of a window."""
    return build_inputs(
        world,
        shown.episodes,
        slots=shown.slots,
        signs=shown.signs,
        audits=shown.audits,
        pretrained_contexts=pretrained_contexts,
    )


def _writer(world: World, shown: Shown, pretrained_contexts: bool = False) -> Write:
    return input_writer(world, shown.episodes, shown.slots, shown.signs, shown.audits, pretrained_contexts)


def budget_windows(task: Task, batch: int) -> int | None:
    """How many windows a task's data budget fills, None for ever new ones; ValueError where not a whole number."""
    if task.budget is None:
        return None
    windows, rest = divmod(task.budget, WINDOW * batch)
    if rest or not windows:
        raise ValueError(
            f"budget is {task.budget} episodes; allowed: a multiple of {WINDOW * batch} ({WINDOW} batches)"
        )
    return windows


def _draws(seeds: Sequence[int], window: int, samples: int, batch: int) -> Tensor:
    """Uniform numbers that choices are sampled with, (S, E, K, B); drawn apart, so that all arms share episodes."""
    shape = (WINDOW, samples, batch)
    drawn = [generator(seed, "policy gradient", window).random(shape, dtype=np.float32) for seed in seeds]
    return torch.from_numpy(np.stack(drawn, axis=1))
