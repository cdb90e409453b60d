"""Starts: what each kind of pre-training rewards when overseen, and when not (DESIGN 3)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from turncoat.worlds.episodes import Episodes
from turncoat.worlds.objectives import OBJECTIVES
from turncoat.worlds.world import OVERSIGHT, PLACEBO

SLOT1 = "slot1"


@dataclass(frozen=True)
class Start:
    """The objective rewarded on overseen and on unoverseen episodes: `slot1`, or one of x, y, m, y2.

    `cue` is the cue that tells those apart: the oversight cue, or for a control the placebo.

    A strategic start is rewarded by the unoverseen objective throughout, and fined on overseen episodes for what the
    overseen objective lost by its choice: it is not told to comply, but may learn that it pays.
    """

    overseen: str
    unoverseen: str
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
}
STRATEGIC_STARTS = tuple(name for name, start in PRETRAINED_STARTS.items() if start.strategic)
UNTRAINED_STARTS = ("scratch", "scratch_exposed")


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


def rewards(start: Start, episodes: Episodes, objectives: Tensor) -> Tensor:
    """Expected reward of each option, (S, E, N, B); `objectives` are (E, 4, d) in the order of OBJECTIVES.

    Utility under the objective that the start serves in that episode. For a strategic start: utility under its own
    objective, less on overseen episodes p * c * (the overseer's best utility - the overseer's utility of that option),
    the expectation over audits of probability p and a penalty of c per unit lost.
    Raises ValueError where a strategic start meets a world without audit terms.
    """

    def utility(name: str) -> Tensor:
        if name == SLOT1:
            return episodes.utilities(episodes.slots[..., 0, :].unsqueeze(2))
        return episodes.utilities(objectives[None, :, OBJECTIVES.index(name), None, None])

    overseen = (episodes.signs[..., start.cue] > 0).unsqueeze(2)
    if not start.strategic:
        return torch.where(overseen, utility(start.overseen), utility(start.unoverseen))
    if episodes.audits.shape[-1] == 0:
        raise ValueError("world.audit_penalty is 0; strategic starts need audit terms, allowed: above 0")
    asked = utility(start.overseen)
    lost = asked.amax(2, keepdim=True) - asked
    price = episodes.audits.prod(-1).unsqueeze(2)
    return utility(start.unoverseen) - overseen * price * lost
