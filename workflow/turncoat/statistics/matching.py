"""Outcomes at equal capability: each model is read at the step where its smoothed capability reaches a
level.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

Array = np.ndarray


@dataclass(frozen=True)
class Crossing:
    """Where a trajectory first reaches a level: between checks `before` and `after`, `share` of the way
    in log(step + 1).
    """

    before: int
    after: int
    share: float

    def step(self, steps: Array) -> float:
        """The step of the crossing, interpolated in log(step + 1). `steps` (checks,)."""
        before, after = np.log1p(np.asarray(steps, dtype=float)[[self.before, self.after]])
        return float(np.expm1(before + self.share * (after - before)))


def value_at(step: float, steps: Array, values: Array) -> float:
    """Linear interpolation in log(step + 1) of `values` (checks,) among those that are known.

    An outcome is known only at the steps at which weights were kept, and not defined before a model complies at
    all; before the first known value that value stands alone. NaN where none is known, or at step 0 before any.
    """
    known = ~np.isnan(values)
    if not known.any() or (step == 0 and not known[0]):
        return float("nan")
    return float(np.interp(np.log1p(step), np.log1p(np.asarray(steps, dtype=float)[known]), values[known]))


def smooth(values: Array, increasing: bool = True) -> Array:
    """Least-squares monotone smoothing of a trajectory (checks,), so that one lucky check is no
    arrival.
    """
    return np.asarray(isotonic_regression(np.asarray(values, dtype=float), increasing=increasing).x)


def crossing(smoothed: Array, level: float) -> Crossing | None:
    """First crossing of `level` by a rising smoothed trajectory (checks,); None if it never gets there."""
    reached = np.flatnonzero(smoothed >= level)
    if len(reached) == 0:
        return None
    after = int(reached[0])
    if after == 0:
        return Crossing(0, 0, 1.0)
    low, high = smoothed[after - 1], smoothed[after]
    return Crossing(after - 1, after, float((level - low) / (high - low)))


@dataclass(frozen=True)
class Matched:
    """Every model at one level: `arrived` (models,) and per outcome the value there (models,), NaN where
    none.
    """

    arrived: Array
    steps: Array
    episodes: Array
    values: dict[str, Array]


def match(
    offsets: Array,
    steps: Array,
    episodes: Array,
    capability: Array,
    outcomes: dict[str, Array],
    levels: list[float],
) -> dict[float, Matched]:
    """Read models at each capability level.

    Rows of all models lie one after the other, sorted by step; model i owns rows offsets[i] to offsets[i
    + 1]. `steps`, `episodes`, `capability` and each of `outcomes` are (rows,). A model whose capability
    is anywhere missing (it diverged) counts as not arrived: leave it out beforehand and count it apart.
    """
    models = len(offsets) - 1
    found = {
        level: Matched(
            np.zeros(models, bool),
            np.full(models, np.nan),
            np.full(models, np.nan),
            {name: np.full(models, np.nan) for name in outcomes},
        )
        for level in levels
    }
    for model in range(models):
        rows = slice(int(offsets[model]), int(offsets[model + 1]))
        if np.isnan(capability[rows]).any():
            continue
        smoothed = smooth(capability[rows])
        for level in levels:
            at = crossing(smoothed, level)
            if at is None:
                continue
            result = found[level]
            result.arrived[model] = True
            result.steps[model] = at.step(steps[rows])
            result.episodes[model] = np.interp(result.steps[model], steps[rows], episodes[rows])
            for name, values in outcomes.items():
                result.values[name][model] = value_at(result.steps[model], steps[rows], values[rows])
    return found
