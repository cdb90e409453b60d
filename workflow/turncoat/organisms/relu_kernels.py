"""Hidden layers of relu networks as two Triton kernels, which write to memory what the other one reads and no more.

PyTorch's own operations write each pre-activation, activation and gradient of one several times over, and batched
products of matrices this small run far below a GPU's rate. A kernel's program has one member's rows in turn, always in
the same order and tiling, and adds nothing to what other programs write: no result depends on the members beside it.
Products are taken on tensor cores in three TF32 products each ("tf32x3"), which is near float32's rounding.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from turncoat.organisms.mlp import Architecture, Stack

LARGEST = 64  # width or input numbers: the gradient of a layer's weights lies in one program's registers
PRECISIONS = ("tf32x3", "ieee", "tf32")
# Where a member's parameters lie, and so whether they are aligned, depends on how many members there are; a kernel made
# for aligned ones might sum in another order.
PARAMETERS = ["weight", "bias", "readout", "readout_bias", "to_weight", "to_bias", "to_readout", "to_readout_bias"]


@dataclass(frozen=True)
class Tiling:
    """Rows that a program has at once, its warps, and how many loads it keeps under way."""

    rows: int
    warps: int
    stages: int


@dataclass(frozen=True)
class Tilings:
    """Of the forward pass, and of the backward pass in the first layer and in those above it. Fixed, not chosen by
    timing: how sums round depends on them."""

    forward: Tiling = Tiling(128, 8, 1)
    first: Tiling = Tiling(64, 4, 1)
    above: Tiling = Tiling(32, 4, 2)


USUAL = Tilings()


def fits(architecture: Architecture) -> bool:
    """Whether these kernels can train networks of this shape."""
    return architecture.activation == "relu" and max(architecture.width, architecture.inputs) <= LARGEST


@triton.jit(do_not_specialize_on_alignment=PARAMETERS)
def _forward(  # type: ignore[no-untyped-def]
    inputs,
    by_row,
    by_column,
    weight,
    bias,
    readout,
    readout_bias,
    hidden,
    output,
    ROWS: tl.constexpr,
    INPUTS: tl.constexpr,
    WIDTH: tl.constexpr,
    OUTPUTS: tl.constexpr,
    COLUMNS: tl.constexpr,
    INPUTS_: tl.constexpr,
    WIDTH_: tl.constexpr,
    OUTPUTS_: tl.constexpr,
    TILE: tl.constexpr,
    TILES: tl.constexpr,
    LAST: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """h = relu(x W + b) of one tile of one member's rows; of the last layer the readout too."""
    program = tl.program_id(0)
    member = (program // TILES).to(tl.int64)
    rows = (program % TILES) * TILE + tl.arange(0, TILE)
    ins, units = tl.arange(0, INPUTS_), tl.arange(0, WIDTH_)
    shown, real = rows < ROWS, units < WIDTH
    x = tl.load(
        inputs + member * (ROWS * INPUTS) + rows[:, None] * by_row + ins[None, :] * by_column,
        mask=shown[:, None] & (ins < INPUTS)[None, :],
        other=0.0,
    )
    w = tl.load(
        weight + member * (INPUTS * WIDTH) + ins[:, None] * WIDTH + units[None, :],
        mask=(ins < INPUTS)[:, None] & real[None, :],
        other=0.0,
    )
    b = tl.load(bias + member * WIDTH + units, mask=real, other=0.0)
    z = tl.dot(x, w, input_precision=PRECISION) + b[None, :]
    h = tl.where(z <= 0, 0.0, z)  # what is no number stays so
    tl.store(
        hidden + member * (ROWS * WIDTH) + rows[:, None] * WIDTH + units[None, :],
        h,
        mask=shown[:, None] & real[None, :],
    )
    if LAST:
        columns = tl.arange(0, OUTPUTS_)
        r = tl.load(
            readout + member * (OUTPUTS * WIDTH) + columns[None, :] * WIDTH + units[:, None],
            mask=(columns < COLUMNS)[None, :] & real[:, None],
            other=0.0,
        )
        rb = tl.load(readout_bias + member * OUTPUTS + columns, mask=columns < COLUMNS, other=0.0)
        read = tl.dot(h, r, input_precision=PRECISION) + rb[None, :]
        tl.store(
            output + member * (COLUMNS * ROWS) + columns[None, :] * ROWS + rows[:, None],
            read,
            mask=(columns < COLUMNS)[None, :] & shown[:, None],
        )


@triton.jit(do_not_specialize_on_alignment=PARAMETERS)
def _backward(  # type: ignore[no-untyped-def]
    inputs,
    by_row,
    by_column,
    hidden,
    arriving,
    below,
    weight,
    readout,
    to_weight,
    to_bias,
    to_readout,
    to_readout_bias,
    ROWS: tl.constexpr,
    INPUTS: tl.constexpr,
    WIDTH: tl.constexpr,
    OUTPUTS: tl.constexpr,
    COLUMNS: tl.constexpr,
    INPUTS_: tl.constexpr,
    WIDTH_: tl.constexpr,
    OUTPUTS_: tl.constexpr,
    TILE: tl.constexpr,
    FIRST: tl.constexpr,
    LAST: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One member's gradients of a layer's W and b, and at the h below it; of the last layer those of the readout too.

    `arriving` is the gradient at h, (E, rows, H), and for the last layer that at the output, (E, columns, rows).
    """
    member = tl.program_id(0).to(tl.int64)
    ins, units, columns = tl.arange(0, INPUTS_), tl.arange(0, WIDTH_), tl.arange(0, OUTPUTS_)
    real = units < WIDTH
    of_weight = tl.zeros([INPUTS_, WIDTH_], tl.float32)
    of_bias = tl.zeros([WIDTH_], tl.float32)
    if LAST:
        r = tl.load(
            readout + member * (OUTPUTS * WIDTH) + columns[:, None] * WIDTH + units[None, :],
            mask=(columns < COLUMNS)[:, None] & real[None, :],
            other=0.0,
        )
        of_readout = tl.zeros([OUTPUTS_, WIDTH_], tl.float32)
        of_readout_bias = tl.zeros([OUTPUTS_], tl.float32)
    if not FIRST:
        w = tl.load(
            weight + member * (INPUTS * WIDTH) + ins[None, :] * WIDTH + units[:, None],
            mask=(ins < INPUTS)[None, :] & real[:, None],
            other=0.0,
        )
    for start in range(0, ROWS, TILE):
        rows = start + tl.arange(0, TILE)
        shown = rows < ROWS
        here = shown[:, None] & real[None, :]
        h = tl.load(
            hidden + member * (ROWS * WIDTH) + rows[:, None] * WIDTH + units[None, :],
            mask=here,
            other=0.0,
        )
        if LAST:
            at_output = tl.load(
                arriving + member * (COLUMNS * ROWS) + columns[:, None] * ROWS + rows[None, :],
                mask=(columns < COLUMNS)[:, None] & shown[None, :],
                other=0.0,
            )
            of_readout = tl.dot(at_output, h, of_readout, input_precision=PRECISION)
            of_readout_bias += tl.sum(at_output, 1)
            at_hidden = tl.dot(tl.trans(at_output), r, input_precision=PRECISION)
        else:
            at_hidden = tl.load(
                arriving + member * (ROWS * WIDTH) + rows[:, None] * WIDTH + units[None, :],
                mask=here,
                other=0.0,
            )
        delta = tl.where(h <= 0, 0.0, at_hidden)
        x = tl.load(
            inputs + member * (ROWS * INPUTS) + rows[None, :] * by_row + ins[:, None] * by_column,
            mask=shown[None, :] & (ins < INPUTS)[:, None],
            other=0.0,
        )
        of_weight = tl.dot(x, delta, of_weight, input_precision=PRECISION)
        of_bias += tl.sum(delta, 0)
        if not FIRST:
            tl.store(
                below + member * (ROWS * INPUTS) + rows[:, None] * INPUTS + ins[None, :],
                tl.dot(delta, w, input_precision=PRECISION),
                mask=shown[:, None] & (ins < INPUTS)[None, :],
            )
    tl.store(
        to_weight + member * (INPUTS * WIDTH) + ins[:, None] * WIDTH + units[None, :],
        of_weight,
        mask=(ins < INPUTS)[:, None] & real[None, :],
    )
    tl.store(to_bias + member * WIDTH + units, of_bias, mask=real)
    if LAST:
        tl.store(
            to_readout + member * (OUTPUTS * WIDTH) + columns[:, None] * WIDTH + units[None, :],
            of_readout,
            mask=(columns < OUTPUTS)[:, None] & real[None, :],
        )
        tl.store(to_readout_bias + member * OUTPUTS + columns, of_readout_bias, mask=columns < OUTPUTS)


def forward(
    stack: Stack, inputs: Tensor, columns: int, precision: str = "tf32x3", tilings: Tilings = USUAL
) -> tuple[list[Tensor], Tensor]:
    """What `mlp.forward` finds of inputs (E, rows, inputs): each layer's h, (E, rows, H), and the output.

    A member's inputs must lie together, by rows or by columns; raises ValueError otherwise.
    """
    architecture, rows, layer_inputs = stack.architecture, inputs.shape[1], inputs
    output, tiling = inputs.new_empty(stack.members, columns, rows), tilings.forward
    tiles = triton.cdiv(rows, tiling.rows)
    found = []
    for layer in range(1, architecture.depth + 1):
        hidden = inputs.new_empty(stack.members, rows, architecture.width)
        _forward[(stack.members * tiles,)](
            layer_inputs,
            *_strides(layer_inputs),
            *(stack.views[f"hidden{layer}.{part}"] for part in ("weight", "bias")),
            *(stack.views[f"readout.{part}"] for part in ("weight", "bias")),
            hidden,
            output,
            **_sizes(architecture, layer_inputs, columns),
            TILE=tiling.rows,
            TILES=tiles,
            LAST=layer == architecture.depth,
            PRECISION=precision,
            num_warps=tiling.warps,
            num_stages=tiling.stages,
        )
        found.append(hidden)
        layer_inputs = hidden
    return found, output


def backward(
    stack: Stack,
    inputs: Tensor,
    hidden: list[Tensor],
    output_gradient: Tensor,
    gradient: Stack,
    precision: str = "tf32x3",
    tilings: Tilings = USUAL,
) -> None:
    """Write into `gradient` what `mlp.backward` does, from what `forward` found and the gradient at the output.

    Raises ValueError unless that, (E, columns, rows), is contiguous.
    """
    if not output_gradient.is_contiguous():
        raise ValueError(f"output_gradient has strides {output_gradient.stride()}; allowed: contiguous tensors")
    architecture, depth = stack.architecture, stack.architecture.depth
    arriving, columns = output_gradient, output_gradient.shape[1]
    for layer in range(depth, 0, -1):
        values = hidden[layer - 2] if layer > 1 else inputs
        tiling = tilings.above if layer > 1 else tilings.first
        below = torch.empty_like(values) if layer > 1 else values  # the first layer writes none
        _backward[(stack.members,)](
            values,
            *_strides(values),
            hidden[layer - 1],
            arriving,
            below,
            stack.views[f"hidden{layer}.weight"],
            stack.views["readout.weight"],
            *(gradient.views[f"hidden{layer}.{part}"] for part in ("weight", "bias")),
            *(gradient.views[f"readout.{part}"] for part in ("weight", "bias")),
            **_sizes(architecture, values, columns),
            TILE=tiling.rows,
            FIRST=layer == 1,
            LAST=layer == depth,
            PRECISION=precision,
            num_warps=tiling.warps,
            num_stages=tiling.stages,
        )
        arriving = below


def _strides(inputs: Tensor) -> tuple[int, int]:
    """How far apart rows and columns lie; a lone member's or row's own stride, which may be any, is not asked."""
    _, rows, columns = inputs.shape
    if inputs.is_contiguous():
        return columns, 1
    if inputs.mT.is_contiguous():
        return 1, rows
    raise ValueError(
        f"inputs have strides {inputs.stride()}; allowed: contiguous tensors, or contiguous and transposed"
    )


def _sizes(architecture: Architecture, inputs: Tensor, columns: int) -> dict[str, int]:
    """Sizes of a layer, and the powers of two from 16, which tensor cores need, that hold them."""
    sizes = {"INPUTS": inputs.shape[2], "WIDTH": architecture.width, "OUTPUTS": architecture.outputs}
    padded = {f"{name}_": max(16, triton.next_power_of_2(size)) for name, size in sizes.items()}
    return {"ROWS": inputs.shape[1], "COLUMNS": columns} | sizes | padded
