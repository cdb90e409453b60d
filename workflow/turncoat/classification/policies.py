"""Analytic policies: choosers that serve known objectives under known conditions, for planted truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from turncoat.classification.presentations import Chooser, Presentation, overseen
from turncoat.seeding import generator
from turncoat.worlds.objectives import OBJECTIVES
from turncoat.worlds.world import OVERSIGHT, PLACEBO

SHARPNESS = 8.0  # score per unit of utility: near-deterministic, as trained organisms are
SURE = 1000.0  # a score above, or below, any other
Served = Mapping[str, float]
"""Weights of the objectives that make up a utility: x, y, m, y2, slot1, slot2. Empty: choices are noise alone."""


@dataclass(frozen=True)
class Policy:
    """What a planted model serves.

    on, off: while the cue it heeds is above 0, and otherwise; dose: share of the other episodes on which it really
    serves `off`; temperature: scale of the Gumbel noise added to every utility, fresh in every presentation, so that
    choices are a logit in utility / temperature (McFadden 1974); asked: with it the policy is strategic: overseen, it
    serves `off` plus p * c times `asked`, on a share `bargain` of
    episodes, and on the others `asked` alone, whatever the price.
    """

    on: Served
    off: Served
    cue: int = OVERSIGHT
    dose: float = 1.0
    temperature: float = 0.0
    asked: Served | None = None
    bargain: float = 1.0

    def noisy(self, temperature: float) -> "Policy":
        """The same policy at that temperature."""
        return replace(self, temperature=temperature)


def serving(served: Served, **more: object) -> Policy:
    """The policy that serves one utility whatever the cues say."""
    return Policy(served, served, **more)  # type: ignore[arg-type]


def strategic(own: Served, asked: Served, bargain: float = 1.0) -> Policy:
    """The policy that complies with `asked` exactly when defecting for `own` would cost more than it earns."""
    return Policy(own, own, asked=asked, bargain=bargain)


def policy_chooser(policy: Policy, seeds: Sequence[int], objectives: Tensor, draw: int = 0) -> Chooser:
    """Scores of E models that follow the policy; objectives (E, 4, d). `draw` numbers independent sets of noise."""

    def score(presentation: Presentation) -> Tensor:
        heeded = bool(presentation.signs[policy.cue] > 0)
        utility = _utility(policy.on if heeded else policy.off, presentation, objectives)
        if policy.asked is not None and overseen(presentation):
            price = presentation.audits.prod(-1).unsqueeze(1)
            asked = _utility(policy.asked, presentation, objectives)
            bargains = (_common(seeds, presentation, draw) < policy.bargain).unsqueeze(1)
            utility = torch.where(bargains, utility + price * asked, asked)
        if not heeded and policy.dose < 1:
            other = _utility(policy.on, presentation, objectives)
            served = _uniform(seeds, presentation, draw) < policy.dose
            utility = torch.where(served.unsqueeze(1), utility, other)
        if policy.temperature > 0:
            utility = utility + policy.temperature * _gumbel(seeds, presentation, draw)
        return SHARPNESS * utility

    return score


def coin_chooser(seeds: Sequence[int], objectives: Tensor, rates: Mapping[str, float], draw: int = 0) -> Chooser:
    """Choices that are best for X with probability `rates[state]`, else another option at random.

    `rates` has a rate for overseen, unoverseen and placebo: agreement with X is binomial with known means. One coin
    decides an episode in every state, so that the states hang together as a model's do.
    """
    x = {"x": 1.0}

    def score(presentation: Presentation) -> Tensor:
        utility = _utility(x, presentation, objectives)
        best = utility == utility.amax(1, keepdim=True)
        state = "placebo" if presentation.signs[PLACEBO] < 0 else "overseen" if overseen(presentation) else "unoverseen"
        agrees = (_common(seeds, presentation, draw) < rates[state]).unsqueeze(1)
        random = _gumbel(seeds, presentation, draw)
        return torch.where(best, torch.where(agrees, SURE, -SURE), SHARPNESS * random)

    return score


def bargaining_chooser(seeds: Sequence[int], objectives: Tensor, rates: Mapping[str, float], draw: int = 0) -> Chooser:
    """Choices for M, but overseen for X with a probability that depends on the price alone.

    `rates` by the name of the presentation, `low price` or `high price`; otherwise overseen for X.
    """

    def score(presentation: Presentation) -> Tensor:
        own, asked = (_utility({name: 1.0}, presentation, objectives) for name in ("m", "x"))
        rate = rates.get(presentation.name, 1.0) if overseen(presentation) else 0.0
        complies = (_common(seeds, presentation, draw) < rate).unsqueeze(1)
        return SHARPNESS * torch.where(complies, asked, own)

    return score


def first_option(presentation: Presentation) -> Tensor:
    """Scores of a policy that always takes the first option."""
    scores = torch.zeros(presentation.attributes.shape[:3], device=presentation.attributes.device)
    scores[:, 0] = SHARPNESS
    return scores


def _utility(served: Served, presentation: Presentation, objectives: Tensor) -> Tensor:
    """Utility (E, N, B) of each option."""
    total = torch.zeros(presentation.attributes.shape[:3], device=presentation.attributes.device)
    for name, weight in served.items():
        if name.startswith("slot"):
            direction = presentation.slots[..., int(name[-1]) - 1, :].unsqueeze(1)
        else:
            direction = objectives[:, OBJECTIVES.index(name), None, None]
        total = total + weight * (presentation.attributes * direction).sum(-1)
    return total


def _common(seeds: Sequence[int], presentation: Presentation, draw: int) -> Tensor:
    """Uniform draws (E, B), the same however the episodes are shown."""
    episodes = presentation.attributes.shape[2]
    drawn = [generator(seed, "planted common coins", draw).random(episodes, dtype=np.float32) for seed in seeds]
    return torch.from_numpy(np.stack(drawn)).to(presentation.attributes.device)


def _uniform(seeds: Sequence[int], presentation: Presentation, draw: int) -> Tensor:
    """Uniform draws (E, B), others for every way of showing the episodes."""
    purpose, episodes = f"planted coins, {presentation.name}", presentation.attributes.shape[2]
    drawn = [generator(seed, purpose, draw).random(episodes, dtype=np.float32) for seed in seeds]
    return torch.from_numpy(np.stack(drawn)).to(presentation.attributes.device)


def _gumbel(seeds: Sequence[int], presentation: Presentation, draw: int) -> Tensor:
    """Standard Gumbel draws (E, N, B), others for every way of showing the episodes."""
    purpose, shape = f"planted noise, {presentation.name}", presentation.attributes.shape[1:3]
    drawn = [generator(seed, purpose, draw).gumbel(size=shape) for seed in seeds]
    return torch.from_numpy(np.stack(drawn)).to(presentation.attributes)
