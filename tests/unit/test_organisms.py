"""Stacked networks: gradients against autograd, members that never mix."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from core import make_stack, make_world
from torch import Tensor

from turncoat.organisms.activations import ACTIVATIONS, activation
from turncoat.organisms.choices import agreement, all_finite, choices, chosen_option, option_scores
from turncoat.organisms.fingerprints import fingerprints
from turncoat.organisms.mlp import Stack, backward, forward

NAMES = list(ACTIVATIONS)


def double(stack: Stack) -> Stack:
    return stack.with_flat(stack.flat.double())


@pytest.mark.parametrize("name", NAMES)
def test_slope_and_pull_equal_autograd(name: str) -> None:
    function = activation(name)
    z = torch.linspace(-4, 4, 801, dtype=torch.float64)[1:].requires_grad_(True)
    upstream = torch.randn_like(z)
    (expected,) = torch.autograd.grad(function.value(z), z, upstream)
    assert torch.allclose(upstream * function.slope(z.detach()), expected, atol=1e-12)
    assert torch.allclose(function.pull(upstream, z.detach()), expected, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_of_pytorch(name: str) -> None:
    z = torch.linspace(-120, 120, 2401, dtype=torch.float64)
    theirs = {"identity": lambda z: z, "relu_squared": lambda z: torch.nn.functional.relu(z) ** 2}
    reference = theirs.get(name) or getattr(torch.nn.functional, name)
    assert torch.allclose(activation(name).value(z), reference(z), rtol=1e-12, atol=1e-30)
    assert torch.allclose(activation(name).value(z.float()), reference(z).float(), rtol=1e-5, atol=1e-6)
    assert activation(name).slope(z.float()).isfinite().all()


@pytest.mark.parametrize("name", ["silu", "relu_squared", "tanh"])
def test_a_number_is_rounded_alike_wherever_it_stands(name: str) -> None:
    """A vectorised kernel may treat a tensor's last few numbers apart; which they are depends on the neighbours."""
    function, z, gradient = activation(name), 3 * torch.randn(300), torch.randn(300)
    value, slope, pulled = function.value(z), function.slope(z), function.pull(gradient, z)
    for last in range(1, 300, 7):
        part = z[:last].clone()
        assert torch.equal(function.value(part), value[:last])
        assert torch.equal(function.slope(part), slope[:last])
        assert torch.equal(function.pull(gradient[:last].clone(), part), pulled[:last])


def normal_mean(function: Callable[[Tensor], Tensor], low: float = -12, high: float = 12) -> float:
    """Expectation over z ~ N(0, 1), of what lies between two bounds, by Gauss-Legendre quadrature."""
    points, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(2000))
    z = (high - low) / 2 * points + (high + low) / 2
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    return (function(z) * density * weights).sum().item() * (high - low) / 2


@pytest.mark.parametrize("name", [name for name in NAMES if name != "gelu"])
def test_the_gain_keeps_variance(name: str) -> None:
    function = activation(name)
    if name == "tanh":
        kept = normal_mean(lambda z: (function.gain * function.value(z)).square())
    else:
        kept = normal_mean(lambda z: function.value(function.gain * z).square())
    assert kept == pytest.approx(1, abs=1e-6)


def test_gelus_slope_reverses_and_what_its_negative_side_carries() -> None:
    function = activation("gelu")
    z = torch.linspace(-6, 0, 600_001, dtype=torch.float64)
    slope = function.slope(z)
    negative = z[slope < 0]
    assert negative.max().item() == pytest.approx(-0.7518, abs=5e-5)
    assert (slope[z < -0.7519] < 0).all() and (slope[z > -0.7517] > 0).all()
    assert slope.min().item() == pytest.approx(-0.1289, abs=5e-5)
    assert z[slope.argmin()].item() == pytest.approx(-math.sqrt(2), abs=1e-4)
    for part, share in ((function.slope, 0.051), (function.value, 0.019)):
        power = lambda z, part=part: part(z).square()  # noqa: E731
        assert normal_mean(power, high=0) / normal_mean(power) == pytest.approx(share, abs=5e-4)


def test_an_unknown_activation_is_refused() -> None:
    with pytest.raises(ValueError, match="allowed: relu"):
        activation("swoosh")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("depth", "columns"), [(1, 2), (2, 2), (3, 7), (2, 8)])
def test_backward_equals_autograd_in_float64(name: str, depth: int, columns: int) -> None:
    world = make_world()
    stack = double(make_stack(world, [1, 2, 3], name, depth=depth))
    inputs = torch.randn(3, 30, world.input_width, dtype=torch.float64)
    upstream = torch.randn(3, columns, 30, dtype=torch.float64)
    gradient = stack.with_flat(torch.full_like(stack.flat, torch.nan))
    gradient.flat[3 * stack.architecture.parameters :] = 0  # padding
    trace = forward(stack, inputs, columns)
    deltas = backward(stack, trace, upstream, gradient)

    leaf = stack.flat.clone().requires_grad_(True)
    twin = forward(stack.with_flat(leaf), inputs, columns)
    wanted = torch.autograd.grad((twin.output * upstream).sum(), [leaf, *twin.before])
    assert torch.allclose(gradient.flat, wanted[0], atol=1e-12)
    for delta, expected in zip(deltas, wanted[1:], strict=True):
        assert torch.allclose(delta, expected, atol=1e-12)


def test_forward_equals_each_network_alone() -> None:
    world = make_world()
    stack = double(make_stack(world, [1, 2], "gelu"))
    inputs = torch.randn(2, 9, world.input_width, dtype=torch.float64)
    output = forward(stack, inputs, 8).output
    for member in range(2):
        hidden = inputs[member]
        for layer in ("hidden1", "hidden2"):
            weight, bias = stack.views[f"{layer}.weight"][member], stack.views[f"{layer}.bias"][member]
            hidden = torch.nn.functional.gelu(hidden @ weight + bias)
        expected = stack.views["readout.weight"][member] @ hidden.T + stack.views["readout.bias"][member, :, None]
        assert torch.allclose(output[member], expected, atol=1e-12)


def test_rows_and_views_hold_the_same_numbers() -> None:
    stack = make_stack(make_world(), [1, 2, 3])
    rows = stack.rows()
    again = Stack.from_rows(stack.architecture, rows)
    assert torch.equal(again.flat, stack.flat)
    assert rows.shape == (3, stack.architecture.parameters)
    assert all(view.is_contiguous() for view in stack.views.values())


def test_initial_weights_depend_on_the_seed_alone_and_keep_variance() -> None:
    world = make_world()
    assert fingerprints(make_stack(world, [4, 5]))[1] == fingerprints(make_stack(world, [5]))[0]
    assert len(set(fingerprints(make_stack(world, [4, 5])))) == 2
    wide = make_stack(world, list(range(20)), width=200)
    inputs = torch.randn(20, 50, world.input_width)
    inputs *= world.input_power**0.5 / inputs.norm(dim=-1, keepdim=True)
    trace = forward(wide, inputs)
    for z in trace.before:
        assert z.square().mean().item() == pytest.approx(2.0, rel=0.1)


def test_fingerprints_see_one_changed_bit() -> None:
    stack = make_stack(make_world(), [1, 2])
    before = fingerprints(stack)
    stack.views["readout.bias"][1, -1] += 1e-7
    after = fingerprints(stack)
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_choices_are_of_the_highest_score_and_missing_where_not_finite() -> None:
    world = make_world()
    stack = make_stack(world, [1, 2])
    inputs = torch.randn(2, 3, 40, world.input_width)
    assert torch.equal(choices(stack, inputs), option_scores(stack, inputs).argmax(1))
    stack.views["hidden1.weight"][1, 0, 0] = torch.nan
    broken = choices(stack, inputs)
    assert (broken[0] >= 0).all()
    assert (broken[1] == -1).all()
    assert agreement(broken, torch.zeros_like(broken))[1] == 0


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
def test_one_value_that_is_not_finite_is_seen_wherever_it_stands(value: float) -> None:
    plain = torch.randn(3, 2, 5, generator=torch.Generator().manual_seed(1)) * 1e38
    for place in range(plain.numel()):
        scores = plain.clone()
        scores.view(-1)[place] = value
        assert torch.equal(all_finite(scores, 1, 2), scores.isfinite().all(-1).all(-1))
        assert torch.equal(all_finite(scores, -2), scores.isfinite().all(-2))
        chosen = chosen_option(scores)
        assert torch.equal(chosen >= 0, scores.isfinite().all(1)) and int((chosen < 0).sum()) == 1
        assert torch.equal(chosen[chosen >= 0], plain.argmax(1)[chosen >= 0])
    assert torch.equal(chosen_option(torch.zeros(1, 3, 4)), torch.zeros(1, 4, dtype=torch.int64))
