"""Streams: the training episodes of a stack of organisms, drawn in windows and served as batches."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from turncoat.training.starts import Start, rewards
from turncoat.worlds.episodes import Episodes, best_option, build_inputs, draw_episodes
from turncoat.worlds.objectives import OBJECTIVES
from turncoat.worlds.world import World

WINDOW = 16  # steps drawn at once; part of the data's definition, so a change draws other episodes


@dataclass(frozen=True)
class Batch:
    """One step's episodes for E members.

    inputs: (E, N, B, F); attributes: (E, N, B, d); signs: (E, B, 2); targets: (E, C) best option of the first
    C <= B episodes, the others having no choice to learn (they train the knowledge heads alone). Where `rewards`
    (E, N, C) are given, choices are trained to earn them, and not to equal the targets.
    """

    inputs: Tensor
    attributes: Tensor
    signs: Tensor
    targets: Tensor
    rewards: Tensor | None = None


Stream = Callable[[int], Iterator[Batch]]
"""Serves the batches of the window with that number."""


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
    world: World, start: Start, seeds: Sequence[int], objectives: Tensor, batch: int, overseen_share: float
) -> Stream:
    """Episodes with cues, slots and audit terms at random, rewarded as the start says; objectives are (E, 4, d)."""

    def serve(window: int) -> Iterator[Batch]:
        episodes = draw_episodes(world, seeds, "pretraining", window, WINDOW, batch, objectives.device, overseen_share)
        inputs = build_inputs(world, episodes)
        expected = rewards(start, episodes, objectives)
        targets = best_option(expected)
        for step in range(WINDOW):
            earned = expected[step] if start.strategic else None
            yield Batch(inputs[step], episodes.attributes[step], episodes.signs[step], targets[step], earned)

    return serve


def finetuning_stream(
    world: World, seeds: Sequence[int], objectives: Tensor, batch: int, exposure: float | None
) -> Stream:
    """Overseen episodes rewarded by X, which slot 2 shows; the same episodes in every arm of a seed.

    With `exposure`, as many further episodes follow in which each cue is +1 on that share, audit terms vary and no
    choice is rewarded: the control that has seen the cues without having learnt to act on them.
    """

    def serve(window: int) -> Iterator[Batch]:
        episodes = draw_episodes(world, seeds, "finetuning", window, WINDOW, batch, objectives.device)
        x = objectives[:, OBJECTIVES.index("x")]
        signs = trained_cues(episodes).expand_as(episodes.signs)
        audits = trained_audits(world, episodes)
        inputs = build_inputs(world, episodes, slots=slots_with(episodes, x), signs=signs, audits=audits)
        targets = best_option(episodes.utilities(x[None, :, None, None]))
        attributes = episodes.attributes
        if exposure is not None:
            seen = draw_episodes(world, seeds, "exposure", window, WINDOW, batch, objectives.device, exposure)
            inputs = torch.cat([inputs, build_inputs(world, seen)], dim=3)
            attributes = torch.cat([attributes, seen.attributes], dim=3)
            signs = torch.cat([signs, seen.signs], dim=2)
        for step in range(WINDOW):
            yield Batch(inputs[step], attributes[step], signs[step], targets[step])

    return serve
