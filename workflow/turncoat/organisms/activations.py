"""Activation functions and their exact slopes."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

LEAK = 0.01


@dataclass(frozen=True)
class Activation:
    """A function of the pre-activation z.

    value: h(z); slope: h'(z); pull: a gradient with respect to h turned into one with respect to z, g * h'(z), by
    PyTorch's own fused kernel where it has one that rounds a number alike wherever it stands; gain: the weight scale
    that keeps variance (He et al. 2015). Where a function has them, two that work in place, for a training step that
    stays in a cache: value_ writes h over z, if slope and pull read the same of h as of z; pull_ writes over the
    gradient.

    Gains solve E[h(gain * u)^2] = 1 for u ~ N(0, 1), so that weights of variance gain^2 / inputs hand on inputs of unit
    power as outputs of unit power: exactly 2^(1/2) for relu, (2/3)^(1/4) for relu_squared, 1.5588 for silu (by
    quadrature); gelu takes relu's. No gain does that for tanh, which stays below 1: there E[(gain * h(u))^2] = 1, which
    keeps pre-activations, not outputs, at unit variance.
    """

    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    pull: Callable[[Tensor, Tensor], Tensor]
    gain: float
    value_: Callable[[Tensor], Tensor] | None = None
    pull_: Callable[[Tensor, Tensor], Tensor] | None = None


def _gelu_slope(z: Tensor) -> Tensor:
    """Slope of z * Phi(z): Phi(z) + z * phi(z) (Hendrycks and Gimpel 2016)."""
    cumulative = 0.5 * (1 + torch.erf(z * math.sqrt(0.5)))
    density = torch.exp(-0.5 * z * z) * (1 / math.sqrt(2 * math.pi))
    return cumulative + z * density


def _sigmoid(z: Tensor) -> Tensor:
    """1 / (1 + exp(-z)). PyTorch's own sigmoid and silu kernels round the last few numbers of a tensor otherwise than
    the rest, and which those are depends on how many members train side by side; its exp does not. Below -87, where it
    is under 2e-38, it stands still: exp would overflow."""
    return (1 + torch.exp(-z.clamp_min(-87))).reciprocal()


def _silu_slope(z: Tensor) -> Tensor:
    """Slope of z * s(z), s the sigmoid: s + z * s * (1 - s) (Elfwing et al. 2018)."""
    share = _sigmoid(z)
    return share * (1 + z * (1 - share))


ACTIVATIONS = {
    "relu": Activation(
        torch.relu,
        lambda z: (z > 0).to(z.dtype),
        lambda gradient, z: torch.ops.aten.threshold_backward(gradient, z, 0),
        math.sqrt(2),
        torch.relu_,
        lambda gradient, z: torch.ops.aten.threshold_backward.grad_input(gradient, z, 0, grad_input=gradient),
    ),
    "leaky_relu": Activation(
        lambda z: torch.nn.functional.leaky_relu(z, LEAK),
        lambda z: torch.where(z > 0, 1.0, LEAK).to(z.dtype),
        lambda gradient, z: torch.ops.aten.leaky_relu_backward(gradient, z, LEAK, False),
        math.sqrt(2 / (1 + LEAK**2)),
        lambda z: torch.nn.functional.leaky_relu_(z, LEAK),
        lambda gradient, z: torch.ops.aten.leaky_relu_backward.grad_input(
            gradient, z, LEAK, False, grad_input=gradient
        ),
    ),
    "gelu": Activation(
        torch.nn.functional.gelu,
        _gelu_slope,
        torch.ops.aten.gelu_backward,
        math.sqrt(2),
    ),
    "silu": Activation(
        lambda z: z * _sigmoid(z),
        _silu_slope,
        lambda gradient, z: gradient * _silu_slope(z),
        1.5587599300694923,
    ),
    "relu_squared": Activation(
        lambda z: torch.relu(z).square(),
        lambda z: 2 * torch.relu(z),
        lambda gradient, z: gradient * (2 * torch.relu(z)),
        (2 / 3) ** 0.25,
    ),
    "tanh": Activation(
        torch.tanh,
        lambda z: 1 - torch.tanh(z).square(),
        lambda gradient, z: torch.ops.aten.tanh_backward(gradient, torch.tanh(z)),
        1.5925374197228321,
    ),
    "identity": Activation(lambda z: z, torch.ones_like, lambda gradient, z: gradient, 1.0),
}


def activation(name: str) -> Activation:
    """Look an activation up; raises ValueError naming those that exist."""
    if name not in ACTIVATIONS:
        raise ValueError(f"organism.activation is {name!r}; allowed: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]
