"""Paired shares, doses, looks and power against published values, brute force and statsmodels."""

import math

import numpy as np
import pytest
from scipy import optimize, special, stats
from statsmodels.stats.power import TTestPower

from turncoat.statistics.dose import dose_response, firth
from turncoat.statistics.paired_shares import paired_shares, tango_interval, tango_score
from turncoat.statistics.power import (
    detectable_effect,
    detectable_median,
    equivalence_power,
    mean_power,
    seeds_for_mean,
    seeds_for_median,
)
from turncoat.statistics.sequential import bounds, sequential_p, spent

# Heinze and Schemper (2002), 79 patients: neovasculation, pulsatility index, endometrium height, grade of the cancer.
ENDOMETRIAL = """
0,13,1.64,0 0,16,2.26,0 0,8,3.14,0 0,34,2.68,0 0,20,1.28,0 0,5,2.31,0 0,17,1.8,0 0,10,1.68,0 0,26,1.56,0 0,17,2.31,0
0,8,2.01,0 0,7,1.89,0 0,20,3.15,0 0,10,1.23,0 0,18,1.27,0 0,16,1.76,0 0,18,2,0 0,8,2.64,1 0,29,0.88,1 0,12,1.27,1
0,20,1.37,1 1,38,0.97,1 1,22,1.14,1 1,7,0.88,1 1,25,0.91,1 1,15,0.58,1 0,7,0.97,1 0,28,1.5,0 0,11,1.33,0 0,19,2.37,0
0,10,1.82,0 0,10,3.13,0 0,18,1.31,0 0,14,1.92,0 0,21,1.64,0 0,11,2.01,0 0,17,1.88,0 0,25,1.93,0 0,16,2.11,0
0,19,1.29,0 0,15,1.72,0 0,33,0.75,0 0,24,1.92,0 0,48,1.84,1 0,12,1.11,1 0,19,1.61,1 0,2,1.18,1 1,22,1.44,1
1,40,1.18,1 1,5,0.93,1 1,0,1.17,1 0,21,1.19,1 0,15,1.06,1 0,29,2.02,0 0,15,2.29,0 0,12,2.33,0 0,3,2.9,0 0,20,1.7,0
0,23,1.41,0 0,12,2.25,0 0,22,1.54,0 0,42,1.97,0 0,15,1.75,0 0,13,2.16,0 0,14,2.57,0 0,19,1.37,0 0,12,3.61,0
0,13,2.04,0 0,10,2.17,0 0,12,1.69,1 1,49,0.27,1 0,6,1.84,1 0,5,1.3,1 0,17,0.96,1 1,11,1.01,1 1,21,0.98,1 0,5,0.35,1
1,19,1.02,1 0,33,0.85,1
"""


def test_tangos_interval_is_the_published_one() -> None:
    """Bentur et al. 2009 in Fagerland, Lydersen and Laake; R's PropCIs; Tango's own example of 44 lenses."""
    assert tango_interval(1, 7, 21, 0.95) == pytest.approx((-0.517, -0.026), abs=5e-4)
    assert tango_interval(28, 25, 618, 0.90) == pytest.approx((-0.0148, 0.0247), abs=5e-5)
    assert tango_interval(0, 1, 44, 0.90) == pytest.approx((-0.096, 0.037), abs=5e-4)


@pytest.mark.parametrize(
    ("only", "missing", "pairs", "difference"), [(5, 3, 40, 0.1), (5, 3, 40, -0.2), (9, 1, 24, 0.05), (3, 9, 32, 0.3)]
)
def test_tangos_score_is_that_of_the_restricted_maximum(only: int, missing: int, pairs: int, difference: float) -> None:
    def negative(second: float) -> float:
        first = second + difference
        rest = 1 - first - second
        return -(only * math.log(first) + missing * math.log(second) + (pairs - only - missing) * math.log(rest))

    edges = (max(0.0, -difference) + 1e-9, (1 - difference) / 2 - 1e-9)
    second = optimize.minimize_scalar(negative, bounds=edges, method="bounded", options={"xatol": 1e-12}).x
    expected = (only - missing - pairs * difference) / math.sqrt(pairs * (2 * second + difference - difference**2))
    assert tango_score(only, missing, pairs, difference) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("only", "missing", "pairs"), [(0, 0, 0), (3, 3, 5), (-1, 0, 5)])
def test_counts_that_are_none_of_the_pairs_are_refused(only: int, missing: int, pairs: int) -> None:
    with pytest.raises(ValueError, match=rf"only {only} and missing {missing} of {pairs} pairs; allowed"):
        tango_score(only, missing, pairs, 0.1)
    with pytest.raises(ValueError, match=f"{pairs} pairs"):
        tango_interval(only, missing, pairs, 0.95)


def test_firth_refuses_columns_that_depend_on_each_other() -> None:
    design = np.column_stack([np.ones(8), np.arange(8.0), 2 * np.arange(8.0)])
    with pytest.raises(np.linalg.LinAlgError):
        firth(design, np.array([0.0, 1.0] * 4))


def test_paired_shares_at_nothing_and_at_everything() -> None:
    none, all_ = np.zeros(48), np.ones(48)
    same = paired_shares(none, none, 0.05, 0.95)
    assert same.p == 1 and same.estimate.low < -0.07 and same.estimate.high > 0.07
    assert same.equivalence_p > 0.05 > paired_shares(np.zeros(60), np.zeros(60), 0.05, 0.95).equivalence_p
    apart = paired_shares(all_, none, 0.05, 0.95)
    assert apart.estimate.value == apart.estimate.high == 1 and 0.8 < apart.estimate.low < 0.9
    assert apart.p == pytest.approx(2 * 0.5**48) and apart.equivalence_p > 0.999
    five = np.r_[np.ones(5), np.zeros(43)]
    assert paired_shares(five, none, 0.05, 0.95).p == pytest.approx(stats.binomtest(5, 5).pvalue)
    assert np.isnan(paired_shares(np.zeros(0), np.zeros(0), 0.05, 0.95).p)
    with pytest.raises(ValueError, match="no pairs"):
        paired_shares(none, all_[:-1], 0.05, 0.95)
    with pytest.raises(ValueError, match="margin 0"):
        paired_shares(none, all_, 0.0, 0.95)


def test_firth_is_the_published_fit() -> None:
    rows = np.array([[float(number) for number in row.split(",")] for row in ENDOMETRIAL.split()])
    assert rows.shape == (79, 4)
    fit = firth(np.column_stack([np.ones(79), rows[:, :3]]), rows[:, 3])
    assert fit.coefficients == pytest.approx([3.7746, 2.9293, -0.0348, -2.6042], abs=1e-4)
    assert (fit.limit(1, 0.95, -1), fit.limit(1, 0.95, 1)) == pytest.approx((0.6097, 7.8546), abs=1e-3)
    assert (fit.limit(3, 0.95, -1), fit.limit(3, 0.95, 1)) == pytest.approx((-4.3652, -1.2327), abs=1e-3)
    assert fit.p(1) == pytest.approx(0.00912, abs=1e-4)


def test_firth_of_a_square_table_adds_half_to_every_cell() -> None:
    """Exact for two groups; the greatest penalised likelihood is found by a search that knows no scores."""
    group, cases = np.repeat([0.0, 1.0], 24), np.r_[np.zeros(24), np.ones(5), np.zeros(19)]
    design = np.column_stack([np.ones(48), group])
    fit = firth(design, cases)
    assert fit.coefficients[1] == pytest.approx(math.log((5.5 / 19.5) / (0.5 / 24.5)), abs=1e-7)

    def negative(coefficients: np.ndarray) -> float:
        share = special.expit(design @ coefficients)
        information = design.T @ ((share * (1 - share))[:, None] * design)
        likelihood = np.log(np.where(cases == 1, share, 1 - share)).sum() + np.linalg.slogdet(information)[1] / 2
        return -float(likelihood)

    found = optimize.minimize(negative, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12})
    assert fit.coefficients == pytest.approx(found.x, abs=1e-5)


def test_dose_response_takes_gee_where_it_can_and_firth_where_a_cell_is_empty() -> None:
    random = np.random.default_rng(0)
    doses, seeds = np.tile([0.5, 1.0, 1.5], 48), np.repeat(np.arange(48), 3)
    cases = (random.random(144) < special.expit(-2 + doses)).astype(float)
    from statsmodels.genmod.cov_struct import Exchangeable
    from statsmodels.genmod.families import Binomial
    from statsmodels.genmod.generalized_estimating_equations import GEE

    reference = GEE(cases, np.column_stack([np.ones(144), doses]), groups=seeds, family=Binomial(),
                    cov_struct=Exchangeable()).fit(cov_type="bias_reduced")  # fmt: skip
    found = dose_response(doses, cases, seeds, math.log(1.25), 0.95)
    assert found.method == "GEE" and found.estimate.value == pytest.approx(reference.params[1])
    half = stats.t.ppf(0.975, 46) * reference.bse[1]
    assert found.estimate.high - found.estimate.value == pytest.approx(half)
    empty = dose_response(doses, cases * (doses > 1), seeds, math.log(1.25), 0.95)
    assert empty.method == "Firth" and np.isfinite(empty.estimate.value) and empty.estimate.low > 0
    nothing = dose_response(doses, np.zeros(144), seeds, math.log(1.25), 0.95)
    assert (nothing.estimate.low, nothing.estimate.high, nothing.p, nothing.equivalence_p) == (-np.inf, np.inf, 1, 1)
    with pytest.raises(ValueError, match="two of them"):
        dose_response(np.ones(4), np.ones(4), np.arange(4), 0.1, 0.95)


def test_bounds_are_the_published_ones() -> None:
    """Two-sided 0.05 at equal looks: Reboussin, DeMets, Kim and Lan (2000), and R's gsDesign (sfLDOF)."""
    published = {
        2: (2.9626, 1.9686),
        3: (3.7103, 2.5114, 1.9930),
        4: (4.3326, 2.9631, 2.3590, 2.0141),
        5: (4.8769, 3.3569, 2.6803, 2.2898, 2.0310),
    }
    for count, expected in published.items():
        looks = tuple((number + 1) / count for number in range(count))
        assert bounds(looks, 0.025) == pytest.approx(expected, abs=2e-4)
    assert bounds((1.0,), 0.025)[0] == pytest.approx(stats.norm.isf(0.025))
    assert bounds((0.5, 1.0, 1.2), 0.025)[-1] == np.inf
    assert spent(0.5, 0.025) == pytest.approx(2 - 2 * stats.norm.cdf(stats.norm.isf(0.0125) / math.sqrt(0.5)))
    with pytest.raises(ValueError, match="must rise"):
        bounds((0.5, 0.5), 0.025)


def test_p_of_a_look_pays_for_the_looks_before() -> None:
    assert sequential_p(0.04, (), 2) == sequential_p(0.04, (1.0,), 2) == 0.04
    assert np.isnan(sequential_p(math.nan, (0.5, 1.0), 2))
    at_bound = 2 * stats.norm.sf(1.9686)
    assert sequential_p(at_bound, (0.5, 1.0), 2) == pytest.approx(0.05, abs=2e-4)
    assert sequential_p(0.01, (0.5,), 2) > 0.05 > sequential_p(0.003, (0.5,), 2)
    assert sequential_p(0.001, (0.5, 1.0, 1.2), 2) == 1  # beyond the planned end nothing is left


def test_power_is_statsmodels_and_needs_as_many_seeds() -> None:
    reference = TTestPower()
    for effect, count, alpha in ((0.3, 24, 0.05), (0.5, 48, 0.005), (0.1, 96, 0.05)):
        assert mean_power(effect, count, alpha) == pytest.approx(reference.power(effect, count, alpha), abs=1e-9)
        expected = reference.solve_power(nobs=count, alpha=alpha, power=0.8)
        assert detectable_effect(count, alpha) == pytest.approx(expected, abs=1e-5)
    needed = reference.solve_power(effect_size=0.5, alpha=0.05, power=0.8)
    assert seeds_for_mean(0.5, 0.05, equivalence_too=False) == math.ceil(needed)
    both = int(seeds_for_mean(0.5, 0.05, equivalence_too=True))
    assert equivalence_power(0.5, both, 0.05) >= 0.8 > equivalence_power(0.5, both - 1, 0.05)
    assert detectable_effect(5000, 0.05) == pytest.approx(
        reference.solve_power(nobs=5000, alpha=0.05, power=0.8), rel=1e-4
    )
    assert mean_power(3.0, 96, 0.05) == equivalence_power(3.0, 96, 0.05) == 1
    assert seeds_for_mean(10.0, 0.05, equivalence_too=True) <= 4  # a spread that is small beside the margin
    assert np.isnan(seeds_for_mean(1e-4, 0.05, equivalence_too=True)) and np.isnan(detectable_effect(1, 0.05))


def test_power_to_show_equivalence_is_what_simulated_tests_have() -> None:
    from turncoat.statistics.equivalence import equivalence_p

    random = np.random.default_rng(1)
    shown = np.mean([equivalence_p(random.standard_normal(30), 0.6) < 0.05 for _ in range(2000)])
    assert shown == pytest.approx(equivalence_power(0.6, 30, 0.05), abs=0.03)


def test_power_of_a_median_is_that_of_simulated_sign_tests() -> None:
    from turncoat.statistics.intervals import sign_p

    random = np.random.default_rng(2)
    values = stats.norm.ppf((np.arange(48) + 0.5) / 48)
    shift = detectable_median(values, 0.05)
    found = np.mean([sign_p(random.choice(values, 48) + shift) < 0.05 for _ in range(1500)])
    assert 0.75 < found < 0.88
    needed = int(seeds_for_median(values, 0.6, 0.05))
    found = np.mean([sign_p(random.standard_normal(needed) + 0.6) < 0.05 for _ in range(1500)])
    assert found > 0.75
    assert np.isnan(detectable_median(np.r_[np.zeros(5), np.full(40, -np.inf)], 0.05))
    assert np.isnan(detectable_median(values[:5], 0.05))  # five seeds are never significant
