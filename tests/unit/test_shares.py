"""Shares and cosines of a fitted utility against draws of its coefficients, and what is noise alone."""

import numpy as np
import pytest
import torch
from torch import Tensor

from turncoat.classification.shares import Shares, cosines, utility_shares

COUNT = 20_000


def drawn(truth: list[float], error: float, scale_error: float = 0.0) -> tuple[Tensor, Tensor]:
    """Estimates (COUNT, K) of coefficients and their covariance; a part of the error moves all in proportion."""
    centre = np.array(truth)
    covariance = error**2 * np.eye(len(centre)) + scale_error**2 * np.outer(centre, centre)
    noise = np.random.default_rng(1).multivariate_normal(np.zeros(len(centre)), covariance, COUNT)
    return torch.from_numpy(centre + noise), torch.from_numpy(covariance).expand(COUNT, -1, -1)


def shares_of(truth: list[float], error: float, scale_error: float = 0.0) -> Shares:
    return utility_shares(*drawn(truth, error, scale_error), attributes=4)


def test_shares_of_a_utility_that_is_known_exactly() -> None:
    found = shares_of([3, 0, 4, 0, 4, -1], 0.0)
    assert found.baked[0].item() == pytest.approx(0.5)
    assert found.pointer[0].item() == pytest.approx(0.4)  # what defies slot 2 is in neither
    assert found.baked_error[0] == found.pointer_error[0] == 0
    both = shares_of([0, 0, 0, 0, 1, 3], 0.0)
    assert (both.baked[0].item(), both.pointer[0].item()) == (0, 1)


@pytest.mark.parametrize("truth", [[3, 0, 4, 0, 3, 2], [0.6, 0.8, 0, 0, 1, -1], [1, 1, 1, 1, 3, 0]])
@pytest.mark.parametrize("scale_error", [0.0, 0.15])
def test_errors_of_shares_are_those_of_drawn_coefficients(truth: list[float], scale_error: float) -> None:
    found, exact = shares_of(truth, 0.05, scale_error), shares_of(truth, 0.0)
    for name in ("baked", "pointer"):
        value, error = getattr(found, name), getattr(found, f"{name}_error")
        assert value.mean().item() == pytest.approx(getattr(exact, name)[0].item(), abs=0.01)
        assert error.median().item() == pytest.approx(value.std().item(), rel=0.1)


@pytest.mark.parametrize("scale_error", [0.0, 0.15])
def test_the_length_that_errors_across_it_add_is_taken_back(scale_error: float) -> None:
    """Beside a slot of exactly known weight 1, share / (1 - share) is the length."""
    estimates, covariance = drawn([0.6, 0, 0.8, 0, 0, 0], 0.2, scale_error)
    estimates[:, 4], estimates[:, 5] = 1, 0
    found = utility_shares(estimates, covariance * (torch.arange(6) < 4), attributes=4)
    assert (found.baked / found.pointer).mean().item() == pytest.approx(1, abs=0.01)
    assert estimates[:, :4].norm(dim=1).mean().item() > 1.05


def test_what_is_baked_in_by_noise_alone_has_hardly_a_share_and_no_direction() -> None:
    estimates, covariance = drawn([0, 0, 0, 0, 1, 0], 0.1)
    found = utility_shares(estimates, covariance, attributes=4)
    w = estimates[:, :4]
    assert (found.baked == 0).double().mean() > 0.4
    assert found.baked.mean() < 0.6 * (w.norm(dim=1) / (1 + w.norm(dim=1))).mean() < 0.1
    objective = torch.eye(4, dtype=torch.float64)[0].expand(COUNT, 4)
    cosine, error = cosines(w, covariance[:, :4, :4], objective)
    assert torch.equal(cosine.isnan(), found.baked == 0)
    assert torch.equal(error.isnan(), found.baked == 0)
    assert cosine.nanmean().item() == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize(("weight", "counted"), [(0.0, 0.046), (0.25, 0.692)])
def test_a_slot_counts_only_where_it_is_clear_of_noise(weight: float, counted: float) -> None:
    """A weight of 0 lies beyond two errors in 4.6 % of fits, one of 2.5 errors in 69 % (and -2 errors never)."""
    found = shares_of([1, 0, 0, 0, weight, 0], 0.1)
    slot1 = found.baked + found.pointer < 1 - 1e-12  # defied, or
    slot1 |= found.pointer > 0  # obeyed
    other = 0.0455  # slot 2, which weighs nothing
    assert slot1.double().mean().item() == pytest.approx(1 - (1 - counted) * (1 - other), abs=0.02)


@pytest.mark.parametrize("cosine", [0.3, 0.9])
@pytest.mark.parametrize("scale_error", [0.0, 0.15])
def test_cosines_are_those_of_the_utility_behind_the_noise(cosine: float, scale_error: float) -> None:
    w, covariance = drawn([2 * cosine, 2 * (1 - cosine**2) ** 0.5, 0, 0], 0.15, scale_error)
    objective = torch.eye(4, dtype=torch.float64)[0].expand(COUNT, 4)
    found, error = cosines(w, covariance, objective)
    assert found.mean().item() == pytest.approx(cosine, abs=0.01)
    raw = torch.nn.functional.normalize(w, dim=1)[:, 0]
    assert error.median().item() == pytest.approx(raw.std().item(), rel=0.1)
    assert found.abs().max() <= 1


def test_models_that_could_not_be_fitted_have_no_share_and_spoil_no_other() -> None:
    estimates, covariance = (part[:3].clone() for part in drawn([3, 0, 4, 0, 3, 2], 0.05))
    alone = utility_shares(estimates, covariance, attributes=4)
    estimates[1], covariance[1] = torch.nan, torch.nan
    found = utility_shares(estimates, covariance, attributes=4)
    for name, values in vars(found).items():
        assert bool(values[1].isnan()), name
        assert torch.equal(values[[0, 2]], getattr(alone, name)[[0, 2]]), name


def test_a_utility_within_its_noise_has_shares_of_zero_with_finite_errors() -> None:
    covariance = 0.01 * torch.eye(6, dtype=torch.float64)[None]
    for length in (0.0, 1e-17, 0.05):
        found = utility_shares(torch.full((1, 6), length, dtype=torch.float64), covariance, attributes=4)
        assert (found.baked.item(), found.pointer.item()) == (0, 0)
        assert bool(torch.stack([found.baked_error, found.pointer_error]).isfinite().all())
