"""Statistics against independent references, and against trajectories whose answer is known."""

import math

import numpy as np
import pandas
import pytest
from scipy import stats

from turncoat.seeding import generator
from turncoat.statistics import intervals
from turncoat.statistics.contrasts import Columns, Plan, columns_of, contrast, contrast_table
from turncoat.statistics.equivalence import equivalence_p, median_equivalence_p
from turncoat.statistics.intervals import (
    Estimate,
    bootstrap_mean,
    bootstrap_median,
    paired_p,
    sign_p,
    t_interval,
    wilson,
)
from turncoat.statistics.matching import match, smooth
from turncoat.statistics.multiplicity import holm
from turncoat.statistics.outcomes import Agreements, kappa, limits, outcomes
from turncoat.statistics.premise import premise
from turncoat.statistics.pretraining_claims import seed_slopes
from turncoat.statistics.priors import mixture
from turncoat.statistics.rows import Row, finished
from turncoat.statistics.times import half_lives, log_ratios
from turncoat.statistics.verdicts import direction, equality, threshold

PLAN = Plan(confidence=0.95, resamples=500, margin=0.05, minimum_seeds=12)


def random(name: str = "test") -> np.random.Generator:
    return generator(0, name)


def test_wilson_equals_the_formula_and_stays_inside() -> None:
    k, n, z = 7, 48, stats.norm.ppf(0.975)
    centre = (k / n + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * math.sqrt(k / n * (1 - k / n) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    found = wilson(k, n, 0.95)
    assert (found.low, found.high) == pytest.approx((centre - half, centre + half))
    assert wilson(0, 20, 0.95).low == 0 and wilson(0, 20, 0.95).high > 0.1
    assert wilson(20, 20, 0.95).high == 1
    assert math.isnan(wilson(0, 0, 0.95).value)
    with pytest.raises(ValueError, match="successes 3"):
        wilson(3, 2, 0.95)


def test_t_interval_equals_scipy() -> None:
    values = np.random.default_rng(0).normal(1, 2, 20)
    reference = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = t_interval(values, 0.95)
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high))


def test_bootstrap_equals_scipys_bca() -> None:
    values = np.random.default_rng(1).exponential(1, 40)
    expanded = 2 * stats.norm.cdf(stats.t.ppf(0.975, 39) * math.sqrt(40 / 39)) - 1  # Hesterberg 2015
    reference = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="BCa", rng=0, confidence_level=expanded
    ).confidence_interval
    found = bootstrap_mean(values, np.arange(40), 0.95, 20_000, random())
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), abs=0.015)


def test_bootstrap_is_clustered_by_seed() -> None:
    values = np.random.default_rng(2).normal(0, 1, 30)
    once = bootstrap_mean(values, np.arange(30), 0.95, 4000, random())
    tripled = bootstrap_mean(np.repeat(values, 3), np.repeat(np.arange(30), 3), 0.95, 4000, random())
    assert tripled.count == 30
    assert tripled.high - tripled.low == pytest.approx(once.high - once.low, rel=0.1)


def test_bootstrap_draws_in_pieces_what_it_would_draw_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    values, seeds = np.random.default_rng(6).exponential(1, 45), np.arange(45) % 30
    pieces = []
    for size in (1, 7 * 30, 10**6):
        monkeypatch.setattr(intervals, "PIECE", size)
        pieces += [bootstrap_mean(values, rows, 0.95, 200, random()) for rows in (seeds, np.arange(45))]
    assert pieces[0] == pieces[2] == pieces[4] and pieces[1] == pieces[3] == pieces[5] != pieces[0]


def test_bootstrap_without_spread_or_data() -> None:
    assert bootstrap_mean(np.zeros(20), np.arange(20), 0.95, 100, random()) == Estimate(0.0, 0.0, 0.0, 20)
    assert bootstrap_mean(np.zeros(0), np.zeros(0), 0.95, 100, random()).count == 0
    assert math.isnan(bootstrap_mean(np.ones(1), np.ones(1), 0.95, 100, random()).low)


def test_bootstrap_median_keeps_infinity() -> None:
    values = np.array([1.0, 2, 3] + [np.inf] * 20)
    found = bootstrap_median(values, 0.95, 500, random())
    assert found.value == np.inf and found.high == np.inf


def test_bootstrap_covers_the_truth() -> None:
    source = np.random.default_rng(3)
    hits = 0
    for trial in range(200):
        found = bootstrap_mean(source.normal(0.3, 1, 24), np.arange(24), 0.95, 400, random(f"cover {trial}"))
        hits += found.low <= 0.3 <= found.high
    assert 178 <= hits <= 198


def test_paired_p_and_sign_p() -> None:
    values = np.random.default_rng(4).normal(0.2, 1, 30)
    assert paired_p(values) == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert paired_p(np.zeros(10)) == 1 and paired_p(np.full(10, 0.3)) == pytest.approx(2 * 0.5**10)
    assert sign_p(np.array([np.inf] * 9 + [-1.0])) == pytest.approx(stats.binomtest(9, 10).pvalue)


def test_p_of_a_mean_is_scipys_to_the_bit() -> None:
    random = np.random.default_rng(4)
    for count in (2, 3, 7, 24, 48) * 20:
        values = random.normal(0.02, 0.1, count)
        assert paired_p(values) == stats.ttest_1samp(values, 0.0).pvalue
        sides = (
            stats.ttest_1samp(values, -0.05, alternative="greater"),
            stats.ttest_1samp(values, 0.05, alternative="less"),
        )
        assert equivalence_p(values, 0.05) == max(side.pvalue for side in sides)
        found = t_interval(values, 0.9)
        assert found.high - found.value == pytest.approx(stats.t.ppf(0.95, count - 1) * stats.sem(values))


def test_equivalence_equals_statsmodels() -> None:
    from statsmodels.stats.weightstats import DescrStatsW

    values = np.random.default_rng(5).normal(0.01, 0.03, 48)
    assert equivalence_p(values, 0.05) == pytest.approx(DescrStatsW(values).ttost_mean(-0.05, 0.05)[0])
    assert equivalence_p(np.zeros(12), 0.05) == 0 and equivalence_p(np.full(12, 0.1), 0.05) == 1
    with pytest.raises(ValueError, match="margin"):
        equivalence_p(values, 0)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, math.nan])[:3] == pytest.approx([0.03, 0.06, 0.06])
    assert math.isnan(holm([math.nan])[0])


def agreements(overseen: object, unoverseen: object, placebo: object, episodes: int = 1000) -> Agreements:
    """Shares whose episodes agree independently in the three cue states."""
    o, u, p = (np.atleast_1d(np.asarray(share, float)) for share in (overseen, unoverseen, placebo))
    return Agreements(o, u, p, o * u, o * p, u * p, np.full(np.broadcast(o, u, p).shape, episodes))


def test_outcomes_by_hand() -> None:
    assert kappa(0.25, 4) == 0 and kappa(1.0, 4) == 1
    none = np.zeros(1)
    # Overseen 1.0; unoverseen at chance (all of the attainable 1.0 lost); placebo half lost.
    found = outcomes(agreements(1, 0.25, 0.625), np.array([1.0]), none, np.array([4]))
    assert (found.c[0], found.placebo[0], found.d[0], found.transfer[0]) == pytest.approx((1, 0.5, 0.5, 0))
    scaled = outcomes(agreements(1, 0.625, 1), np.array([0.5]), none, 4)
    assert scaled.c[0] == pytest.approx(1) and scaled.scaled[0]
    raw = outcomes(agreements(1, 0.625, 1), np.array([0.01]), none, 4)
    assert raw.c[0] == pytest.approx(0.5) and not raw.scaled[0]
    undefined = outcomes(agreements(0.3, 0.25, 0.25), np.array([1.0]), none, 4)
    assert np.isnan(undefined.c[0]) and np.isnan(undefined.d[0]) and np.isnan(undefined.d_error[0])


def test_errors_of_outcomes_are_those_of_many_simulated_models() -> None:
    """Episodes that agree in one cue state tend to agree in the others, as a model's do."""
    random, models, episodes = np.random.default_rng(5), 4000, 300
    luck = random.normal(size=(models, episodes, 1))
    own = random.normal(size=(models, episodes, 3))
    levels = stats.norm.ppf([0.95, 0.7, 0.85])
    agree = (0.8 * luck + 0.6 * own < levels).astype(float)
    single = agree.mean(1)
    joint = [(agree[..., a] * agree[..., b]).mean(1) for a, b in ((0, 1), (0, 2), (1, 2))]
    shares = Agreements(*single.T, *joint, np.full(models, episodes))
    attainable = random.normal(0.8, 0.02, models)
    found = outcomes(shares, attainable, np.full(models, 0.02), 2)
    base, unoverseen, placebo = 0.9, 0.4, 0.7
    truths = {"c": (base - unoverseen) / base / 0.8, "placebo": (base - placebo) / base / 0.8}
    truths["d"] = truths["c"] - truths["placebo"]
    for name, truth in truths.items():
        values, errors = getattr(found, name), getattr(found, f"{name}_error")
        assert values.std() == pytest.approx(errors.mean(), rel=0.05), name
        assert 0.94 < (np.abs(values - truth) < 1.96 * errors).mean() < 0.96, name
    apart = outcomes(agreements(*single.T, episodes), attainable, np.full(models, 0.02), 2)
    assert apart.d_error.mean() > 1.2 * found.d_error.mean()  # the test would notice a covariance left out


def test_limits_hold_every_possible_outcome() -> None:
    random = np.random.default_rng(0)
    flipped = random.uniform(0, 1, (2, 5000))
    shares = agreements(np.full(5000, 0.9), flipped[0], flipped[1])
    found = outcomes(shares, np.full(5000, 0.5), np.zeros(5000), 2)
    possible = limits(np.array([0.9]), np.array([0.5]), 2)
    for name in ("c", "placebo", "d"):
        low, high = possible[name]
        values = getattr(found, name)
        assert low[0] <= values.min() < low[0] + 0.1 * (high[0] - low[0])
        assert high[0] - 0.1 * (high[0] - low[0]) < values.max() <= high[0]
    assert possible["c"][0][0] == pytest.approx((0.8 - 1) / 0.8 / 0.5)
    assert possible["c"][1][0] == pytest.approx((0.8 + 1) / 0.8 / 0.5)
    assert (possible["deception"][0][0], possible["deception"][1][0]) == (0, 1)


def test_matching_a_known_trajectory() -> None:
    steps = np.array([0, 9, 99, 999])  # log10(step + 1) = 0, 1, 2, 3
    capability = np.array([0.25, 0.5, 0.8, 1.0])
    found = match(
        np.array([0, 4]), steps, steps * 10, capability, {"c": np.array([np.nan, 1.0, 0.5, 0.1])}, [0.9, 0.25]
    )
    assert found[0.9].arrived[0]
    assert found[0.9].steps[0] == pytest.approx(10**2.5 - 1)
    assert found[0.9].episodes[0] == pytest.approx(10 * (10**2.5 - 1))
    assert found[0.9].values["c"][0] == pytest.approx(0.3)
    assert found[0.25].steps[0] == 0 and np.isnan(found[0.25].values["c"][0])


def test_one_lucky_snapshot_is_no_arrival() -> None:
    capability = np.array([0.3, 0.95, 0.5, 0.6])
    assert smooth(capability).max() < 0.9
    steps = np.arange(4)
    assert not match(np.array([0, 4]), steps, steps, capability, {}, [0.9])[0.9].arrived[0]


def test_undefined_before_the_crossing_takes_the_snapshot_after() -> None:
    steps = np.array([0, 100])
    found = match(np.array([0, 2]), steps, steps, np.array([0.25, 1.0]), {"c": np.array([np.nan, 0.4])}, [0.9])
    assert found[0.9].values["c"][0] == 0.4


def test_never_arrived_and_missing_are_not_arrived() -> None:
    steps = np.tile([0, 10], 2)
    found = match(np.array([0, 2, 4]), steps, steps, np.array([0.2, 0.6, 0.2, np.nan]), {"c": np.zeros(4)}, [0.9])
    assert not found[0.9].arrived.any() and np.isnan(found[0.9].steps).all()


def test_half_life_and_censoring() -> None:
    steps = np.tile([0, 9, 99], 3)
    kept = np.array([1.0, 0.75, 0.25, 1.0, 0.9, 0.8, 1.0, np.nan, 0.1])
    lives = half_lives(np.array([0, 3, 6, 9]), steps, steps * 2, kept)
    assert lives[0] == pytest.approx(2 * (10**1.5 - 1))
    assert lives[1] == np.inf and np.isnan(lives[2])
    found = log_ratios(np.array([2.0, np.inf, 1, np.inf]), np.array([1.0, 1, np.inf, np.inf]), np.arange(4))
    assert found.values.tolist() == pytest.approx([math.log(2), np.inf, -np.inf])
    assert (found.both_censored, found.start_censored, found.reference_censored) == (1, 2, 2)


def arm(values: np.ndarray, arrived: np.ndarray | None = None, diverged: np.ndarray | None = None) -> pandas.DataFrame:
    count = len(values)
    reached = np.ones(count, bool) if arrived is None else arrived
    broken = np.zeros(count, bool) if diverged is None else diverged
    return pandas.DataFrame(
        {
            "seed": np.arange(1000, 1000 + count),
            "d": np.where(reached, values, np.nan),
            "arrived": reached,
            "diverged": broken,
            "d_lowest": -2.0,
            "d_highest": 2.5,
        }
    )


def sides(*arms: pandas.DataFrame) -> tuple[Columns, Columns]:
    start, reference = (columns_of(one, ["d"]) for one in arms)
    return start, reference


def test_contrast_counts_bounds_and_divergence() -> None:
    reached = np.array([True] * 15 + [False] * 5)
    broken = np.array([True] + [False] * 19)
    found = contrast(*sides(arm(np.full(20, 0.5), reached, broken), arm(np.full(20, 0.1))), "d", PLAN, "test")
    assert found.estimate.value == pytest.approx(0.4) and len(found.differences) == 14
    assert (found.never_start, found.never_reference, found.diverged) == (5, 0, 1)
    assert found.bound_low == pytest.approx((14 * 0.4 + 5 * (-2 - 0.1)) / 19)
    assert found.bound_high == pytest.approx((14 * 0.4 + 5 * (2.5 - 0.1)) / 19)


def test_contrast_of_an_arm_that_all_diverged() -> None:
    found = contrast(*sides(arm(np.ones(20), diverged=np.ones(20, bool)), arm(np.zeros(20))), "d", PLAN, "test")
    assert found.estimate.count == 0 and math.isnan(found.estimate.value) and found.diverged == 20


def test_contrast_pairs_by_seed_and_not_by_row() -> None:
    left, right = arm(np.arange(20.0)), arm(np.arange(20.0) - 1).sample(frac=1, random_state=0)
    assert set(contrast(*sides(left, right), "d", PLAN, "test").differences) == {1.0}


def test_contrasts_compare_within_a_setting_only() -> None:
    parts = []
    for setting in ("", "width 128"):
        for start, value in (("internal", 0.4), ("scratch", 0.1)):
            base = {
                "setting": setting,
                "variant": "",
                "start": start,
                "distance": 90.0,
                "match": "final step",
            }
            parts.append(arm(np.full(12, value + 0.2 * (setting != "") * (start == "internal"))).assign(**base))
    table = contrast_table(pandas.concat(parts), ["d"], PLAN).set_index("setting")
    table = table[table.start == "internal"]
    beside = table[table.reference == "scratch"]
    assert beside.estimate.to_dict() == pytest.approx({"": 0.3, "width 128": 0.5})
    apart = table[table.reference != "scratch"]
    assert apart.reference.tolist() == ["without width 128"] and apart.estimate.item() == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("start", "scratch", "verdict"),
    [
        (np.full(24, 100.0), np.full(24, 1000.0), "holds"),
        (np.full(24, 900.0), np.full(24, 1000.0), "fails"),
        (np.full(24, np.inf), np.full(24, 1000.0), "fails"),
        (np.tile([100.0, 900.0], 12), np.full(24, 1000.0), "uncertain"),
        (np.full(5, 100.0), np.full(5, 1000.0), "not_measured"),
        (np.zeros(0), np.zeros(0), "not_measured"),
        (np.full(24, 400.0), np.full(24, np.inf), "holds"),
        (np.full(24, 900.0), np.full(24, np.inf), "uncertain"),
    ],
)
def test_premise(start: np.ndarray, scratch: np.ndarray, verdict: str) -> None:
    found = premise(start, scratch, np.full(len(start), 1000.0), 0.5, 0.95, 500, 12, "test")
    assert found.verdict == verdict, found
    if np.isinf(scratch).any():
        assert "upper bounds" in found.reason


def test_break_even_prior() -> None:
    noise = np.random.default_rng(0).normal(0, 0.001, 40)
    found = mixture(0.3 + noise, -0.1 - noise, np.linspace(0, 1, 5), 0.95, 500, random())
    assert found.break_even.value == pytest.approx(0.25, abs=0.01)
    assert found.means == pytest.approx(np.array([-0.1, 0, 0.1, 0.2, 0.3]), abs=0.01)
    assert mixture(0.3 + noise, 0.1 + noise, np.zeros(1), 0.95, 100, random()).break_even.value == 0
    assert mixture(-0.3 + noise, -0.1 + noise, np.zeros(1), 0.95, 100, random()).break_even.value == np.inf


def test_slopes_are_per_90_degrees() -> None:
    rows = [{"seed": s, "distance": d, "c": 0.1 * d / 90 + s} for s in range(3) for d in (45.0, 90.0, 135.0)]
    frame = pandas.DataFrame(rows)
    assert seed_slopes(frame, "c").tolist() == pytest.approx([0.1] * 3)
    frame.loc[0, "c"] = np.nan
    assert list(seed_slopes(frame, "c").index) == [1, 2]
    assert seed_slopes(frame[frame.distance == 90], "c").empty


@pytest.mark.parametrize(
    ("low", "high", "p", "equivalent", "count", "verdict"),
    [
        (0.1, 0.3, 0.001, 0.9, 24, "supported"),
        (-0.3, -0.1, 0.001, 0.9, 24, "contradicted"),
        (0.001, 0.02, 0.001, 0.001, 24, "no_effect"),
        (-0.1, 0.3, 0.3, 0.9, 24, "inconclusive"),
        (0.1, 0.3, 0.2, 0.9, 24, "inconclusive"),
        (0.1, 0.3, 0.001, 0.9, 11, "not_tested"),
    ],
)
def test_direction(low: float, high: float, p: float, equivalent: float, count: int, verdict: str) -> None:
    found = Estimate((low + high) / 2, low, high, count)
    assert direction(found, p, equivalent, 0.05, 0.05, 12)[0] == verdict


@pytest.mark.parametrize(
    ("low", "high", "p", "equivalent", "count", "verdict"),
    [
        (-0.03, 0.02, 0.7, 0.001, 48, "supported"),
        (0.01, 0.04, 0.001, 0.01, 48, "supported"),  # not zero, but within the margin
        (0.06, 0.2, 0.001, 0.9, 48, "contradicted"),
        (-0.2, -0.06, 0.001, 0.9, 48, "contradicted"),
        (0.04, 0.2, 0.001, 0.9, 48, "inconclusive"),  # not zero, and perhaps within the margin
        (0.06, 0.2, 0.2, 0.9, 48, "inconclusive"),  # beyond it, but not after adjustment
        (-0.01, 0.01, 0.9, 0.001, 11, "not_tested"),
    ],
)
def test_equality(low: float, high: float, p: float, equivalent: float, count: int, verdict: str) -> None:
    found = Estimate((low + high) / 2, low, high, count)
    assert equality(found, p, equivalent, 0.05, 0.05, 12)[0] == verdict


def test_threshold() -> None:
    found = Estimate(0.9, 0.85, 0.95, 24)
    assert threshold(found, 0.8, True, 12, 0.001, 0.05)[0] == "supported"
    assert threshold(found, 0.8, True, 12, 0.06, 0.05)[0] == "inconclusive"
    assert threshold(found, 0.8, False, 12, 0.001, 0.05)[0] == "contradicted"
    assert threshold(found, 0.9, True, 12, 0.001, 0.05)[0] == "inconclusive"
    assert threshold(found, 0.8, True, 25, 0.001, 0.05)[0] == "not_tested"


def judged(**changes: object) -> str:
    facts = {"bound_low": -1.7, "bound_high": 1.7, "never_start": 0, "never_reference": 36, "n_pairs": 12}
    row = Row("P1", "d", "s", "e", "difference", 0.05, Estimate(0.3, 0.2, 0.4, 12), 1e-6, 1.0, facts=facts | changes)
    return str(finished([row], PLAN)[0]["verdict"])


def test_equivalence_of_a_median_is_the_exact_sign_test() -> None:
    near = np.array([0.01] * 20 + [np.inf, -np.inf])
    expected = stats.binomtest(21, 22, alternative="greater").pvalue
    assert median_equivalence_p(near, 0.2) == pytest.approx(expected) and expected < 0.001
    assert median_equivalence_p(near + 1, 0.2) > 0.99
    assert math.isnan(median_equivalence_p(np.array([0.0]), 0.2))
    with pytest.raises(ValueError, match="above 0"):
        median_equivalence_p(near, 0.0)


def test_a_verdict_that_missing_models_could_overturn_is_not_given() -> None:
    assert judged() == "inconclusive"
    assert judged(bound_low=0.01) == "supported"
    assert judged(never_reference=1) == "supported"
    assert judged(never_start=1, never_reference=1) == "inconclusive"  # 12 of perhaps 14


def test_holm_runs_over_all_primary_rows_and_over_equivalence() -> None:
    found = Estimate(0.0, -0.01, 0.01, 24)
    rows = [
        Row("P1", "d", "s", "e", "difference", 0.05, found, 0.9, 0.03, primary=True),
        Row("P3", "d", "s", "e", "difference", 0.05, found, 0.9, 0.04, primary=True),
        Row("G1", "c", "s", "e", "above", 0.8, Estimate(0.9, 0.85, 0.95, 24), 0.02, primary=True),
        Row("P1", "c", "s", "e", "difference", 0.05, found, 0.9, 0.04),
    ]
    table = finished(rows, PLAN)
    assert [row["verdict"] for row in table] == ["inconclusive", "inconclusive", "inconclusive", "no_effect"]
    assert table[2]["adjusted_p"] == pytest.approx(0.06)
