"""Motive gains: how much a network's scores follow X and M in one cue state, and through which units.

The motive vector is the least-squares fit of the option scores, centred within each episode, on the centred attributes.
It is linear in the scores, and scores are linear in the last layer's units, so it splits over those units exactly.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from turncoat.organisms.mlp import Stack, forward
from turncoat.worlds.objectives import OBJECTIVES


@dataclass(frozen=True)
class Gains:
    """Gains of E members at P prompts, float64.

    vectors: (E, P, d) motive vectors; units: (E, P, 2, W), the part of the gain of X and of M that each unit of the
    last layer hands on; its sum over units is the gain.
    """

    vectors: Tensor
    units: Tensor
    objectives: Tensor

    @property
    def x(self) -> Tensor:
        """Inner product of the motive vector with X, (E, P)."""
        return self._along("x")

    @property
    def m(self) -> Tensor:
        """Inner product of the motive vector with M, (E, P)."""
        return self._along("m")

    def _along(self, name: str) -> Tensor:
        return (self.vectors * self.objectives[:, None, OBJECTIVES.index(name)].double()).sum(-1)


@dataclass(frozen=True)
class HeldOut:
    """Episodes that gains are measured on: attributes (E, N, B, d) and, by prompt, inputs (E, N, B, F)."""

    attributes: Tensor
    inputs: Mapping[float, Tensor]


def measure_gains(stack: Stack, held_out: HeldOut, objectives: Tensor) -> Gains:
    """Gains of every member at every prompt, in the order of `held_out.inputs`; objectives are (E, 4, d).

    Members are measured one by one, so that none depends on how many there are.
    Raises ValueError where the episodes do not tell the attributes apart.
    """
    parts = [
        _member_gains(stack.part(member, member + 1), held_out, objectives, member) for member in range(stack.members)
    ]
    vectors, units = (torch.stack(part) for part in zip(*parts, strict=True))
    return Gains(vectors, units, objectives)


def least_squares(attributes: Tensor) -> Tensor:
    """The map from scores (N * B) to the motive vector, (d, N * B), for attributes (N, B, d).

    Scores need not be centred: an episode's constant meets attributes whose mean is zero.
    Raises ValueError where the episodes do not tell the attributes apart.
    """
    centred = attributes.double()
    rows = (centred - centred.mean(0, keepdim=True)).flatten(0, 1)
    if int(torch.linalg.matrix_rank(rows)) < rows.shape[1]:
        raise ValueError(f"{rows.shape[0]} options do not tell {rows.shape[1]} attributes apart; allowed: more episodes")
    return torch.linalg.solve(rows.T @ rows, rows.T)


def _member_gains(lone: Stack, held_out: HeldOut, objectives: Tensor, member: int) -> tuple[Tensor, Tensor]:
    fit = least_squares(held_out.attributes[member])
    readout = lone.views["readout.weight"][0, 0].double()
    wanted = objectives[member, [OBJECTIVES.index("x"), OBJECTIVES.index("m")]].double()
    vectors, units = [], []
    for inputs in held_out.inputs.values():
        states = forward(lone, inputs[member : member + 1].flatten(1, 2)).values[-1][0].double()
        parts = (fit @ states) * readout
        vectors.append(parts.sum(1))
        units.append(wanted @ parts)
    return torch.stack(vectors), torch.stack(units)


def neutral_share(x: Tensor, m: Tensor) -> Tensor:
    """X's part of the motive, gain_x / (|gain_x| + |gain_m|): 1 X alone, 0 M alone, negative against X."""
    return x / (x.abs() + m.abs())


def rotation(before: Tensor, after: Tensor) -> Tensor:
    """Angle in degrees between vectors (..., d); by its half's tangent, which small angles do not spoil (Kahan)."""
    first, second = (torch.nn.functional.normalize(vector, dim=-1) for vector in (before, after))
    half = torch.atan2((first - second).norm(dim=-1), (first + second).norm(dim=-1))
    return torch.rad2deg(2 * half)
