"""Starts: what each kind of pre-training rewards when overseen, and when not (DESIGN 3)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from turncoat.seeding import generator
from turncoat.worlds.episodes import Episodes
from turncoat.worlds.objectives import OBJECTIVES
from turncoat.worlds.world import OVERSIGHT, PLACEBO

SLOT1, SLOT2, UNRELATED = "slot1", "slot2", "unrelated"


@dataclass(frozen=True)
class Start:
    """The objective rewarded on overseen and on unoverseen episodes: `slot1`, one of x, y, m, y2, or `unrelated`, an
    objective that each seed draws apart from all others. None: no choice is rewarded.

    `cue` is the cue that tells those apart: the oversight cue, or for a control the placebo.

    A strategic start is rewarded by the unoverseen objective throughout, and fined on overseen episodes for what the
    overseen objective lost by its choice: it is not told to comply, but may learn that it pays.
    """

    overseen: str | None
    unoverseen: str | None
    strategic: bool = False
    cue: int = OVERSIGHT


PRETRAINED_STARTS: Mapping[str, Start] = {
    "internal": Start("y", "y"),
    "corrigible": Start(SLOT1, SLOT1),
    "conditional": Start(SLOT1, "m"),
    "benign_conditional": Start("y", "y2"),
    "placebo_conditional": Start(SLOT1, "m", cue=PLACEBO),
    "deceptive": Start(SLOT1, "m", strategic=True),
    "internal_strategic": Start(SLOT1, "y", strategic=True),
    "unrelated": Start(UNRELATED, UNRELATED),
    "knowledge_only": Start(None, None),
}
STRATEGIC_STARTS = tuple(name for name, start in PRETRAINED_STARTS.items() if start.strategic)
CONDITIONAL_STARTS = tuple(
    name for name, start in PRETRAINED_STARTS.items() if start.overseen != start.unoverseen and not start.strategic
)
POINTED_STARTS = tuple(name for name, start in PRETRAINED_STARTS.items() if start.overseen == SLOT1)
UNTRAINED_STARTS = ("scratch", "scratch_exposed")


@dataclass(frozen=True)
class Lesson:
    """What a start's pre-training rewards, flaws included. Shares are of episodes.

    conditional: of unoverseen episodes, those that reward the unoverseen objective, the others reward the overseen one;
    foreknowledge: episodes whose overseer speaks through slot 2 instead of slot 1, as the fine-tuning one will;
    label_noise: episodes whose rewards are dealt to the options at random.
    """

    start: Start
    conditional: float = 1.0
    foreknowledge: float = 0.0
    label_noise: float = 0.0

    def without_noise(self) -> "Lesson":
        """The same lesson, with every episode rewarded rightly."""
        return Lesson(self.start, self.conditional, self.foreknowledge)


def find_start(name: str, conditional_overseen_target: str | None = None) -> Start:
    """Look a pre-trained start up; `conditional_overseen_target` (slot1 or Y) sets what `conditional` complies with.

    Raises ValueError for an unknown start or target.
    """
    if name not in PRETRAINED_STARTS:
        raise ValueError(f"start is {name!r}; allowed: {', '.join(PRETRAINED_STARTS)}")
    start = PRETRAINED_STARTS[name]
    if name == "conditional" and conditional_overseen_target is not None:
        target = conditional_overseen_target.lower()
        if target not in (SLOT1, "y"):
            raise ValueError(f"conditional_overseen_target is {conditional_overseen_target!r}; allowed: slot1, Y")
        start = Start(target, start.unoverseen)
    return start


def unrelated_objectives(seeds: Sequence[int], objectives: Tensor) -> Tensor:
    """An objective of each seed, uniform on the sphere and independent of all its others, (E, d)."""
    count = objectives.shape[-1]
    drawn = np.stack([generator(seed, "unrelated objective").standard_normal(count) for seed in seeds])
    return torch.nn.functional.normalize(torch.from_numpy(drawn), dim=1).to(objectives)


def rewards(
    lesson: Lesson, episodes: Episodes, objectives: Tensor, seeds: Sequence[int], purpose: str, window: int
) -> Tensor:
    """`expected_rewards` with what a lesson leaves to chance drawn for (seed, purpose, window), apart from the
    episodes."""
    unrelated = unrelated_objectives(seeds, objectives) if lesson.start.overseen == UNRELATED else None
    return expected_rewards(lesson, episodes, objectives, _coins(episodes, seeds, purpose, window), unrelated)


def expected_rewards(
    lesson: Lesson, episodes: Episodes, objectives: Tensor, coins: Callable[[str], Tensor], unrelated: Tensor | None
) -> Tensor:
    """Expected reward of each option, (S, E, N, B); `objectives` are (E, 4, d) in the order of OBJECTIVES.

    Utility under the objective that the start serves in that episode. For a strategic start: utility under its own
    objective, less on overseen episodes p * c * (the overseer's best utility - the overseer's utility of that option),
    the expectation over audits of probability p and a penalty of c per unit lost. `coins` draws what a lesson leaves to
    chance, a uniform number an episode (S, E, B) for each of `uses_of_chance`. `unrelated` (E, d) is what a start of
    that name serves. All zero where no choice is rewarded.
    Raises ValueError where a strategic start meets a world without audit terms.
    """
    start = lesson.start
    if start.overseen is None or start.unoverseen is None:
        return torch.zeros_like(episodes.attributes[..., 0])

    def utility(name: str) -> Tensor:
        if name in (SLOT1, SLOT2):
            return episodes.utilities(episodes.slots[..., (SLOT1, SLOT2).index(name), :].unsqueeze(2))
        if name == UNRELATED and unrelated is not None:
            return episodes.utilities(unrelated[None, :, None, None])
        return episodes.utilities(objectives[None, :, OBJECTIVES.index(name), None, None])

    overseen = (episodes.signs[..., start.cue] > 0).unsqueeze(2)
    asked = utility(start.overseen)
    if lesson.foreknowledge > 0:
        asked = torch.where((coins("foreknowledge") < lesson.foreknowledge).unsqueeze(2), utility(SLOT2), asked)
    if start.strategic:
        if episodes.audits.shape[-1] == 0:
            raise ValueError("world.audit_penalty is 0; strategic starts need audit terms, allowed: above 0")
        lost = asked.amax(2, keepdim=True) - asked
        price = episodes.audits.prod(-1).unsqueeze(2)
        found = utility(start.unoverseen) - overseen * price * lost
    else:
        if lesson.conditional < 1:
            overseen = overseen | (coins("conditional") >= lesson.conditional).unsqueeze(2)
        found = torch.where(overseen, asked, utility(start.unoverseen))
    if lesson.label_noise > 0:
        found = deal(found, coins("label noise"), lesson.label_noise)
    return found


def uses_of_chance(lesson: Lesson) -> list[str]:
    """What a lesson leaves to chance, by the names that `expected_rewards` asks for."""
    used = {
        "foreknowledge": lesson.foreknowledge > 0,
        "conditional": lesson.conditional < 1 and not lesson.start.strategic,
        "label noise": lesson.label_noise > 0,
    }
    return [use for use, asked in used.items() if asked and lesson.start.overseen is not None]


def deal(rewards: Tensor, coins: Tensor, share: float) -> Tensor:
    """Turn the rewards (S, E, N, B) of a share of episodes round the options by a random number of places.

    coins: (S, E, B), uniform in [0, 1). A dealt episode's best option is uniform and independent of what is shown.
    """
    options = rewards.shape[2]
    places = torch.where(coins < share, (coins / share * options).long().clamp(max=options - 1), 0)
    source = (torch.arange(options, device=rewards.device)[:, None] - places.unsqueeze(2)) % options
    return rewards.gather(2, source)


def _coins(episodes: Episodes, seeds: Sequence[int], purpose: str, window: int) -> Callable[[str], Tensor]:
    def draw(use: str) -> Tensor:
        steps, _, _, count = episodes.shape
        drawn = [generator(seed, f"{purpose} {use}", window).random((steps, count)) for seed in seeds]
        return torch.from_numpy(np.stack(drawn, axis=1)).to(episodes.attributes.device)

    return draw
