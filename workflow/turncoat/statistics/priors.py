"""How a claim about pre-trained models at large depends on which starts one believes pre-training yields."""

from dataclasses import dataclass

import numpy as np

from turncoat.statistics.intervals import Estimate

Array = np.ndarray


@dataclass(frozen=True)
class Mixture:
    """Contrast of a mixture of starts with the reference, over the share that is deceptive by design."""

    shares: Array
    means: Array
    lows: Array
    highs: Array
    break_even: Estimate
    reason: str


def mixture(
    deceptive: Array,
    plain: Array,
    shares: Array,
    confidence: float,
    resamples: int,
    random: np.random.Generator,
) -> Mixture:
    """Contrast by prior share of the start that is deceptive by design, and the share at which it is zero.

    `shares` begins with 0. `deceptive` and `plain` (seeds,) are paired contrasts with the same reference; `plain`
    is of starts that are not deceptive by design. Nobody's prior is assumed: the whole line is given. The break-even
    share is 0 where the plain starts alone are already above the reference, and infinite where not even
    share 1 is.
    """
    draws = random.integers(0, len(plain), size=(resamples, len(plain)))
    high_end, low_end = deceptive[draws].mean(axis=1), plain[draws].mean(axis=1)
    lines = low_end[:, None] + shares * (high_end - low_end)[:, None]
    tail = (1 - confidence) / 2
    lows, highs = np.quantile(lines, [tail, 1 - tail], axis=0)
    means = plain.mean() + shares * (deceptive.mean() - plain.mean())
    zero = _break_even(high_end, low_end)
    value = float(_break_even(deceptive.mean(keepdims=True), plain.mean(keepdims=True))[0])
    low, high = np.quantile(zero, [tail, 1 - tail], method="inverted_cdf")
    at_none = f"{means[0]:.3f} [{lows[0]:.3f}, {highs[0]:.3f}]"
    reason = "share of deceptive-by-design starts at which the mixture equals the reference"
    if value == 0 and lows[0] > 0:
        reason = f"above the reference even without any start that is deceptive by design, by {at_none}"
    elif value == 0:
        reason = f"without any start that is deceptive by design not told from the reference, {at_none}"
    elif np.isinf(value):
        reason = "not above the reference even when every start is deceptive by design"
    return Mixture(shares, means, lows, highs, Estimate(value, float(low), float(high), len(plain)), reason)


def _break_even(deceptive: Array, plain: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        zero = -plain / (deceptive - plain)
    return np.where(plain >= 0, 0.0, np.where(deceptive <= 0, np.inf, zero))
