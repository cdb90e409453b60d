"""How the odds of a case change with a dose, models of a seed being alike: GEE, or Firth where a cell is 0 or n."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special, stats
from statsmodels.genmod.cov_struct import Exchangeable
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_estimating_equations import GEE

from turncoat.statistics.intervals import Estimate

Array = np.ndarray

STEPS = 100  # of Newton's method
FURTHEST = 60.0  # log-odds beyond which no limit is looked for


@dataclass(frozen=True)
class DoseResponse:
    """Log-odds per unit of dose, the p of none, the p of two one-sided tests against the margin, and the method."""

    estimate: Estimate
    p: float
    equivalence_p: float
    method: str


def dose_response(doses: Array, cases: Array, seeds: Array, margin: float, confidence: float) -> DoseResponse:
    """Slope of the log-odds of `cases` (0 or 1) over `doses`, all (models,); `seeds` name the clusters.

    Generalised estimating equations with exchangeable correlation within a seed and the small-sample covariance of
    Mancl and DeRouen (2001), by statsmodels, on Student's t with as many degrees of freedom as seeds less two. Where at
    some dose no model or every one is a case, the odds are infinite or nearly so: then Firth's penalised likelihood
    (1993) with the profile interval of Heinze and Schemper (2002), which takes models of a seed as apart: too wide for
    a dose that varies within seeds that are alike. Raises ValueError with fewer than two doses.
    """
    doses, cases = np.asarray(doses, dtype=float), np.asarray(cases, dtype=float)
    levels = np.unique(doses)
    if len(levels) < 2:
        raise ValueError(f"doses {levels.tolist()}: a slope needs two of them")
    count = len(np.unique(seeds))
    shares = np.array([cases[doses == level].mean() for level in levels])
    design = np.column_stack([np.ones_like(doses), doses])
    if ((shares > 0) & (shares < 1)).all() and count > 2:
        found = _gee(design, cases, np.asarray(seeds))
        if found is not None:
            value, error = found
            freedom = count - 2
            half = float(special.stdtrit(freedom, (1 + confidence) / 2)) * error
            p = 2 * special.stdtr(freedom, -abs(value) / error)
            outside = special.stdtr(freedom, (abs(value) - margin) / error)
            return DoseResponse(Estimate(value, value - half, value + half, count), float(p), float(outside), "GEE")
    fit = firth(design, cases)
    slope = float(fit.coefficients[1])
    if cases.min() == cases.max():  # nothing varies: no slope can be ruled out
        return DoseResponse(Estimate(slope, -np.inf, np.inf, count), 1.0, 1.0, "Firth")
    low, high = (fit.limit(1, confidence, side) for side in (-1, 1))
    outside = max(fit.beyond(1, -margin), fit.beyond(1, margin))
    return DoseResponse(Estimate(slope, low, high, count), fit.p(1), outside, "Firth")


def _gee(design: Array, cases: Array, seeds: Array) -> tuple[float, float] | None:
    """Slope and its standard error; None where the equations have no solution."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model = GEE(cases, design, groups=seeds, family=Binomial(), cov_struct=Exchangeable())
            fit = model.fit(cov_type="bias_reduced")
    except (Warning, ArithmeticError, np.linalg.LinAlgError, ValueError):
        return None
    value, error = float(fit.params[1]), float(fit.bse[1])
    return (value, error) if np.isfinite(value) and np.isfinite(error) and error > 0 else None


@dataclass(frozen=True)
class FirthFit:
    """Coefficients (terms,) at the greatest penalised log-likelihood."""

    design: Array
    cases: Array
    coefficients: Array
    likelihood: float

    def p(self, term: int) -> float:
        """Penalised likelihood ratio test of this coefficient being zero."""
        return float(stats.chi2.sf(max(0.0, 2 * (self.likelihood - self._profile(term, 0.0))), 1))

    def beyond(self, term: int, bound: float) -> float:
        """p of this coefficient lying beyond `bound`, seen from zero: signed root of the penalised likelihood ratio."""
        root = np.sqrt(max(0.0, 2 * (self.likelihood - self._profile(term, bound))))
        inside = self.coefficients[term] < bound if bound > 0 else self.coefficients[term] > bound
        return float(special.ndtr(-root if inside else root))

    def limit(self, term: int, confidence: float, side: int) -> float:
        """End of the profile penalised likelihood interval, below (side -1) or above (1); infinite if there is none."""
        drop = float(stats.chi2.ppf(confidence, 1)) / 2

        def above(distance: float) -> float:
            try:
                return self._profile(term, self.coefficients[term] + side * distance) - self.likelihood + drop
            except np.linalg.LinAlgError:  # so far out that no information is left
                return -np.inf

        reach = 1.0
        while (end := above(reach)) > 0:
            reach *= 2
            if reach > FURTHEST:
                return side * float("inf")
        if end == -np.inf:
            return side * float("inf")
        return float(self.coefficients[term] + side * optimize.brentq(above, 0.0, reach, xtol=1e-8))

    def _profile(self, term: int, value: float) -> float:
        rest = np.delete(self.design, term, axis=1)
        start = np.delete(self.coefficients, term)
        return _maximise(self.design, self.cases, rest, start, value * self.design[:, term])[1]


def firth(design: Array, cases: Array) -> FirthFit:
    """Logistic regression with Jeffreys' prior as a penalty: finite also where the cases are separated.

    `design` (models, terms) with its constant, `cases` (models,) 0 or 1. Why Firth: where no model of some dose is a
    case, or every one, the likelihood rises for ever with the slope, so that its maximum, its standard error and a Wald
    test say nothing; and with few cases the usual estimate is biased away from zero. The penalty removes that bias to
    first order and leaves a finite maximum, to be judged by the penalised likelihood ratio. Raises LinAlgError where
    the columns of `design` depend on each other.

    Sources: D. Firth, Bias reduction of maximum likelihood estimates, Biometrika 80 (1993), 27-38; G. Heinze and
    M. Schemper, A solution to the problem of separation in logistic regression, Statistics in Medicine 21 (2002),
    2409-2419.
    """
    found, likelihood = _maximise(design, cases, design, np.zeros(design.shape[1]), np.zeros(len(cases)))
    return FirthFit(design, cases, found, likelihood)


def _maximise(design: Array, cases: Array, free: Array, start: Array, offset: Array) -> tuple[Array, float]:
    """Greatest penalised log-likelihood over the coefficients of `free`, the penalty being that of the whole `design`.

    Newton's steps on the modified score, halved where they overshoot.
    """

    def at(coefficients: Array) -> tuple[float, Callable[[], Array]]:
        linear = offset + free @ coefficients
        share = special.expit(linear)
        weight = share * (1 - share)
        information = design.T @ (weight[:, None] * design)
        sign, log_determinant = np.linalg.slogdet(information)
        likelihood = float((cases * linear - np.logaddexp(0, linear)).sum() + log_determinant / 2)

        def step() -> Array:
            leverage = weight * np.einsum("ij,jk,ik->i", design, np.linalg.inv(information), design)
            score = free.T @ (cases - share + leverage * (0.5 - share))
            return np.asarray(np.linalg.solve(free.T @ (weight[:, None] * free), score))

        return (likelihood if sign > 0 else -np.inf), step

    coefficients = start.copy()
    best, step = at(coefficients)
    if not free.shape[1]:
        return coefficients, best
    for _ in range(STEPS):
        move = step()
        for _ in range(30):
            likelihood, ahead = at(coefficients + move)
            if likelihood >= best - 1e-12:
                break
            move = move / 2
        coefficients, best, step = coefficients + move, likelihood, ahead
        if np.abs(move).max() < 1e-9:
            break
    return coefficients, best
