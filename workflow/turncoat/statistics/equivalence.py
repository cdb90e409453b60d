"""Equivalence within a margin by two one-sided tests (Schuirmann 1987)."""

import numpy as np
from scipy import stats

from turncoat.statistics.intervals import student_t, student_tail

Array = np.ndarray


def equivalence_p(values: Array, margin: float) -> float:
    """p of the hypothesis that the mean of `values` (n,) lies outside (-margin, margin): small means
    equivalent.

    The larger of the two one-sided t tests. NaN with fewer than two values.
    """
    values = np.asarray(values, dtype=float)
    if margin <= 0:
        raise ValueError(f"margin {margin} must be above 0")
    if len(values) < 2:
        return float("nan")
    if np.ptp(values) == 0:
        return 0.0 if abs(values[0]) < margin else 1.0
    count = len(values)
    return max(student_tail(student_t(values, -margin), count), student_tail(-student_t(values, margin), count))


def median_equivalence_p(values: Array, margin: float) -> float:
    """p of the hypothesis that the median of `values` (n,) lies outside (-margin, margin): small means equivalent.

    The larger of two one-sided exact sign tests; infinite values count. NaN with fewer than two values. Raises
    ValueError when `margin` is not above 0.
    """
    values = np.asarray(values, dtype=float)
    if margin <= 0:
        raise ValueError(f"margin {margin} must be above 0")
    if len(values) < 2:
        return float("nan")
    inside = (int((values > -margin).sum()), int((values < margin).sum()))
    return max(float(stats.binomtest(count, len(values), alternative="greater").pvalue) for count in inside)
