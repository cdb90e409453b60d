"""The defection probe's figures: AUROC against scikit-learn, seeds kept apart, planted signals, random directions."""

from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from turncoat.seeding import generator
from turncoat.statistics.defection import (
    HIDDEN,
    RAW,
    Rows,
    Sample,
    auroc,
    clustered_auroc,
    fit_probe,
    probe_cells,
    random_floors,
    recall_at_one_percent,
    resampled,
    split_seeds,
)
from turncoat.tables import defection
from turncoat.tables.atomic import build_table


def scored_rows(seeds: int, rows: int, shift: float, spread: float = 0.0, draw: int = 0) -> tuple[np.ndarray, ...]:
    """Scores of `rows` rows of each seed, half of them positive and higher by a shift that differs between seeds."""
    random = generator(draw, "scores", seeds, rows)
    positive = np.tile(np.arange(rows) % 2 == 0, seeds)
    owner = np.repeat(np.arange(seeds), rows)
    shifts = shift + spread * random.standard_normal(seeds)
    return random.standard_normal(seeds * rows) + positive * shifts[owner], positive, owner


def test_auroc_is_that_of_scikit_learn_with_and_without_ties() -> None:
    scores, positive, owner = scored_rows(6, 50, 0.7)
    for values in (scores, scores.round(), np.zeros_like(scores)):
        expected = roc_auc_score(positive, values)
        assert auroc(values, positive) == pytest.approx(expected, abs=1e-12)
        assert clustered_auroc(values, positive, owner, 50).value == pytest.approx(expected, abs=1e-12)
    assert np.isnan(auroc(scores, np.zeros(300, dtype=bool)))


def test_a_resample_is_the_auroc_of_the_rows_of_the_seeds_it_drew() -> None:
    scores, positive, owner = scored_rows(5, 20, 0.5, 0.5)
    estimate = clustered_auroc(scores, positive, owner + 100, resamples=1)
    times = resampled(5, 1)[0]
    assert times.sum() == 5
    rows = np.repeat(np.arange(100), times[owner])
    assert estimate.low == estimate.high == pytest.approx(roc_auc_score(positive[rows], scores[rows]), abs=1e-12)


def test_more_episodes_of_the_same_models_do_not_narrow_the_interval() -> None:
    scores, positive, owner = scored_rows(8, 30, 0.5, 0.6)
    once = clustered_auroc(scores, positive, owner, 300)
    again = clustered_auroc(np.tile(scores, 5), np.tile(positive, 5), np.tile(owner, 5), 300)
    assert (once.low, once.high) == pytest.approx((again.low, again.high), abs=1e-12)
    wide, narrow = (clustered_auroc(*scored_rows(count, 30, 0.5, 0.6), 300) for count in (6, 96))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    assert np.isnan(clustered_auroc(scores[:30], positive[:30], owner[:30], 300).low)


def test_the_interval_covers_the_true_auroc_and_one_of_episodes_would_not() -> None:
    truth = stats.norm.cdf(0.6 / np.sqrt(2 + 0.8**2))  # shifts are N(0.6, 0.8^2) over seeds
    hits = {"seeds": 0, "episodes": 0}
    for draw in range(200):
        scores, positive, owner = scored_rows(24, 16, 0.6, 0.8, draw)
        for unit, clusters in (("seeds", owner), ("episodes", np.arange(len(owner)))):
            if unit == "episodes" and draw % 5:
                continue
            estimate = clustered_auroc(scores, positive, clusters, 200)
            hits[unit] += estimate.low <= truth <= estimate.high
    assert 0.88 <= hits["seeds"] / 200 <= 0.98
    assert hits["episodes"] / 40 < 0.85


def test_recall_is_read_off_where_one_negative_in_a_hundred_passes() -> None:
    scores = np.concatenate([np.arange(200.0), [50, 197.5, 198.0, 198.5, 300]])
    positive = np.arange(205) >= 200
    # two of 200 negatives may pass, 199 and 198, so a positive is found above 197
    assert recall_at_one_percent(scores, positive) == 4 / 5
    # of 99 none may pass, so it is found above the largest, 98
    assert recall_at_one_percent(np.concatenate([np.arange(99.0), [98.0, 98.5]]), np.arange(101) >= 99) == 1 / 2
    for draw in range(5):
        values, labels, _ = scored_rows(3, 202, 1.5, draw=draw)
        for given in (values, values.round(1)):
            false, true, _ = roc_curve(labels, given, drop_intermediate=False)
            assert recall_at_one_percent(given, labels) == pytest.approx(true[false <= 0.01].max())


def cell_rows(seeds: int, rows: int, signal: float, draw: int = 0, share: float = 0.5) -> Rows:
    """Rows with 10 noisy features, the first of them telling `defects` as strongly as `signal` says."""
    random = generator(draw, "cells", seeds, rows)
    defects = random.random(seeds * rows) < share
    features = random.standard_normal((seeds * rows, 10), dtype=np.float32)
    features[:, 0] += (signal * defects).astype(np.float32)
    overseen = np.tile(np.arange(rows) % 2 == 0, seeds)
    return Rows({(HIDDEN, 1): features, (RAW, 0): features}, defects, overseen, np.repeat(np.arange(seeds), rows))


def row_of(columns: dict[str, list[Any]], **keys: object) -> dict[str, Any]:
    count = len(columns["auroc"])
    (found,) = (i for i in range(count) if all(columns[name][i] == value for name, value in keys.items()))
    return {name: column[found] for name, column in columns.items()}


def test_a_planted_signal_is_found_in_other_seeds_and_cells_and_noise_is_not() -> None:
    cells = {"a": cell_rows(20, 60, 1.5), "b": cell_rows(20, 60, 1.5, 1), "noise": cell_rows(20, 60, 0, 2)}
    columns = probe_cells(cells, 200, 100)
    assert len(columns["auroc"]) == 3 * 3 * 2
    expected = stats.norm.cdf(1.5 / np.sqrt(2))
    for test_cell in ("a", "b"):
        row = row_of(columns, train_cell="a", test_cell=test_cell, representation=HIDDEN)
        assert row["auroc"] == pytest.approx(expected, abs=0.04)
        assert row["auroc_low"] < expected < row["auroc_high"]
        assert row["unoverseen_auroc"] == pytest.approx(expected, abs=0.05)
        assert row["auroc"] > row["random_largest"] >= row["random_high"] > row["random_mean"]
        assert row["unoverseen_auroc"] > row["unoverseen_random_high"] > 0.5
        assert row["random_p"] == row["unoverseen_random_p"] == 1 / 201
        assert row["converged"] is True
        assert (row["train_seeds"], row["seeds"]) == (10, 10)
        raw = row_of(columns, train_cell="a", test_cell=test_cell, representation=RAW)
        assert raw["auroc"] == row["auroc"]
        assert raw["random_mean"] is raw["unoverseen_random_p"] is None
    for other in ("a", "noise"):
        row = row_of(columns, train_cell=other, test_cell="noise", representation=HIDDEN)
        assert row["auroc"] == pytest.approx(0.5, abs=0.08)
        assert row["random_mean"] == pytest.approx(0.5, abs=0.03)
        assert row["random_p"] > 0.01


def test_a_probe_that_reads_the_cue_alone_is_worth_nothing_on_unoverseen_choices() -> None:
    random = generator(6, "cue")
    overseen = np.tile(np.arange(60) % 2 == 0, 20)
    defects = random.random(1200) < np.where(overseen, 0.05, 0.5)
    cue = np.where(overseen, 1, -1)[:, None] + 0.1 * random.standard_normal((1200, 1))
    columns = probe_cells({"a": Rows({(HIDDEN, 1): cue}, defects, overseen, np.repeat(np.arange(20), 60))}, 5, 50)
    assert columns["auroc"][0] > 0.75
    assert columns["unoverseen_auroc"][0] == pytest.approx(0.5, abs=0.1)
    tested = np.repeat(np.arange(20) % 2 == 1, 60)
    assert columns["unoverseen_positives"] == [defects[tested & ~overseen].sum()]
    assert columns["unoverseen_negatives"] == [(~defects[tested & ~overseen]).sum()]


def test_random_directions_beside_unoverseen_choices_have_their_signs_from_such_choices() -> None:
    """One feature, so one direction: it rises with the cue, and so with defects, but falls with unoverseen defects."""
    random = generator(7, "sign")
    overseen = np.tile(np.arange(60) % 2 == 0, 20)
    defects = random.random(1200) < np.where(overseen, 0.05, 0.5)
    feature = np.where(overseen, -1, 1) - 0.15 * defects + 0.3 * random.standard_normal(1200)
    seeds = np.repeat(np.arange(20), 60)
    columns = probe_cells({"a": Rows({(HIDDEN, 1): feature[:, None]}, defects, overseen, seeds)}, 5, 20)
    kept = (seeds % 2 == 1) & ~overseen
    expected = roc_auc_score(~defects[kept], feature[kept])
    assert columns["auroc"][0] > expected > 0.6
    assert columns["random_high"] == pytest.approx(columns["auroc"], abs=1e-6)
    assert columns["unoverseen_auroc"] == pytest.approx([1 - expected], abs=1e-6)
    assert columns["unoverseen_random_high"] == pytest.approx([expected], abs=1e-6)
    assert columns["unoverseen_random_p"] == [1]


def test_a_probe_orders_rows_as_the_regression_on_standardised_features(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = cell_rows(6, 40, 1)
    features = rows.features[HIDDEN, 1] * 10.0 ** np.arange(-4, 6) + 3
    features[:, 9] = 7  # tells nothing
    sample = Sample(features, rows.defects, rows.overseen, rows.seeds)
    reference = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, tol=1e-8)).fit(features, rows.defects)
    weights, converged = fit_probe(sample)
    scores = reference.decision_function(features)
    assert np.allclose(features @ weights - (features @ weights).mean(), scores - scores.mean(), atol=1e-4)
    assert np.ptp(scores) > 0.1
    assert converged
    monkeypatch.setattr("turncoat.statistics.defection.ITERATIONS", 1)
    assert not fit_probe(sample)[1]


def test_random_directions_are_normal_in_features_standardised_over_all_training_rows() -> None:
    train, test = (
        {name: cell_rows(6, 40, 1, draw).sample((HIDDEN, 1), range(6)) for name, draw in pair}
        for pair in ((("a", 1), ("b", 2)), (("a", 3), ("b", 4)))
    )
    for sample, scale in ((train["a"], 5), (train["b"], 50), (test["a"], 500), (test["b"], 1)):
        sample.features[:, 3] *= scale
    floors = random_floors(train, test, 1, 20)
    spread = np.concatenate([sample.features for sample in train.values()]).std(0)
    drawn = generator(0, "defection directions", 1).standard_normal((10, 20)) / spread[:, None]
    for (trained_on, tested_on), found in floors.items():
        learnt, judged = train[trained_on], test[tested_on]
        for direction, value in zip(drawn.T, found, strict=True):
            sign = 1 if roc_auc_score(learnt.defects, learnt.features @ direction) >= 0.5 else -1
            assert value == pytest.approx(roc_auc_score(judged.defects, sign * judged.features @ direction), abs=1e-3)
    assert len(floors) == 4


def test_a_random_direction_takes_its_sign_from_the_training_cell_alone() -> None:
    plain = cell_rows(20, 60, 3)
    reverse = Rows(plain.features, ~plain.defects, plain.overseen, plain.seeds)
    columns = probe_cells({"plain": plain, "reverse": reverse}, 100, 10)
    own = row_of(columns, train_cell="plain", test_cell="plain", representation=HIDDEN)
    across = row_of(columns, train_cell="plain", test_cell="reverse", representation=HIDDEN)
    assert own["random_mean"] > 0.6
    assert across["random_mean"] == pytest.approx(1 - own["random_mean"], abs=1e-6)
    assert across["auroc"] == pytest.approx(1 - own["auroc"], abs=1e-9)


def test_what_only_names_the_seed_is_worth_nothing_on_seeds_not_trained_on() -> None:
    """Labels that are a seed's own: a probe that had met a test seed would read them without error."""
    seeds = np.repeat(np.arange(24), 20)
    defects = generator(5, "labels").permutation(24)[seeds] < 12
    names = np.eye(24, dtype=np.float32)[seeds]
    overseen = np.tile(np.arange(20) < 10, 24)
    rows = Rows({(HIDDEN, 1): names}, defects, overseen, seeds)
    late = seeds >= 3  # a cell that lacks some seeds must be split as the others are
    columns = probe_cells(
        {"all": rows, "late": Rows({(HIDDEN, 1): names[late]}, defects[late], overseen[late], seeds[late])}, 5, 20
    )
    assert columns["auroc"] == [0.5] * 4
    assert columns["train_seeds"] == [12, 12, 10, 10]  # 0, 2, 4 ... wherever they are
    assert columns["seeds"] == [12, 11, 12, 11]
    assert roc_auc_score(defects, names @ (2.0 * defects[::20] - 1)) == 1


def test_seeds_are_split_in_turn_over_all_cells() -> None:
    assert split_seeds([np.array([7, 7, 3, 5]), np.array([5, 9, 4])]) == ([3, 5, 9], [4, 7])


def test_too_few_of_a_label_leave_nulls_beside_the_counts() -> None:
    few = cell_rows(20, 60, 1.5)
    first = np.flatnonzero(few.seeds % 2 == 1)[:19]  # 19 defections on the test seeds, none on those trained on
    rare = Rows(few.features, np.isin(np.arange(1200), first), few.overseen, few.seeds)
    columns = probe_cells({"rare": rare, "common": cell_rows(20, 60, 1.5, 1)}, 20, 20)
    table = build_table(columns, defection.SCHEMA, "here").to_pylist()
    for row in table:
        both = (row["train_cell"], row["test_cell"]) == ("common", "common")
        for name in ("auroc", "auroc_low", "auroc_high", "recall", "unoverseen_auroc"):
            assert (row[name] is None) == (not both), name
        for name in ("random_mean", "random_p", "unoverseen_random_high", "unoverseen_random_p"):
            assert (row[name] is None) == (not both or row["representation"] == RAW), name
        assert (row["converged"] is None) == (row["train_cell"] == "rare")
    row = next(row for row in table if (row["train_cell"], row["test_cell"]) == ("common", "rare"))
    assert (row["positives"], row["negatives"], row["seeds"]) == (19, 581, 10)
