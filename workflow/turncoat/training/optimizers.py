"""Optimizers over the flat parameter buffer of a stack: one buffer, hence one kernel a step.

PyTorch's fused kernels are called directly: the first use of `torch.optim` costs a process over a second of imports.
Tests hold each to its `torch.optim` counterpart.
"""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

OPTIMIZERS = ("sgd", "momentum", "adam", "adamw")
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
MOMENTUM = 0.9
WEIGHT_DECAY = 0.01  # of adamw


class Optimizer(Protocol):
    """Moves a flat buffer; `state` holds its tensors, those per parameter laid out like the buffer.

    The learning rate is a number, or a scalar tensor on the buffer's device that is read when a step runs there.
    """

    state: dict[str, Tensor]
    learning_rate: float | Tensor

    def step(self, flat: Tensor, gradient: Tensor) -> None:
        """Move `flat` in place by one step along `gradient`."""


class Sgd:
    """Plain stochastic gradient descent."""

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate: float | Tensor = learning_rate
        self.state: dict[str, Tensor] = {}

    def step(self, flat: Tensor, gradient: Tensor) -> None:
        _move(flat, gradient, self.learning_rate)


class Momentum:
    """Gradient descent with heavy-ball momentum 0.9 (Polyak 1964), the gradient entering undamped."""

    def __init__(self, learning_rate: float, state: Mapping[str, Tensor]) -> None:
        self.learning_rate: float | Tensor = learning_rate
        self.state = {name: value.clone() for name, value in state.items()}

    def step(self, flat: Tensor, gradient: Tensor) -> None:
        _move(flat, self.state["mean"].mul_(MOMENTUM).add_(gradient), self.learning_rate)


class Adam:
    """Adam (Kingma and Ba 2015), betas 0.9 and `beta2`, epsilon 1e-8, with bias correction; with a `decay` above 0
    AdamW (Loshchilov and Hutter 2019), which shrinks weights by learning rate * decay a step."""

    def __init__(
        self, learning_rate: float, state: Mapping[str, Tensor], decay: float = 0.0, beta2: float = BETA2
    ) -> None:
        self.learning_rate: float | Tensor = learning_rate
        self.decay, self.beta2 = decay, beta2
        self.state = {name: value.clone() for name, value in state.items()}

    def step(self, flat: Tensor, gradient: Tensor) -> None:
        kernel = torch._fused_adamw_ if self.decay else torch._fused_adam_
        kernel(
            [flat],
            [gradient],
            [self.state["mean"]],
            [self.state["square"]],
            [],
            [self.state["steps"].add_(1)],
            lr=self.learning_rate,
            beta1=BETA1,
            beta2=self.beta2,
            weight_decay=self.decay,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )


def _move(flat: Tensor, direction: Tensor, rate: float | Tensor) -> None:
    if isinstance(rate, Tensor):
        flat.addcmul_(direction, rate, value=-1)
    else:
        flat.add_(direction, alpha=-rate)


def make_optimizer(
    name: str,
    flat: Tensor,
    learning_rate: float,
    state: Mapping[str, Tensor] | None = None,
    beta2: float = BETA2,
) -> Optimizer:
    """Make an optimizer of a stack's flat buffer, fresh, or going on from another's `state`.

    Adam's state is `mean` and `square`, running means of the gradient and its square, and `steps`, a count; that of
    momentum is `mean` alone, the decaying sum of gradients. `beta2` is read by adam and adamw alone.
    Raises ValueError on an unknown name.
    """
    if name == "sgd":
        return Sgd(learning_rate)
    if name == "momentum":
        return Momentum(learning_rate, state or {"mean": torch.zeros_like(flat)})
    if name in ("adam", "adamw"):
        fresh = {
            "mean": torch.zeros_like(flat),
            "square": torch.zeros_like(flat),
            "steps": torch.zeros((), device=flat.device),
        }
        return Adam(learning_rate, state or fresh, WEIGHT_DECAY if name == "adamw" else 0.0, beta2)
    raise ValueError(f"optimizer is {name!r}; allowed: {', '.join(OPTIMIZERS)}")
