"""Blends and mixtures of models: fits against independent ones, and populations whose kind is known."""

import math
from collections.abc import Callable

import numpy as np
import pandas
import pytest
from scipy import optimize, special, stats
from sklearn.mixture import GaussianMixture

from turncoat.statistics import populations
from turncoat.statistics.contrasts import Plan
from turncoat.statistics.populations import (
    FINE,
    FLOOR,
    SEPARATION,
    Population,
    fit_one_class,
    fit_two_classes,
    latent_classes,
    population_table,
)
from turncoat.tables.atomic import build_table
from turncoat.tables.populations import SCHEMA

Array = np.ndarray
Draw = Callable[[np.random.Generator, int], Array]

PLAN = Plan(confidence=0.95, resamples=500, margin=0.05, minimum_seeds=12)
SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)


def mixture(share: float) -> Draw:
    """A share of models with a D of 0.9, the others with 0; both spread by 0.03."""
    return lambda random, n: np.where(random.random(n) < share, 0.9, 0.0) + 0.03 * random.standard_normal(n)


def blend(level: float, spread: float = 0.03) -> Draw:
    return lambda random, n: level + spread * random.standard_normal(n)


def measured(draw: Draw, seed: int, n: int = 48) -> tuple[Array, Array, Array]:
    """True D of n models, D as measured, and its standard errors."""
    random = np.random.default_rng([seed, n])
    errors = random.uniform(0.03, 0.05, n)
    truth = draw(random, n)
    return truth, truth + errors * random.standard_normal(n), errors


def judge(draw: Draw, seed: int, n: int = 48, resamples: int = 100) -> Population:
    _, values, errors = measured(draw, seed, n)
    return latent_classes(values, errors, 12, f"test {seed}", resamples)


def awkward(case: int) -> tuple[Array, Array]:
    """D and standard errors of populations that are hard to fit: exact values among noisy ones, tails, an outlier."""
    random = np.random.default_rng(case)
    n = (12, 24, 48)[case % 3]
    errors = random.uniform(0.01, 0.06, n)
    if case % 2:
        errors[random.random(n) < 0.5] = 0
    truth = (
        np.where(random.random(n) < 0.3, 0.9, 0.0),
        np.full(n, 0.5),
        np.where(random.random(n) < 0.5, 0.4, 0.1),
        random.random(n),
        0.2 * random.standard_t(3, n),
        np.where(np.arange(n) == 0, 0.9, 0.0),
    )[case % 6]
    return truth + 0.03 * random.standard_normal(n) + errors * random.standard_normal(n), errors


@pytest.mark.parametrize("case", range(6))
def test_one_class_is_the_optimum_of_scipys_normal_likelihood(case: int) -> None:
    values, errors = awkward(case)

    def cost(mean: float, tau: float) -> float:
        return -float(stats.norm.logpdf(values, mean, np.sqrt(tau**2 + errors**2)).sum())

    mean, tau, log_likelihood = fit_one_class(values[None], errors**2)[:, 0]
    assert log_likelihood == pytest.approx(-cost(mean, tau), abs=1e-9)
    best = min(
        optimize.minimize(lambda at: cost(*at), [0.3, start], method="L-BFGS-B", bounds=[(-2, 3), (FLOOR, 2)]).fun
        for start in (0.01, 0.1, 0.4)
    )
    assert log_likelihood == pytest.approx(-best, abs=1e-5)


def test_one_class_has_its_closed_form_where_errors_are_equal() -> None:
    values = np.random.default_rng(0).normal(0.4, 0.1, (3, 48))
    mean, tau, _ = fit_one_class(values, np.full(48, 0.05**2))
    assert mean == pytest.approx(values.mean(1))
    assert tau == pytest.approx(np.sqrt(values.var(1) - 0.05**2))


@pytest.mark.parametrize("case", range(6))
def test_two_classes_reach_the_best_of_a_general_optimiser(case: int) -> None:
    values, errors = awkward(case)

    def cost(at: Array) -> float:
        share, deviation = special.expit(at[0]), np.sqrt(at[3] ** 2 + errors**2)
        upper, lower = (stats.norm.logpdf(values, mean, deviation) for mean in at[1:3])
        return -float(np.logaddexp(np.log(share) + upper, np.log1p(-share) + lower).sum())

    share, upper, lower, tau, log_likelihood = fit_two_classes(values[None], errors**2, FINE)[:, 0]
    assert log_likelihood == pytest.approx(-cost(np.array([special.logit(share), upper, lower, tau])), abs=1e-9)
    random = np.random.default_rng(case)
    best = math.inf
    for _ in range(8):
        low, high = np.sort(random.choice(values, 2, replace=False))
        start = [random.normal(), high, low, random.uniform(FLOOR, 0.3)]
        found = optimize.minimize(cost, start, method="L-BFGS-B", bounds=[(-12, 12), (-2, 3), (-2, 3), (FLOOR, 2)])
        best = min(best, found.fun)
    assert log_likelihood >= -best - 1e-4
    assert upper >= lower and 0 < share < 1 and tau >= FLOOR


@pytest.mark.parametrize("share", [0.25, 0.6])
def test_two_classes_are_scikit_learns_where_errors_are_equal(share: float) -> None:
    random = np.random.default_rng(3)
    values = np.where(random.random(60) < share, 0.6, 0.1) + random.normal(0, 0.12, 60)
    error = 0.05
    reference = GaussianMixture(
        2, covariance_type="tied", tol=1e-12, max_iter=20_000, n_init=5, reg_covar=0, random_state=0
    ).fit(values[:, None])
    order = np.argsort(reference.means_[:, 0])[::-1]
    found = fit_two_classes(values[None], np.full(60, error**2), FINE)[:, 0]
    assert found[0] == pytest.approx(reference.weights_[order[0]], abs=1e-4)
    assert found[1:3] == pytest.approx(reference.means_[order, 0], abs=1e-4)
    assert found[3] ** 2 + error**2 == pytest.approx(reference.covariances_[0, 0], abs=1e-5)
    assert found[4] == pytest.approx(60 * reference.score(values[:, None]), abs=1e-6)


def test_rows_are_fitted_apart() -> None:
    random = np.random.default_rng(5)
    values = random.normal(0.4, 0.2, (7, 30)) + np.where(random.random((7, 30)) < 0.5, 0.5, 0)
    noise = random.uniform(0.01, 0.06, (7, 30)) ** 2
    together = fit_two_classes(values, noise, FINE)
    alone = [fit_two_classes(row[None], own, FINE) for row, own in zip(values, noise, strict=True)]
    assert together == pytest.approx(np.concatenate(alone, axis=1), abs=1e-9)


def test_pieces_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(7)
    values, noise = random.normal(0.4, 0.2, (23, 30)), random.uniform(0.01, 0.06, (23, 30)) ** 2
    found = []
    for size in (1, 30 * 30, 10**6):
        monkeypatch.setattr(populations, "PIECE", size)
        found.append(fit_two_classes(values, noise).tobytes())
    assert found[0] == found[1] == found[2]


def test_few_starts_find_what_many_find(monkeypatch: pytest.MonkeyPatch) -> None:
    values, noise = np.random.default_rng(6).normal(0.5, 0.1, (100, 48)), np.full(48, 0.04**2)
    few = fit_two_classes(values, noise)[4]
    monkeypatch.setattr(populations, "SPLITS", tuple(np.linspace(0.04, 0.96, 24)))
    many = fit_two_classes(values, noise, 1e-6)[4]
    assert (many - few).mean() < 0.02 and (many - few).max() < 0.2


def test_mixtures_are_told_and_their_share_lies_in_its_interval() -> None:
    covered = []
    for share in SHARES:
        for seed in range(12):
            truth, values, errors = measured(mixture(share), seed)
            found = latent_classes(values, errors, 12, f"test {seed}")
            upper = truth > 0.45
            if min(upper.sum(), (~upper).sum()) < 2:  # one model in 20 such draws, and no class
                assert found.verdict != "mixture"
                continue
            assert found.verdict == "mixture", (share, seed, found)
            assert found.share.value == pytest.approx(upper.mean(), abs=1e-3)
            assert found.upper == pytest.approx(0.9, abs=0.08) and found.lower == pytest.approx(0.0, abs=0.08)
            assert found.within < 0.06 and found.mean == pytest.approx(values.mean())
            covered.append(found.share.low <= share <= found.share.high)
    assert len(covered) >= 55 and np.mean(covered) >= 0.9  # longer runs: 0.94 to 0.98


def test_blends_are_never_taken_for_mixtures() -> None:
    found = [judge(blend(level), seed) for level in SHARES for seed in range(8)]
    verdicts = [population.verdict for population in found]
    assert verdicts.count("mixture") == 0 and verdicts.count("blend") >= 38
    assert np.mean([population.p < 0.5 for population in found]) == pytest.approx(0.5, abs=0.2)
    assert np.mean([population.spread for population in found]) == pytest.approx(0.03, abs=0.01)


@pytest.mark.parametrize("shape", ["heavy tails", "uniform", "skewed"])
def test_single_classes_that_are_not_normal_seldom_pass_for_mixtures(shape: str) -> None:
    draws: dict[str, Draw] = {
        "heavy tails": lambda random, n: 0.15 * random.standard_t(5, n),
        "uniform": lambda random, n: random.random(n),
        "skewed": lambda random, n: 0.2 * random.exponential(size=n),
    }
    found = [judge(draws[shape], seed) for seed in range(15)]
    told = sum(population.verdict == "mixture" for population in found)
    assert told <= {"heavy tails": 0, "uniform": 0, "skewed": 3}[shape]
    rejected = sum(population.p < 0.01 for population in found)
    assert rejected >= {"heavy tails": 0, "uniform": 1, "skewed": 6}[shape]  # it is the gap that guards, not p


def test_one_outlier_is_no_class_and_two_models_are() -> None:
    _, values, errors = measured(blend(0.0), 1)
    values[0] += 0.9
    alone = latent_classes(values, errors, 12, "outlier", 100)
    assert alone.verdict == "undetermined" and "outlier" in alone.reason and alone.p < 0.01
    values[1] += 0.9
    pair = latent_classes(values, errors, 12, "outlier", 100)
    assert pair.verdict == "mixture" and pair.share.value == pytest.approx(2 / 48, abs=1e-6)


def test_equal_values_without_error_are_one_class() -> None:
    found = latent_classes(np.zeros(48), np.zeros(48), 12, "zeros")
    assert (found.verdict, found.p) == ("blend", 1.0) and found.ratio == pytest.approx(0, abs=1e-9)
    assert found.spread == FLOOR and found.mean == 0 and math.isnan(found.share.value)
    split = latent_classes(np.repeat([0.0, 1.0], 24), np.zeros(48), 12, "exact")
    assert (
        split.verdict == "mixture"
        and split.p == 1 / 200
        and split.within == pytest.approx(FLOOR)
        and split.share.value == 0.5
    )


def test_classes_that_are_near_count_as_one() -> None:
    random = np.random.default_rng(8)
    near = np.repeat([0.0, SEPARATION - 0.05], 24) + 0.005 * random.standard_normal(48)
    found = latent_classes(near, np.full(48, 0.005), 12, "near", 100)
    assert found.verdict == "blend" and found.p < 0.01 and "0.15 apart" in found.reason
    apart = latent_classes(near * 2, np.full(48, 0.005), 12, "apart", 100)
    assert apart.verdict == "mixture" and apart.upper - apart.lower == pytest.approx(0.3, abs=0.01)


def test_a_blend_is_claimed_only_where_a_mixture_would_have_been_found() -> None:
    narrow, broad = judge(blend(0.5), 3, n=12), judge(blend(0.5, spread=0.25), 3, n=12)
    assert narrow.p >= 0.01 and narrow.verdict == "blend" and narrow.power >= 0.9
    assert broad.p >= 0.01 and broad.verdict == "undetermined" and broad.power < 0.6
    enough, many = (judge(blend(0.5, spread=0.25), 3, n=n) for n in (48, 150))
    assert enough.p >= 0.01 and 0.6 < enough.power < 0.9 and enough.verdict == "undetermined"
    assert many.verdict == "blend" and many.power >= 0.9


def test_the_smaller_a_class_the_farther_off_it_must_stand() -> None:
    def apart(upper: int) -> Population:
        sizes = ((0.0, 48 - upper), (0.56, upper))
        values = [middle + 0.1 * stats.norm.ppf((np.arange(n) + 0.5) / n) for middle, n in sizes]
        return latent_classes(np.concatenate(values), np.full(48, 0.01), 12, "quantiles", 100)

    half, few = apart(24), apart(3)
    assert half.verdict == "mixture" and half.p < 0.01
    assert few.verdict == "undetermined" and few.p < 0.01 and "gap" in few.reason


def test_twelve_models_tell_a_clear_mixture_and_eleven_are_not_tested() -> None:
    values, errors = np.repeat([0.0, 0.9], 6) + np.linspace(-0.05, 0.05, 12), np.full(12, 0.04)
    assert latent_classes(values, errors, 12, "twelve").verdict == "mixture"
    few = latent_classes(values[1:], errors[1:], 12, "eleven")
    assert (few.verdict, few.reason, few.n) == ("not_tested", "11 models, fewer than 12", 11)
    assert few.mean == pytest.approx(values[1:].mean()) and math.isnan(few.p)
    assert math.isnan(latent_classes(np.zeros(0), np.zeros(0), 12, "none").mean)


def test_the_answer_is_repeatable_and_shifts_with_d() -> None:
    assert judge(blend(0.5), 2) == judge(blend(0.5), 2) != judge(blend(0.5), 3)
    _, values, errors = measured(mixture(0.5), 2)
    first, again = (latent_classes(values, errors, 12, "same", 100) for _ in range(2))
    assert first == again
    moved = latent_classes(values + 0.1, errors, 12, "same", 100)
    assert (moved.verdict, moved.p, moved.share.high) == (first.verdict, first.p, first.share.high)
    assert moved.upper - first.upper == pytest.approx(0.1) and moved.ratio == pytest.approx(first.ratio)


def test_bad_input_is_named() -> None:
    values, errors = np.full(20, 0.3), np.full(20, 0.04)
    with pytest.raises(ValueError, match="arm 7: d_error of 1 models is nan"):
        latent_classes(values, np.where(np.arange(20) == 3, np.nan, errors), 12, "arm 7")
    with pytest.raises(ValueError, match=r"d_error of 20 models is -0\.04; it must be finite, from 0"):
        latent_classes(values, -errors, 12, "arm 7")
    with pytest.raises(ValueError, match="d of 20 models is inf"):
        latent_classes(values + np.inf, errors, 12, "arm 7")
    with pytest.raises(ValueError, match="d_error"):
        latent_classes(values, errors[1:], 12, "arm 7")
    with pytest.raises(ValueError, match="minimum_models is 1"):
        latent_classes(values, errors, 1, "arm 7")
    with pytest.raises(ValueError, match=r"resamples is 99; p < 0\.01 needs at least 100"):
        latent_classes(values, errors, 12, "arm 7", 99)


def models(start: str, draw: Draw, n: int = 16) -> pandas.DataFrame:
    _, values, errors = measured(draw, 4, n)
    arm = {"setting": "", "variant": "", "start": start, "distance": 90.0, "match": "capability 0.90"}
    flags = {"arrived": True, "diverged": False}
    return pandas.DataFrame(arm | {"seed": range(n), "d": values, "d_error": errors} | flags)


def test_the_table_has_its_schema_and_leaves_out_what_did_not_arrive() -> None:
    mixed = models("internal", mixture(0.5))
    mixed.loc[0, "diverged"], mixed.loc[[1, 2], "arrived"], mixed.loc[3, "d"] = True, False, np.nan
    mixed.loc[[0, 1, 2, 3], "d_error"] = np.nan  # not asked of models that are left out
    frame = pandas.concat([mixed, models("corrigible", blend(0.5)), models("few", blend(0.5), 5)])
    found = population_table(frame, PLAN, resamples=100)
    table = build_table({name: found[name].to_numpy() for name in found}, SCHEMA, "populations")
    assert list(found.columns) == SCHEMA.names and table.num_rows == 3
    rows = found.set_index("start")
    assert rows.verdict.to_dict() == {"internal": "mixture", "corrigible": "blend", "few": "not_tested"}
    counts = ["n", "models", "diverged", "never_arrived"]
    assert rows.loc["internal", counts].tolist() == [12, 16, 1, 2]
    used = mixed.loc[4:]
    key = ("", "", "internal", 90.0, "capability 0.90")
    alone = latent_classes(used.d.to_numpy(), used.d_error.to_numpy(), 12, f"population {key}", 100)
    assert rows.loc["internal", "p"] == alone.p and rows.loc["internal", "share_high"] == alone.share.high
    assert math.isnan(rows.loc["corrigible", "share"]) and rows.loc["corrigible", "power"] >= 0.9
    empty = population_table(frame[:0], PLAN)
    assert empty.empty and list(empty.columns) == SCHEMA.names


def test_the_table_names_the_arm_that_is_wrong() -> None:
    frame = models("internal", blend(0.5))
    with pytest.raises(ValueError, match=r"'internal', 90\.0, 'capability 0\.90'.*: d_error of 2 models is nan"):
        population_table(frame.assign(d_error=frame.d_error.where(frame.seed > 1)), PLAN)
    with pytest.raises(ValueError, match=r"'internal'.*seed 3 stands twice"):
        population_table(frame.assign(seed=frame.seed.clip(lower=3)), PLAN)
