"""The passes of `mlp` by the kernels of `native`, for steps that are taken again and again on a CPU: the same bits.

A member goes through all of a pass before the next one does, so that its numbers stay in a core's cache, and a pass is
one call: what lies between the products then costs a tenth of what they do.
"""

import ctypes
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from turncoat.native.library import SMALLEST_PRODUCT, borrowed, native_library
from turncoat.native.structures import Step
from turncoat.organisms.mlp import Stack

SIDE_BY_SIDE = 8  # rows, and units: fewer numbers side by side PyTorch sums in another order


class NativePasses:
    """Forward and backward of a stack on inputs of so many rows, reading out the first `columns` >= 2 columns.

    `gradient`, a stack of the same shape, is what `backward` writes. The buffers of both stacks may change their
    numbers, not their places. Each member has hidden layers of its own, unless members take their two passes `in_turn`:
    then they share one place. Raises ValueError for what `can_pass_natively` refuses.
    """

    def __init__(self, stack: Stack, gradient: Stack, columns: int, rows: int, in_turn: bool = False) -> None:
        library, functions = native_library(), borrowed()
        if library is None or functions is None or not can_pass_natively(stack, columns, rows):
            raise ValueError(
                f"no kernels for activation {stack.architecture.activation!r}, {rows} rows of width "
                f"{stack.architecture.width}, {stack.flat.dtype} on {stack.flat.device}; allowed: relu, products of "
                f"{SMALLEST_PRODUCT} multiplications and more, {SIDE_BY_SIDE} rows and units and more, float32 on a "
                "cpu with one thread, where there are a C compiler and PyTorch built with MKL"
            )
        self.stacks = stack, gradient  # the kernels are told where they lie: they must not go
        self.inputs: Tensor | None = None  # nor must what is shown
        self.forward_kernel, self.backward_kernel = library.forward, library.backward
        architecture, members = stack.architecture, stack.members
        self.inputs_shape = (members, rows, architecture.inputs)
        self.hidden = [
            stack.flat.new_empty(1 if in_turn else members, rows, architecture.width) for _ in range(architecture.depth)
        ]
        self.deltas = stack.flat.new_empty(2, rows, architecture.width)
        self.output = stack.flat.new_empty(members, columns, rows)
        self.arrays = {
            **addresses(stack.views, "weights", "biases"),
            **addresses(gradient.views, "weight_parts", "bias_parts"),
            "hidden": _array(self.hidden),
        }
        self.step = Step(*self.inputs_shape, architecture.width, architecture.depth, columns, architecture.outputs)
        for name, array in self.arrays.items():
            setattr(self.step, name, ctypes.addressof(array))
        self.step.hidden_stride = 0 if in_turn else rows * architecture.width
        self.step.output = self.output.data_ptr()
        self.step.products = functions["products"]
        self.pointer = ctypes.byref(self.step)
        self.step.delta, self.step.other = self.deltas[0].data_ptr(), self.deltas[1].data_ptr()

    def show(self, inputs: Tensor) -> None:
        """Say on which inputs (E, rows, inputs) the next passes are.

        Raises ValueError for inputs of another shape, or that lie in memory neither by the row nor by the column.
        """
        if inputs.shape != self.inputs_shape or inputs.dtype != torch.float32:
            raise ValueError(f"inputs are {inputs.dtype} {tuple(inputs.shape)}; allowed: float32 {self.inputs_shape}")
        turned = inputs.transpose(1, 2).is_contiguous()
        if not turned and not inputs.is_contiguous():
            raise ValueError(f"inputs have strides {inputs.stride()}; allowed: by the row, or by the column")
        self.inputs = inputs
        self.step.x, self.step.x_stride, self.step.inputs_turned = inputs.data_ptr(), inputs.stride(0), turned

    def show_in_turn(self, room: Tensor) -> None:
        """Say where the inputs of each member will be, in turn: (1, inputs, rows).

        Raises ValueError for another shape.
        """
        _, rows, inputs = self.inputs_shape
        if room.shape != (1, inputs, rows) or not room.is_contiguous() or room.dtype != torch.float32:
            raise ValueError(f"room is {tuple(room.shape)}, strides {room.stride()}; allowed: (1, {inputs}, {rows})")
        self.inputs = room
        self.step.x, self.step.x_stride, self.step.inputs_turned = room.data_ptr(), 0, True

    def forward(self) -> Tensor:
        """Outputs (E, columns, rows), which the next pass overwrites."""
        self.forward_kernel(self.pointer)
        return self.output

    def backward(self, output_gradient: Tensor) -> None:
        """Write the loss gradient of every parameter, after a forward pass.

        `output_gradient` is the loss gradient of the outputs, (E, columns, rows). Columns that are not read get zero.
        Raises ValueError for a gradient of another shape, or that is not contiguous.
        """
        if output_gradient.shape != self.output.shape or not output_gradient.is_contiguous():
            raise ValueError(
                f"output gradient is {tuple(output_gradient.shape)}; allowed: {tuple(self.output.shape)}, contiguous"
            )
        self.step.output_gradient = output_gradient.data_ptr()
        self.backward_kernel(self.pointer)


Addresses = ctypes.Array[ctypes.c_void_p]


def addresses(views: Mapping[str, Tensor], weights: str, biases: str) -> dict[str, Addresses]:
    """Where a stack's weights and biases lie, layer by layer, as arrays for C under those two names."""
    layers = [name.removesuffix(".weight") for name in views if name.endswith(".weight")]
    return {
        weights: _array([views[f"{layer}.weight"] for layer in layers]),
        biases: _array([views[f"{layer}.bias"] for layer in layers]),
    }


def _array(tensors: Sequence[Tensor]) -> Addresses:
    if not all(tensor.is_contiguous() for tensor in tensors):
        raise ValueError("a tensor is not contiguous, as the views of a stack are")
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


def can_pass_natively(stack: Stack, columns: int, rows: int) -> bool:
    """Whether the kernels know such passes, and are to be had. A step's work is not shared by threads."""
    architecture, flat = stack.architecture, stack.flat
    smallest = rows * architecture.width * min(columns, architecture.inputs, architecture.width)
    known = architecture.activation == "relu" and architecture.depth > 0
    known = known and min(rows, architecture.width) >= SIDE_BY_SIDE and smallest >= SMALLEST_PRODUCT
    plain = flat.device.type == "cpu" and flat.dtype == torch.float32 and torch.get_num_threads() == 1
    return known and plain and native_library() is not None
