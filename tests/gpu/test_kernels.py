"""The kernels of relu networks on a GPU, against the networks' own passes in float64."""

import pytest
import torch
from common import CPU, CUDA

from turncoat.organisms.mlp import Architecture, Stack, Trace, backward, forward
from turncoat.training.device_steps import FAST, KERNELS, PLAIN, Mode, default_mode

SHAPES = [(256, 60, 64, 2, 7, 4), (37, 60, 48, 3, 2, 1), (6, 5, 8, 1, 3, 4)]
CASES = [(SHAPES[0], "tf32x3"), (SHAPES[0], "ieee"), (SHAPES[0], "tf32"), (SHAPES[1], "tf32x3"), (SHAPES[2], "tf32x3")]
# Rounding of float32 sums of 256 products; TF32 has 10 bits.
CLOSE = {"tf32x3": 2e-5, "ieee": 5e-6, "tf32": 5e-3}


def make_case(shape: tuple[int, ...], members: int) -> tuple[Stack, torch.Tensor, torch.Tensor]:
    """A stack, inputs stored (E, inputs, rows), and a gradient at the output."""
    rows, inputs, width, depth, columns, attributes = shape
    random = torch.Generator().manual_seed(3)
    architecture = Architecture(inputs, width, depth, "relu", attributes)
    weights = torch.randn(members, architecture.parameters, generator=random) * width**-0.5
    shown = torch.randn(members, inputs, rows, generator=random).to(CUDA).transpose(1, 2)
    at_output = torch.randn(members, columns, rows, generator=random)
    return Stack.from_rows(architecture, weights.to(CUDA)), shown, at_output.to(CUDA)


@pytest.mark.parametrize(("shape", "precision"), CASES)
def test_both_passes_are_those_of_the_networks(shape: tuple[int, ...], precision: str) -> None:
    from turncoat.organisms import relu_kernels

    stack, shown, at_output = make_case(shape, 5)
    hidden, output = relu_kernels.forward(stack, shown, at_output.shape[1], precision)
    found = stack.with_flat(torch.full_like(stack.flat, 9.0))
    relu_kernels.backward(stack, shown, hidden, at_output, found, precision)

    exact = stack.with_flat(stack.flat.double())
    trace = forward(exact, shown.double(), at_output.shape[1])
    expected = exact.with_flat(torch.full_like(exact.flat, 9.0))
    values = [one.double() for one in hidden]  # a unit whose z is 0 but for rounding is on or off as it was found
    backward(exact, Trace([shown.double(), *values], values, trace.output), at_output.double(), expected)
    pairs = {name: (found.views[name], expected.views[name]) for name in found.views}
    pairs |= {"output": (output, trace.output), "h": (hidden[-1], trace.values[-1])}
    apart = {name: float((a - b).abs().max() / b.abs().max()) for name, (a, b) in pairs.items()}
    assert max(apart.values()) < CLOSE[precision], apart
    if precision == "tf32":  # another precision was indeed used
        assert max(apart.values()) > CLOSE["tf32x3"], apart


def test_a_member_does_not_depend_on_its_chunk() -> None:
    """Nor on where its parameters lie: among 7 members they are not aligned as among 64 are."""
    from turncoat.organisms import relu_kernels

    stack, shown, at_output = make_case((256, 33, 50, 2, 5, 2), 64)
    found = []
    for count in (64, 7, 1):
        part = stack.part(0, count)
        given = shown[:count]
        hidden, output = relu_kernels.forward(part, given, 5)
        gradient = part.with_flat(torch.zeros_like(part.flat))
        relu_kernels.backward(part, given, hidden, at_output[:count], gradient)
        found.append((gradient.rows()[0], output[0]))
    for alone in found[1:]:
        assert all(torch.equal(one, other) for one, other in zip(found[0], alone, strict=True))


def test_what_is_no_number_stays_so() -> None:
    from turncoat.organisms import relu_kernels

    stack, shown, at_output = make_case(SHAPES[0], 3)
    stack.views["hidden1.bias"][1, 0] = torch.nan
    hidden, output = relu_kernels.forward(stack, shown, 7)
    gradient = stack.with_flat(torch.zeros_like(stack.flat))
    relu_kernels.backward(stack, shown, hidden, at_output, gradient)
    assert output.isfinite().all((1, 2)).tolist() == [True, False, True]
    assert gradient.rows().isfinite().all(1).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("inputs", "width", "activation", "mode"),
    [(60, 64, "relu", KERNELS), (60, 65, "relu", FAST), (65, 64, "relu", FAST), (60, 64, "gelu", FAST)],
)
def test_shape_and_activation_say_what_trains(inputs: int, width: int, activation: str, mode: Mode) -> None:
    architecture = Architecture(inputs, width, 2, activation, 4)
    assert default_mode(CUDA, architecture) == mode
    assert default_mode(CPU, architecture) == PLAIN
