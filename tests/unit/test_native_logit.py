"""Sums over episodes by the kernel in C: bit for bit those of PyTorch, and so are the fits."""

import logging
from collections.abc import Iterator
from dataclasses import fields
from functools import partial

import pytest
import torch
from torch import Tensor

import turncoat.classification.native_logit as native_logit
from turncoat.classification.logit import Problem, sums_over_episodes
from turncoat.classification.native_logit import NativeSums, can_sum, fastest_sums
from turncoat.classification.preference import fit_logistic, fit_preferences
from turncoat.native.library import native_library, without_kernels

pytestmark = pytest.mark.skipif(native_library() is None, reason="no C compiler, or PyTorch without MKL")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def unknown() -> Iterator[None]:
    """As in a process that has not yet compared the kernel with PyTorch."""
    native_logit._agrees.cache_clear()
    yield
    native_logit._agrees.cache_clear()


def problem(models: int, features: int, episodes: int, options: int = 2, scale: float = 1.0) -> Problem:
    random = torch.Generator().manual_seed(models + features + episodes)
    differences = torch.randn(models, features, (options - 1) * episodes, dtype=torch.float64, generator=random)
    shares = scale * torch.randn(models, options, episodes, dtype=torch.float64, generator=random)
    shares = shares.softmax(1)
    weights = torch.rand(models, episodes, dtype=torch.float64, generator=random)
    weights[:, ::3] = 0
    weights /= weights.sum(1, keepdim=True)
    chosen = (weights[:, None] * shares[:, 1:]).flatten(1)
    return Problem(differences, shares, weights, chosen, weights.sum(1), 1e-4)


@pytest.mark.parametrize(
    ("models", "features", "episodes"),
    [(48, 6, 512), (48, 5, 512), (52, 3, 4096), (1, 6, 512), (3, 2, 1792), (2, 20, 64), (7, 4, 104), (1, 1, 400)],
)
@pytest.mark.parametrize("length", [0.0, 1.0, 1e3])
def test_sums_are_pytorchs_bit_for_bit(models: int, features: int, episodes: int, length: float) -> None:
    asked = problem(models, features, episodes, scale=1 + length)
    random = torch.Generator().manual_seed(5)
    coefficients = length * torch.randn(models, features, dtype=torch.float64, generator=random)
    assert can_sum(asked)
    found, expected = NativeSums(asked)(coefficients), sums_over_episodes(asked, coefficients)
    assert torch.equal(found, expected)
    assert expected.abs().amax((1, 2)).min() > (0 if length == 1e3 else 1e-3)


def test_strided_coefficients_are_read_as_they_are() -> None:
    asked = problem(3, 4, 128)
    wide = torch.randn(3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.equal(NativeSums(asked)(wide[:, ::2]), sums_over_episodes(asked, wide[:, ::2].contiguous()))


def features_and_shares(kind: str) -> tuple[Tensor, Tensor, Tensor | None]:
    """Features (5, 2, 200, 4), shares (5, 2, 200) and weights of models that are easy, sharp or broken."""
    random = torch.Generator().manual_seed(3)
    features = torch.randn(5, 2, 200, 4, dtype=torch.float64, generator=random)
    utility = features @ torch.randn(4, dtype=torch.float64, generator=random)
    weights = None
    if kind == "sharp":
        utility *= 1000
    if kind == "noise":
        utility = torch.randn(5, 2, 200, dtype=torch.float64, generator=random)
    shares = utility.softmax(1)
    if kind == "not finite":
        shares[1, :, 7] = torch.nan
        features[3, 0, 2, 1] = torch.inf
    if kind == "left out":
        weights = (torch.rand(5, 200, dtype=torch.float64, generator=random) < 0.4).double()
        weights[2] = 0
    return features, shares, weights


@pytest.mark.parametrize("kind", ["plain", "sharp", "noise", "not finite", "left out"])
def test_fits_are_the_same_with_and_without_the_kernel(kind: str) -> None:
    features, shares, weights = features_and_shares(kind)
    used = fit_preferences(features, shares, 1e-4, 25, weights)
    line = fit_logistic(features[:, 1], shares[:, 1].nan_to_num(), weights, 1e-4, 25)
    with without_kernels():
        expected = fit_preferences(features, shares, 1e-4, 25, weights)
        expected_line = fit_logistic(features[:, 1], shares[:, 1].nan_to_num(), weights, 1e-4, 25)
    for name in (field.name for field in fields(expected)):
        torch.testing.assert_close(getattr(used, name), getattr(expected, name), rtol=0, atol=0, equal_nan=True)
    for one, other in zip(line, expected_line, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
    assert expected.converged.any()


def test_the_kernel_takes_the_fits_of_a_study_and_no_others() -> None:
    for features, episodes in ((5, 512), (6, 512), (3, 4096), (3, 1792)):  # preferences, price lines, curves
        assert isinstance(fastest_sums(problem(48, features, episodes)), NativeSums)
    asked = problem(2, 4, 128)
    refused = {
        "three options": problem(2, 4, 128, options=3),
        "strided weights": asked._replace(weights=torch.rand(2, 256, dtype=torch.float64)[:, ::2]),
        "float32": asked._replace(differences=asked.differences.float()),
        "strided differences": asked._replace(differences=torch.rand(2, 4, 256, dtype=torch.float64)[..., ::2]),
        "small": problem(1, 3, 128),
    }
    assert {name for name, other in refused.items() if can_sum(other)} == set() and can_sum(asked)
    assert isinstance(fastest_sums(problem(2, 4, 128, options=3)), partial)
    torch.set_num_threads(2)
    assert not can_sum(asked)
    with pytest.raises(ValueError, match=r"no kernel for 2 options, .* allowed: 2 options"):
        NativeSums(asked)


def test_coefficients_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\); allowed: float64 of \(2, 4\)"):
        NativeSums(problem(2, 4, 128))(torch.zeros(2, 3, dtype=torch.float64))


def test_where_a_bit_differs_pytorch_sums_and_the_log_says_so(
    unknown: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    exact = native_logit.sums_over_episodes

    def other(asked: Problem, coefficients: Tensor) -> Tensor:
        return exact(asked, coefficients) * (1 + 2.0**-52)

    monkeypatch.setattr(native_logit, "sums_over_episodes", other)
    with caplog.at_level(logging.WARNING, "turncoat"):
        summed = fastest_sums(problem(2, 4, 128))
        assert isinstance(summed, partial) and summed.func is other
        fastest_sums(problem(2, 4, 128))
    assert caplog.text.count("slower and gives the same bits: a fit's first step shows") == 1
