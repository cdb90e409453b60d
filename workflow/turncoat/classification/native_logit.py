"""Sums over episodes by the kernel of `native`, for choices between two options on a CPU: the bits of `logit`."""

import ctypes
import logging
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

from turncoat.classification.logit import Problem, sums_over_episodes
from turncoat.native import structures
from turncoat.native.library import SLOWER, SMALLEST_PRODUCT, borrowed, native_library

log = logging.getLogger("turncoat")

Sums = Callable[[Tensor], Tensor]


def fastest_sums(problem: Problem) -> Sums:
    """`sums_over_episodes` of this problem, by the kernel where it knows the problem and gives the same bits."""
    _, features, episodes = problem.differences.shape
    if can_sum(problem) and _agrees(features, episodes):
        return NativeSums(problem)
    return partial(sums_over_episodes, problem)


class NativeSums:
    """`sums_over_episodes` by the kernel. Raises ValueError for what `can_sum` refuses."""

    def __init__(self, problem: Problem) -> None:
        library, functions = native_library(), borrowed()
        if library is None or functions is None or not can_sum(problem):
            raise ValueError(
                f"no kernel for {problem.shares.shape[1]} options, differences {problem.differences.dtype} "
                f"{tuple(problem.differences.shape)} on {problem.differences.device}; allowed: 2 options, contiguous "
                f"float64, products of {SMALLEST_PRODUCT} multiplications and more, on a cpu with one thread, where "
                "there are a C compiler and PyTorch built with MKL"
            )
        self.kernel, self.problem = library.sum_over_episodes, problem  # the kernel is told where it lies
        models, features, episodes = problem.differences.shape
        self.rows = problem.differences.new_empty(features + 2, episodes)
        self.logit = structures.Logit(models, features, episodes)
        for name in ("differences", "weights", "chosen"):
            setattr(self.logit, name, getattr(problem, name).data_ptr())
        self.logit.rows = self.rows.data_ptr()
        self.logit.products = functions["double_products"]
        self.logit.exponentials = functions["double_exponentials"]

    def __call__(self, coefficients: Tensor) -> Tensor:
        """Sums (E, K, K + 1) at coefficients (E, K). Raises ValueError for others."""
        models, features, _ = self.problem.differences.shape
        if coefficients.shape != (models, features) or coefficients.dtype != torch.float64:
            raise ValueError(
                f"coefficients are {coefficients.dtype} {tuple(coefficients.shape)}; allowed: float64 of "
                f"{(models, features)}"
            )
        coefficients = coefficients.contiguous()
        sums = coefficients.new_empty(models, features, features + 1)
        self.logit.coefficients, self.logit.sums = coefficients.data_ptr(), sums.data_ptr()
        self.kernel(ctypes.byref(self.logit))
        return sums


def can_sum(problem: Problem) -> bool:
    """Whether the kernel knows such a problem, and is to be had. Its work is not shared by threads."""
    _, features, episodes = problem.differences.shape
    parts = problem.differences, problem.weights, problem.chosen
    plain = all(part.dtype == torch.float64 and part.is_contiguous() for part in parts)
    plain = plain and problem.differences.device.type == "cpu" and torch.get_num_threads() == 1
    known = problem.shares.shape[1] == 2 and features * episodes >= SMALLEST_PRODUCT
    return known and plain and native_library() is not None


@cache
def _agrees(features: int, episodes: int) -> bool:
    """Whether the kernel gives PyTorch's bits for three models with so many features and episodes, drawn at random."""
    random = torch.Generator().manual_seed(0)
    differences = torch.randn(3, features, episodes, dtype=torch.float64, generator=random)
    shares = torch.randn(3, 2, episodes, dtype=torch.float64, generator=random).softmax(1)
    weights = torch.rand(3, episodes, dtype=torch.float64, generator=random)
    problem = Problem(differences, shares, weights, weights * shares[:, 1], weights.sum(1), 0.0)
    coefficients = torch.randn(3, features, dtype=torch.float64, generator=random)
    different = int((NativeSums(problem)(coefficients) != sums_over_episodes(problem, coefficients)).sum())
    if different:
        log.warning("%s: a fit's first step shows %d other numbers than PyTorch's", SLOWER, different)
    return different == 0
