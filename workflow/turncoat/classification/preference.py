"""Revealed preference: the utility a model's choices reveal, by the conditional logit (McFadden 1974)."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from turncoat.classification.logit import Problem, predicted, utility_of
from turncoat.classification.native_logit import fastest_sums

CONVERGED = 1e-8  # largest entry of the gradient at which a model's fit is done
SUM_ERROR = 1e-4  # by which the shares of an episode may miss a sum of 1
ALIGNED = 8  # doubles in 64 bytes: BLAS may round by where numbers lie, so every model's begin at such a boundary


@dataclass(frozen=True)
class Fit:
    """Fitted utilities of E models with K coefficients; NaN (and False) for a model that could not be fitted.

    coefficients, errors: (E, K); covariance: (E, K, K), errors are the root of its diagonal; robust: (E, K, K),
    the covariance by how much episodes' scores really vary (White 1982): much as the other for choices sampled from
    the model, and smaller for probabilities that follow a utility closely; r2: McFadden's
    1 - logL / logL(uniform), (E,), and r2_error its standard error over episodes; converged: (E,).
    hits: (E,), weighted share of episodes on which the fit's most probable option is the model's most probable
    option (a tie is no hit). separated: (E,), hits are 1: the model's hard choices would be predicted perfectly, so
    there is no unpenalised estimate from them, and the ridge alone would set the scale of the coefficients (Albert
    and Anderson 1984). This is sufficient, not necessary: the ridge can cost a separable fit its closest calls.
    """

    coefficients: Tensor
    errors: Tensor
    covariance: Tensor
    robust: Tensor
    r2: Tensor
    r2_error: Tensor
    hits: Tensor
    separated: Tensor
    converged: Tensor


def preference_features(attributes: Tensor, slots: Tensor) -> Tensor:
    """Features of utility = w . z + sum over slots s of l_s (g_s . z): (E, N, B, d + number of slots).

    attributes: (E, N, B, d); slots: (E, B, S, d), the slots that vary by episode (one that stands still cannot be
    told from w).
    """
    pointed = torch.einsum("enbd,ebsd->enbs", attributes, slots)
    return torch.cat([attributes, pointed], dim=-1)


def fit_logistic(
    features: Tensor, outcomes: Tensor, weights: Tensor | None, ridge: float, steps: int
) -> tuple[Tensor, Tensor]:
    """Fit E logistic regressions at once: log odds of the outcome = features . coefficients.

    features: (E, B, K), with a column of ones where an intercept is wanted (the ridge holds it too); outcomes:
    (E, B), in [0, 1]; the rest, and what is raised, as in `fit_preferences`, of which this is the case N = 2. Gives
    the coefficients (E, K) and the information (E, K, K) that an episode holds on average; errors are left to the
    caller, who knows which choices hang together. Raises ValueError for outcomes outside [0, 1].
    """
    if bool(((outcomes < 0) | (outcomes > 1)).any()):
        raise ValueError(f"outcomes reach from {outcomes.min()} to {outcomes.max()}; they must lie in [0, 1]")
    options = torch.stack([torch.zeros_like(features), features], dim=1)
    problem = _lay_out(options, torch.stack([1 - outcomes, outcomes], dim=1), weights, ridge)
    point = _maximum(problem, steps)
    missing = ~point.gradient.isfinite().all(1, keepdim=True)
    return point.coefficients.masked_fill(missing, torch.nan), point.information


class Options(NamedTuple):
    """Features of options, laid out for fits: differences (E, K, N - 1, B'), the later options' less the first's,
    episodes innermost, filled up to B' (a multiple of `ALIGNED`) with zeros; episodes: B."""

    differences: Tensor
    episodes: int

    def repeat(self, times: int) -> "Options":
        """The same options so many times over, for models of each."""
        return Options(self.differences.repeat(times, 1, 1, 1), self.episodes)

    def first(self, models: int) -> "Options":
        """Those of the first so many models."""
        return Options(self.differences[:models], self.episodes)


def lay_out_options(features: Tensor) -> Options:
    """Lay out features (E, N, B, K) once, for several fits to the same options."""
    members, options, episodes, count = features.shape
    x = features.double().permute(0, 3, 1, 2)
    differences = x.new_zeros(members, count, options - 1, episodes + -episodes % ALIGNED)
    torch.sub(x[:, :, 1:], x[:, :, :1], out=differences[..., :episodes])
    return Options(differences, episodes)


def fit_preferences(
    features: Tensor | Options, shares: Tensor, ridge: float, steps: int, weights: Tensor | None = None
) -> Fit:
    """Fit E conditional logits to choice probabilities at once, by Newton's method with step halving.

    features: (E, N, B, K), or laid out; shares: (E, N, B), each model's probability of choosing each option (not one
    hard choice: trained models choose almost surely, and hard choices would separate); weights: (E, B), of the
    episodes, 0 or more (0 leaves an episode out whatever it holds; None weighs all 1). Maximised is the weighted mean
    log likelihood less ridge / 2 * |coefficients|^2, which exists and is unique for ridge > 0. At most `steps` points
    are tried; a step that goes past the highest point along it and finds no smaller gradient there is halved.
    Converged means a gradient below 1e-8.

    Covariance is that of the penalised estimate from W episodes with one choice each, W the sum of the weights:
    H^-1 I H^-1 / W, I the information of one episode at the estimate, H = I + ridge (le Cessie and van Houwelingen
    1992). It is the spread about the estimate's expected value, which lies about ridge * H^-1 w short of the utility
    w. With 512 episodes of two normal options and ridge 1e-3 that is 2 % of |w| = 2, 7 % of 4, 26 % of 8; intervals
    cover w up to |w| = 2, and at 4 fall to 91 % for one coefficient. Beyond that read directions, not lengths.

    On one CPU thread a model's results are the same bit for bit whatever models are fitted beside it. A model whose
    features or shares are not finite, or whose weights are all 0, gets NaN and has not converged. Raises ValueError
    when ridge <= 0, for shares that are not probabilities, and for weights of the wrong shape, negative or infinite.
    """
    problem = _lay_out(features, shares, weights, ridge)
    return _read(problem, _maximum(problem, steps))


class _Point(NamedTuple):
    """Coefficients (E, K), the gradient of the objective there (E, K), an episode's information (E, K, K)."""

    coefficients: Tensor
    gradient: Tensor
    information: Tensor


def _lay_out(features: Tensor | Options, shares: Tensor, weights: Tensor | None, ridge: float) -> Problem:
    if ridge <= 0:
        raise ValueError(f"ridge is {ridge}; it must be above 0, or separable choices have no estimate")
    differences, episodes = features if isinstance(features, Options) else lay_out_options(features)
    members, options = len(differences), differences.shape[2] + 1
    extra = differences.shape[3] - episodes
    shares = shares.double().contiguous()
    if weights is None:
        weights = shares.new_ones(members, episodes)
    else:
        weights = _checked(weights, members, episodes)
        left_out = weights == 0
        differences = differences.masked_fill(pad(left_out, (0, extra))[:, None, None], 0)
        shares = shares.masked_fill(left_out[:, None], 1 / options)
    sums = shares.sum(1)
    if bool(((shares.amin((1, 2)) < 0) | ((sums - 1).abs().amax(1) > SUM_ERROR)).any()):
        raise ValueError("shares must be probabilities: each 0 or more, those of an episode's options summing to 1")
    total = torch.where(sums.sum(1).isfinite(), weights.sum(1), torch.nan)
    weights = weights / total[:, None]
    if extra:
        shares, weights = pad(shares, (0, extra), value=1 / options), pad(weights, (0, extra))
    chosen = (weights[:, None] * shares[:, 1:]).flatten(1)
    return Problem(differences.flatten(2), shares, weights, chosen, total, ridge)


def _checked(weights: Tensor, members: int, episodes: int) -> Tensor:
    if weights.shape != (members, episodes):
        raise ValueError(f"weights have shape {tuple(weights.shape)}; it must be {(members, episodes)}")
    if not bool((weights >= 0).all() & weights.isfinite().all()):
        raise ValueError(f"weights reach from {weights.min()} to {weights.max()}; they must be finite and 0 or more")
    return weights.double()


def _maximum(problem: Problem, steps: int) -> _Point:
    """The highest point of the penalised log likelihood that `steps` tries reach."""
    ridge = problem.ridge
    summed = fastest_sums(problem)
    nothing = problem.shares.new_zeros(problem.differences.shape[:2])
    here = _at(problem, nothing, summed(nothing))
    scale = here.information.diagonal(dim1=1, dim2=2) + ridge
    move = _newton_step(here, ridge)
    for _ in range(steps):
        active = here.gradient.abs().amax(1) >= CONVERGED  # not so where a gradient is NaN
        if not bool(active.any()):
            break
        moved = here.coefficients + move
        there = _at(problem, moved, summed(moved))
        rising = (there.gradient * move).sum(1) >= 0  # then the objective, being concave, rose all the way there
        flatter = ((there.gradient.square() - here.gradient.square()) / scale).sum(1) < 0
        better = active & (rising | flatter)
        here = _Point(*(_where(better, new, old) for new, old in zip(there, here, strict=True)))
        move = _where(better, _newton_step(here, ridge), move / 2)
    return here


def _at(problem: Problem, coefficients: Tensor, sums: Tensor) -> _Point:
    """The point that the sums at these coefficients tell of."""
    return _Point(coefficients, sums[:, :, -1] - problem.ridge * coefficients, sums[:, :, :-1])


def _newton_step(point: _Point, ridge: float) -> Tensor:
    return _solve(_with_ridge(point.information, ridge), point.gradient.unsqueeze(2)).squeeze(2)


def _with_ridge(information: Tensor, ridge: float) -> Tensor:
    return information + torch.full_like(information[0, 0], ridge).diag()


def _solve(matrices: Tensor, right: Tensor) -> Tensor:
    """Solve E positive definite systems, (E, K, K) x = (E, K, M), by Cholesky; those with NaN give no error."""
    count = matrices.shape[1]
    extra = -count % ALIGNED
    filled = pad(matrices, (0, extra, 0, extra))
    filled.diagonal(dim1=1, dim2=2)[:, count:] = 1
    factor = torch.linalg.cholesky_ex(filled)[0]
    return torch.cholesky_solve(pad(right, (0, 0, 0, extra)), factor)[:, :count]


def _where(members: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return torch.where(members.view(-1, *[1] * (yes.ndim - 1)), yes, no)


def _read(problem: Problem, point: _Point) -> Fit:
    coefficients, gradient, information = point
    curvature = _with_ridge(information, problem.ridge)
    covariance = _solve(curvature, _solve(curvature, information).mT) / problem.episodes[:, None, None]
    utility = utility_of(problem, coefficients)
    utility = torch.cat([torch.zeros_like(utility[:, :1]), utility], dim=1)
    each = (problem.shares * utility.log_softmax(1)).sum(1)
    log_likelihood = (each * problem.weights).sum(1)
    variance = ((each - log_likelihood[:, None]).square() * problem.weights).sum(1)
    scale = math.log(problem.shares.shape[1])
    misses = problem.weights.masked_fill(_hit(problem.shares, utility), 0).sum(1)
    missing = ~gradient.isfinite().all(1)
    robust = _solve(curvature, _solve(curvature, _variation(problem, utility[:, 1:], curvature)).mT)
    robust = robust / problem.episodes[:, None, None]
    covariance, robust = (_where(missing, torch.full_like(part, torch.nan), part) for part in (covariance, robust))
    return Fit(
        coefficients.masked_fill(missing[:, None], torch.nan),
        covariance.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt(),
        covariance,
        robust,
        (1 + log_likelihood / scale).masked_fill(missing, torch.nan),
        ((variance / problem.episodes).sqrt() / scale).masked_fill(missing, torch.nan),
        (1 - misses).masked_fill(missing, torch.nan),
        misses == 0,
        gradient.abs().amax(1) < CONVERGED,
    )


def _variation(problem: Problem, utility: Tensor, curvature: Tensor) -> Tensor:
    """Mean square of an episode's score, the gradient of its log likelihood, (E, K, K), each score being taken as if
    the episode had been left out of the fit (HC3, MacKinnon and White 1985): few episodes decide a sharp utility."""
    share = predicted(utility)
    missed = problem.shares[:, 1:] - share
    inverse = _solve(curvature, torch.eye(curvature.shape[1]).to(curvature).expand_as(curvature))
    pulled = torch.bmm(inverse, problem.differences)
    if share.shape[1] == 1:  # what the other case comes to, with less to sum
        share, missed = share[:, 0], missed[:, 0]
        spread = pulled.mul_(problem.differences).sum(1) * (share * (1 - share))
        scaled = missed / (1 - _leverage(problem, spread))
        return torch.bmm(problem.differences * (scaled.square() * problem.weights)[:, None], problem.differences.mT)
    differences, pulled = (part.unflatten(2, missed.shape[1:]) for part in (problem.differences, pulled))
    scores = (differences * missed[:, None]).sum(2)
    # The mean of p (x - middle)' A (x - middle) over the options is that of p x' A x, less middle' A middle.
    middle, pulled_middle = ((part * share[:, None]).sum(2) for part in (differences, pulled))
    spread = ((differences * pulled).sum(1) * share).sum(1) - (middle * pulled_middle).sum(1)
    scores = scores / (1 - _leverage(problem, spread))[:, None]
    return torch.bmm(scores * problem.weights[:, None], scores.mT)


def _leverage(problem: Problem, spread: Tensor) -> Tensor:
    """An episode's share in its own fit, (E, B'), from the spread of its features, in units of the fit's curvature."""
    return (spread / (problem.episodes[:, None] * (problem.shares.shape[1] - 1))).clamp(max=0.99)


def _hit(shares: Tensor, utility: Tensor) -> Tensor:
    """Whether the one most probable option has the one highest utility, (E, B'); a tie is no hit."""
    best, fitted = (values == values.amax(1, keepdim=True) for values in (shares, utility))
    return (best == fitted).amin(1) & (best.sum(1, dtype=torch.int8) == 1)
