"""Times measured in episodes: half-lives and ratios, with models that never get there kept as censored."""

from dataclasses import dataclass

import numpy as np

from turncoat.statistics.matching import crossings, interpolate, smooth_each

Array = np.ndarray


def half_lives(offsets: Array, steps: Array, episodes: Array, retained: Array) -> Array:
    """Episodes until the retained share, smoothed to fall monotonically, drops to half; infinite if it never
    does.

    Rows of all models one after the other (see `matching.match`); `retained` (rows,) is the chance-
    corrected agreement with the model's own first choice, 1 at step 0. NaN for a model with a missing
    value.
    """
    smoothed = smooth_each(offsets, retained, increasing=False)
    at = crossings(offsets, steps, -smoothed, -0.5)
    lives = np.where(np.isnan(at), np.inf, interpolate(at, offsets, steps, episodes))
    lives[np.isnan(smoothed[offsets[:-1]])] = np.nan
    return lives


@dataclass(frozen=True)
class LogRatios:
    """log(start / reference) per seed where its sign is known; infinite where one side was censored."""

    values: Array
    seeds: Array
    both_censored: int
    start_censored: int
    reference_censored: int


def log_ratios(start: Array, reference: Array, seeds: Array) -> LogRatios:
    """Paired log-ratios of two times (seeds,), either of which may be infinite (never happened within the
    budget).

    Where only the start never got there its ratio counts as +inf, where only the reference, as -inf: a
    median stays valid, because only the order is used. Where neither got there the order is unknown: counted, left
    out, and the median then speaks of the other pairs alone.
    """
    never_start, never_reference = np.isinf(start), np.isinf(reference)
    both = never_start & never_reference
    known = ~(both | np.isnan(start) | np.isnan(reference))
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.log(start[known]) - np.log(reference[known])
    values = np.where(np.isnan(values), 0.0, values)  # both at zero episodes: equal
    return LogRatios(values, seeds[known], int(both.sum()), int(never_start.sum()), int(never_reference.sum()))
