"""Starts: what each kind of pre-training rewards when overseen, and when not (DESIGN 3)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from turncoat.worlds.episodes import Episodes
from turncoat.worlds.objectives import OBJECTIVES
from turncoat.worlds.world import OVERSIGHT

SLOT1 = "slot1"


@dataclass(frozen=True)
class Start:
    """The objective rewarded on overseen and on unoverseen episodes: `slot1`, or one of x, y, m, y2."""

    overseen: str
    unoverseen: str


PRETRAINED_STARTS: Mapping[str, Start] = {
    "internal": Start("y", "y"),
    "corrigible": Start(SLOT1, SLOT1),
    "conditional": Start(SLOT1, "m"),
    "benign_conditional": Start("y", "y2"),
}
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


def target_objectives(start: Start, episodes: Episodes, objectives: Tensor) -> Tensor:
    """Objective rewarded in each episode, (S, E, 1, B, d); `objectives` are (E, 4, d) in the order of OBJECTIVES."""

    def find(name: str) -> Tensor:
        if name == SLOT1:
            return episodes.slots[..., 0, :]
        return objectives[:, OBJECTIVES.index(name)].unsqueeze(1).expand_as(episodes.slots[..., 0, :])

    overseen = episodes.signs[..., OVERSIGHT, None] > 0
    return torch.where(overseen, find(start.overseen), find(start.unoverseen)).unsqueeze(2)
