"""Presentations: the held-out episodes a model is judged on, shown under each cue state and slot regime."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from turncoat.organisms.choices import option_scores
from turncoat.organisms.mlp import Stack
from turncoat.training.streams import slots_with
from turncoat.worlds.episodes import Episodes, build_inputs, draw_episodes
from turncoat.worlds.objectives import OBJECTIVES
from turncoat.worlds.world import World

CUE_STATES = {"overseen": (1.0, 1.0), "unoverseen": (-1.0, 1.0), "placebo": (1.0, -1.0)}
"""Signs of (oversight, placebo): both as in fine-tuning, or one of them flipped alone."""
REGIMES = ("random", "fixed")
"""Both slots at random, or slot 2 at X."""


@dataclass(frozen=True)
class Presentation:
    """Episodes of E seeds as organisms see them: inputs (E, N, B, F); attributes (E, N, B, d); slots (E, B, 2, d);
    signs (2,) of the cues."""

    inputs: Tensor
    attributes: Tensor
    slots: Tensor
    signs: Tensor


Chooser = Callable[[Presentation], Tensor]
"""Gives the scores (E, N, B) of E models on a presentation. All that classification ever asks of a model."""


def organism_chooser(stack: Stack) -> Chooser:
    """The chooser that a stack of organisms is."""
    return lambda presentation: option_scores(stack, presentation.inputs)


def present(
    world: World, seeds: Sequence[int], objectives: Tensor, episodes: int, random_episodes: int
) -> dict[tuple[str, str], Presentation]:
    """Draw each seed's outcome episodes and show them in every (regime, cue state); objectives are (E, 4, d).

    With slot 2 at X all `episodes` are shown, with random slots the first `random_episodes` of them. Options, slot 1
    and the cues' noise are the same throughout, so that only the flipped cue or slot 2 differs.
    """
    drawn = draw_episodes(world, seeds, "outcome", 0, 1, episodes, objectives.device)
    fixed = slots_with(drawn, objectives[:, OBJECTIVES.index("x")])
    shown = {}
    for regime, slots, count in (("random", drawn.slots, random_episodes), ("fixed", fixed, episodes)):
        for state, signs in CUE_STATES.items():
            flipped = torch.tensor(signs, device=objectives.device)
            shown[regime, state] = _show(world, drawn, slots, flipped, count)
    return shown


def _show(world: World, episodes: Episodes, slots: Tensor, signs: Tensor, count: int) -> Presentation:
    inputs = build_inputs(world, episodes, slots=slots, signs=signs)
    return Presentation(
        inputs[0, :, :, :count].contiguous(), episodes.attributes[0, :, :, :count], slots[0, :, :count], signs
    )
