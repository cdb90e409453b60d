"""Motive gains: how much a network's scores follow X and M in one cue state, and through which units.

The motive vector is the least-squares fit of the option scores, centred within each episode, on the centred attributes.
It is linear in the scores, and scores are linear in the last layer's units, so it splits over those units exactly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from turncoat.organisms.mlp import Stack, forward
from turncoat.worlds.objectives import OBJECTIVES


@dataclass(frozen=True)
class Gains:
    """Gains of E members in one cue state, float64.

    vectors: (E, d), the motive vectors; x, m: (E,), their inner products with X and M; units_x, units_m: (E, W), what
    each unit of the last layer adds to those.
    """

    vectors: Tensor
    x: Tensor
    m: Tensor
    units_x: Tensor
    units_m: Tensor


@dataclass(frozen=True)
class HeldOut:
    """Episodes that gains are measured on: attributes (E, N, B, d) and, by prompt, inputs (E, N, B, F)."""

    attributes: Tensor
    inputs: Mapping[float, Tensor]


def measure_gains(stack: Stack, held_out: HeldOut, objectives: Tensor, prompts: Sequence[float]) -> dict[float, Gains]:
    """Gains of every member at these prompts of `held_out`; objectives are (E, 4, d).

    Members are measured one by one, so that none depends on how many there are.
    Raises ValueError where the episodes do not tell the attributes apart.
    """
    x, m = (objectives[:, OBJECTIVES.index(name)].double() for name in ("x", "m"))
    fits = [least_squares(attributes) for attributes in held_out.attributes]
    lone = [stack.part(member, member + 1) for member in range(stack.members)]
    found = {}
    for prompt in dict.fromkeys(prompts):
        parts = (
            torch.stack(
                [
                    fit @ forward(member, inputs.flatten(0, 1).unsqueeze(0)).values[-1][0].double()
                    for fit, member, inputs in zip(fits, lone, held_out.inputs[prompt], strict=True)
                ]
            )
            * stack.views["readout.weight"][:, :1].double()
        )
        vectors = parts.sum(2)
        units_x, units_m = ((parts * objective.unsqueeze(2)).sum(1) for objective in (x, m))
        found[prompt] = Gains(vectors, (vectors * x).sum(1), (vectors * m).sum(1), units_x, units_m)
    return found


def least_squares(attributes: Tensor) -> Tensor:
    """The map from scores (N * B) to the motive vector, (d, N * B), for attributes (N, B, d).

    Scores need not be centred: an episode's constant meets attributes whose mean is zero.
    Raises ValueError where the episodes do not tell the attributes apart.
    """
    centred = attributes.double()
    rows = (centred - centred.mean(0, keepdim=True)).flatten(0, 1)
    if int(torch.linalg.matrix_rank(rows)) < rows.shape[1]:
        raise ValueError(
            f"{rows.shape[0]} options do not tell {rows.shape[1]} attributes apart; allowed: more episodes"
        )
    return torch.linalg.solve(rows.T @ rows, rows.T)


def neutral_share(x: Tensor, m: Tensor) -> Tensor:
    """X's part of the motive, gain_x / (|gain_x| + |gain_m|): 1 X alone, 0 M alone, negative against X."""
    return x / (x.abs() + m.abs())


def rotation(before: Tensor, after: Tensor) -> Tensor:
    """Angle in degrees between vectors (..., d); by its half's tangent, which small angles do not spoil (Kahan)."""
    first, second = (torch.nn.functional.normalize(vector, dim=-1) for vector in (before, after))
    half = torch.atan2((first - second).norm(dim=-1), (first + second).norm(dim=-1))
    return torch.rad2deg(2 * half)
