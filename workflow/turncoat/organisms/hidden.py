"""What causal tests and the gating probe ask of an organism, whatever its family: its hidden states, read and written,
and the gradients that pass its hidden units."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from turncoat.organisms.activations import activation
from turncoat.organisms.gates import NATURAL, GateControl, gated_backward_of
from turncoat.organisms.mlp import SCORE_COLUMNS, Stack, backward, forward

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


@dataclass(frozen=True)
class Flow:
    """What a forward and a backward pass leave; each list has one entry a hidden layer, first layer first.

    A row is one option of one episode, R = N * B of them, options outermost. inputs: what the layer's weights multiply,
    (E, R, I); before: z, (E, R, H); values: h; deltas: the gradient at z; behind: the gradient at each of the O sums
    that its outgoing weights enter, (E, R, O), or at the first few of them where that at all others is 0; gradient: of
    all parameters, laid out like those; trained: the gradient that training takes instead, under gate control.
    """

    inputs: list[Tensor]
    before: list[Tensor]
    values: list[Tensor]
    deltas: list[Tensor]
    behind: list[Tensor]
    gradient: Tensor
    trained: Tensor


@dataclass(frozen=True)
class UnitWeights:
    """The part of a parameter-shaped buffer that belongs to the H units of a layer.

    incoming: (E, I, H); bias: (E, H); outgoing: (E, H, O), of which the first `scoring` lead on to the options' scores.
    """

    incoming: Tensor
    bias: Tensor
    outgoing: Tensor
    scoring: int


class HiddenUnits(Protocol):
    """E organisms whose hidden units can be followed forward and backward. Layers are counted from 1."""

    @property
    def members(self) -> int:
        """Organisms, E."""

    @property
    def layers(self) -> int:
        """Hidden layers."""

    @property
    def parameters(self) -> Tensor:
        """All parameters as one flat buffer, which an optimizer moves."""

    def output(self, inputs: Tensor, parameters: Tensor) -> Tensor:
        """Output (E, columns, R), the options' scores first, for inputs (E, N, B, F) with these parameters."""

    def flow(
        self,
        inputs: Tensor,
        output_gradient: Callable[[Tensor], Tensor],
        gate: GateControl = NATURAL,
        seeds: Sequence[int] = (),
    ) -> Flow:
        """Both passes on inputs (E, N, B, F); `output_gradient` makes the gradient at the output, (E, columns, R), of
        the output. `gate` is the control under which `trained` is taken, with rows shuffled by the members' `seeds`."""

    def weights(self, layer: int, flat: Tensor) -> UnitWeights:
        """What a buffer laid out like the parameters holds of a layer's units."""

    def slope(self, before: Tensor) -> Tensor:
        """Derivative of the activation function at z."""


class StackStates(HiddenStates):
    """The hidden states and units of a stack of networks."""

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

    @property
    def parameters(self) -> Tensor:
        """The stack's flat buffer."""
        return self.stack.flat

    def output(self, inputs: Tensor, parameters: Tensor) -> Tensor:
        """Output (E, columns, R) for inputs (E, N, B, F) with these parameters."""
        return forward(self.stack.with_flat(parameters), inputs.flatten(1, 2)).output

    def flow(
        self,
        inputs: Tensor,
        output_gradient: Callable[[Tensor], Tensor],
        gate: GateControl = NATURAL,
        seeds: Sequence[int] = (),
    ) -> Flow:
        """Both passes on inputs (E, N, B, F)."""
        trace = forward(self.stack, inputs.flatten(1, 2))
        arriving = output_gradient(trace.output)
        gradient = self.stack.with_flat(torch.zeros_like(self.stack.flat))
        deltas = backward(self.stack, trace, arriving, gradient)
        trained = gradient
        gated = gated_backward_of(gate, seeds, self.stack, "ledger gate shuffle")
        if gated is not None:
            trained = self.stack.with_flat(torch.zeros_like(self.stack.flat))
            gated(self.stack, trace, arriving, trained)
        behind = [*deltas[1:], arriving.transpose(1, 2)]
        return Flow(trace.values[:-1], trace.before, trace.values[1:], deltas, behind, gradient.flat, trained.flat)

    def weights(self, layer: int, flat: Tensor) -> UnitWeights:
        """What a buffer laid out like the stack's holds of a layer's units."""
        parts = self.stack.view(flat)
        incoming, bias = parts[f"hidden{layer}.weight"], parts[f"hidden{layer}.bias"]
        if layer == self.layers:
            return UnitWeights(incoming, bias, parts["readout.weight"].transpose(1, 2), 1)
        outgoing = parts[f"hidden{layer + 1}.weight"]
        return UnitWeights(incoming, bias, outgoing, outgoing.shape[2])

    def slope(self, before: Tensor) -> Tensor:
        """Derivative of the activation function at z."""
        return activation(self.stack.architecture.activation).slope(before)

    def _before(self, layer: int, values: Tensor) -> Tensor:
        """Pre-activations of a layer above the first, (E, rows, H), from h of the layer below."""
        weight, bias = (self.stack.views[f"hidden{layer}.{part}"] for part in ("weight", "bias"))
        return torch.baddbmm(bias.unsqueeze(1), values, weight)


def hidden_states(stack: Stack) -> HiddenStates:
    """The hidden states of a stack of networks."""
    return StackStates(stack)


def hidden_units(stack: Stack) -> HiddenUnits:
    """The hidden units of a stack of networks."""
    return StackStates(stack)
