"""What organisms choose."""

from collections.abc import Callable

import torch
from torch import Tensor

from turncoat.organisms.mlp import Stack, forward
from turncoat.worlds.episodes import best_option

CACHED = 2  # members scored at once on a CPU, so that their hidden states stay in its cache


def option_scorer(stack: Stack) -> Callable[[Tensor], Tensor]:
    """The function from inputs (E, N, B, F) to the scores (E, N, B) of the options."""
    together = stack.members if stack.flat.is_cuda else CACHED
    parts = [(first, stack.part(first, first + together)) for first in range(0, stack.members, together)]

    def score(inputs: Tensor) -> Tensor:
        rows = inputs.flatten(1, 2)
        scores = [forward(part, rows[first : first + together]).output[:, 0] for first, part in parts]
        return torch.cat(scores).reshape(inputs.shape[:3])

    return score


def option_scores(stack: Stack, inputs: Tensor) -> Tensor:
    """Scores (E, N, B) of the options whose inputs are (E, N, B, F)."""
    return option_scorer(stack)(inputs)


def choices(stack: Stack, inputs: Tensor) -> Tensor:
    """Index of the option with the highest score, (E, B); -1 where a score is not finite."""
    return chosen_option(option_scores(stack, inputs))


def chosen_option(scores: Tensor) -> Tensor:
    """Choice (..., B) from scores (..., N, B), the first of equals; -1 where a score is not finite."""
    return torch.where(all_finite(scores, -2), best_option(scores), -1)


def all_finite(values: Tensor, *dimensions: int) -> Tensor:
    """Whether all values along these dimensions are finite. The largest of some is NaN where one is."""
    return values.abs().amax(dimensions) < torch.inf


def agreement(chosen: Tensor, best: Tensor) -> Tensor:
    """Share of episodes (E,) on which two choices (E, B) are the same option."""
    return (chosen == best).to(torch.float64).mean(-1)
