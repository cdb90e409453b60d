"""Revealed preference: the utility a model's choices reveal, by the conditional logit (McFadden 1974)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

HALVINGS = 6
CONVERGED = 1e-8  # largest entry of the gradient at which a model's fit is done


@dataclass(frozen=True)
class Fit:
    """Fitted utilities of E models with K coefficients.

    coefficients, errors: (E, K); r2: McFadden's 1 - logL / logL(uniform), (E,); converged: (E,).
    """

    coefficients: Tensor
    errors: Tensor
    r2: Tensor
    converged: Tensor


def preference_features(attributes: Tensor, slots: Tensor) -> Tensor:
    """Features of utility = w . z + sum over slots s of l_s (g_s . z): (E, N, B, d + number of slots).

    attributes: (E, N, B, d); slots: (E, B, S, d), the slots that vary by episode (one that stands still cannot be
    told from w).
    """
    pointed = torch.einsum("enbd,ebsd->enbs", attributes, slots)
    return torch.cat([attributes, pointed], dim=-1)


def fit_preferences(features: Tensor, shares: Tensor, ridge: float, steps: int) -> Fit:
    """Fit E conditional logits to choice probabilities at once, by Newton's method with step halving.

    features: (E, N, B, K); shares: (E, N, B), each model's probability of choosing each option (not one hard
    choice: trained models choose almost surely, and hard choices would separate). Maximised is the mean log
    likelihood less ridge / 2 * |coefficients|^2, which exists and is unique for ridge > 0. Standard errors are those
    of B episodes with one choice each: the root of the diagonal of (B * (information + ridge))^-1. Models whose
    shares are not finite get NaN. Converged means a gradient below 1e-8. Raises ValueError when ridge <= 0.
    """
    if ridge <= 0:
        raise ValueError(f"evaluation.ridge is {ridge}; it must be above 0, or separable choices have no estimate")
    finite = shares.isfinite().all(-1).all(-1)
    members, options, episodes, count = features.shape
    x = features.double()
    target = torch.where(finite[:, None, None], shares, 1 / options).double()
    identity = torch.eye(count, dtype=x.dtype, device=x.device)
    coefficients = x.new_zeros(members, count)
    value, shares_fitted = _evaluate(x, target, coefficients, ridge)
    gradient, information = _derivatives(x, target, coefficients, shares_fitted, ridge)
    for _ in range(steps):
        if bool((gradient.abs().amax(1) < CONVERGED).all()):
            break
        move = torch.linalg.solve(information + ridge * identity, gradient)
        for _ in range(HALVINGS):
            tried, shares_fitted = _evaluate(x, target, coefficients + move, ridge)
            worse = tried < value - 1e-12
            if not bool(worse.any()):
                break
            move = torch.where(worse[:, None], move / 2, move)
        else:
            tried, shares_fitted = _evaluate(x, target, coefficients + move, ridge)
        coefficients, value = coefficients + move, tried
        gradient, information = _derivatives(x, target, coefficients, shares_fitted, ridge)
    covariance = torch.linalg.inv(episodes * (information + ridge * identity))
    errors = covariance.diagonal(dim1=1, dim2=2).sqrt()
    log_likelihood = value + ridge / 2 * coefficients.square().sum(1)
    r2 = 1 - log_likelihood / -math.log(options)
    converged = (gradient.abs().amax(1) < CONVERGED) & finite
    missing = ~finite
    return Fit(
        coefficients.masked_fill(missing[:, None], torch.nan),
        errors.masked_fill(missing[:, None], torch.nan),
        r2.masked_fill(missing, torch.nan),
        converged,
    )


def _evaluate(x: Tensor, target: Tensor, coefficients: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """Penalised mean log likelihood of each model, (E,), and the choice shares it predicts, (E, N, B)."""
    log_share = torch.einsum("enbk,ek->enb", x, coefficients).log_softmax(1)
    log_likelihood = (target * log_share).sum(1).mean(1)
    return log_likelihood - ridge / 2 * coefficients.square().sum(1), log_share.exp()


def _derivatives(x: Tensor, target: Tensor, coefficients: Tensor, share: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """Gradient of the objective (E, K), and the mean information of one episode without the ridge (E, K, K)."""
    members, options, episodes, count = x.shape
    gradient = torch.einsum("enb,enbk->ek", target - share, x) / episodes - ridge * coefficients
    centred = x - (share.unsqueeze(-1) * x).sum(1, keepdim=True)
    weighted = (share.unsqueeze(-1) * centred).reshape(members, options * episodes, count)
    information = weighted.transpose(1, 2) @ centred.reshape(members, options * episodes, count) / episodes
    return gradient, information
