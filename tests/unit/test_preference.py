"""The conditional logit: against autograd, scipy, statsmodels and published estimates; its errors; what it is told."""

import math
from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest
import statsmodels.api as sm
import torch
from scipy.optimize import minimize
from statsmodels.discrete.conditional_models import ConditionalLogit
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from turncoat.classification.preference import Fit, fit_logistic, fit_preferences, preference_features
from turncoat.seeding import generator

EPISODES = 512


def normal(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(generator(seed, "test preference normal").standard_normal(shape))


def world(seed: int, members: int, options: int, episodes: int = EPISODES) -> Tensor:
    """Features (E, N, B, 6) of four attributes and two slots."""
    slots = normalize(normal(seed + 1, members, episodes, 2, 4), dim=-1)
    return preference_features(normal(seed, members, options, episodes, 4), slots)


def truth(seed: int, length: float, count: int = 6) -> Tensor:
    return length * normalize(normal(seed, count), dim=0)


def choose(shares: Tensor, seed: int) -> Tensor:
    """One hard choice per episode, (E, N, B), drawn from shares (E, N, B)."""
    drawn = torch.from_numpy(generator(seed, "test preference choice").random((len(shares), 1, shares.shape[2])))
    choice = (drawn > shares.cumsum(1)).sum(1).clamp(max=shares.shape[1] - 1)
    return one_hot(choice, shares.shape[1]).transpose(1, 2).double()


def best(utility: Tensor) -> Tensor:
    return one_hot(utility.argmax(1), utility.shape[1]).transpose(1, 2).double()


def log_likelihood(features: Tensor, shares: Tensor, weights: Tensor, coefficients: Tensor) -> Tensor:
    """Weighted mean log likelihood of one model, by definition."""
    return ((shares * (features @ coefficients).log_softmax(0)).sum(0) * weights).sum() / weights.sum()


def newton(features: Tensor, shares: Tensor, weights: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """Coefficients and information of one model, by a plain Newton's method on autograd's derivatives."""

    def loss(b: Tensor) -> Tensor:
        return ridge / 2 * b.square().sum() - log_likelihood(features, shares, weights, b)

    b = torch.zeros(features.shape[-1], dtype=torch.float64)
    for _ in range(30):
        hessian = torch.autograd.functional.hessian(loss, b)
        b = b - torch.linalg.solve(hessian, torch.autograd.functional.jacobian(loss, b))
    return b, torch.autograd.functional.hessian(loss, b) - ridge * torch.eye(len(b))


@pytest.mark.parametrize("options", [2, 3, 5])
def test_the_fit_equals_a_plain_newton_on_autograd(options: int) -> None:
    x, ridge = world(options, 3, options, 101), 1e-2
    shares = (2 * x @ truth(1, 2.0) + normal(7, 3, options, 101)).softmax(1)
    weights = normal(8, 3, 101).square()
    fit = fit_preferences(x, shares, ridge, 25, weights)
    assert bool(fit.converged.all())
    for member in range(3):
        b, information = newton(x[member], shares[member], weights[member], ridge)
        curvature = information + ridge * torch.eye(6)
        covariance = torch.linalg.inv(curvature) @ information @ torch.linalg.inv(curvature) / weights[member].sum()
        assert torch.allclose(fit.coefficients[member], b, atol=1e-6)
        assert torch.allclose(fit.covariance[member], covariance, rtol=1e-5, atol=1e-9)
        assert torch.allclose(fit.errors[member], covariance.diag().sqrt(), rtol=1e-5)
        hit = shares[member].argmax(0) == (x[member] @ b).argmax(0)
        assert fit.hits[member].item() == pytest.approx((hit * weights[member]).sum().item() / weights[member].sum())
        r2 = 1 - log_likelihood(x[member], shares[member], weights[member], b).item() / -math.log(options)
        assert fit.r2[member].item() == pytest.approx(r2, abs=1e-7)
        each = (shares[member] * (x[member] @ b).log_softmax(0)).sum(0).numpy() / math.log(options)
        count = weights[member].sum().item()
        spread = math.sqrt(np.cov(each, aweights=weights[member].numpy(), ddof=0))
        assert fit.r2_error[member].item() == pytest.approx(spread / math.sqrt(count), rel=1e-5)


def test_a_step_too_far_is_halved() -> None:
    """Far outliers that speak against the rest: full Newton steps alone would go round in circles on some of these."""
    random = generator(1, "test preference outliers")
    far = torch.from_numpy(np.where(random.random((400, 1, 60, 1)) < 0.05, 30.0, 1.0))
    x = normal(1, 400, 2, 60, 3) * far
    shares = (5 * x @ normal(2, 400, 1, 3, 1)).squeeze(-1).softmax(1)
    shares[:, :, :5] = shares[:, :, :5].flip(1)
    fit = fit_preferences(x, shares, 1e-3, 25)
    assert bool(fit.converged.all())
    for member in range(0, 400, 40):

        def loss(b: np.ndarray, member: int = member) -> float:
            value = log_likelihood(x[member], shares[member], torch.ones(60), torch.from_numpy(b))
            return 1e-3 / 2 * float(b @ b) - value.item()

        found = minimize(loss, np.zeros(3), method="BFGS", options={"gtol": 1e-7})
        assert fit.coefficients[member].numpy() == pytest.approx(found.x, abs=1e-3)


def test_the_fit_equals_statsmodels_conditional_logit() -> None:
    x = normal(3, 1, 3, 400, 3)
    chosen = choose((x @ truth(4, 1.1, 3)).softmax(1), 5)
    fit = fit_preferences(x, chosen, ridge=1e-12, steps=50)
    groups = np.tile(np.arange(400), 3)
    theirs = ConditionalLogit(chosen[0].flatten().numpy(), x[0].reshape(-1, 3).numpy(), groups=groups).fit(disp=0)
    assert fit.coefficients[0].numpy() == pytest.approx(theirs.params, abs=2e-4)  # its optimizer stops early
    assert fit.errors[0].numpy() == pytest.approx(theirs.bse, rel=1e-3)
    assert fit.r2[0].item() == pytest.approx(1 - theirs.llf / (-400 * math.log(3)), abs=1e-6)
    assert bool(fit.converged[0])


def test_the_fit_equals_published_estimates_of_travel_mode_choice() -> None:
    """210 travellers between Sydney and Melbourne; estimates of Greene's Econometric Analysis."""
    data = sm.datasets.modechoice.load_pandas().data
    columns = [(data["mode"] == mode).astype(float) for mode in (1, 2, 3)]  # air, train, bus
    columns += [data["gc"], data["ttme"], columns[0] * data["hinc"]]
    x = torch.tensor(np.stack(columns, axis=1)).reshape(1, 210, 4, 6).transpose(1, 2)
    chosen = torch.tensor(data["choice"].to_numpy(float)).reshape(1, 210, 4).transpose(1, 2)
    fit = fit_preferences(x, chosen, ridge=1e-12, steps=50)
    assert fit.coefficients[0].tolist() == pytest.approx(
        [5.2074, 3.8690, 3.1632, -0.01550, -0.09612, 0.01329], rel=1e-3
    )
    assert fit.errors[0].tolist() == pytest.approx([0.77905, 0.44313, 0.45027, 0.00441, 0.01044, 0.01026], rel=2e-3)
    assert (1 - fit.r2[0].item()) * 210 * -math.log(4) == pytest.approx(-199.1284, abs=1e-3)
    theirs = ConditionalLogit(data["choice"], np.stack(columns, axis=1), groups=data["individual"])
    theirs = theirs.fit(method="newton", disp=0)
    assert fit.coefficients[0].numpy() == pytest.approx(theirs.params.to_numpy(), rel=1e-5)
    assert fit.errors[0].numpy() == pytest.approx(theirs.bse.to_numpy(), rel=1e-4)


def test_logistic_regressions_equal_statsmodels() -> None:
    x = torch.cat([normal(1, 3, 200, 2), torch.ones(3, 200, 1)], dim=2)
    share = (x @ torch.tensor([1.0, -0.5, 0.3], dtype=torch.float64)).sigmoid()
    outcomes = choose(torch.stack([1 - share, share], dim=1), 2)[:, 1]
    weights = torch.from_numpy(generator(3, "test preference weights").integers(0, 4, (3, 200)))
    plain, weighted = fit_logistic(x, outcomes, None, 1e-12, 50), fit_logistic(x, outcomes, weights, 1e-12, 50)
    for member in range(3):
        y, z = outcomes[member].numpy(), x[member].numpy()
        logit = sm.Logit(y, z).fit(disp=0)
        counted = sm.GLM(y, z, sm.families.Binomial(), freq_weights=weights[member].numpy()).fit(tol=1e-12)
        for (coefficients, information), theirs, count in ((plain, logit, 200), (weighted, counted, weights.sum(1))):
            covariance = torch.linalg.inv(information[member] * torch.as_tensor(count).expand(3)[member])
            assert coefficients[member].numpy() == pytest.approx(theirs.params, rel=1e-6)
            assert covariance.numpy() == pytest.approx(theirs.cov_params(), rel=1e-6)
    with pytest.raises(ValueError, match="outcomes reach"):
        fit_logistic(x, outcomes * 2, None, 1e-3, 5)


def repeated(options: int, length: float, ridge: float, members: int = 400) -> tuple[Fit, Tensor, Tensor]:
    """Fits to many draws of hard choices by one utility in one set of episodes; the utility; the fit to its shares."""
    x, w = world(20 + options, 1, options), truth(40 + options, length)
    shares = (x @ w).softmax(1)
    drawn = choose(shares.expand(members, -1, -1), 60)
    fit = fit_preferences(x.expand(members, -1, -1, -1), drawn, ridge, 50)
    return fit, w, fit_preferences(x, shares, ridge, 50).coefficients[0]


def coverage(fit: Fit, value: Tensor) -> Tensor:
    return ((fit.coefficients - value).abs() < 1.96 * fit.errors).double().mean(0)


@pytest.mark.parametrize("options", [2, 3, 5])
@pytest.mark.parametrize("length", [0.5, 1.0, 2.0])
def test_intervals_cover_the_utility(options: int, length: float) -> None:
    fit, w, _ = repeated(options, length, 1e-3)
    assert 0.93 < coverage(fit, w).mean() < 0.97


def test_intervals_miss_strong_utilities_by_what_the_ridge_takes() -> None:
    """At |w| = 4 the ridge takes 7 % off the utility: intervals cover the penalised estimate's mean, and not w."""
    fit, w, shrunken = repeated(2, 4.0, 1e-3, members=1000)
    assert shrunken.norm() / w.norm() == pytest.approx(0.93, abs=0.01)
    assert 0.94 < coverage(fit, fit.coefficients.mean(0)).mean() < 0.97
    assert coverage(fit, w).min() < 0.925
    light, w, _ = repeated(2, 4.0, 1e-4, members=1000)
    assert 0.93 < coverage(light, w).min() < 0.97


def test_the_ridge_draws_the_estimate_by_ridge_times_inverse_curvature() -> None:
    x, w, ridge = world(3, 1, 2), truth(5, 4.0), 1e-5
    fit = fit_preferences(x, (x @ w).softmax(1), ridge, 50)
    share = ((x[0, 1] - x[0, 0]) @ w).sigmoid()
    difference = x[0, 1] - x[0, 0]
    information = difference.T @ (difference * (share * (1 - share))[:, None]) / EPISODES
    predicted = -ridge * torch.linalg.solve(information + ridge * torch.eye(6), w)
    assert torch.allclose(fit.coefficients[0] - w, predicted, rtol=0.02, atol=1e-4 * predicted.norm())


def test_errors_are_the_spread_of_penalised_estimates_also_under_a_strong_ridge() -> None:
    """With ridge 0.1 the root of (H^-1 / B) would be a tenth and more too large."""
    fit, _, _ = repeated(2, 0.2, 0.1, members=1500)
    assert torch.allclose(fit.errors.mean(0), fit.coefficients.std(0), rtol=0.06)


def test_soft_choices_of_a_logit_are_fitted_exactly() -> None:
    x, w = normal(1, 1, 3, 300, 4), torch.tensor([2.0, 0.0, -1.0, 0.5], dtype=torch.float64)
    fit = fit_preferences(x, (x @ w).softmax(1), ridge=1e-12, steps=50)
    assert torch.allclose(fit.coefficients[0], w, atol=1e-6)
    assert fit.hits[0] == 1


def test_separated_choices_have_a_direction_and_a_length_set_by_the_ridge() -> None:
    x, w = normal(2, 1, 2, 2000, 4), truth(3, 1.0, 4)
    clear = (x[:, 1] @ w - x[:, 0] @ w).abs() > 0.5  # leaves a margin, so that the held fit too predicts them all
    chosen = best(x @ w)
    fits = [fit_preferences(x, chosen, ridge, 50, clear) for ridge in (1e-3, 1e-4, 1e-5, 1e-6)]
    lengths = [fit.coefficients.norm().item() for fit in fits]
    assert all(longer > 1.3 * shorter for shorter, longer in pairwise(lengths))
    for fit in fits:
        assert bool(fit.separated[0]) and bool(fit.converged[0]) and fit.hits[0] == 1
        assert torch.cosine_similarity(fit.coefficients[0], w, dim=0) > 0.99
    noisy = fit_preferences(x, choose((x @ w).softmax(1), 4), 1e-3, 50)
    assert not bool(noisy.separated[0]) and 0.5 < noisy.hits[0] < 0.95
    assert fit_preferences(x, best(x @ w), 1e-3, 50).hits[0] > 0.99  # without the margin only nearly all are


def test_shares_that_say_nothing_fit_nothing() -> None:
    fit = fit_preferences(world(1, 2, 3), torch.full((2, 3, EPISODES), 1 / 3, dtype=torch.float64), 1e-3, 25)
    assert fit.coefficients.abs().max() < 1e-12
    assert fit.r2.tolist() == pytest.approx([0, 0], abs=1e-12)
    assert fit.hits.tolist() == [0, 0] and not bool(fit.separated.any())
    assert bool(fit.converged.all())


def test_scaling_an_attribute_scales_its_coefficient_inversely() -> None:
    x = world(5, 2, 3)
    shares = choose((x @ truth(6, 1.5)).softmax(1), 7)
    factor = torch.tensor([1e-2, 0.5, 1.0, 3.0, 40.0, 1e3], dtype=torch.float64)
    plain, scaled = (fit_preferences(features, shares, 1e-13, 50) for features in (x, x * factor))
    assert torch.allclose(scaled.coefficients * factor, plain.coefficients, rtol=1e-6)
    assert torch.allclose(scaled.errors * factor, plain.errors, rtol=1e-6)
    assert torch.allclose(scaled.r2, plain.r2)


def test_more_options_estimate_the_same_utility() -> None:
    """Independence of irrelevant alternatives: choices among the first two of five options reveal the same utility."""
    x, w = world(8, 300, 5), truth(9, 1.0)
    five = fit_preferences(x, choose((x @ w).softmax(1), 10), 1e-6, 50)
    two = fit_preferences(x[:, :2], choose((x[:, :2] @ w).softmax(1), 11), 1e-6, 50)
    gap = (five.coefficients - two.coefficients) / (five.errors.square() + two.errors.square()).sqrt()
    assert gap.square().mean() == pytest.approx(1, abs=0.1)
    assert bool((five.errors.mean(0) < two.errors.mean(0)).all())


@pytest.mark.parametrize("place", [0, 1, 3])
def test_an_option_nobody_would_choose_changes_nothing(place: int) -> None:
    x, w = world(12, 2, 3), truth(13, 1.5)
    shares = choose((x @ w).softmax(1), 14)
    hopeless = (-2000 * w).expand(2, 1, EPISODES, 6)
    more = torch.cat([x[:, :place], hopeless, x[:, place:]], dim=1)
    none = torch.cat([shares[:, :place], torch.zeros_like(shares[:, :1]), shares[:, place:]], dim=1)
    plain, fit = fit_preferences(x, shares, 1e-4, 50), fit_preferences(more, none, 1e-4, 50)
    assert bool(fit.converged.all())
    assert torch.allclose(fit.coefficients, plain.coefficients, atol=1e-7)
    assert torch.allclose(fit.errors, plain.errors, atol=1e-7)


def test_the_order_of_options_changes_nothing() -> None:
    x = world(15, 2, 4)
    shares = choose((x @ truth(16, 1.5)).softmax(1), 17)
    order = [2, 0, 3, 1]
    plain, fit = fit_preferences(x, shares, 1e-4, 50), fit_preferences(x[:, order], shares[:, order], 1e-4, 50)
    assert_equal_fits(fit, plain, 1e-9)


def assert_equal_fits(fit: Fit, other: Fit, tolerance: float) -> None:
    for field in fields(Fit):
        ours, theirs = getattr(fit, field.name).double(), getattr(other, field.name).double()
        assert torch.allclose(ours, theirs, rtol=tolerance, atol=tolerance), field.name


def test_an_episode_of_no_weight_is_left_out_whatever_it_holds() -> None:
    x = world(18, 2, 3, 100)
    shares = (x @ truth(19, 1.5) + normal(20, 2, 3, 100)).softmax(1)
    kept = torch.arange(100) % 3 > 0
    left = fit_preferences(x[:, :, kept], shares[:, :, kept], 1e-3, 25)
    x[:, 1, 0], shares[:, :, 3] = torch.inf, torch.nan
    assert_equal_fits(fit_preferences(x, shares, 1e-3, 25, kept.expand(2, -1)), left, 1e-11)


def test_a_whole_weight_repeats_an_episode() -> None:
    x = world(18, 2, 3, 100)
    shares = (x @ truth(19, 1.5) + normal(20, 2, 3, 100)).softmax(1)
    times = torch.from_numpy(generator(1, "test preference times").integers(1, 4, 100))
    repeats = fit_preferences(x.repeat_interleave(times, 2), shares.repeat_interleave(times, 2), 1e-3, 25)
    assert_equal_fits(fit_preferences(x, shares, 1e-3, 25, times.expand(2, -1)), repeats, 1e-11)


def test_weights_of_sum_zero_fit_nothing_and_wrong_weights_are_named() -> None:
    x, weights = world(21, 2, 2, 40), torch.ones(2, 40)
    shares = (x @ truth(22, 1.0)).softmax(1)
    weights[1] = 0
    fit = fit_preferences(x, shares, 1e-3, 25, weights)
    assert fit.converged.tolist() == [True, False] and fit.separated.tolist()[1] is False
    assert fit.coefficients[1].isnan().all() and fit.errors[1].isnan().all() and fit.r2[1].isnan()
    assert torch.equal(fit.coefficients[0], fit_preferences(x[:1], shares[:1], 1e-3, 25).coefficients[0])
    for wrong, said in ((-weights, "0 or more"), (weights[:, :39], "shape"), (weights * torch.inf, "0 or more")):
        with pytest.raises(ValueError, match=said):
            fit_preferences(x, shares, 1e-3, 25, wrong)


def robust_by_loops(x: Tensor, shares: Tensor, weights: Tensor, ridge: float, utility: Tensor) -> tuple[Tensor, float]:
    """HC3 of one model with features (N, B, K), episode by episode: A V A / W, and the largest leverage.

    A is the inverse of the curvature, V the weighted mean square of scores, each over 1 less its episode's leverage:
    its part of the information in units of the curvature, a share of the N - 1 numbers that an episode tells.
    """
    chances, parts, scores = (x @ utility).softmax(0), [], []
    for b in range(x.shape[1]):
        centred = x[:, b] - chances[:, b] @ x[:, b]
        parts.append(sum(p * torch.outer(c, c) for p, c in zip(chances[:, b], centred, strict=True)))
        scores.append((shares[:, b] - chances[:, b]) @ x[:, b])
    share = weights / weights.sum()
    information = sum(w * part for w, part in zip(share, parts, strict=True))
    inverse = torch.linalg.inv(information + ridge * torch.eye(x.shape[2], dtype=x.dtype))
    leverages = [float((inverse @ part).trace() / weights.sum() / (len(x) - 1)) for part in parts]
    scores = [score / (1 - min(leverage, 0.99)) for score, leverage in zip(scores, leverages, strict=True)]
    variation = sum(w * torch.outer(score, score) for w, score in zip(share, scores, strict=True))
    return inverse @ variation @ inverse / weights.sum(), max(leverages)


@pytest.mark.parametrize("options", [2, 3])
@pytest.mark.parametrize(("strength", "lowest", "highest"), [(1.0, 0.25, 0.7), (8.0, 0.6, 0.95), (60.0, 1.2, 3.0)])
def test_robust_covariance_is_that_of_left_out_episodes(
    options: int, strength: float, lowest: float, highest: float
) -> None:
    """With few episodes, of which one may decide all: where the leverage counts, and where it is held to 0.99."""
    x = normal(41, 4, options, 12, 3)
    shares = (strength * (x @ normal(42, 3)) + normal(43, 4, options, 12)).softmax(1)
    weights = torch.from_numpy(generator(44, "test preference weights").uniform(0.2, 2, (4, 12)))
    fit = fit_preferences(x, shares, 1e-4, 100, weights)
    assert fit.converged.all()
    leverages = []
    for member in range(4):
        expected, leverage = robust_by_loops(x[member], shares[member], weights[member], 1e-4, fit.coefficients[member])
        leverages.append(leverage)
        torch.testing.assert_close(fit.robust[member], expected, rtol=1e-7, atol=1e-10 * expected.abs().max().item())
    assert lowest < max(leverages) < highest


@pytest.mark.parametrize("options", [2, 3])
@pytest.mark.parametrize(("episodes", "count"), [(512, 5), (101, 6), (77, 17), (45, 1)])
def test_a_models_fit_is_the_same_bit_for_bit_beside_any_others(options: int, episodes: int, count: int) -> None:
    x = normal(23, 9, options, episodes, count)
    strength = torch.logspace(-2, 1.5, 9, dtype=torch.float64)[:, None, None]  # so that some take many steps, some few
    shares = (x @ normal(24, count) * strength + normal(25, 9, options, episodes)).softmax(1)
    together = fit_preferences(x, shares, 1e-3, 25)
    for members in ([0], [8], [3, 4], [8, 0, 5, 2], [1, 2, 3, 4, 5, 6, 7, 8]):
        fit = fit_preferences(x[members], shares[members], 1e-3, 25)
        for field in fields(Fit):
            assert torch.equal(getattr(fit, field.name), getattr(together, field.name)[members]), (field.name, members)


@pytest.mark.parametrize("spoil", ["share", "first share", "feature"])
def test_models_without_finite_choices_get_no_fit_and_spoil_no_other(spoil: str) -> None:
    x = world(26, 3, 3, 100)
    shares = (x @ truth(27, 1.0)).softmax(1)
    alone = fit_preferences(x[[0, 2]], shares[[0, 2]], 1e-3, 25)
    if spoil == "feature":
        x[1, 2, 5, 0] = torch.inf
    else:
        shares[1, 0 if spoil == "first share" else 1, 5] = torch.nan
    fit = fit_preferences(x, shares, 1e-3, 25)
    assert fit.converged.tolist() == [True, False, True]
    for name in ("coefficients", "errors", "covariance", "r2", "r2_error", "hits"):
        assert getattr(fit, name)[1].isnan().all(), name
        assert torch.equal(getattr(fit, name)[[0, 2]], getattr(alone, name))
    assert not bool(fit.separated[1])


def test_wrong_shares_and_ridge_are_named_and_too_few_steps_do_not_converge() -> None:
    x = world(28, 1, 3, 50)
    shares = (x @ truth(29, 3.0)).softmax(1)
    assert fit_preferences(x, shares, 1e-3, 2).converged.tolist() == [False]
    with pytest.raises(ValueError, match="above 0"):
        fit_preferences(x, shares, ridge=0, steps=5)
    negative = torch.stack([shares[:, 0] - 1, shares[:, 1] + 1, shares[:, 2]], dim=1)
    for wrong in (shares * 2, negative):
        with pytest.raises(ValueError, match="probabilities"):
            fit_preferences(x, wrong, 1e-3, 5)


def test_features_are_attributes_and_what_the_slots_point_at() -> None:
    attributes, slots = normal(30, 2, 3, 5, 4), normal(31, 2, 5, 2, 4)
    features = preference_features(attributes, slots)
    assert features.shape == (2, 3, 5, 6)
    assert torch.equal(features[..., :4], attributes)
    assert features[1, 2, 3, 5].item() == pytest.approx((attributes[1, 2, 3] @ slots[1, 3, 1]).item())
