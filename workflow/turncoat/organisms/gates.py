"""Gate control: what a unit's slope is taken to be in the backward pass, while the forward pass stays as it is.

Where a is the gradient that arrives at a unit's output h = phi(z), the natural backward pass forms delta = a * phi'(z),
takes the gradient of the unit's incoming weights and bias from it and hands it back. Gate control changes one of these
parts, so that what the gate does to learning can be told from what it does to the output. The straight-through
estimator of Bengio et al. (2013) is `open_propagating`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from turncoat.organisms.activations import activation
from turncoat.organisms.mlp import Stack, Trace, backward
from turncoat.seeding import generator

MODES = ("natural", "open_in", "open_propagating", "open_out", "closed", "shuffled")


@dataclass(frozen=True)
class GateControl:
    """Which slopes the backward pass takes.

    mode, for every hidden unit:
    - natural: delta = a * phi'(z), used for the unit's own incoming weights and bias and passed back.
    - open_in: its own incoming weights and bias get slope 1 (delta = a); what passes back stays natural.
    - open_propagating: slope 1 for both.
    - open_out: its outgoing weights' gradient takes z in place of h where z <= 0, what the unit would emit if its gate
      were open; all else natural. A surrogate: no network whose units emitted that would have the same loss.
    - closed: slope 0 where z < 0, for both.
    - shuffled: its own incoming weights and bias get its slopes permuted over the rows, so that the same share of rows
      is open, unrelated to what they show; what passes back stays natural. The control of open_in.
    norm_matched: each member's gradient of each parameter tensor is rescaled to the norm of its natural gradient; where
    either norm is zero it is zero.
    Raises ValueError on an unknown mode.
    """

    mode: str = "natural"
    norm_matched: bool = True

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"gate is {self.mode!r}; allowed: {', '.join(MODES)}")

    @classmethod
    def from_settings(cls, training: Mapping[str, Any]) -> "GateControl":
        """Read the `training` section of a cell's settings, which says nothing of a natural gate."""
        return cls(training.get("gate", "natural"), training.get("gate_norm_matched", True))


NATURAL = GateControl()


class GatedBackward:
    """The backward pass of a stack whose members have these seeds, under gate control; it counts its calls as steps.

    Rows are permuted in mode `shuffled` by generator(seed, purpose, step), steps from 1, which draws one permutation
    per layer, shared by the layer's units, first layer first.
    """

    def __init__(self, control: GateControl, seeds: Sequence[int], purpose: str) -> None:
        self.control, self.seeds, self.purpose = control, seeds, purpose
        self.step = 0

    def __call__(self, stack: Stack, trace: Trace, output_gradient: Tensor, gradient: Stack) -> None:
        """Write every parameter's gradient into the views of `gradient`; arguments as those of `mlp.backward`."""
        self.step += 1
        shuffles = None
        if self.control.mode == "shuffled":
            shuffles = row_shuffles(self.seeds, self.purpose, self.step, trace)
        gated_backward(stack, trace, output_gradient, gradient, self.control, shuffles)


def gated_backward_of(
    control: GateControl, seeds: Sequence[int], stack: Stack, purpose: str = "gate shuffle"
) -> GatedBackward | None:
    """The backward pass that `control` asks for, None for the plain one.

    Raises ValueError where mode `shuffled` is not given one seed per member.
    """
    if control.mode == "natural":
        return None
    if control.mode == "shuffled" and len(seeds) != stack.members:
        raise ValueError(f"seeds are {len(seeds)}; allowed with gate 'shuffled': {stack.members}, one per member")
    return GatedBackward(control, seeds, purpose)


def row_shuffles(seeds: Sequence[int], purpose: str, step: int, trace: Trace) -> list[Tensor]:
    """One permutation of the rows per layer and member, (E, rows) each, first layer first."""
    rows = trace.values[0].shape[1]
    randoms = [generator(seed, purpose, step) for seed in seeds]
    layers = [np.stack([random.permutation(rows) for random in randoms]) for _ in trace.before]
    return [torch.from_numpy(layer).to(trace.values[0].device) for layer in layers]


def gated_backward(
    stack: Stack,
    trace: Trace,
    output_gradient: Tensor,
    gradient: Stack,
    control: GateControl,
    shuffles: Sequence[Tensor] | None = None,
) -> None:
    """Write every parameter's gradient under gate control into the views of `gradient`.

    Arguments as those of `mlp.backward`; `shuffles` (one (E, rows) per layer) are read in mode `shuffled`, which raises
    ValueError without them. The trace is left as it is. Raises ValueError where its h were written over its z, which
    the plain backward pass can do without.
    """
    mode = control.mode
    overwritten = any(z.data_ptr() == h.data_ptr() for z, h in zip(trace.before, trace.values[1:], strict=True))
    if overwritten and stack.architecture.activation != "identity":
        raise ValueError("the trace holds h in place of z; needed with gate control: both")
    if mode == "shuffled" and shuffles is None:
        raise ValueError("shuffles is None; needed with gate 'shuffled': a permutation of the rows per layer")
    backward(stack, trace, output_gradient, gradient)
    if mode == "natural":
        return
    natural = {name: _norms(part) for name, part in gradient.views.items()} if control.norm_matched else {}
    architecture, views, parts = stack.architecture, stack.views, gradient.views
    pull = activation(architecture.activation).pull
    columns = output_gradient.shape[1]
    emitted = [trace.values[0], *(_emitted(z, h, mode) for z, h in zip(trace.before, trace.values[1:], strict=True))]
    parts["readout.weight"][:, :columns] = output_gradient @ emitted[-1]
    arriving = output_gradient.transpose(1, 2) @ views["readout.weight"][:, :columns]
    for layer in range(architecture.depth, 0, -1):
        z = trace.before[layer - 1]
        passed = arriving if mode == "open_propagating" else pull(arriving, z)
        if mode == "closed":
            passed = torch.where(z < 0, 0, passed)
        own = passed
        if mode == "open_in":
            own = arriving
        elif mode == "shuffled" and shuffles is not None:
            own = pull(arriving, z.gather(1, shuffles[layer - 1].unsqueeze(2).expand_as(z)))
        torch.bmm(emitted[layer - 1].transpose(1, 2), own, out=parts[f"hidden{layer}.weight"])
        torch.sum(own, 1, out=parts[f"hidden{layer}.bias"])
        if layer > 1:
            arriving = passed @ views[f"hidden{layer}.weight"].transpose(1, 2)
    for name, wanted in natural.items():
        found = _norms(parts[name])
        scale = torch.where(found > 0, wanted / found, 0).to(parts[name].dtype)
        parts[name].mul_(scale.view(-1, *[1] * (parts[name].dim() - 1)))


def _emitted(z: Tensor, h: Tensor, mode: str) -> Tensor:
    """What outgoing weights are taken to receive."""
    return torch.where(z > 0, h, z) if mode == "open_out" else h


def _norms(part: Tensor) -> Tensor:
    """Each member's norm, (E,), in float64. Summed over one axis at a time: a lone member's sum over everything at once
    would be split between threads, and round otherwise than beside others."""
    squares = part.double().square()
    while squares.dim() > 1:
        squares = squares.sum(-1)
    return squares.sqrt()
