"""The conditional logit on episodes as fits lay them out: utilities, probabilities, and sums that Newton steps need."""

from typing import NamedTuple

import torch
from torch import Tensor


class Problem(NamedTuple):
    """What is fitted, episodes innermost, filled up to B' with episodes of no weight.

    differences: (E, K, (N - 1) B'), features of the later options less the first's, so that two options make a
    logistic regression; shares: (E, N, B'); weights: (E, B'), summing to 1 (NaN for a model with nothing to fit);
    chosen: (E, (N - 1) B'), weighted shares of the later options; episodes: (E,), the sum of weights before; ridge: the
    penalty.
    """

    differences: Tensor
    shares: Tensor
    weights: Tensor
    chosen: Tensor
    episodes: Tensor
    ridge: float


def sums_over_episodes(problem: Problem, coefficients: Tensor) -> Tensor:
    """The information at coefficients (E, K), which is the covariance of the features under the predicted choice, and
    beside it the gradient of the log likelihood, (E, K, K + 1)."""
    x, weights = problem.differences, problem.weights[:, None]
    count = x.shape[1]
    share = predicted(utility_of(problem, coefficients))
    expected = weights * share
    rows = x.new_empty(len(x), count + 1, x.shape[2])
    torch.sub(problem.chosen, expected.flatten(1), out=rows[:, count])
    if share.shape[1] == 1:
        torch.mul(x, expected * (1 - share), out=rows[:, :count])
    else:
        each = x.unflatten(2, share.shape[1:])
        centred = each - (each * share[:, None]).sum(2, keepdim=True)
        torch.mul(centred.flatten(2), expected.flatten(1)[:, None], out=rows[:, :count])
    return torch.bmm(x, rows.mT)


def utility_of(problem: Problem, coefficients: Tensor) -> Tensor:
    """Utility of each later option less the first's, (E, N - 1, B')."""
    _, options, episodes = problem.shares.shape
    return torch.bmm(coefficients[:, None], problem.differences).view(-1, options - 1, episodes)


def predicted(utility: Tensor) -> Tensor:
    """Probability of each later option, the first one's utility being 0, (E, N - 1, B')."""
    if utility.shape[1] == 1:
        return (-utility).exp_().add_(1).reciprocal_()
    highest = utility.amax(1, keepdim=True).clamp_(min=0)
    odds = (utility - highest).exp_()
    return odds / (odds.sum(1, keepdim=True) + (-highest).exp_())
