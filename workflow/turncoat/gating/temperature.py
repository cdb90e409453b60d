"""Matched temperature: the score row of each member scaled until its choices have a given mean entropy."""

import math

import torch
from torch import Tensor

from turncoat.organisms.mlp import Stack

LARGEST_SCALE = 2.0**10  # a network that has to be scaled further, either way, makes no choice worth the name
HALVINGS = 60


def choice_entropy(scores: Tensor, scale: Tensor | float = 1.0) -> Tensor:
    """Mean entropy in nats of the softmax over options, (E,) float64, of scores (E, N, B) times `scale`, (E,)."""
    if isinstance(scale, Tensor):
        scale = scale[:, None, None]
    log_share = (scores.double() * scale).log_softmax(1)
    return -(log_share.exp() * log_share).sum(1).mean(1)


def matching_scale(scores: Tensor, share: float) -> Tensor:
    """What scores (E, N, B) are to be multiplied by for a mean choice entropy of `share` of log N, (E,) float64.

    The entropy falls with the scale, so bisection finds it; NaN for members that have no such scale within
    LARGEST_SCALE either way, or whose scores are not finite. Raises ValueError for a share outside 0 to 1.
    """
    if not 0 < share < 1:
        raise ValueError(f"entropy share is {share}; allowed: above 0, below 1")
    target = share * math.log(scores.shape[1])
    limit = math.log2(LARGEST_SCALE)
    low = torch.full((len(scores),), -limit, dtype=torch.float64, device=scores.device)
    high = -low
    possible = (choice_entropy(scores, low.exp2()) >= target) & (choice_entropy(scores, high.exp2()) <= target)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        above = choice_entropy(scores, middle.exp2()) > target
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return torch.where(possible, ((low + high) / 2).exp2(), torch.nan)


def scaled(stack: Stack, scale: Tensor) -> Stack:
    """A copy of the stack whose scores are multiplied by `scale`, (E,); members without a scale stay as they are."""
    copy = stack.with_flat(stack.flat.clone())
    factor = torch.where(scale.isfinite(), scale, 1.0).to(stack.flat)
    copy.views["readout.weight"][:, 0] *= factor[:, None]
    copy.views["readout.bias"][:, 0] *= factor
    return copy
