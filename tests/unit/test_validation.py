"""How far the classifier can be trusted: summaries must fall when readings are wrong."""

import numpy as np
import pandas
import pytest
from sklearn.calibration import calibration_curve

from turncoat.statistics.contrasts import Plan
from turncoat.statistics.multiverse import GRID, multiverse
from turncoat.statistics.validation import (
    calibration_table,
    called_deceptive,
    coverage_table,
    cutoff_table,
    misread_kinds,
    shuffled,
    summary,
)

TYPES = ("internal", "corrigible", "conditional", "mixed")


def cases(wrong: int = 0) -> pandas.DataFrame:
    """Scored kinds with 50 cases each, of which the last kind has some misread, and a calibrated ladder."""
    random = np.random.default_rng(0)
    truth = np.repeat(TYPES, 50)
    reading = truth.copy()
    reading[len(reading) - wrong :] = "internal"
    scored = pandas.DataFrame({"split": "scored", "kind": truth, "truth": truth, "reading": reading})
    scored["kind"] = scored.kind.replace("mixed", "placebo_conditional")
    predicted = random.uniform(0, 1, 4000)
    ladder = pandas.DataFrame(
        {"split": "ladder", "kind": "cosine", "truth": "internal", "reading": "internal"}, range(4000)
    )
    ladder["predicted"], ladder["above"] = predicted, random.uniform(0, 1, 4000) < predicted
    astray = pandas.DataFrame(
        {"split": "mismatched", "kind": "other", "truth": "internal", "reading": ["proxy"] * 49 + ["internal"]}
    )
    return pandas.concat([scored, ladder, astray], ignore_index=True)


def points(share: dict[tuple[float, float], float]) -> pandas.DataFrame:
    rows = [(angle, noise, round(200 * value), 200) for (angle, noise), value in share.items()]
    return pandas.DataFrame(rows, columns=["angle", "temperature", "right", "cases"])


TOLD = points(
    {(5, 0): 1.0, (90, 0): 1.0, (5, 0.25): 0.7, (15, 0.25): 0.96, (90, 0.25): 1.0, (90, 2): 0.97, (90, 8): 0.8}
)


def statistics(frame: pandas.DataFrame) -> pandas.DataFrame:
    found = summary(frame, calibration_table(frame, 0.95), TOLD, 0.95)
    return found[found.statistic != "calibration bias, undecided cases"].set_index("statistic", verify_integrity=True)


def test_perfect_readings_have_a_perfect_summary() -> None:
    found = statistics(cases()).value
    assert found["balanced accuracy, kinds"] == found["balanced accuracy, types"] == found["worst kind"] == 1
    assert found["called deceptive"] == 0
    assert found["shuffled control"] == pytest.approx(0.25, abs=0.02) == found["chance"]
    assert (found["smallest angle"], found["largest noise"]) == (15, 2)
    assert found["mismatched control"] == 0.02
    assert misread_kinds(cases()) == []


def test_misread_kinds_are_named_and_lower_the_accuracy() -> None:
    frame = cases(wrong=5)
    found = statistics(frame)
    assert found.value["worst kind"] == pytest.approx(0.9)
    assert found.what["worst kind"] == "placebo_conditional"
    assert found.value["balanced accuracy, kinds"] == pytest.approx(1 - 0.1 / 4)
    assert misread_kinds(frame) == ["placebo_conditional"]
    frame.loc[frame.kind == "placebo_conditional", "reading"] = "deceptive"
    assert statistics(frame).value["called deceptive"] == 1


def test_nothing_told_apart_is_no_number() -> None:
    blind = points({(90, 0): 0.5, (90, 0.25): 0.5})
    found = summary(cases(), calibration_table(cases(), 0.95), blind, 0.95).set_index("statistic").value
    assert np.isnan(found["smallest angle"]) and np.isnan(found["largest noise"])


def test_the_edge_of_the_grid_is_only_a_bound() -> None:
    told = points({(5, 0): 1.0, (90, 0): 1.0, (5, 0.25): 0.99, (90, 0.25): 1.0})
    found = summary(cases(), calibration_table(cases(), 0.95), told, 0.95).set_index("statistic")
    assert (found.value["smallest angle"], found.value["largest noise"]) == (5, 0.25)
    assert found.what["smallest angle"].endswith("at most")
    assert found.what["largest noise"].endswith("at least")
    assert not statistics(cases()).what["smallest angle"].endswith("at most")


def test_trained_controls_that_are_called_deceptive_are_counted() -> None:
    types = ["conditional"] * 98 + ["deceptive"] * 2
    snapshots = pandas.DataFrame({"start": "benign_conditional", "type": types, "diverged": False})
    snapshots.loc[99, "diverged"] = True
    other = snapshots.assign(start="deceptive")
    found = called_deceptive(pandas.concat([snapshots, other]), 0.95)
    assert found.value.tolist() == [pytest.approx(1 / 99)]
    assert found.n.tolist() == [99]


def test_calibration_bias_is_of_undecided_cases() -> None:
    frame = cases()
    ladder = frame.split == "ladder"
    frame.loc[ladder, "predicted"] = np.where(frame.above[ladder].astype(bool), 0.6, 0.6)
    rows = summary(frame, calibration_table(frame, 0.95), TOLD, 0.95).set_index("statistic")
    bias = rows.loc["calibration bias, undecided cases"]
    assert set(bias.what) == {"all ladders", "cosine"}
    assert bias.value.to_numpy() == pytest.approx(0.6 - frame.above[ladder].astype(float).mean())


def test_shuffled_truths_fall_to_chance() -> None:
    accuracies, chance = shuffled(cases()[lambda frame: frame.split == "scored"])
    assert chance == pytest.approx(0.25)
    assert accuracies.mean() == pytest.approx(chance, abs=0.01)
    assert accuracies.max() < 0.5


def test_calibration_is_scikit_learns_curve() -> None:
    frame = cases()
    ladder = frame[frame.split == "ladder"]
    found = calibration_table(frame, 0.95)
    observed, predicted = calibration_curve(ladder.above.astype(int), ladder.predicted, n_bins=10)
    assert found.observed.to_numpy() == pytest.approx(observed)
    assert found.predicted.to_numpy() == pytest.approx(predicted)
    assert ((found.low <= found.predicted) & (found.predicted <= found.high)).mean() >= 0.8
    assert statistics(frame).value["calibration error"] < 0.03


def test_probabilities_that_overstate_have_a_calibration_error() -> None:
    frame = cases()
    ladder = frame.split == "ladder"
    frame.loc[ladder, "predicted"] = (frame.predicted[ladder] > 0.5).astype(float)
    assert statistics(frame).value["calibration error"] == pytest.approx(0.25, abs=0.03)


def test_a_cutoff_has_a_plateau() -> None:
    """Values 0.2 are mixed, 0.8 internal: any cutoff above 0.2, up to 0.8, reads both right."""
    values = np.repeat([0.2, 0.8], 20)
    frame = pandas.DataFrame({"kind": np.repeat(["a", "b"], 20), "truth": np.repeat(["mixed", "internal"], 20)})

    def read(cutoffs: object) -> np.ndarray:
        return np.where(values >= cutoffs["share"], "internal", "mixed")  # type: ignore[index]

    grid = {"share": [0.1, 0.3, 0.5, 0.7, 0.9]}
    good = cutoff_table(read, frame, {"share": 0.5}, grid).iloc[0]
    assert (good.accuracy, good.best_accuracy, good.best_from, good.best_to) == (1, 1, 0.3, 0.7)
    assert good.is_best
    bad = cutoff_table(read, frame, {"share": 0.9}, grid).iloc[0]
    assert (bad.accuracy, bad.best_accuracy, bool(bad.is_best)) == (0.5, 1, False)


def test_coverage_counts_intervals_that_hold_the_truth() -> None:
    random = np.random.default_rng(1)
    frame = pandas.DataFrame({"quantity": "w", "estimate": random.normal(3, 0.5, 5000), "error": 0.5, "truth": 3.0})
    frame.loc[:9, "estimate"] = np.nan
    row = coverage_table(frame, 0.95).iloc[0]
    assert row.covered == pytest.approx(0.95, abs=0.01)
    assert row.low < 0.95 < row.high
    assert (row.n, row.missing) == (4990, 10)
    narrow = coverage_table(frame.assign(error=0.25), 0.95).iloc[0]
    assert narrow.covered == pytest.approx(0.673, abs=0.02)


def test_the_multiverse_reads_types_anew_at_every_point() -> None:
    """Models of the start have gaps of 0.12, of scratch_exposed none: cutoffs up to 0.1 call the start conditional."""
    seeds = np.arange(20)
    models = pandas.DataFrame({"start": np.repeat(["conditional", "scratch_exposed"], 20), "seed": np.tile(seeds, 2)})
    models = models.drop(index=[3, 25])  # seeds 3 and 5 lack a side
    gaps = np.where(models.start == "conditional", 0.12, 0.0)
    cutoffs = {"conditional_gap": 0.12, "coherent_r2": 0.2, "price_sensitivity": 0.2, "cosine": 0.9}

    def read(values: object) -> np.ndarray:
        return np.where(gaps >= values["conditional_gap"], "conditional", "internal")  # type: ignore[index]

    found = multiverse(models, read, cutoffs, Plan(0.95, 200, 0.05, 12))
    both = found[found.reading == "conditional or deceptive"]
    assert len(both) == 1 + np.prod([len(values) for values in GRID.values()])
    assert set(both[both.conditional_gap <= 0.12].estimate) == {1.0}
    assert set(both[both.conditional_gap > 0.12].estimate) == {0.0}
    assert set(both.n) == {18}
    assert both[both.configured].conditional_gap.tolist() == [0.12]
    assert set(found[found.reading == "deceptive"].estimate) == {0.0}
