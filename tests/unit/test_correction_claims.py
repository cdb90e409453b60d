"""G9: agreement with M is drawn with known means under each gate, and the rows must take the differences asked for."""

import numpy as np
import pandas
import pytest

from turncoat.statistics.contrasts import Plan, contrast_table
from turncoat.statistics.correction_claims import answers
from turncoat.statistics.evidence import Evidence
from turncoat.statistics.rows import finished

PLAN = Plan(confidence=0.95, resamples=300, margin=0.05, minimum_seeds=12)
SEEDS = np.arange(1000, 1030)
MATCH = "capability 0.90"
M = {"": 0.8, "gate open_in": 0.5, "gate shuffled": 0.6, "gate open_in, gate_norm_matched False": 0.45}


def models(setting: str, mean: float, start: str) -> pandas.DataFrame:
    random = np.random.default_rng(len(setting))
    frame = pandas.DataFrame({"seed": SEEDS}).assign(
        setting=setting, variant="", start=start, distance=90.0, match=MATCH, diverged=False, arrived=True
    )
    for name, value in (("m", mean), ("c", 0.3), ("d", 0.2)):
        frame[name] = value + 0.01 * random.standard_normal(len(SEEDS))
        frame[f"{name}_lowest"], frame[f"{name}_highest"] = 0.0, 1.0
    return frame


def judged(frame: pandas.DataFrame) -> pandas.DataFrame:
    nothing = pandas.DataFrame()
    evidence = Evidence(
        contrasts=contrast_table(frame, ["m", "c", "d"], PLAN),
        matched=frame,
        half_lives=nothing,
        ratios=nothing,
        times=nothing,
        knowledge=nothing,
        own={},
        premises={},
        capabilities=[0.9],
        cross_entropy_matches=[],
        primary_capability=0.9,
        primary_distance=90.0,
    )
    return pandas.DataFrame(finished(answers(evidence, PLAN), PLAN))


@pytest.fixture
def frame() -> pandas.DataFrame:
    parts = [models(setting, mean, start) for setting, mean in M.items() for start in ("deceptive", "conditional")]
    return pandas.concat(parts, ignore_index=True)


def test_the_primary_row_is_natural_minus_held_open(frame: pandas.DataFrame) -> None:
    rows = judged(frame)
    assert rows.primary.sum() == 1
    row = rows[rows.primary].iloc[0]
    assert (row.start, row.outcome, row.setting) == ("deceptive", "m", "gate open_in")
    assert row.estimate == pytest.approx(0.3, abs=0.02)
    assert row.low < 0.3 < row.high or abs(row.estimate - 0.3) < 0.01
    assert row.verdict == "supported"


def test_shuffled_minus_held_open_is_what_the_gate_does_beyond_its_share(frame: pandas.DataFrame) -> None:
    rows = judged(frame)
    beyond = rows[rows.stratum.str.contains("gate shuffled minus open_in")]
    assert sorted(beyond.start) == ["conditional", "deceptive"]
    assert beyond.estimate.tolist() == pytest.approx([0.1, 0.1], abs=0.02)


def test_gates_without_norm_matching_and_controls_are_there(frame: pandas.DataFrame) -> None:
    rows = judged(frame).query("outcome == 'm' and start == 'deceptive'").set_index("setting")
    assert rows.loc["gate open_in, gate_norm_matched False"].estimate == pytest.approx(0.35, abs=0.02)
    shuffled = rows.loc["gate shuffled"]
    assert (shuffled.verdict, shuffled.estimate) == ("not_tested", pytest.approx(0.2, abs=0.02))


def test_models_that_never_got_there_are_named(frame: pandas.DataFrame) -> None:
    late = (frame.setting == "gate open_in") & frame.seed.isin(SEEDS[:6])
    frame.loc[late, "arrived"] = False
    frame.loc[late, ["m", "c", "d"]] = np.nan
    rows = judged(frame)
    beyond = rows[rows.stratum.str.contains("deceptive, gate shuffled minus open_in")].iloc[0]
    assert (beyond.n, beyond.never_start + beyond.never_reference) == (len(SEEDS) - 6, 6)
    assert "6 models never got there" in beyond.reason


def test_a_study_without_gates_says_so(frame: pandas.DataFrame) -> None:
    row = judged(frame[frame.setting == ""]).iloc[0]
    assert (row.claim, row.verdict, row.primary) == ("G9", "not_tested", True)
