"""Scores of one network on options that are shown in several contexts.

The first layer is linear: what an option adds to it is the same in every context, and what a context adds is the same
for every option of an episode. Each is computed once, and both are added.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from turncoat.organisms.activations import activation
from turncoat.organisms.mlp import SCORE_COLUMNS, Stack

ROWS = 2048  # options scored at once on a CPU, so that their hidden states stay in its cache
ALIGNED = 64  # bytes: BLAS may round by where numbers lie, so each member's begin at such a boundary


@dataclass(frozen=True)
class Member:
    """One network's parameters.

    options (F, H) and context (C, H): the first layer's weights of what an option shows, and of the rest; weights: of
    the layers above; biases: of all; readout (SCORE_COLUMNS, H) with its offset (SCORE_COLUMNS, 1).
    """

    activation: str
    options: Tensor
    context: Tensor
    weights: list[Tensor]
    biases: list[Tensor]
    readout: Tensor
    offset: Tensor

    @property
    def widths(self) -> list[int]:
        """Units of each hidden layer."""
        return [bias.shape[0] for bias in self.biases]


def members_of(stack: Stack, inputs: int) -> list[Member]:
    """Each member's parameters; its options show `inputs` numbers."""
    layers = range(1, stack.architecture.depth + 1)
    parts = [(stack.views[f"hidden{layer}.weight"], stack.views[f"hidden{layer}.bias"]) for layer in layers]
    idle = any(not bool(((weight != 0).any(1) | (bias != 0)).all()) for weight, bias in parts)
    return [member_of(stack, index, inputs, idle) for index in range(stack.members)]


def member_of(stack: Stack, index: int, inputs: int, idle: bool = True) -> Member:
    """One member's parameters, copied, so that they lie alike wherever it stood; its options show `inputs` numbers.
    Without `idle`, no unit is looked at whether its z is always 0."""
    parts = {name: view[index].clone() for name, view in stack.views.items()}
    layers = range(1, stack.architecture.depth + 1)
    weights, biases = ([parts[f"hidden{layer}.{part}"] for layer in layers] for part in ("weight", "bias"))
    readout = parts["readout.weight"][:SCORE_COLUMNS]
    idle = idle and not activation(stack.architecture.activation).value(readout.new_zeros(1)).any()
    if idle and all(bool(part.isfinite().all()) for part in parts.values()):  # 0 * inf is not 0
        weights, biases, readout = _without_idle_units(weights, biases, readout)
    options, context = (part.clone() for part in weights[0].tensor_split([inputs]))
    offset = parts["readout.bias"][:SCORE_COLUMNS, None].clone()
    return Member(stack.architecture.activation, options, context, weights[1:], biases, readout.clone(), offset)


def _without_idle_units(
    weights: list[Tensor], biases: list[Tensor], readout: Tensor
) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """The layers without units whose z is always 0, with which hand-built networks are filled up to one width."""
    weights, biases = list(weights), list(biases)
    for layer, bias in enumerate(biases):
        used = (weights[layer] != 0).any(0) | (bias != 0)
        if not used.all():
            weights[layer], biases[layer] = weights[layer][:, used], bias[used]
            if layer + 1 < len(weights):
                weights[layer + 1] = weights[layer + 1][used]
            else:
                readout = readout[:, used]
    return weights, biases, readout


def score_member(member: Member, options: Tensor, contexts: Sequence[Tensor], found: Sequence[Tensor]) -> None:
    """Write scores (N, B) of options (N, B', F) in contexts (B, C), B <= B', into `found`."""
    count = len(options)
    longest = max(len(context) for context in contexts)
    size = block_size(count, longest)
    shared, added = (member.context.new_empty(rows, member.widths[0]) for rows in (count * size, size))
    hidden = [member.context.new_empty(count * size, width) for width in member.widths]
    known = activation(member.activation)
    function = known.value_ or known.value  # what it is given is written over
    for start in range(0, longest, size):
        shown = options[:, start : min(start + size, longest)].unbind()
        width = len(shown[0])
        for number, option in enumerate(shown):
            part = shared[number * width : (number + 1) * width]
            torch.mm(aligned(option), member.options, out=part).add_(member.biases[0])
        whole = shared[: count * width].view(count, width, -1)
        for context, scores in zip(contexts, found, strict=True):
            here = context[start : start + size]
            rows = len(here)
            if rows:
                torch.mm(aligned(here), member.context, out=added[:rows])
                before = [values[: count * rows] for values in hidden]
                torch.add(whole[:, :rows], added[:rows], out=before[0].view(count, rows, -1))
                scores[:, start : start + rows] = _rest(member, function, before).view(count, rows)


def block_size(options: int, longest: int) -> int:
    """How many episodes are scored at once."""
    return min(longest, max(1, ROWS // options))


def aligned(values: Tensor) -> Tensor:
    """The values, contiguous, beginning at a boundary."""
    values = values.contiguous()
    return values.clone() if values.data_ptr() % ALIGNED else values


def _rest(member: Member, function: Callable[[Tensor], Tensor], before: Sequence[Tensor]) -> Tensor:
    """Scores (rows,) from the first layer's z, (rows, H); the layers above write over theirs."""
    values = function(before[0])
    for room, weight, bias in zip(before[1:], member.weights, member.biases[1:], strict=True):
        values = function(torch.mm(values, weight, out=room).add_(bias))
    return (torch.mm(member.readout, values.T) + member.offset)[0]
