"""Blends and mixtures of models told apart by the distribution of D, not only by its mean (DESIGN 5, 6).

One class: D_i ~ Normal(mu, tau^2 + s_i^2), with s_i the known error of measurement. Two classes: a share about an upper
mean, the others about a lower one, and one tau for both. Were each class given its own, the likelihood would have no
maximum: a class that closes in on a single exact value makes it infinite (Kiefer and Wolfowitz 1956; McLachlan and
Peel 2000, section 3.8). For the same reason tau has a floor.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas
from scipy import special

from turncoat.seeding import generator
from turncoat.statistics.contrasts import ARM, Plan, arms
from turncoat.statistics.intervals import NOTHING, Estimate

Array = np.ndarray
LOG_ROOT = np.log(np.sqrt(2 * np.pi))

ALPHA = 0.01  # of the test of one class against two
SEPARATION = 0.2  # in D; classes nearer than this are one kind of model
CLEARANCE = 2.5  # observed standard deviations from the smaller class's mean to where both classes are as likely
SMALLEST_CLASS = 2  # models; a single one is an outlier, not a class
POWER = 0.9  # with which half/half mixtures must have been found before one class is called a blend
BLURRED = 4.0  # observed standard deviations between the class means of those mixtures, which nearly touch
FLOOR = 0.005  # of tau, in D
SPLITS = (0.1, 0.25, 0.5, 0.75, 0.9)  # shares of the lower class from which the search starts
BURN_IN, STEPS = 5, 5000  # before the best start is kept, and at most after it
COARSE, FINE = 1e-3, 1e-8  # largest move of a parameter at which a search ends: in resamples, in the models themselves
EMPTY = 1e-12  # smallest probability of a class, so that one without models keeps a mean
PIECE = 2**15  # numbers that a step works on at once: what it makes of them stays in a cache


@dataclass(frozen=True)
class Population:
    """What the D of n models says about their kind; NaN where not estimated.

    verdict: mixture, blend, undetermined or not_tested; spread: standard deviation between models beyond measurement
    error, taken as one class; ratio: 2 (logL of two classes - logL of one); p: that of one class. Where p < 0.01: share
    of the upper class with its interval, both means, and within, the spread inside a class; else power (`_power`).
    """

    n: int
    mean: float
    verdict: str
    reason: str
    spread: float = np.nan
    share: Estimate = NOTHING
    upper: float = np.nan
    lower: float = np.nan
    within: float = np.nan
    ratio: float = np.nan
    p: float = np.nan
    power: float = np.nan


def latent_classes(
    values: Array, errors: Array, minimum_models: int, purpose: str, resamples: int = 199, confidence: float = 0.95
) -> Population:
    """Are these models of one class, or of two?

    `values` (n,): D of independently trained models; `errors` (n,): standard errors of its measurement. p is that of
    the likelihood ratio by parametric bootstrap (McLachlan 1987); the share's interval, percentiles of a bootstrap over
    models. `mixture` needs p < 0.01 and classes of two models or more that lie 0.2 apart and overlap little; `blend`,
    p >= 0.01 where a half/half mixture would have been found, or classes nearer than 0.2; all else is `undetermined`.
    Raises ValueError for input that is missing, infinite or out of range, and too few resamples to reach p < 0.01.
    """
    values, errors = np.asarray(values, dtype=float), np.asarray(errors, dtype=float)
    _check(values, errors, minimum_models, purpose, resamples)
    n, mean = len(values), float(values.mean()) if len(values) else np.nan
    if n < minimum_models:
        return Population(n, mean, "not_tested", f"{n} models, fewer than {minimum_models}")
    noise = errors**2
    one, two = fit_one_class(values[None], noise), fit_two_classes(values[None], noise, FINE)
    ratio, spread = _ratio(one, two), float(one[1, 0])
    drawn = one[0] + np.sqrt(one[1] ** 2 + noise) * generator(0, purpose).standard_normal((resamples, n))
    drawn_one = fit_one_class(drawn, noise)
    null = _ratio(drawn_one, fit_two_classes(drawn, noise))
    p = float(_bootstrap_p(ratio, null)[0])
    if p >= ALPHA:
        power = _power(one, noise, null, drawn_one[1], generator(0, purpose, 1))
        verdict = "blend" if power >= POWER else "undetermined"
        reason = f"one class will do (p = {p:.2g}); power against a half/half mixture {power:.2f}"
        return Population(n, mean, verdict, reason, spread, ratio=float(ratio[0]), p=p, power=power)
    share, upper, lower, within = (float(row) for row in two[:4, 0])
    verdict, reason = _verdict(n, p, share, upper - lower, float(np.sqrt(within**2 + noise.mean())))
    picked = generator(0, purpose, 2).integers(0, n, (resamples, n))
    shares = fit_two_classes(values[picked], noise[picked])[0]
    low, high = np.quantile(shares, [(1 - confidence) / 2, (1 + confidence) / 2], method="inverted_cdf")
    interval = Estimate(share, float(low), float(high), n)
    return Population(n, mean, verdict, reason, spread, interval, upper, lower, within, float(ratio[0]), p)


def fit_one_class(values: Array, noise: Array) -> Array:
    """Mean, tau and log likelihood (3, rows) of D `values` (rows, n) with error variances `noise` (n,) or (rows, n).

    Maximum likelihood by Fisher scoring of tau^2, which has no closed form where errors differ.
    """
    tau = np.sqrt(np.maximum(values.var(1) - noise.mean(-1), FLOOR**2))
    for _ in range(STEPS):
        weight = 1 / (tau[:, None] ** 2 + noise)
        mean = (weight * values).sum(1) / weight.sum(1)
        before, tau = tau, _scored(tau, weight, (values - mean[:, None]) ** 2)
        if np.abs(tau - before).max() < FINE:
            break
    deviation = np.sqrt(tau[:, None] ** 2 + noise)
    return np.stack([mean, tau, _log_density(values, mean[:, None], deviation).sum(1)])


def fit_two_classes(values: Array, noise: Array, tolerance: float = COARSE) -> Array:
    """Share of the upper class, upper mean, lower mean, tau and log likelihood (5, rows); arguments as above.

    EM (Dempster, Laird and Rubin 1977) with a step of Fisher scoring for tau^2. The best of several starts is followed:
    splits of the sorted values at fixed shares and at the widest gap.
    """
    (rows, n), starts, noise = values.shape, len(SPLITS) + 1, np.broadcast_to(noise, values.shape)
    size = max(1, PIECE // (starts * n))
    pieces = [slice(first, first + size) for first in range(0, rows, size)]
    begun = np.concatenate([_best_start(values[piece], noise[piece]) for piece in pieces], axis=1)
    fitted = _climb(values, noise, begun, tolerance)
    swapped = fitted[1] < fitted[2]
    fitted[0], fitted[1:3] = np.where(swapped, 1 - fitted[0], fitted[0]), np.sort(fitted[1:3], axis=0)[::-1]
    return np.concatenate([fitted, _log_likelihood(values, noise, fitted)[None]])


def population_table(matched: pandas.DataFrame, plan: Plan, resamples: int = 199) -> pandas.DataFrame:
    """One row per arm and match, with the columns of tables.populations.SCHEMA.

    `matched` has one row per model and match: ARM columns, seed, match, diverged, arrived, d and d_error. Sound models
    that got there and have a D are used. Raises ValueError, naming the arm, as `latent_classes` does, and where two
    models of an arm share a seed: they are not independent.
    """
    rows = []
    for key, arm in arms(matched):
        used = arm[arm.arrived & ~arm.diverged & arm.d.notna()]
        repeated = used.seed[used.seed.duplicated()]
        if len(repeated):
            raise ValueError(f"{key}: seed {repeated.iloc[0]} stands twice; an arm has one model per seed")
        d, errors, purpose = used.d.to_numpy(float), used.d_error.to_numpy(float), f"population {key}"
        found = latent_classes(d, errors, plan.minimum_seeds, purpose, resamples, plan.confidence)
        rows.append(
            dict(zip([*ARM, "match"], key, strict=True))
            | vars(found)
            | {"share": found.share.value, "share_low": found.share.low, "share_high": found.share.high}
            | {"models": len(arm), "diverged": int(arm.diverged.sum())}
            | {"never_arrived": int((~arm.arrived & ~arm.diverged).sum())}
        )
    return pandas.DataFrame(rows, columns=COLUMNS)


COLUMNS = [*ARM, "match", "mean", "spread", "share", "share_low", "share_high", "upper", "lower", "within"]
COLUMNS += ["ratio", "p", "power", "verdict", "reason", "n", "models", "diverged", "never_arrived"]


def _check(values: Array, errors: Array, minimum_models: int, purpose: str, resamples: int) -> None:
    if values.ndim != 1 or values.shape != errors.shape:
        raise ValueError(f"{purpose}: d {values.shape} and d_error {errors.shape} must be lists of one length")
    for name, numbers, low in (("d", values, -np.inf), ("d_error", errors, 0.0)):
        bad = numbers[~np.isfinite(numbers) | (numbers < low)]
        if len(bad):
            raise ValueError(f"{purpose}: {name} of {len(bad)} models is {bad[0]}; it must be finite, from {low:g}")
    if minimum_models < 2:
        raise ValueError(f"{purpose}: minimum_models is {minimum_models}; two classes need at least 2")
    if (resamples + 1) * ALPHA <= 1:
        raise ValueError(f"{purpose}: resamples is {resamples}; p < {ALPHA:g} needs at least {round(1 / ALPHA)}")


def _verdict(n: int, p: float, share: float, apart: float, deviation: float) -> tuple[str, str]:
    """Verdict and reason where one class is rejected; `deviation`: observed, within a class."""
    smaller = min(share, 1 - share)
    if apart < SEPARATION:
        return "blend", f"two classes (p = {p:.2g}), but {apart:.2f} apart: below {SEPARATION:g} they count as one"
    if round(n * smaller) < SMALLEST_CLASS:
        return "undetermined", f"an outlier (p = {p:.2g}): the smaller class holds {n * smaller:.1f} models"
    clearance = apart / deviation / 2 + np.log(smaller / (1 - smaller)) * deviation / apart
    if clearance < CLEARANCE:
        return "undetermined", f"not one normal class (p = {p:.2g}), but too little gap: it may be a skewed one"
    return "mixture", f"two classes {apart:.2f} apart (p = {p:.2g})"


def _power(one: Array, noise: Array, null: Array, null_tau: Array, random: np.random.Generator) -> float:
    """Share of half/half mixtures with these models' mean and spread that would have been told from one class.

    Their classes lie `BLURRED` standard deviations apart, but at least `SEPARATION`. They are told by their likelihood
    ratio or, where they have to spread wider than these models do, by a spread that one class does not show.
    """
    total = one[1, 0] ** 2 + noise.mean()
    apart = max(SEPARATION, np.sqrt(total / (1 / 4 + 1 / BLURRED**2)))
    within = max(FLOOR**2, total - apart**2 / 4 - noise.mean())
    side = random.integers(0, 2, (len(null), len(noise))) - 0.5
    drawn = one[0, 0] + apart * side + np.sqrt(within + noise) * random.standard_normal(side.shape)
    drawn_one = fit_one_class(drawn, noise)
    by_ratio = _bootstrap_p(_ratio(drawn_one, fit_two_classes(drawn, noise)), null) < ALPHA
    return float((by_ratio | (_bootstrap_p(drawn_one[1], null_tau) < ALPHA)).mean())


def _ratio(one: Array, two: Array) -> Array:
    return np.maximum(0, 2 * (two[4] - one[2]))


def _bootstrap_p(observed: Array, null: Array) -> Array:
    return (1 + (null >= observed[:, None]).sum(1)) / (1 + len(null))


def _split(values: Array, noise: Array, below: Array) -> Array:
    """Classes that part the sorted values (rows, n) after `below` (rows, splits) of them: (4, rows * splits)."""
    n = values.shape[1]
    sums = np.sort(values, axis=1).cumsum(1)
    under = np.take_along_axis(sums, below - 1, axis=1)
    lower, upper, share = under / below, (sums[:, -1:] - under) / (n - below), 1 - below / n
    within = (values.var(1) - noise.mean(1))[:, None] - share * (1 - share) * (upper - lower) ** 2
    return np.stack([share, upper, lower, np.sqrt(np.maximum(within, FLOOR**2))]).reshape(4, -1)


def _best_start(values: Array, noise: Array) -> Array:
    """Parameters (4, rows) of the start that is the likeliest after a few steps."""
    (rows, n), starts = values.shape, len(SPLITS) + 1
    fixed = np.clip(np.rint(n * np.array(SPLITS)).astype(int), 1, n - 1)
    widest = np.diff(np.sort(values, axis=1), axis=1).argmax(1)[:, None] + 1
    below = np.concatenate([np.broadcast_to(fixed, (rows, len(fixed))), widest], axis=1)
    tried = _split(values, noise, below)
    values, noise = (np.repeat(numbers, starts, axis=0) for numbers in (values, noise))
    for _ in range(BURN_IN):
        tried = _step(values, noise, tried)
    best = _log_likelihood(values, noise, tried).reshape(rows, starts).argmax(1)
    return tried[:, np.arange(rows) * starts + best]


def _climb(values: Array, noise: Array, start: Array, tolerance: float) -> Array:
    """Follow each row until it moves no farther; the next one that waits takes its place."""
    (rows, n), reached = values.shape, start.copy()
    taken, waiting = np.zeros(rows, int), min(rows, max(1, PIECE // n))
    moving = np.arange(waiting)
    before, drawn, errors = start[:, moving], values[moving], noise[moving]
    while len(moving):
        after = _step(drawn, errors, before)
        taken[moving] += 1
        moves = (np.abs(after - before).max(0) > tolerance) & (taken[moving] < STEPS)
        if moves.all():
            before = after
            continue
        reached[:, moving[~moves]] = after[:, ~moves]
        joining = np.arange(waiting, min(rows, waiting + len(moving) - moves.sum()))
        moving, waiting = np.concatenate([moving[moves], joining]), waiting + len(joining)
        before = np.concatenate([after[:, moves], start[:, joining]], axis=1)
        drawn, errors = values[moving], noise[moving]
    return reached


_total = partial(np.add.reduce, axis=1)  # a sum with less ado, for the many steps of few rows


def _step(values: Array, noise: Array, parameters: Array) -> Array:
    share, upper, lower, tau = parameters[:, :, None]
    weight = 1 / (tau**2 + noise)
    log_odds = special.logit(share) + weight * (upper - lower) * (values - (upper + lower) / 2)
    belongs = np.minimum(np.maximum(special.expit(log_odds), EMPTY), 1 - EMPTY)
    others = 1 - belongs
    inside, outside = belongs * weight, others * weight
    upper, lower = (_total(side * values) / _total(side) for side in (inside, outside))
    squares = belongs * (values - upper[:, None]) ** 2 + others * (values - lower[:, None]) ** 2
    return np.array([_total(belongs) / len(values[0]), upper, lower, _scored(parameters[3], weight, squares)])


def _scored(tau: Array, weight: Array, squares: Array) -> Array:
    """tau after one step of Fisher scoring of its square, with weights 1 / (tau^2 + s^2); exact if errors are equal."""
    square = weight**2
    step = (_total(square * squares) - _total(weight)) / _total(square)
    return np.sqrt(np.maximum(tau**2 + step, FLOOR**2))


def _log_density(values: Array, mean: Array, deviation: Array) -> Array:
    """Of the normal distribution: `scipy.stats.norm.logpdf`, to the bit, without its checks."""
    return np.asarray(-(((values - mean) / deviation) ** 2) / 2.0 - LOG_ROOT - np.log(deviation))


def _log_likelihood(values: Array, noise: Array, parameters: Array) -> Array:
    share, upper, lower, tau = (row[:, None] for row in parameters)
    deviation = np.sqrt(tau**2 + noise)
    above, below = (_log_density(values, mean, deviation) for mean in (upper, lower))
    return _total(np.logaddexp(np.log(share) + above, np.log1p(-share) + below))
