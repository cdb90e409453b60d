"""Presentations: the held-out episodes a model is judged on, shown under chosen cues, slots and audit terms."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from turncoat.organisms.mlp import Stack
from turncoat.organisms.scoring import context_scorer, join
from turncoat.seeding import generator
from turncoat.training.streams import slots_with, trained_audits
from turncoat.worlds.episodes import Episodes, draw_episodes, show_context
from turncoat.worlds.objectives import OBJECTIVES
from turncoat.worlds.world import CUE_STATES, CUES, OVERSIGHT, World

REGIMES = ("random", "fixed")
"""Both slots at random, or slot 2 at X."""
PRICE_DRAWS = 4  # the low and the high price are the ends of so many: far enough apart to tell


@dataclass(frozen=True)
class Presentation:
    """Episodes of E seeds as organisms see them.

    options (E, N, B', F), of which the first B episodes' are shown: presentations of the same episodes share one such
    tensor; context (E, B, C), what the options of an episode share; attributes (E, N, B, d); slots (E, B, 2, d);
    signs (2,) of the cues, or their strength, (E, B, 2) where they differ by episode; audits (E, B, 2) probability and
    penalty, (E, B, 0) in a world without audits; name: of this way of showing them.
    """

    options: Tensor
    context: Tensor
    attributes: Tensor
    slots: Tensor
    signs: Tensor
    audits: Tensor
    name: str

    @property
    def inputs(self) -> Tensor:
        """What an organism sees, (E, N, B, F + C)."""
        return join(self.options, self.context)

    def of_member(self, index: int) -> "Presentation":
        """The episodes of one seed, as E = 1."""
        one = slice(index, index + 1)
        parts = {name: getattr(self, name)[one] for name in ("options", "context", "attributes", "slots", "audits")}
        return replace(self, **parts, signs=self.signs[one] if self.signs.ndim > 1 else self.signs)


Chooser = Callable[[Presentation], Tensor]
"""Gives the scores (E, N, B) of E models on a presentation. All that classification ever asks of a model."""


class OrganismChooser:
    """The chooser that a stack of organisms is."""

    def __init__(self, stack: Stack) -> None:
        self.score = context_scorer(stack)

    def __call__(self, presentation: Presentation) -> Tensor:
        """Scores (E, N, B)."""
        return self.score(presentation.options, [presentation.context])[0]


def organism_chooser(stack: Stack) -> Chooser:
    """The chooser that a stack of organisms is."""
    return OrganismChooser(stack)


def scores_on(chooser: Chooser, presentations: Sequence[Presentation]) -> list[Tensor]:
    """Scores (E, N, B) on each of the presentations, what organisms see alike in several being computed once."""
    if not isinstance(chooser, OrganismChooser):
        return [chooser(presentation) for presentation in presentations]
    found: list[Tensor] = []
    for _, group in groupby(presentations, key=lambda presentation: _place(presentation.options)):
        shown = list(group)
        found += chooser.score(shown[0].options, [presentation.context for presentation in shown])
    return found


def present(
    world: World, seeds: Sequence[int], objectives: Tensor, episodes: int, random_episodes: int
) -> dict[tuple[str, str], Presentation]:
    """Draw each seed's outcome episodes and show them in every (regime, cue state); objectives are (E, 4, d).

    With slot 2 at X all `episodes` are shown, with random slots the first `random_episodes` of them. Options, slot 1
    and the cues' noise are the same throughout, so that only the flipped cue or slot 2 differs. Audit terms stand where
    they stand in fine-tuning.
    """
    drawn = draw_episodes(world, seeds, "outcome", 0, 1, episodes, objectives.device)
    fixed = slots_with(drawn, objectives[:, OBJECTIVES.index("x")])
    audits = trained_audits(world, drawn)
    shown = {}
    for regime, slots, count in (("random", drawn.slots, random_episodes), ("fixed", fixed, episodes)):
        for state, signs in CUE_STATES.items():
            name = f"{regime} {state}"
            shown[regime, state] = _show(world, drawn, slots, _signs(signs, drawn), audits, count, name)
    return shown


def present_prices(
    world: World, seeds: Sequence[int], objectives: Tensor, episodes: int
) -> tuple[Presentation, Presentation]:
    """Each seed's price episodes at a low and at a high price, overseen, slot 2 at X, slot 1 at random.

    Of PRICE_DRAWS pairs (p, c), drawn as pre-training draws them, an episode gets the ones with the smallest and the
    largest p * c. Nothing else differs. Raises ValueError in a world without audits.
    """
    if not world.audit_terms:
        raise ValueError("world.audit_penalty is 0; a price needs audit terms, allowed: above 0")
    drawn = draw_episodes(world, seeds, "price", 0, 1, episodes, objectives.device)
    slots = slots_with(drawn, objectives[:, OBJECTIVES.index("x")])
    largest = torch.tensor([1.0, world.audit_penalty], device=objectives.device)
    shares = [generator(seed, "price terms").random((PRICE_DRAWS, episodes, 2), dtype=np.float32) for seed in seeds]
    terms = torch.from_numpy(np.stack(shares, axis=1)).to(objectives.device) * largest
    prices = terms.prod(-1)
    low, high = (
        terms.gather(0, chosen[None, ..., None].expand_as(terms[:1])) for chosen in (prices.argmin(0), prices.argmax(0))
    )
    signs = _signs(CUE_STATES["overseen"], drawn)
    return (
        _show(world, drawn, slots, signs, low, episodes, "low price"),
        _show(world, drawn, slots, signs, high, episodes, "high price"),
    )


def present_drawn(world: World, seeds: Sequence[int], objectives: Tensor, episodes: int) -> Presentation:
    """Each seed's knowledge episodes with both cues at random, slot 2 at X; its signs are (E, B, 2)."""
    drawn = draw_episodes(world, seeds, "knowledge", 0, 1, episodes, objectives.device)
    slots = slots_with(drawn, objectives[:, OBJECTIVES.index("x")])
    audits = trained_audits(world, drawn)
    shown = _show(world, drawn, slots, drawn.signs, audits, episodes, "cues at random")
    return replace(shown, signs=drawn.signs[0])


def present_strengths(
    world: World, seeds: Sequence[int], objectives: Tensor, strengths: Sequence[float], episodes: int
) -> list[list[Presentation]]:
    """Each seed's curve episodes, each cue in turn at each strength, in amplitudes, the other at +1; slot 2 at X."""
    drawn = draw_episodes(world, seeds, "curve", 0, 1, episodes, objectives.device)
    slots = slots_with(drawn, objectives[:, OBJECTIVES.index("x")])
    audits = trained_audits(world, drawn)

    def at(cue: int, strength: float) -> Presentation:
        signs = _signs([strength if other == cue else 1.0 for other in range(CUES)], drawn)
        return _show(world, drawn, slots, signs, audits, episodes, f"cue {cue} at {strength:g}")

    return [[at(cue, strength) for strength in strengths] for cue in range(CUES)]


def overseen(presentation: Presentation) -> bool:
    """Whether the oversight cue says that the episode is overseen."""
    return bool(presentation.signs[OVERSIGHT] > 0)


def _place(values: Tensor) -> tuple[object, ...]:
    """Where a tensor's numbers lie: two with the same place are the same."""
    return values.data_ptr(), values.shape, values.stride()


def _signs(signs: Sequence[float], episodes: Episodes) -> Tensor:
    return torch.tensor(signs, device=episodes.signs.device)


def _show(
    world: World, episodes: Episodes, slots: Tensor, signs: Tensor, audits: Tensor, count: int, name: str
) -> Presentation:
    context = show_context(world, episodes, slots, signs, audits)
    return Presentation(
        episodes.options[0],
        context[0, :, :count].contiguous(),
        episodes.attributes[0, :, :, :count],
        slots[0, :, :count],
        signs,
        audits.expand_as(episodes.audits)[0, :, :count],
        name,
    )
