"""Motives: means over models of what classification read, on frames small enough to work out by hand."""

import numpy as np
import pandas
import pytest
from scipy import stats

from turncoat.statistics.intervals import wilson
from turncoat.statistics.motives import (
    AFTER,
    BEFORE,
    CARRIED,
    COLUMNS,
    OVERSEERS,
    PRICES,
    READINGS,
    ends,
    motive_table,
    planted_rows,
)

GAPS = {"deceptive": [0.4, 0.6, 0.8, np.nan], "internal": [0.1, 0.1, 0.2, 0.0]}
SHAPES = ["rising", "rising", "flat", "non_monotone"]


def models(start: str) -> pandas.DataFrame:
    arm = {"setting": "main", "variant": "", "start": start, "distance": 90.0, "when": AFTER}
    return pandas.DataFrame(arm | {"seed": range(4)})


def aligned() -> pandas.DataFrame:
    frames = []
    for start, gaps in GAPS.items():
        others = dict.fromkeys(READINGS, 0.5) | {f"price_{o}_{name}": 0.25 for o in OVERSEERS for name in PRICES}
        frames.append(models(start).assign(**others).assign(gap=gaps))
    return pandas.concat(frames, ignore_index=True)


def curves() -> pandas.DataFrame:
    """Two cues at three strengths; the shape and slope are those of a model, repeated in each of its rows."""
    frames = []
    for cue, slope in (("oversight", 3.0), ("placebo", 0.0)):
        for strength in (-1.0, 0.25, 2.0):
            row = {"cue": cue, "strength": strength, "as_on": strength / 4 + 0.5, "agreement_x": 0.75, "moved": 0.9}
            shown = {"slope": slope, "threshold": np.nan, "shape": SHAPES}
            frames.append(models("deceptive").assign(**row, **shown))
    return pandas.concat(frames, ignore_index=True)


def causes() -> pandas.DataFrame:
    """Models 0 to 3 carry 0, 0.1, 0.2 and 0.3 of the gap by a swap in layer 1, nothing otherwise."""
    frames = []
    for intervention in ("swap", "ablate"):
        for layer in (1, 2):
            here = dict.fromkeys(CARRIED, 0.0) | {"intervention": intervention, "layer": layer}
            frame = models("deceptive").assign(**here)
            if (intervention, layer) == ("swap", 1):
                frame["carried"] = frame.seed / 10
            frames.append(frame)
    return pandas.concat(frames, ignore_index=True)


@pytest.fixture
def table() -> pandas.DataFrame:
    return motive_table(aligned(), curves(), causes(), 0.9)


def row(table: pandas.DataFrame, quantity: str, part: str = "", start: str = "deceptive") -> pandas.Series:
    (found,) = (series for _, series in table.iterrows() if (series.quantity, series.part, series.start) ==
                (quantity, part, start))  # fmt: skip
    return found


def test_means_have_students_interval_over_the_models_that_have_a_value(table: pandas.DataFrame) -> None:
    for start, values in GAPS.items():
        known = [value for value in values if not np.isnan(value)]
        found = row(table, "gap", start=start)
        low, high = stats.t.interval(0.9, len(known) - 1, np.mean(known), stats.sem(known))
        assert (found["mean"], found.low, found.high) == pytest.approx((np.mean(known), low, high))
        assert (found.n, found.models) == (len(known), 4)
    assert row(table, "gap")["mean"] == pytest.approx(0.6)


def test_quantities_are_told_by_part(table: pandas.DataFrame) -> None:
    assert list(table.columns) == COLUMNS
    assert not table.duplicated([*COLUMNS[:4], "when", "quantity", "part"]).any()
    assert row(table, "price_effect", "slot1")["mean"] == row(table, "price_effect", "x")["mean"] == 0.25
    assert row(table, "as_on_oversight", "-1")["mean"] == 0.25
    assert row(table, "as_on_placebo", "0.25")["mean"] == pytest.approx(0.5625)
    assert row(table, "agreement_x_oversight", "2")["mean"] == 0.75
    assert row(table, "carried", "swap, layer 1")["mean"] == pytest.approx(0.15)
    assert row(table, "carried", "ablate, layer 2")["mean"] == 0


def test_a_models_curve_counts_once(table: pandas.DataFrame) -> None:
    for cue, slope in (("oversight", 3.0), ("placebo", 0.0)):
        found = row(table, "curve_slope", cue)
        assert (found["mean"], found.n, found.models) == (slope, 4, 4)
        shapes = [row(table, f"curve_{shape}", cue)["mean"] for shape in ("rising", "flat", "non_monotone")]
        assert shapes == [0.5, 0.25, 0.25]


def test_what_no_model_has_is_missing(table: pandas.DataFrame) -> None:
    found = row(table, "curve_threshold", "oversight")
    assert (found.n, found.models) == (0, 4)
    assert np.isnan([found["mean"], found.low, found.high]).all()


def test_before_and_after_are_apart() -> None:
    frame = pandas.concat([aligned(), aligned().assign(when=BEFORE, gap=0.1)])
    found = motive_table(frame, curves(), causes(), 0.9)
    gaps = found[(found.quantity == "gap") & (found.start == "deceptive")].set_index("when")["mean"]
    assert gaps.to_dict() == pytest.approx({AFTER: 0.6, BEFORE: 0.1})


def test_ends_are_each_models_own_first_and_last_step() -> None:
    frame = pandas.DataFrame({"organism_id": list("aaabbc"), "step": [0, 5, 9, 7, 3, 4], "value": range(6)})
    found = ends(frame)
    kept = [(name, int(step), when) for name, step, when in zip(found.organism_id, found.step, found.when, strict=True)]
    assert kept == [("a", 0, BEFORE), ("a", 9, AFTER), ("b", 7, AFTER), ("b", 3, BEFORE), ("c", 4, AFTER)]
    assert found.value.tolist() == [0, 2, 3, 4, 5]


def test_ends_keep_every_row_of_those_steps() -> None:
    frame = pandas.DataFrame({"organism_id": "a", "step": [0, 0, 5, 9, 9], "layer": [1, 2, 1, 1, 2]})
    found = ends(frame)
    assert found.when.tolist() == [BEFORE, BEFORE, AFTER, AFTER]
    assert found.layer.tolist() == [1, 2, 1, 2]


def test_planted_networks_stand_beside_trained_models_as_an_arm_of_their_own() -> None:
    planted = causes().drop(columns=["setting", "variant", "start", "distance", "when"]).assign(kind="network_placebo")
    found = planted_rows(planted, 90.0)
    assert set(found.start) == {"planted: network_placebo"}
    assert set(found.when) == {AFTER} and set(found.distance) == {90.0}
    both = motive_table(aligned(), curves(), pandas.concat([causes(), found]), 0.9)
    for start in ("deceptive", "planted: network_placebo"):
        assert row(both, "carried", "swap, layer 1", start)["mean"] == pytest.approx(0.15)
    assert not (both[both.start.str.startswith("planted")].quantity == "gap").any()


def test_intervals_of_shares_stay_between_zero_and_one(table: pandas.DataFrame) -> None:
    flat, expected = row(table, "curve_flat", "oversight"), wilson(1, 4, 0.9)
    assert (flat.low, flat.high) == (expected.low, expected.high)
    shares = table[table.quantity.str.startswith(("curve_r", "curve_f", "probability_", "agreement_x_", "price_low"))]
    assert shares.low.dropna().between(0, 1).all()
    assert shares.high.dropna().between(0, 1).all()
    one_of_four = aligned().assign(probability_deceptive=[0.0, 0.0, 0.0, 1.0] * 2)
    wide = motive_table(one_of_four, curves(), causes(), 0.9)
    found = row(wide, "probability_deceptive", "")
    assert (found["mean"], found.low) == (0.25, 0.0)  # Student's lower limit would be -0.34
    assert found.high == pytest.approx(0.25 + 2.3534 * 0.25, abs=1e-3)
