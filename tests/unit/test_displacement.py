"""The baseline predictor: D against how far the weights moved."""

import numpy as np
import pandas
import pytest
from scipy import stats

from turncoat.seeding import generator
from turncoat.statistics import displacement
from turncoat.statistics.contrasts import FINAL, Plan
from turncoat.statistics.displacement import displacement_table, spearman

PLAN = Plan(0.95, 400, 0.05, 12)


def models(start: str, d: np.ndarray, moved: np.ndarray) -> pandas.DataFrame:
    frame = pandas.DataFrame({"d": d, "displacement": moved, "seed": np.arange(len(d))})
    return frame.assign(start=start, setting="", variant="", distance=90.0, match=FINAL, arrived=True, diverged=False)


def test_the_correlation_is_scipys_and_its_interval_holds_it() -> None:
    random = generator(1, "test displacement")
    moved = random.standard_normal(60)
    table = displacement_table(models("internal", moved + random.standard_normal(60), moved), PLAN)
    row = table[table.start == "internal"].iloc[0]
    d = models("internal", moved, moved)
    assert len(d) == row.n == 60
    assert row.low < row.correlation < row.high and row.low > 0
    whole = table[table.start == "all"].iloc[0]
    assert whole.correlation == row.correlation


def test_all_starts_together_are_ranked_together() -> None:
    random = generator(2, "test displacement")
    frames = [models(start, random.standard_normal(30) + shift, random.standard_normal(30) + shift)
              for start, shift in (("internal", 0.0), ("conditional", 5.0))]  # fmt: skip
    both = pandas.concat(frames, ignore_index=True)
    table = displacement_table(both, PLAN).set_index("start")
    assert table.correlation["all"] == pytest.approx(stats.spearmanr(both.displacement, both.d).statistic)
    assert table.correlation["all"] > 0.6 > abs(table.correlation["internal"])


def test_too_few_models_no_spread_and_models_that_never_came_are_left_out() -> None:
    few = displacement_table(models("internal", np.arange(3.0), np.arange(3.0)), PLAN)
    assert few.correlation.isna().all() and (few.n == 3).all()
    flat = displacement_table(models("internal", np.zeros(9), np.arange(9.0)), PLAN)
    assert flat.correlation.isna().all()
    some = models("internal", np.arange(9.0), np.arange(9.0))
    some.loc[:3, "diverged"], some.loc[4, "arrived"], some.loc[5, "d"] = True, False, np.nan
    assert displacement_table(some, PLAN).n.tolist() == [3, 3]


def test_resampled_correlations_are_scipys_to_the_bit() -> None:
    random, spreadless = np.random.default_rng(3), 0
    for case in range(40):
        n = (4, 5, 24, 150)[case % 4]
        left = np.round(random.standard_normal(n), 1 + case % 3)
        right = np.round(left + random.standard_normal(n), 1)
        times = random.integers(0, 2 + case % 3, (20, n))
        times[:, 0] += 2
        for drawn, found in zip(times, spearman(left, right, times), strict=True):
            rows = np.repeat(np.arange(n), drawn)
            if np.ptp(left[rows]) == 0 or np.ptp(right[rows]) == 0:
                spreadless += 1
                assert np.isnan(found)
            else:
                assert found == stats.spearmanr(left[rows], right[rows]).statistic
    assert spreadless > 0


def test_the_interval_is_that_of_seeds_drawn_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(displacement, "PIECE", 1000)
    random = np.random.default_rng(4)
    both = pandas.concat(
        [models(start, random.standard_normal(n), random.standard_normal(n)) for start, n in (("a", 40), ("b", 25))],
        ignore_index=True,
    )
    row = displacement_table(both, PLAN).set_index("start").loc["all"]
    correlations = []
    for drawn in generator(0, "displacement  90.0 all").integers(0, 40, size=(400, 40)):
        rows = np.concatenate([np.flatnonzero(both.seed == seed) for seed in drawn])
        correlations.append(stats.spearmanr(both.displacement[rows], both.d[rows]).statistic)
    assert [row.low, row.high] == np.quantile(correlations, [(1 - 0.95) / 2, 1 - (1 - 0.95) / 2]).tolist()
