"""The passes of `mlp` for steps that are taken again and again: into memory that is laid out once.

The kernels are those of `forward` and `backward`, on the same numbers in the same order, and so are the bits; what goes
is the making of tensors and views at each step. A step then costs little more than its products even with so few
members that their hidden layers stay in a core's second-level cache, and what lies between the products costs less.
"""

import torch
from torch import Tensor

from turncoat.organisms.activations import activation
from turncoat.organisms.mlp import Stack


class PreparedPasses:
    """Forward and backward of a stack on inputs of so many rows, reading out the first `columns` >= 2 columns.

    `gradient`, a stack of the same shape, is what `backward` writes. The buffers of both stacks may change their
    numbers, not their places. Raises ValueError for an activation without in-place forms (see `can_prepare`).
    """

    def __init__(self, stack: Stack, gradient: Stack, columns: int, rows: int) -> None:
        architecture, views, parts = stack.architecture, stack.views, gradient.views
        function = activation(architecture.activation)
        if function.value_ is None or function.pull_ is None:
            raise ValueError(f"activation {architecture.activation!r} has no in-place forms; allowed: relu, leaky_relu")
        self.value_, self.pull_ = function.value_, function.pull_
        names = [f"hidden{layer}" for layer in range(1, architecture.depth + 1)]
        self.weights = [views[f"{name}.weight"] for name in names]
        self.turned_weights = [weight.transpose(1, 2) for weight in self.weights]
        self.biases = [views[f"{name}.bias"].unsqueeze(1) for name in names]
        self.weight_parts = [parts[f"{name}.weight"] for name in names]
        self.bias_parts = [parts[f"{name}.bias"] for name in names]
        self.readout = views["readout.weight"][:, :columns]
        self.readout_bias = views["readout.bias"][:, :columns].unsqueeze(2)
        self.readout_part, self.readout_bias_part = (
            parts["readout.weight"][:, :columns],
            parts["readout.bias"][:, :columns],
        )
        self.idle = [parts["readout.weight"][:, columns:], parts["readout.bias"][:, columns:]]
        members, width = stack.members, architecture.width
        self.hidden = [stack.flat.new_empty(members, rows, width) for _ in names]
        self.turned_hidden = [hidden.transpose(1, 2) for hidden in self.hidden]
        self.deltas = [stack.flat.new_empty(members, rows, width) for _ in names]
        self.output = stack.flat.new_empty(members, columns, rows)
        self.read = stack.flat.new_empty(members, columns, width)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (E, columns, rows) on inputs (E, rows, inputs), which the next pass overwrites."""
        value = inputs
        for weight, bias, hidden in zip(self.weights, self.biases, self.hidden, strict=True):
            value = self.value_(torch.bmm(value, weight, out=hidden).add_(bias))
        return torch.baddbmm(self.readout_bias, self.readout, self.turned_hidden[-1], out=self.output)

    def backward(self, inputs: Tensor, output_gradient: Tensor) -> None:
        """Write the loss gradient of every parameter, after a forward pass on those inputs.

        `output_gradient` is the loss gradient of the outputs, (E, columns, rows). Columns that are not read get zero.
        """
        for part in self.idle:
            part.zero_()
        self.readout_part.copy_(torch.bmm(output_gradient, self.hidden[-1], out=self.read))
        torch.sum(output_gradient, 2, out=self.readout_bias_part)
        arriving = torch.bmm(output_gradient.transpose(1, 2), self.readout, out=self.deltas[-1])
        for layer in range(len(self.hidden) - 1, -1, -1):
            delta = self.pull_(arriving, self.hidden[layer])
            below = self.turned_hidden[layer - 1] if layer else inputs.transpose(1, 2)
            torch.bmm(below, delta, out=self.weight_parts[layer])
            torch.sum(delta, 1, out=self.bias_parts[layer])
            if layer:
                arriving = torch.bmm(delta, self.turned_weights[layer], out=self.deltas[layer - 1])


def can_prepare(stack: Stack) -> bool:
    """Whether the stack is on a CPU (a GPU's steps are another's), and its activation has in-place forms."""
    function = activation(stack.architecture.activation)
    return stack.flat.device.type == "cpu" and function.value_ is not None and function.pull_ is not None
