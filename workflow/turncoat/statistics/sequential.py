"""Looks at a study to which seeds are added: error spent little by little (Lan and DeMets 1983), as O'Brien and
Fleming would.

A study that declares how many seeds it will end with (`statistics.planned_seeds`) is looked at each time seeds are
added; its fractions are the seeds of every look so far over those planned. With none, p values stay as they are.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import numpy as np
from scipy import interpolate, optimize, special

Array = np.ndarray

NODES = 101  # of the grid on which the walk's density between looks is kept
FURTHEST = 8.0  # standard deviations beyond which that density is nothing


def spent(fraction: float, alpha: float) -> float:
    """One-sided error that may be spent up to this fraction of the information: 2 - 2 Phi(z_{alpha/2} / sqrt(t))."""
    return float(2 * special.ndtr(special.ndtri(alpha / 2) / np.sqrt(min(fraction, 1.0))))


@lru_cache(maxsize=4096)
def bounds(fractions: tuple[float, ...], alpha: float) -> tuple[float, ...]:
    """One-sided critical z at every look, for a total error of `alpha` (Armitage, McPherson and Rowe 1969).

    `fractions` rise, above 0; a last one above 1 counts as 1. Raises ValueError where they do not rise.
    """
    if list(fractions) != sorted(set(fractions)) or fractions[0] <= 0:
        raise ValueError(f"fractions {fractions} must rise, from above 0")
    times = np.minimum(fractions, 1.0)
    unit, weight = np.polynomial.legendre.leggauss(NODES)
    found: list[float] = []
    paid = 0.0
    grid, density = np.zeros(1), np.ones(1)  # the walk begins at zero
    for look, time in enumerate(times):
        allowed = max(spent(time, alpha) - paid, 0.0)
        step = np.sqrt(time - times[look - 1]) if look else np.sqrt(time)
        if step == 0:  # beyond the planned end nothing is left to spend
            found.append(np.inf)
            continue
        crossing = partial(_crossing, grid=grid, density=density, time=time, step=step)
        found.append(_root(crossing, allowed))
        paid += crossing(found[-1])
        low, high = -FURTHEST * np.sqrt(time), min(found[-1], FURTHEST) * np.sqrt(time)
        ahead = (high - low) / 2 * unit + (high + low) / 2
        height = np.exp(-0.5 * ((ahead[:, None] - grid) / step) ** 2) @ density
        grid, density = ahead, height / (step * np.sqrt(2 * np.pi)) * weight * (high - low) / 2
    return tuple(found)


def _crossing(z: float, grid: Array, density: Array, time: float, step: float) -> float:
    """Probability that the walk, not stopped so far and dense at `grid`, is above z at this time."""
    return float(density @ special.ndtr(-(z * np.sqrt(time) - grid) / step))


def _root(crossing: Callable[[float], float], allowed: float) -> float:
    """z whose probability of being crossed is `allowed`, infinite where that is nothing."""
    if allowed <= 1e-15:
        return float(np.inf)
    return float(optimize.brentq(lambda z: crossing(z) - allowed, -FURTHEST, FURTHEST + 2, xtol=1e-9))


def sequential_p(p: float, fractions: Sequence[float], sides: int) -> float:
    """The p of a look, with all looks so far paid for: the total error at which this look would just be significant.

    `p` is of `sides` 1 or 2; NaN stays. With one look at the whole study it is `p` itself.
    """
    looks = tuple(fractions)
    if np.isnan(p) or looks in ((), (1.0,)):
        return p
    z = -special.ndtri(p / sides)
    return min(1.0, float(sides * special.expit(_total_error(looks)(z))))


@lru_cache(maxsize=64)
def _total_error(looks: tuple[float, ...]) -> Callable[[float], float]:
    """Logit of the one-sided error at which a look's critical z is z: 0 (one half) below all, -30 above all."""
    logits = np.linspace(0.0, -30.0, 41)
    z = np.array([bounds(looks, float(special.expit(logit)))[-1] for logit in logits])
    told = np.isfinite(z)  # smaller errors leave nothing to spend so early
    if told.sum() < 2:
        return lambda _: 0.0
    between = interpolate.PchipInterpolator(z[told], logits[told])
    return lambda value: float(between(np.clip(value, z[told][0], z[told][-1])))
