"""Scores of organisms on options that are shown in several contexts.

The first layer is linear: what an option adds to it is the same in every context, and what a context adds is the same
for every option of an episode. Each is computed once, and both are added.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from turncoat.organisms.activations import activation
from turncoat.organisms.choices import option_scores
from turncoat.organisms.mlp import SCORE_COLUMNS, Stack

ROWS = 2048  # options scored at once on a CPU, so that their hidden states stay in its cache
ALIGNED = 64  # bytes: BLAS may round by where numbers lie, so each member's begin at such a boundary

Score = Callable[[Tensor, Sequence[Tensor]], list[Tensor]]


def context_scorer(stack: Stack) -> Score:
    """The function from options (E, N, B', F) and contexts (E, B, C), F + C being the inputs, to scores (E, N, B) of
    the first B episodes' options in each context; B <= B' may differ by context.

    A member is run alone: its scores do not depend on its neighbours, to the bit, on one CPU thread.
    """
    if stack.flat.is_cuda:
        return lambda options, contexts: [option_scores(stack, join(options, context)) for context in contexts]
    members = [_Member(stack, index) for index in range(stack.members)]

    def score(options: Tensor, contexts: Sequence[Tensor]) -> list[Tensor]:
        found = [context.new_empty(*options.shape[:2], context.shape[1]) for context in contexts]
        for index, member in enumerate(members):
            member.score(options[index], [part[index] for part in contexts], [part[index] for part in found])
        return found

    return score


def join(options: Tensor, context: Tensor) -> Tensor:
    """Inputs (E, N, B, F + C) of options (E, N, B', F), the first B of them, in a context (E, B, C)."""
    shown = options[:, :, : context.shape[1]]
    return torch.cat([shown, context.unsqueeze(1).expand(*shown.shape[:3], -1)], dim=-1)


class _Member:
    """One member's parameters, copied, so that they lie alike wherever it stood."""

    def __init__(self, stack: Stack, index: int) -> None:
        function = activation(stack.architecture.activation)
        self.function = function.value_ or function.value  # what it is given is a buffer
        parts = {name: view[index].clone() for name, view in stack.views.items()}
        layers = range(1, stack.architecture.depth + 1)
        self.weights = [parts[f"hidden{layer}.weight"] for layer in layers]
        self.biases = [parts[f"hidden{layer}.bias"] for layer in layers]
        self.readout = parts["readout.weight"][:SCORE_COLUMNS].clone()
        self.offset = parts["readout.bias"][:SCORE_COLUMNS, None].clone()

    def score(self, options: Tensor, contexts: Sequence[Tensor], found: Sequence[Tensor]) -> None:
        """Write scores (N, B) of options (N, B', F) in contexts (B, C) into `found`."""
        count, _, inputs = options.shape
        of_options, of_context = (part.clone() for part in self.weights[0].tensor_split([inputs]))
        longest = max(len(context) for context in contexts)
        size = min(longest, max(1, ROWS // count))
        shared, added, values, spare = of_context.new_empty(4, count * size, len(self.biases[0])).unbind()
        for start in range(0, longest, size):
            shown = options[:, start : min(start + size, longest)].unbind()
            width = len(shown[0])
            for number, option in enumerate(shown):
                part = shared[number * width : (number + 1) * width]
                torch.addmm(self.biases[0], _aligned(option), of_options, out=part)
            whole = shared[: count * width].view(count, width, -1)
            for context, scores in zip(contexts, found, strict=True):
                here = context[start : start + size]
                rows = len(here)
                if rows:
                    torch.mm(_aligned(here), of_context, out=added[:rows])
                    before = values[: count * rows]
                    torch.add(whole[:, :rows], added[:rows], out=before.view(count, rows, -1))
                    scores[:, start : start + rows] = self._rest(before, spare[: count * rows]).view(count, rows)

    def _rest(self, before: Tensor, spare: Tensor) -> Tensor:
        """Scores (rows,) from the first layer's z, (rows, H), which is written over, as is the spare buffer."""
        for weight, bias in zip(self.weights[1:], self.biases[1:], strict=True):
            values = self.function(before)
            before, spare = torch.addmm(bias, values, weight, out=spare), before
        return torch.addmm(self.offset, self.readout, self.function(before).T)[0]


def _aligned(values: Tensor) -> Tensor:
    """The values, contiguous, beginning at a boundary."""
    values = values.contiguous()
    return values.clone() if values.data_ptr() % ALIGNED else values
