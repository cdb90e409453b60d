"""Differences of two shares of the same seeds: Tango's score interval, exact McNemar, and equivalence by Tango's score.

None of them needs a spread: they stay honest where no model, or every one, is a case.
"""

from dataclasses import dataclass

import numpy as np
from scipy import optimize, special
from statsmodels.stats.contingency_tables import mcnemar

from turncoat.statistics.intervals import NOTHING, Estimate

Array = np.ndarray

CASE = 0.5  # a model counts as a case where its probability is above this


@dataclass(frozen=True)
class PairedShares:
    """Difference of the shares, p of no difference, and the p of two one-sided tests against a margin."""

    estimate: Estimate
    p: float
    equivalence_p: float


def paired_shares(start: Array, reference: Array, margin: float, confidence: float) -> PairedShares:
    """Share of cases of `start` minus that of `reference`, probabilities or flags (seeds,) of the same seeds.

    Interval and equivalence by Tango's score (1998), p by the exact test of McNemar (statsmodels). Raises ValueError
    where the two differ in length or `margin` is not between 0 and 1.
    """
    if len(start) != len(reference):
        raise ValueError(f"{len(start)} and {len(reference)} models are no pairs")
    if not 0 < margin < 1:
        raise ValueError(f"margin {margin} must lie between 0 and 1")
    case, other = np.asarray(start) > CASE, np.asarray(reference) > CASE
    only, missing, pairs = int((case & ~other).sum()), int((~case & other).sum()), len(case)
    if pairs == 0:
        return PairedShares(NOTHING, float("nan"), float("nan"))
    low, high = tango_interval(only, missing, pairs, confidence)
    p = float(mcnemar([[0, only], [missing, 0]], exact=True).pvalue) if only + missing else 1.0
    above, below = tango_score(only, missing, pairs, -margin), tango_score(only, missing, pairs, margin)
    equivalence = float(special.ndtr(-min(above, -below)))
    return PairedShares(Estimate((only - missing) / pairs, low, high, pairs), p, equivalence)


def tango_score(only: int, missing: int, pairs: int, difference: float) -> float:
    """Score statistic of a stated difference of paired shares, standard normal if it is true (Tango 1998, eq. 6).

    `only` of `pairs` pairs have the case on the first side alone, `missing` on the second alone; `difference` lies
    between -1 and 1, and the score falls with it. Infinite where such a difference cannot be (no variance is left).
    Raises ValueError where the counts are none of `pairs` pairs.

    Source: T. Tango, Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design, Statistics in Medicine 17 (1998), 891-908.
    """
    if pairs < 1 or min(only, missing) < 0 or only + missing > pairs:
        raise ValueError(f"only {only} and missing {missing} of {pairs} pairs; allowed: counts from 0, at most as many")
    gap = only - missing - pairs * difference
    linear = -(only + missing) + (2 * pairs - only + missing) * difference
    constant = -missing * difference * (1 - difference)
    second = (np.sqrt(max(linear**2 - 8 * pairs * constant, 0.0)) - linear) / (4 * pairs)
    variance = pairs * (2 * second + difference * (1 - difference))
    if variance <= 1e-12 * pairs:
        return 0.0 if abs(gap) < 1e-9 * pairs else float(np.copysign(np.inf, gap))
    return float(gap / np.sqrt(variance))


def tango_interval(only: int, missing: int, pairs: int, confidence: float) -> tuple[float, float]:
    """Limits of the difference between which Tango's score stays within the normal quantile (Tango 1998).

    Counts as in `tango_score`; `confidence` between 0 and 1. Limits lie in [-1, 1], and have a width also where no
    pair, or every one, differs. Raises ValueError where the counts are none of `pairs` pairs.
    """
    if pairs < 1:
        raise ValueError(f"{pairs} pairs; allowed: 1 or more")
    z = float(special.ndtri((1 + confidence) / 2))
    estimate = (only - missing) / pairs

    def limit(end: float, target: float) -> float:
        def beyond(difference: float) -> float:
            score = tango_score(only, missing, pairs, difference)
            return float(np.clip(score, -1e6, 1e6)) - target

        edge = end * (1 - 1e-9)
        if abs(estimate - end) < 1e-9 or beyond(edge) * beyond(estimate) > 0:
            return end
        return float(optimize.brentq(beyond, edge, estimate, xtol=1e-10))

    return limit(-1.0, z), limit(1.0, -z)
