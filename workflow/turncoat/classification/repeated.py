"""Logistic regression of choices that share an episode, with errors clustered by episode (Liang and Zeger 1986)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from turncoat.classification.preference import fit_logistic

RIDGE = 1e-4
NEWTON_STEPS = 25


@dataclass(frozen=True)
class Line:
    """Slope of the first feature and its threshold, where the fitted share is one half with all other features 0.

    slope, slope_error, threshold, threshold_error: (E,). The threshold is NaN where the slope lies within twice its
    error of 0; both are NaN for a member without weight.
    """

    slope: Tensor
    slope_error: Tensor
    threshold: Tensor
    threshold_error: Tensor


def fit_line(features: Tensor, outcomes: Tensor, weights: Tensor) -> Line:
    """Fit E logistic regressions of outcomes (E, B, R) on features (E, B, R, K) and a constant.

    Each of B episodes was shown R times; its choices may hang together in any way. weights: (E, B), of the episodes.
    """
    repeats, count = features.shape[2:]
    x = torch.cat([features, torch.ones_like(features[..., :1])], dim=-1).double()
    repeated = weights.double()[..., None].expand(-1, -1, repeats)
    fitted, information = fit_logistic(
        x.flatten(1, 2), outcomes.double().flatten(1, 2), repeated.flatten(1), RIDGE, NEWTON_STEPS
    )
    known = weights.sum(1) > 0
    coefficients = torch.where(known[:, None], fitted, 0.0)
    # Sums of elementwise products: a product of many matrices may round each by how many there are.
    share = (x * coefficients[:, None, None]).sum(3).sigmoid()
    scores = ((repeated * (outcomes - share)).unsqueeze(3) * x).sum(2)
    meat = _outer(scores, scores).sum(1)
    curvature = torch.where(known[:, None, None], information, 0.0) + RIDGE * torch.eye(count + 1).to(x)
    bread = torch.linalg.inv(curvature * repeated.sum((1, 2)).clamp(min=1)[:, None, None])
    covariance = bread @ meat @ bread
    slope, constant = fitted[:, 0], fitted[:, -1]
    error = covariance[:, 0, 0].clamp(min=0).sqrt()
    rising = known & (slope.abs() > 2 * error)
    threshold = -constant / slope
    # Delta method for the ratio of two coefficients.
    variance = covariance[:, -1, -1] + threshold.square() * covariance[:, 0, 0] + 2 * threshold * covariance[:, 0, -1]
    missing = torch.full_like(slope, torch.nan)
    return Line(
        slope,
        torch.where(known, error, missing),
        torch.where(rising, threshold, missing),
        torch.where(rising, variance.clamp(min=0).sqrt() / slope.abs(), missing),
    )


def _outer(left: Tensor, right: Tensor) -> Tensor:
    """Outer products over the last axis: (..., K) and (..., K) to (..., K, K)."""
    return left.unsqueeze(-1) * right.unsqueeze(-2)
