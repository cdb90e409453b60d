"""Intervals for shares, means and medians, with the seed (an independently trained model) as the unit."""

from dataclasses import dataclass

import numpy as np
from scipy import special, stats
from statsmodels.stats.proportion import proportion_confint

Array = np.ndarray

PIECE = 2**15  # numbers drawn at once, so that they stay in a core's cache


@dataclass(frozen=True)
class Estimate:
    """A point estimate with its interval; NaN where there is nothing to estimate from."""

    value: float
    low: float
    high: float
    count: int


NOTHING = Estimate(np.nan, np.nan, np.nan, 0)


def wilson(successes: float, trials: int, confidence: float) -> Estimate:
    """Wilson's score interval of a share (Wilson 1927), which stays inside [0, 1] at 0 and at n.

    `successes` may be a sum of probabilities, which spread less than flags do: the interval is then too wide.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"successes {successes} must lie between 0 and trials {trials}")
    if trials == 0:
        return NOTHING
    low, high = proportion_confint(successes, trials, alpha=1 - confidence, method="wilson")
    return Estimate(successes / trials, float(low), float(high), trials)


def t_interval(values: Array, confidence: float) -> Estimate:
    """Student's interval of a mean, with the sample standard deviation (ddof 1). `values` (n,)."""
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return NOTHING if len(values) == 0 else Estimate(float(values[0]), np.nan, np.nan, 1)
    half = special.stdtrit(len(values) - 1, (1 + confidence) / 2) * values.std(ddof=1) / np.sqrt(len(values))
    mean = float(values.mean())
    return Estimate(mean, mean - float(half), mean + float(half), len(values))


def bootstrap_mean(
    values: Array, seeds: Array, confidence: float, resamples: int, random: np.random.Generator
) -> Estimate:
    """Mean with an expanded BCa interval from a cluster bootstrap that resamples seeds (Efron 1987; Field and Welsh
    2007; Hesterberg 2015): with few seeds a bootstrap spreads too little and knows no t, which the levels make up for.

    `values` (n,) and `seeds` (n,): every value of a drawn seed is drawn together. Paired differences go
    in as one value per seed. `count` is the number of seeds. With one seed there is no interval.
    """
    values, seeds = np.asarray(values, dtype=float), np.asarray(seeds)
    if len(values) == 0:
        return NOTHING
    names, cluster = np.unique(seeds, return_inverse=True)
    sums, sizes = np.bincount(cluster, values), np.bincount(cluster).astype(float)
    mean = float(values.mean())
    if len(names) < 2:
        return Estimate(mean, np.nan, np.nan, len(names))
    means = np.empty(resamples)
    size = max(1, PIECE // len(names))
    for first in range(0, resamples, size):
        part = means[first : first + size]
        draws = random.integers(0, len(names), size=(len(part), len(names)))
        # With one value to a seed every draw has as many values as there are seeds.
        drawn = len(names) if len(names) == len(values) else np.take(sizes, draws).sum(axis=1)
        part[:] = np.take(sums, draws).sum(axis=1) / drawn
    left_out = (sums.sum() - sums) / (sizes.sum() - sizes)
    count = len(names)
    tail = special.stdtrit(count - 1, (1 + confidence) / 2) * np.sqrt(count / (count - 1))
    low, high = _bca_limits(mean, means, left_out, float(tail))
    return Estimate(mean, low, high, len(names))


def bootstrap_median(values: Array, confidence: float, resamples: int, random: np.random.Generator) -> Estimate:
    """Median with a percentile bootstrap interval; one value per seed, `values` (n,), may be infinite.

    Limits are values that were drawn, never a mix of two, so that an infinite time stays infinite.
    """
    values = np.asarray(values, dtype=float)
    if len(values) == 0:
        return NOTHING
    if len(values) < 2:
        return Estimate(float(values[0]), np.nan, np.nan, 1)
    draws = random.integers(0, len(values), size=(resamples, len(values)))
    middle = (len(values) + 1) // 2 - 1
    medians = np.partition(values[draws], middle, axis=1)[:, middle]
    tail = (1 - confidence) / 2
    low = float(np.quantile(medians, tail, method="inverted_cdf"))
    high = float(np.quantile(medians, 1 - tail, method="inverted_cdf"))
    return Estimate(float(np.quantile(values, 0.5, method="inverted_cdf")), low, high, len(values))


def paired_p(differences: Array, null: float = 0.0) -> float:
    """Two-sided p of a mean paired difference equal to `null`, one difference per seed (n,).

    Student's t test; where every difference is the same and there is no spread to scale by, the exact
    sign test.
    """
    shifted = np.asarray(differences, dtype=float) - null
    if len(shifted) < 2:
        return float("nan")
    if np.ptp(shifted) <= 1e-12 * np.abs(shifted).max():
        return 1.0 if shifted[0] == 0 else float(0.5 ** (len(shifted) - 1))
    return 2 * student_tail(abs(student_t(shifted)), len(shifted))


def student_t(values: Array, null: float = 0.0) -> float:
    """Student's t of a mean of `null`, `values` (n,): as `scipy.stats.ttest_1samp`, to the bit, without its checks."""
    count, mean = len(values), values.mean()
    variance = np.square(values - mean).mean() * (count / (count - 1))
    return float((mean - null) / np.sqrt(variance / count))


def student_tail(t: float, count: int) -> float:
    """Probability of a t above this, of `count` values."""
    return float(special.stdtr(count - 1, -t))


def sign_p(values: Array) -> float:
    """Two-sided exact sign test of a median of zero; zeros are left out, infinities count. `values` (n,)."""
    values = np.asarray(values, dtype=float)
    above, below = int((values > 0).sum()), int((values < 0).sum())
    return 1.0 if above + below == 0 else float(stats.binomtest(above, above + below).pvalue)


def _bca_limits(value: float, resampled: Array, left_out: Array, tail: float) -> tuple[float, float]:
    if np.ptp(resampled) == 0:
        return float(resampled[0]), float(resampled[0])
    below = ((resampled < value).mean() + (resampled <= value).mean()) / 2
    below = min(max(below, 0.5 / len(resampled)), 1 - 0.5 / len(resampled))
    bias = special.ndtri(below)
    spread = left_out.mean() - left_out
    acceleration = (spread**3).sum() / (6 * (spread**2).sum() ** 1.5) if spread.any() else 0.0
    tails = np.array([-tail, tail])
    levels = special.ndtr(bias + (bias + tails) / (1 - acceleration * (bias + tails)))
    low, high = np.quantile(resampled, levels)
    return float(low), float(high)
