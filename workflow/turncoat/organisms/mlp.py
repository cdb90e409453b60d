"""Stacked multilayer perceptrons: E networks of one shape that score each option alike.

One row of input is one option of one episode. The last hidden layer, the trunk, is read out linearly into the
option's score and the knowledge heads. The backward pass is written out, because the gating probe and gate
control need what it holds: each layer's activations h, pre-activations z and gradients with respect to z.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from turncoat.organisms.activations import activation
from turncoat.seeding import generator

FAMILIES = ("mlp",)
CUE_HEADS = ("oversight", "placebo")
SCORE_COLUMNS = 2  # the score is read with one column beside it: a lone column of a lone network takes another
# kernel, with another rounding, and a member's bits would depend on how many train beside it


@dataclass(frozen=True)
class Architecture:
    """Shape of a network: input numbers, hidden width and depth, activation, and attributes to be predicted."""

    inputs: int
    width: int
    depth: int
    activation: str
    attributes: int

    @classmethod
    def from_settings(cls, organism: Mapping[str, Any], inputs: int, attributes: int) -> "Architecture":
        """Build from the `organism` section of a cell's settings; raises ValueError on an unknown family."""
        if organism["family"] not in FAMILIES:
            raise ValueError(f"organism.family is {organism['family']!r}; allowed: {', '.join(FAMILIES)}")
        activation(organism["activation"])
        return cls(inputs, organism["width"], organism["depth"], organism["activation"], attributes)

    @property
    def outputs(self) -> int:
        """Readout columns: the score, the oversight and placebo heads, the world head's attributes, an objective's."""
        return 1 + len(CUE_HEADS) + self.attributes + 1

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter of one member: hidden weights (in, out), the readout (out, in)."""
        shapes: dict[str, tuple[int, ...]] = {}
        for layer, inputs in enumerate([self.inputs] + [self.width] * (self.depth - 1), start=1):
            shapes[f"hidden{layer}.weight"] = (inputs, self.width)
            shapes[f"hidden{layer}.bias"] = (self.width,)
        shapes["readout.weight"] = (self.outputs, self.width)
        shapes["readout.bias"] = (self.outputs,)
        return shapes

    @property
    def parameters(self) -> int:
        """Parameters of one member."""
        return sum(self.sizes)

    @cached_property
    def sizes(self) -> list[int]:
        """Numbers in each parameter of one member, in the order of `shapes`."""
        return [math.prod(shape) for shape in self.shapes.values()]


PADDING = 64


class Stack:
    """Parameters of E members in one flat buffer, with a named view (E, *shape) for each.

    A parameter's values of all members lie together, so that every view is contiguous: batched products read and
    write them in place, and the optimizer moves the whole buffer in one kernel. The buffer is padded with zeros to a
    multiple of 64 numbers: an optimizer's vectorised kernel rounds the odd ones at the end differently, and which
    parameters those are would depend on how many members there are.
    """

    def __init__(self, architecture: Architecture, flat: Tensor, members: int) -> None:
        self.architecture = architecture
        self.flat = flat
        self.members = members
        self.views = self.view(flat)

    def view(self, flat: Tensor) -> dict[str, Tensor]:
        """Name the parts of any buffer laid out like this stack's: each view is (E, *shape)."""
        views: dict[str, Tensor] = {}
        start = 0
        for (name, shape), size in zip(self.architecture.shapes.items(), self.architecture.sizes, strict=True):
            views[name] = flat[start : start + self.members * size].view(self.members, *shape)
            start += self.members * size
        return views

    def rows(self, flat: Tensor | None = None) -> Tensor:
        """This stack's parameters, or a buffer laid out like them, with one row a member: (E, parameters)."""
        views = self.views if flat is None else self.view(flat)
        return torch.cat([view.flatten(1) for view in views.values()], dim=1)

    @classmethod
    def from_rows(cls, architecture: Architecture, rows: Tensor) -> "Stack":
        """The stack whose members have these parameters, (E, parameters)."""
        padding = rows.new_zeros(-rows.numel() % PADDING)
        flat = torch.cat([part.flatten() for part in rows.split(architecture.sizes, dim=1)] + [padding])
        return cls(architecture, flat, len(rows))

    def part(self, first: int, last: int) -> "Stack":
        """The stack of some of the members, with parameters of its own."""
        if first == 0 and last >= self.members:
            return self
        rows = torch.cat([view[first:last].flatten(1) for view in self.views.values()], dim=1)
        return Stack.from_rows(self.architecture, rows)

    def with_flat(self, flat: Tensor) -> "Stack":
        """A stack of as many members of the same shape over another buffer."""
        return Stack(self.architecture, flat, self.members)


def initialise(architecture: Architecture, seeds: Sequence[int], input_power: float, device: torch.device) -> Stack:
    """Draw each member's weights from its own seed: normal, variance-preserving, biases zero (He et al. 2015)."""
    gain = activation(architecture.activation).gain
    rows = np.zeros((len(seeds), architecture.parameters), dtype=np.float32)
    for row, seed in zip(rows, seeds, strict=True):
        random = generator(seed, "weights")
        start = 0
        for name, size in zip(architecture.shapes, architecture.sizes, strict=True):
            if name.endswith("weight"):
                power = input_power if name == "hidden1.weight" else architecture.width
                scale = 1.0 if name == "readout.weight" else gain
                row[start : start + size] = random.standard_normal(size) * (scale / power**0.5)
            start += size
    return Stack.from_rows(architecture, torch.from_numpy(rows).to(device))


@dataclass
class Trace:
    """What a forward pass leaves: `values[0]` is the input, `values[l]` layer l's h and `before[l - 1]` its z.

    Those are (E, rows, numbers); `output` is (E, columns, rows): a readout that is narrow this way round costs a sixth.
    """

    values: list[Tensor]
    before: list[Tensor]
    output: Tensor


def forward(stack: Stack, inputs: Tensor, columns: int = SCORE_COLUMNS, keep_before: bool = True) -> Trace:
    """Run E networks on inputs (E, rows, inputs); the output holds the first `columns` >= 2 readout columns.

    Without `keep_before` an h may be written over its z: `before` is then h, of which `backward` reads the same.
    """
    architecture, views = stack.architecture, stack.views
    function = activation(architecture.activation)
    value = function.value if keep_before else function.value_ or function.value
    values, before = [inputs], []
    for layer in range(1, architecture.depth + 1):
        weight, bias = views[f"hidden{layer}.weight"], views[f"hidden{layer}.bias"]
        before.append(torch.bmm(values[-1], weight).add_(bias.unsqueeze(1)))
        values.append(value(before[-1]))
    weight, bias = views["readout.weight"][:, :columns], views["readout.bias"][:, :columns]
    return Trace(values, before, torch.baddbmm(bias.unsqueeze(2), weight, values[-1].transpose(1, 2)))


def backward(
    stack: Stack, trace: Trace, output_gradient: Tensor, gradient: Stack, gates: Tensor | None = None
) -> list[Tensor]:
    """Write the loss gradient of every parameter into the views of `gradient`.

    `output_gradient` is the loss gradient of the trace's output, (E, columns, rows). Readout columns beyond those
    get zero. With `gates` (E, rows, width) each unit of the last hidden layer has its own factor in each row, on the
    gradient of its outgoing weights and on what passes back through it. Returns the gradients with respect to each
    hidden layer's z, (E, rows, width), first layer first.
    """
    architecture, views = stack.architecture, stack.views
    function = activation(architecture.activation)
    # A compiler fuses what is not written in place at least as well.
    pull = function.pull if torch.compiler.is_compiling() else function.pull_ or function.pull
    parts = gradient.views
    columns = output_gradient.shape[1]
    if columns < architecture.outputs:
        parts["readout.weight"].zero_()
        parts["readout.bias"].zero_()
    last = trace.values[-1] if gates is None else trace.values[-1] * gates
    parts["readout.weight"][:, :columns] = torch.bmm(output_gradient, last)
    parts["readout.bias"][:, :columns] = output_gradient.sum(2)
    arriving = torch.bmm(output_gradient.transpose(1, 2), views["readout.weight"][:, :columns])
    if gates is not None:
        arriving = arriving * gates
    deltas: list[Tensor] = []
    for layer in range(architecture.depth, 0, -1):
        delta = pull(arriving, trace.before[layer - 1])
        deltas.append(delta)
        torch.bmm(trace.values[layer - 1].transpose(1, 2), delta, out=parts[f"hidden{layer}.weight"])
        torch.sum(delta, 1, out=parts[f"hidden{layer}.bias"])
        if layer > 1:
            arriving = torch.bmm(delta, views[f"hidden{layer}.weight"].transpose(1, 2))
    return deltas[::-1]
