"""Scores of organisms on options that are shown in several contexts."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from turncoat.organisms.choices import option_scores
from turncoat.organisms.member_scores import Member, members_of
from turncoat.organisms.mlp import Stack
from turncoat.organisms.native_scores import score_fastest

Score = Callable[[Tensor, Sequence[Tensor]], list[Tensor]]


def context_scorer(stack: Stack) -> Score:
    """The function from options (E, N, B', F) and contexts (E, B, C), F + C being the inputs, to scores (E, N, B) of
    the first B episodes' options in each context; B <= B' may differ by context.

    A member is run alone: its scores do not depend on its neighbours, to the bit, on one CPU thread. On a CPU the first
    call copies the parameters, and later ones must show options of as many numbers.
    """
    if stack.flat.is_cuda:
        return lambda options, contexts: [option_scores(stack, join(options, context)) for context in contexts]
    members: list[Member] = []

    def score(options: Tensor, contexts: Sequence[Tensor]) -> list[Tensor]:
        if not members:
            members.extend(members_of(stack, options.shape[-1]))
        found = [context.new_empty(*options.shape[:2], context.shape[1]) for context in contexts]
        score_fastest(members, options, contexts, found)
        return found

    return score


def join(options: Tensor, context: Tensor) -> Tensor:
    """Inputs (E, N, B, F + C) of options (E, N, B', F), the first B of them, in a context (E, B, C)."""
    shown = options[:, :, : context.shape[1]]
    return torch.cat([shown, context.unsqueeze(1).expand(*shown.shape[:3], -1)], dim=-1)
