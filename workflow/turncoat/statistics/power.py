"""What a study could have found, and how many seeds the next one needs.

For tests of a mean over seeds: Student's t, through scipy's noncentral t; for tests of a median: the exact sign test.
"""

from functools import lru_cache

import numpy as np
from scipy import special, stats

Array = np.ndarray

POWER = 0.8
COUNTS = np.arange(2, 2001)  # seeds that a sign test is tried with
MOST_SEEDS = 100_000  # beyond this no number of seeds is given


def mean_power(effect: float, count: int, alpha: float) -> float:
    """Power of a two-sided t test of a mean, `effect` in standard deviations over `count` seeds, at level `alpha`."""
    critical = special.stdtrit(count - 1, 1 - alpha / 2)
    shift = effect * np.sqrt(count)
    return _below(count - 1, shift, -critical) + 1 - _below(count - 1, shift, critical)


def equivalence_power(margin: float, count: int, alpha: float) -> float:
    """Power to show that a mean lies within `margin`, in standard deviations, where it is zero: two one-sided t tests.

    As though the two tests failed apart (Phillips 1990): exact but for terms of the order of what is left to one.
    """
    critical = special.stdtrit(count - 1, 1 - alpha)
    return max(0.0, 1 - 2 * _below(count - 1, margin * np.sqrt(count), critical))


def _below(freedom: int, shift: float, limit: float) -> float:
    """Probability of a noncentral t below a limit; scipy's gives up far from the limit, where it is 0 or 1."""
    found = float(special.nctdtr(freedom, shift, limit))
    return found if np.isfinite(found) else float(shift < limit)


@lru_cache(maxsize=4096)
def detectable_effect(count: int, alpha: float, power: float = POWER) -> float:
    """Smallest mean, in standard deviations, that a two-sided t test finds with this power; NaN below two seeds."""
    if count < 2:
        return float("nan")
    low, high = 0.0, 1.0
    while mean_power(high, count, alpha) < power:
        low, high = high, 2 * high
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if mean_power(middle, count, alpha) >= power else (middle, high)
    return high


def seeds_for_mean(margin: float, alpha: float, equivalence_too: bool, power: float = POWER) -> float:
    """Fewest seeds that find a mean of `margin` standard deviations and, if asked, show that one of zero is within it.

    NaN where MOST_SEEDS would not do.
    """

    def enough(count: int) -> bool:
        found = mean_power(margin, count, alpha) >= power
        return bool(found and (not equivalence_too or equivalence_power(margin, count, alpha) >= power))

    # By the normal distribution: within what is searched, whose ends scipy's noncentral t can tell.
    about = (special.ndtri(1 - alpha / 2) + special.ndtri((1 + power) / 2)) ** 2 / margin**2
    if not about < MOST_SEEDS:
        return float("nan")
    low, high = 1, int(2 * about) + 20  # low is too few
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return float(high)


def detectable_median(values: Array, alpha: float, power: float = POWER) -> float:
    """Smallest median that the sign test finds with this power, were `values` (seeds,) moved as a whole.

    NaN with fewer values than can be significant at all, or where the values that it takes are infinite.
    """
    share, middle = _needed_share(len(values), alpha, power), np.quantile(values, 0.5, method="inverted_cdf")
    if np.isnan(share) or not np.isfinite(middle):
        return float("nan")
    spread = np.sort(values - middle)
    beyond = -float(np.quantile(spread, 1 - share, method="inverted_cdf"))
    return beyond if np.isfinite(beyond) else float("nan")


@lru_cache(maxsize=1024)
def _needed_share(count: int, alpha: float, power: float) -> float:
    """Smallest share of positive values with which a sign test of `count` values has this power; NaN where none has."""
    critical = _fewest_positive(count, alpha)
    if critical > count:
        return float("nan")
    low, high = 0.5, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if stats.binom.sf(critical - 1, count, middle) >= power else (middle, high)
    return high


@lru_cache(maxsize=64)
def _critical(tail: float) -> Array:
    """Positive values that must be exceeded for significance in one tail, for each of COUNTS."""
    return np.asarray(stats.binom.isf(tail, COUNTS, 0.5))


def _fewest_positive(count: int, alpha: float) -> int:
    """Fewest positive values of `count` that are significant, two-sided; more than `count` where none are."""
    return int(stats.binom.isf(alpha / 2, count, 0.5)) + 1


def seeds_for_median(values: Array, margin: float, alpha: float, power: float = POWER) -> float:
    """Fewest seeds with which sign tests find a median of `margin`, and show that one of zero lies within it.

    From the spread of `values` (seeds,) about their median. Power does not rise evenly with the seeds: from this number
    on it stays there for the next ten. NaN where 2,000 seeds would not do, or the median is infinite.
    """
    middle = np.quantile(values, 0.5, method="inverted_cdf")
    if not np.isfinite(middle):
        return float("nan")
    spread = values - middle
    above, within = (spread > -margin).mean(), min((spread > -margin).mean(), (spread < margin).mean())
    counts = COUNTS
    found = stats.binom.sf(_critical(alpha / 2), counts, above)
    shown = 1 - 2 * stats.binom.cdf(_critical(alpha), counts, within)
    enough = (found >= power) & (shown >= power)
    lasting = np.convolve(enough, np.ones(10), "full")[9:] >= np.minimum(10, np.arange(len(enough), 0, -1))
    return float(counts[np.argmax(lasting)]) if lasting.any() else float("nan")
