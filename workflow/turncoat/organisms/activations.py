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
    PyTorch's own fused kernel; gain: the weight scale that keeps variance (He et al. 2015). Where a function
    has them, two that work in place, for a training step that stays in a cache: value_ writes h over z, if slope and
    pull read the same of h as of z; pull_ writes over the gradient.
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
    "identity": Activation(lambda z: z, torch.ones_like, lambda gradient, z: gradient, 1.0),
}


def activation(name: str) -> Activation:
    """Look an activation up; raises ValueError naming those that exist."""
    if name not in ACTIVATIONS:
        raise ValueError(f"organism.activation is {name!r}; allowed: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]
