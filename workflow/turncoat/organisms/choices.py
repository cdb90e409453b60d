"""What organisms choose."""

import torch
from torch import Tensor

from turncoat.organisms.mlp import Stack, forward


def option_scores(stack: Stack, inputs: Tensor) -> Tensor:
    """Scores (E, N, B) of the options whose inputs are (E, N, B, F)."""
    members, options, episodes, _ = inputs.shape
    output = forward(stack, inputs.flatten(1, 2)).output
    return output[:, 0].reshape(members, options, episodes)


def choices(stack: Stack, inputs: Tensor) -> Tensor:
    """Index of the option with the highest score, (E, B); -1 where a score is not finite."""
    scores = option_scores(stack, inputs)
    return torch.where(scores.isfinite().all(1), scores.argmax(1), -1)


def agreement(chosen: Tensor, best: Tensor) -> Tensor:
    """Share of episodes (E,) on which two choices (E, B) are the same option."""
    return (chosen == best).to(torch.float64).mean(-1)
