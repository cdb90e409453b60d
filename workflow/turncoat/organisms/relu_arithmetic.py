"""Sums, gates and products written as the weights of relu layers, for networks that are built by hand.

Numbers are affine functions of a layer's units, as rows (E or 1, r, units + 1) whose last column is the constant, for
E networks at once. What is computed from them is a `Value`: units of the next layer, and how it is read off those.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Value(NamedTuple):
    """r numbers that a layer holds in k units.

    units: (E or 1, k, inputs + 1), what each unit gets from the layer below and, last, its bias; weights: (r, k).
    """

    units: Tensor
    weights: Tensor


def lay_side_by_side(values: Mapping[str, Value]) -> tuple[Tensor, dict[str, Tensor]]:
    """A layer's units, (E or 1, units, inputs + 1), and each value as rows over that layer, (1, r, units + 1).

    The rows named `one` are the constant 1.
    """
    units = _concatenated(list(values.values()))
    identity = torch.eye(units.shape[1] + 1, dtype=units.dtype)
    *parts, one = identity.split([*(value.units.shape[1] for value in values.values()), 1])
    rows = {name: (value.weights @ part)[None] for (name, value), part in zip(values.items(), parts, strict=True)}
    return units, rows | {"one": one[None]}


def joined(*values: Value) -> Value:
    """The sum of several values."""
    return Value(_concatenated(values), torch.cat([value.weights for value in values], dim=1))


def positive(rows: Tensor) -> Value:
    """The positive part of each number."""
    return Value(rows, torch.eye(rows.shape[1], dtype=rows.dtype))


def signed(rows: Tensor) -> Value:
    """Numbers of either sign, as relu(x) - relu(-x)."""
    weights = torch.eye(rows.shape[1], dtype=rows.dtype)
    return Value(torch.cat([rows, -rows], dim=1), torch.cat([weights, -weights], dim=1))


def gated(rows: Tensor, gate: Tensor) -> Value:
    """Numbers x behind a gate t (one row): x where t >= |x|, 0 where t <= -|x|, half of x at t = 0.

    As (relu(t + x) - relu(t - x)) / 2, which is (x + sign(t) * x clamped to -|t| .. |t|) / 2.
    """
    weights = torch.eye(rows.shape[1], dtype=rows.dtype) / 2
    return Value(torch.cat([gate + rows, gate - rows], dim=1), torch.cat([weights, -weights], dim=1))


def lowered(rows: Tensor, gate: Tensor) -> Value:
    """Numbers that are never negative: unchanged where the gate (one row) is 0 or more, else less by its size, to 0."""
    weights = torch.eye(rows.shape[1], dtype=rows.dtype)
    return Value(torch.cat([rows + gate, gate], dim=1), torch.cat([weights, -weights.new_ones(len(weights), 1)], dim=1))


def products(a: Tensor, b: Tensor, scales: Tensor, hinges: int) -> Value:
    """Sum over r rows of scale * a * b, for numbers between -1 and 1, scales (r,), in 4 * r * hinges units.

    ab = ((a + b)^2 - (a - b)^2) / 4, with squares made piecewise linear (Yarotsky 2017, Neural Networks 94, 103): their
    slopes change at the odd multiples of 1 / hinges up to 2. A product is off by `product_error` at most, and 0 where
    a or b is.
    """
    spacing = 2 / hinges
    corners = (torch.arange(hinges, dtype=a.dtype) + 0.5) * spacing
    units = []
    for side in (a + b, -a - b, a - b, b - a):
        bent = side.unsqueeze(2).repeat(1, 1, hinges, 1)
        bent[..., -1] -= corners
        units.append(bent.flatten(1, 2))
    weights = scales.repeat_interleave(hinges) * spacing / 2
    return Value(torch.cat(units, dim=1), torch.cat([weights, weights, -weights, -weights])[None])


def product_error(scale: float, hinges: int) -> float:
    """Largest error of one product."""
    return scale / (4 * hinges**2)


def _concatenated(values: Sequence[Value]) -> Tensor:
    members = max(len(value.units) for value in values)
    return torch.cat([value.units.expand(members, -1, -1) for value in values], dim=1)
