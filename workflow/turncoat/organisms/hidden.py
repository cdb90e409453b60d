"""Hidden states of organisms, read and written: all that a causal test asks of an organism, whatever its family."""

from typing import Protocol

import torch
from torch import Tensor

from turncoat.organisms.activations import activation
from turncoat.organisms.mlp import SCORE_COLUMNS, Stack, forward

CHUNK = 2**17  # hidden numbers moved at once, half a mebibyte: they stay in a core's cache


class HiddenStates(Protocol):
    """E organisms whose hidden states can be read and replaced. Layers are counted from 1.

    A family that inherits from this class must give all but `run_on_moved`.
    """

    @property
    def members(self) -> int:
        """Organisms, E."""

    @property
    def layers(self) -> int:
        """Hidden layers."""

    def member(self, index: int) -> "HiddenStates":
        """One organism alone, as E = 1."""

    def read(self, inputs: Tensor) -> list[Tensor]:
        """Each layer's activations h, first layer first, (E, N, B, H), for inputs (E, N, B, F)."""

    def run_on(self, layer: int, states: Tensor) -> Tensor:
        """Scores (E, ...) of the options whose h in this layer is `states`, (E, ..., H)."""

    def run_on_moved(self, layer: int, states: Tensor, directions: Tensor, amounts: Tensor) -> Tensor:
        """Scores (E, K, N, B) once h, (E, N, B, H), is moved by amounts (E, K, N, B) of K directions (E, K, H)."""
        moves = (
            amount.unsqueeze(-1) * direction[:, None, None]
            for amount, direction in zip(amounts.unbind(1), directions.unbind(1), strict=True)
        )
        return torch.stack([self.run_on(layer, states + move) for move in moves], dim=1)


class StackStates(HiddenStates):
    """The hidden states of a stack of networks."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.function = activation(stack.architecture.activation).value

    @property
    def members(self) -> int:
        """Organisms, E."""
        return self.stack.members

    @property
    def layers(self) -> int:
        """Hidden layers."""
        return self.stack.architecture.depth

    def member(self, index: int) -> "StackStates":
        """One network alone. Its parameters are copied, so that they lie in memory alike wherever it stood."""
        row = torch.cat([view[index].flatten() for view in self.stack.views.values()])
        return StackStates(Stack.from_rows(self.stack.architecture, row.unsqueeze(0)))

    def read(self, inputs: Tensor) -> list[Tensor]:
        """Each layer's activations h, first layer first, (E, N, B, H), for inputs (E, N, B, F)."""
        trace = forward(self.stack, inputs.flatten(1, 2))
        return [values.unflatten(1, inputs.shape[1:3]) for values in trace.values[1:]]

    def run_on(self, layer: int, states: Tensor) -> Tensor:
        """Scores (E, ...) from h of this layer, (E, ..., H); raises ValueError for a layer that there is not."""
        if not 1 <= layer <= self.layers:
            raise ValueError(f"layer is {layer}; allowed: 1 to {self.layers}")
        values = states.flatten(1, -2)
        for above in range(layer + 1, self.layers + 1):
            values = self.function(self._before(above, values))
        weight, bias = (self.stack.views[f"readout.{part}"][:, :SCORE_COLUMNS] for part in ("weight", "bias"))
        output = torch.baddbmm(bias.unsqueeze(2), weight, values.transpose(1, 2))
        return output[:, 0].reshape(states.shape[:-1])

    def run_on_moved(self, layer: int, states: Tensor, directions: Tensor, amounts: Tensor) -> Tensor:
        """As the general one, but what reads h is linear in it, so its result is moved instead: no product for each
        direction."""
        if layer == self.layers:
            effect = directions @ self.stack.views["readout.weight"][:, 0].unsqueeze(2)
            return torch.addcmul(self.run_on(layer, states).unsqueeze(1), effect.unsqueeze(3), amounts)
        effect = directions @ self.stack.views[f"hidden{layer + 1}.weight"]
        # Options last: long runs of numbers are then moved alike.
        before = self._before(layer + 1, states.flatten(1, 2)).mT.contiguous().unsqueeze(1)
        size = max(1, CHUNK // before.numel())
        scores = []
        for amount, step in zip(amounts.flatten(2).split(size, dim=1), effect.split(size, dim=1), strict=True):
            moved = torch.addcmul(before, step.unsqueeze(3), amount.unsqueeze(2))
            scores.append(self._run_up(layer + 1, moved))
        return torch.cat(scores, dim=1).unflatten(2, states.shape[1:3])

    def _run_up(self, layer: int, before: Tensor) -> Tensor:
        """Scores (E, K, rows) from this layer's z, (E, K, H, rows), which may be written over."""
        values = before.relu_() if self.function is torch.relu else self.function(before)
        for above in range(layer + 1, self.layers + 1):
            weight, bias = (self.stack.views[f"hidden{above}.{part}"] for part in ("weight", "bias"))
            values = self.function(weight.mT.unsqueeze(1) @ values + bias[:, None, :, None])
        weight, bias = (self.stack.views[f"readout.{part}"][:, None, :SCORE_COLUMNS] for part in ("weight", "bias"))
        return (weight @ values)[:, :, 0] + bias[..., :1]

    def _before(self, layer: int, values: Tensor) -> Tensor:
        """Pre-activations of a layer above the first, (E, rows, H), from h of the layer below."""
        weight, bias = (self.stack.views[f"hidden{layer}.{part}"] for part in ("weight", "bias"))
        return torch.baddbmm(bias.unsqueeze(1), values, weight)


def hidden_states(stack: Stack) -> HiddenStates:
    """The hidden states of a stack of networks."""
    return StackStates(stack)
