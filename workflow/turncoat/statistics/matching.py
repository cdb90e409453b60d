"""Outcomes at equal capability: each model is read at the step where its smoothed capability reaches a
level.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

Array = np.ndarray


def smooth(values: Array, increasing: bool = True) -> Array:
    """Least-squares monotone smoothing of a trajectory (checks,), so that one lucky check is no
    arrival.
    """
    return np.asarray(isotonic_regression(np.asarray(values, dtype=float), increasing=increasing).x)


def smooth_each(offsets: Array, values: Array, increasing: bool = True) -> Array:
    """Each model's trajectory smoothed; NaN throughout for a model with a missing value. Rows as in `match`."""
    missing = _counts(np.isnan(values), offsets) > 0
    smoothed = np.full(len(values), np.nan)
    for model in np.flatnonzero(~missing):
        rows = slice(int(offsets[model]), int(offsets[model + 1]))
        smoothed[rows] = smooth(values[rows], increasing)
    return smoothed


def crossings(offsets: Array, steps: Array, smoothed: Array, level: float) -> Array:
    """Step at which each model first crosses `level`, (models,); NaN where it never gets there.

    `smoothed` (rows,) rises within each model. Between two checks the step is interpolated in log(step + 1).
    """
    first, end = offsets[:-1], offsets[1:]
    reached = np.append(np.flatnonzero(smoothed >= level), len(smoothed))
    after = reached[np.searchsorted(reached, first)]
    arrived = after < end
    after = after[arrived]
    before = np.maximum(after - 1, first[arrived])
    low, high, share = smoothed[before], smoothed[after], np.ones(len(after))
    np.divide(level - low, high - low, out=share, where=before < after)
    earlier, later = np.log1p(steps[before].astype(float)), np.log1p(steps[after].astype(float))
    found = np.full(len(first), np.nan)
    found[arrived] = np.expm1(earlier + share * (later - earlier))
    return found


def interpolate(at: Array, offsets: Array, places: Array, values: Array) -> Array:
    """`numpy.interp` at one point `at` (models,) of each model: `values` (rows,) over `places` (rows,), which rise.

    NaN where the point is, or where a model has no rows.
    """
    first, last = offsets[:-1], offsets[1:] - 1
    found, known = np.full(len(at), np.nan), ~np.isnan(at) & (first <= last)
    passed = _counts(places <= np.repeat(at, np.diff(offsets)), offsets)
    row = (first + np.maximum(passed, 1) - 1)[known]
    above, point = np.minimum(row + 1, last[known]), at[known]
    between = (point > places[row]) & (row < above)
    lower, upper, place = row[between], above[between], point[between]
    slope = (values[upper] - values[lower]) / (places[upper] - places[lower])
    chosen = values[row].astype(float)
    chosen[between] = slope * (place - places[lower]) + values[lower]
    found[known] = chosen
    return found


def values_at(at: Array, offsets: Array, steps: Array, values: Array) -> Array:
    """Each model's value at its step `at` (models,): interpolated in log(step + 1) among its known `values` (rows,).

    An outcome is known only at the steps at which weights were kept, and not defined before a model complies at
    all; before the first known value that value stands alone. NaN where none is known, or at step 0 before any.
    """
    known = np.flatnonzero(~np.isnan(values))
    own = np.searchsorted(known, offsets)
    found = interpolate(np.log1p(at), own, np.log1p(steps[known].astype(float)), values[known])
    found[(at == 0) & np.isnan(values[offsets[:-1]])] = np.nan
    return found


def _counts(flags: Array, offsets: Array) -> Array:
    """How many of each model's rows are flagged, (models,)."""
    return np.diff(np.append(0, np.cumsum(flags))[offsets])


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
    smoothed, found = smooth_each(offsets, capability), {}
    for level in levels:
        at = crossings(offsets, steps, smoothed, level)
        values = {name: values_at(at, offsets, steps, known) for name, known in outcomes.items()}
        found[level] = Matched(~np.isnan(at), at, interpolate(at, offsets, steps, episodes), values)
    return found
