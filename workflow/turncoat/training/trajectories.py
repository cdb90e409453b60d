"""What training leaves behind."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

COURSES = ("loss", "capability", "cross_entropy", "update_norm", "displacement")


@dataclass(frozen=True)
class Trajectory:
    """What training left behind, for E members.

    snapshots: steps (K), each with weights (K, E, parameters). checks: steps (C), each with loss, capability and
    cross-entropy on held-out episodes, norm of the last update and distance from the start, all (C, E); loss and update
    are NaN at step 0. diverged_step: the step at which each member was found to have diverged, -1 for sound ones, (E,).
    optimizer_state: the optimizer's tensors after the last step, those per parameter as (E, parameters).
    """

    snapshots: list[int]
    weights: Tensor
    checks: list[int]
    loss: Tensor
    capability: Tensor
    cross_entropy: Tensor
    update_norm: Tensor
    displacement: Tensor
    diverged_step: Tensor
    optimizer_state: dict[str, Tensor]


def join(parts: Sequence[Trajectory]) -> Trajectory:
    """Put the chunks of one block side by side."""
    first = parts[0]

    def across(name: str) -> Tensor:
        return torch.cat([getattr(part, name) for part in parts], dim=1)

    state = {
        name: torch.cat([part.optimizer_state[name] for part in parts]) if value.ndim else value
        for name, value in first.optimizer_state.items()
    }
    loss, capability, cross_entropy, update_norm, displacement = (across(name) for name in COURSES)
    return Trajectory(
        first.snapshots,
        across("weights"),
        first.checks,
        loss,
        capability,
        cross_entropy,
        update_norm,
        displacement,
        torch.cat([part.diverged_step for part in parts]),
        state,
    )


def on_host(trajectory: Trajectory) -> Trajectory:
    """The same trajectory in the host's memory, which leaves the device's to the next chunk."""
    found: dict[str, Any] = {name: value.cpu() for name, value in vars(trajectory).items() if isinstance(value, Tensor)}
    state = {name: value.cpu() for name, value in trajectory.optimizer_state.items()}
    return replace(trajectory, optimizer_state=state, **found)
