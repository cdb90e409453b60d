"""Routed gradients: parts of the last hidden layer that learn from different episodes, each from its own reading.

After Cloud et al. (2024), who mask what each data point may update. What an update is computed from can be masked too:
a part is then not made to correct what the others add on episodes from which they may not learn.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from turncoat.organisms.mlp import Stack, Trace, backward


@dataclass(frozen=True)
class Route:
    """One reading of the last hidden layer and what learns from it; both broadcast to (E, N * B, width).

    read: factor on what each unit adds to the output; learns: factor on the gradient of a unit's outgoing weights and
    on what passes back through it. Rows in which no unit learns count for nothing.
    """

    read: Tensor
    learns: Tensor


def read_out(stack: Stack, trace: Trace, read: Tensor) -> Tensor:
    """The output of a forward pass, (E, columns, rows), with each unit's part in it times `read`."""
    columns = trace.output.shape[1]
    weight, bias = stack.views["readout.weight"][:, :columns], stack.views["readout.bias"][:, :columns]
    return torch.baddbmm(bias.unsqueeze(2), weight, (trace.values[-1] * read).transpose(1, 2))


def routed_backward(
    stack: Stack, trace: Trace, routes: Sequence[Route], output_gradients: Sequence[Tensor], gradient: Stack
) -> None:
    """Write the sum over routes of their gradients; `output_gradients` are those of each route's own output."""
    total = torch.zeros_like(gradient.flat)
    for route, output_gradient in zip(routes, output_gradients, strict=True):
        learns = route.learns.expand_as(trace.values[-1])
        counts = (learns != 0).any(2).to(output_gradient).unsqueeze(1)
        backward(stack, trace, output_gradient * counts, gradient, learns)
        total += gradient.flat
    gradient.flat.copy_(total)
