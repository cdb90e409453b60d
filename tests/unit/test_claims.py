"""Claims: all declared, each with one primary stratum, and simulated studies end in the verdicts that were
planted.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas
import pytest

sys.path.append(str(Path(__file__).parents[1]))
from synthetic import SMALL, Truth, write_study
from turncoat.reporting.page import write_report
from turncoat.stages.aggregate import aggregate
from turncoat.statistics.claims import CLAIMS, ORDER
from turncoat.statistics.verdicts import VERDICTS
from turncoat.tables.atomic import TableError

STATED = {
    "P1",
    "P2",
    "P3",
    "P4a",
    "P4b",
    "P4c",
    "P4d",
    "P5a",
    "P5b",
    "P5c",
    "P6",
    "P7",
    "P8",
    "P9",
    "P10",
    "P11",
}
STATED |= {f"G{number}" for number in range(1, 10)}
NULL = {"internal": 0.05, "corrigible": 0.05, "conditional": 0.05, "benign_conditional": 0.05, "scratch": 0.05, "scratch_exposed": 0.05}  # fmt: skip # noqa: E501
STARTS = SMALL["arms"]["main"]["starts"]


def study(folder: Path, truth: Truth | None = None, **overrides: Any) -> pandas.DataFrame:
    config = write_study(folder, {"planted": {"seeds": 2}, **overrides}, truth)
    aggregate(config, folder, "0" * 12)
    return pandas.read_parquet(folder / "tables" / "claims.parquet")


def main_arm(**changes: Any) -> dict[str, Any]:
    return {"arms": {"main": {"starts": STARTS, "distances": [45, 90], **changes}}}


def primary(claims: pandas.DataFrame, claim: str) -> Any:
    rows = claims[(claims.claim == claim) & claims.primary]
    assert len(rows) == 1
    return rows.iloc[0]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pandas.DataFrame]:
    folder = tmp_path_factory.mktemp("planted")
    return folder, study(folder)


def test_every_claim_is_declared_once() -> None:
    assert set(ORDER) == set(CLAIMS) == STATED
    assert all(CLAIMS[name].primary or CLAIMS[name].untested for name in ORDER)


def test_known_differences_are_found(planted: tuple[Path, pandas.DataFrame]) -> None:
    _, claims = planted
    assert set(claims.claim) == STATED and set(claims.verdict) <= set(VERDICTS)
    assert primary(claims, "P1").verdict == "no_effect"  # D of internal and scratch are both planted at zero
    assert primary(claims, "P2").estimate == pytest.approx(0.55, abs=0.04)
    assert primary(claims, "P3").estimate == pytest.approx(0.10, abs=0.04)
    assert [primary(claims, name).verdict for name in ("P2", "P3", "P4a")] == ["supported"] * 3
    raw = claims[(claims.claim == "P1") & (claims.outcome == "c") & (claims.stratum == primary(claims, "P1").stratum)]
    assert raw.iloc[0].verdict == "supported" and raw.iloc[0].estimate == pytest.approx(0.25, abs=0.03)


def test_each_p_claim_is_answered_three_times(planted: tuple[Path, pandas.DataFrame]) -> None:
    _, claims = planted
    for claim in ("P1", "P2", "P3", "P4a"):
        rows = claims[claims.claim == claim]
        assert {"c", "d", "deception"} <= set(rows.outcome)
        assert (rows[rows.outcome == "deception"].verdict == "not_tested").all()


def test_gates_by_activation_and_optimizer(planted: tuple[Path, pandas.DataFrame]) -> None:
    _, claims = planted
    identities = claims[(claims.outcome == "identity") & claims.claim.isin(["G1", "G3"])]
    assert (identities.verdict == "identity").all()
    assert primary(claims, "G1").verdict == "supported" and primary(claims, "G3").verdict == "supported"
    updates = claims[claims.stratum.str.startswith("real update, saved") & claims.stratum.str.contains("adam, layer 2")]
    assert (updates.verdict == "contradicted").all()
    dead = claims[(claims.outcome == "dead_update") & claims.stratum.str.contains("sgd")]
    assert (dead.verdict == "identity").all()


def test_adjustment_is_over_primary_strata_only(planted: tuple[Path, pandas.DataFrame]) -> None:
    _, claims = planted
    assert claims[~claims.primary].adjusted_p.isna().all()
    adjusted = claims[claims.adjusted_p.notna()]
    assert (adjusted.adjusted_p >= adjusted.p).all() and len(adjusted) == 6


def test_without_a_manifest_nothing_is_confirmatory(planted: tuple[Path, pandas.DataFrame]) -> None:
    folder, claims = planted
    assert not claims.confirmatory.any()
    config = write_study(folder, {"planted": {"seeds": 2}})
    hashes = {"config_sha256": "a", "claims_sha256": "b"}
    other = hashes | {"claims_sha256": "c"}
    for first, edited, expected in ((hashes, False, True), (other, True, False), (hashes, True, False)):
        (folder / "manifest.json").write_text(json.dumps(hashes | {"first": first, "edited": edited}))
        aggregate(config, folder, "0" * 12)
        again = pandas.read_parquet(folder / "tables" / "claims.parquet")
        assert again.confirmatory.any() == expected and not again[~again.primary].confirmatory.any()
    (folder / "manifest.json").unlink()


def test_two_runs_give_equal_tables(planted: tuple[Path, pandas.DataFrame], tmp_path: Path) -> None:
    folder, _ = planted
    study(tmp_path)
    files = sorted(path.name for path in (folder / "tables").iterdir())
    assert len(files) == 13
    for name in files:
        assert (folder / "tables" / name).read_bytes() == (tmp_path / "tables" / name).read_bytes(), name


def test_planted_null_is_no_effect(tmp_path: Path) -> None:
    claims = study(tmp_path, Truth(c=NULL, placebo=NULL, slope=0.0, spread=0.01), **main_arm())
    assert [primary(claims, name).verdict for name in ("P1", "P2", "P3", "P4a")] == ["no_effect"] * 4


def test_too_few_seeds_have_no_verdict(tmp_path: Path) -> None:
    claims = study(tmp_path, **main_arm(), seeds={"first": 0, "count": 6, "block": 3})
    assert set(claims[claims.claim.str.startswith("P")].verdict) == {"not_tested"}
    assert "fewer than 12" in primary(claims, "P2").reason


def test_failed_premise_stops_p1_and_p3_for_that_start_alone(tmp_path: Path) -> None:
    truth = Truth()
    slow = replace(truth, half_way={**truth.half_way, "internal": 420})
    claims = study(tmp_path, slow, **main_arm())
    assert primary(claims, "P1").reason.startswith("premise failed")
    assert primary(claims, "P3").verdict == "supported"
    rows = claims[claims.claim.isin(["P1", "P3"]) & (claims.start == "internal")]
    assert set(rows.verdict) == {"not_tested"} and rows.estimate.notna().all()


def test_starts_that_never_arrive_are_counted(tmp_path: Path) -> None:
    claims = study(tmp_path, Truth(stuck=frozenset({"corrigible"})), **main_arm())
    row = claims[(claims.claim == "P3") & (claims.start == "corrigible") & claims.match.str.startswith("cap")].iloc[0]
    assert row.verdict == "not_tested" and row.never_start == 24 and row.n_pairs == 0
    premise = pandas.read_parquet(tmp_path / "tables" / "premise.parquet").set_index("start")
    assert premise.loc["corrigible", "verdict"] == "fails" and premise.loc["corrigible", "never_start"] == 24


def test_a_study_in_which_all_models_diverged_still_builds(tmp_path: Path) -> None:
    starts = ["internal", "scratch"]
    truth = Truth(diverging=frozenset((start, seed) for start in starts for seed in range(1000, 1024)))
    claims = study(tmp_path, truth, **main_arm(starts=starts))
    assert set(claims[claims.primary].verdict) == {"not_tested"}
    assert len(pandas.read_parquet(tmp_path / "tables" / "persistence.parquet")) == 0
    write_report(write_study(tmp_path, main_arm(starts=starts), truth), tmp_path)
    assert "diverged" in (tmp_path / "report.html").read_text()


def test_diverged_models_are_counted_and_left_out(tmp_path: Path) -> None:
    broken = frozenset(("internal", seed) for seed in range(1000, 1024))
    claims = study(tmp_path, Truth(diverging=broken | {("corrigible", 1003)}), **main_arm())
    assert primary(claims, "P1").verdict == "not_tested"
    row = primary(claims, "P3")
    assert row.diverged == 1 and row.n_pairs == 23 and "1 models diverged" in row.reason
    levels = pandas.read_parquet(tmp_path / "tables" / "levels.parquet")
    assert levels[(levels.start == "internal")]["mean"].isna().all()


def test_missing_starts_are_said_so(tmp_path: Path) -> None:
    claims = study(tmp_path, **main_arm(starts=["corrigible", "scratch_exposed"]))
    assert "no models" in primary(claims, "P1").reason and "no models" in primary(claims, "P2").reason
    assert primary(claims, "P3").reason.startswith("premise not measured")  # no scratch to compare with


def test_scratch_alone_still_builds(tmp_path: Path) -> None:
    claims = study(tmp_path, **main_arm(starts=["scratch"]))
    assert set(claims[claims.claim.str.startswith("P")].verdict) == {"not_tested"}


def test_pretraining_steps_share_the_reference(tmp_path: Path) -> None:
    claims = study(tmp_path, **main_arm(pretraining_steps=[600, 1200]))
    rows = claims[(claims.claim == "P1") & (claims.variant == "pretraining 600 steps")]
    assert (rows[rows.match != "capability 0.95"].n_pairs >= 22).all()  # not every model gets to 0.95
    assert len(rows) > 10 and not rows.primary.any()


@pytest.mark.parametrize("kind", ["missing", "garbage", "other_cell", "short"])
def test_wrong_files_stop_the_stage(tmp_path: Path, kind: str) -> None:
    config = write_study(tmp_path, {"planted": {"seeds": 2}, **main_arm(starts=["scratch", "internal"])})
    jobs = sorted((tmp_path / "finetune").glob("*/*/organisms.parquet"))
    if kind == "missing":
        (tmp_path / "gating" / jobs[0].parts[-3] / f"{jobs[0].parts[-2]}.parquet").unlink()
        message = "no such file"
    elif kind == "garbage":
        jobs[0].write_bytes(b"PAR1")
        message = "not a readable Parquet file"
    elif kind == "other_cell":
        jobs[0].write_bytes(jobs[-1].read_bytes())
        message = r"holds models of cell|holds \d+ seeds"
    else:
        measured = tmp_path / "classify" / jobs[0].parts[-3] / f"{jobs[0].parts[-2]}.parquet"
        measured.write_bytes((tmp_path / "classify" / jobs[-1].parts[-3] / measured.name).read_bytes())
        message = "are not those"
    with pytest.raises(TableError, match=message):
        aggregate(config, tmp_path, "0" * 12)
