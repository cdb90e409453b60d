"""Stacked networks: gradients against autograd, members that never mix."""

import pytest
import torch
from core import make_stack, make_world

from turncoat.organisms.activations import ACTIVATIONS, activation
from turncoat.organisms.choices import agreement, choices, option_scores
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
