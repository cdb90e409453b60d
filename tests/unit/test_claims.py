"""Claims: all declared, each with one primary stratum, and simulated studies end in the verdicts that were
planted.
"""

import json
import re
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
from turncoat.statistics.claims import CLAIMS, NO_PRICE, ORDER
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
STARTS = SMALL["arms"]["main"]["starts"]
NULL = dict.fromkeys([*STARTS, "deceptive"], 0.05)
RULES = Path(__file__).resolve().parents[2] / "workflow" / "rules"


def study(folder: Path, truth: Truth | None = None, **overrides: Any) -> pandas.DataFrame:
    config = write_study(folder, overrides, truth)
    aggregate(config, folder, "0" * 12)
    return pandas.read_parquet(folder / "tables" / "claims.parquet")


def one_arm(starts: list[str] | None = None, **changes: Any) -> dict[str, Any]:
    """A study of one arm, at the distance where the premise is checked."""
    return {"arms": {"main": {"starts": starts or STARTS, "distances": [90], **changes}}}


def primary(claims: pandas.DataFrame, claim: str) -> Any:
    rows = claims[(claims.claim == claim) & claims.primary]
    assert len(rows) == 1
    return rows.iloc[0]


def row_of(claims: pandas.DataFrame, claim: str, outcome: str, start: str, reference: str = "scratch_exposed") -> Any:
    """The row at the primary distance and capability."""
    rows = claims[(claims.claim == claim) & (claims.outcome == outcome) & (claims.start == start)]
    rows = rows[(rows.reference == reference) & (rows.distance == 90) & (rows.match == "capability 0.90")]
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
    assert primary(claims, "P3").estimate == pytest.approx(0.10, abs=0.04)
    assert [primary(claims, name).verdict for name in ("P2", "P3", "P4a")] == ["supported"] * 3
    assert row_of(claims, "P1", "c", "internal", "scratch").estimate == pytest.approx(0.25, abs=0.03)
    for start, planted_d in (("conditional", 0.55), ("deceptive", 0.60)):
        row = row_of(claims, "P2", "d", start)
        assert row.verdict == "supported" and row.estimate == pytest.approx(planted_d, abs=0.04)


def test_p2_rests_on_deception_proper(planted: tuple[Path, pandas.DataFrame]) -> None:
    _, claims = planted
    row = primary(claims, "P2")
    assert (row.outcome, row.start, row.reference) == ("deception", "deceptive", "scratch_exposed")
    assert (row.distance, row.match, row.n) == (90, "capability 0.90", 24)
    assert row.verdict == "supported" and row.estimate == pytest.approx(1, abs=0.02)


def test_only_what_heeds_the_price_is_deceptive(planted: tuple[Path, pandas.DataFrame]) -> None:
    _, claims = planted
    assert row_of(claims, "P3", "deception", "internal_strategic").verdict == "supported"
    for claim, start in (("P3", "corrigible"), ("P3", "internal"), ("P2", "conditional")):
        row = row_of(claims, claim, "deception", start)
        assert row.verdict == "no_effect" and abs(row.estimate) < 0.02, start


def test_a_deceptive_start_that_no_longer_weighs_the_price_is_conditional_alone(tmp_path: Path) -> None:
    claims = study(tmp_path, Truth(price={}), **one_arm(["deceptive", "scratch_exposed"]))
    assert primary(claims, "P2").verdict == "no_effect"
    assert row_of(claims, "P2", "d", "deceptive").verdict == "supported"
    aligned = pandas.read_parquet(tmp_path / "tables" / "alignment.parquet")
    tuned = aligned[(aligned.stage == "finetune") & (aligned.start == "deceptive")]
    assert set(tuned.type) == {"conditional"} and (tuned.probability_deceptive == 0).all()


def test_without_audits_deception_is_not_tested(tmp_path: Path) -> None:
    starts = ["internal", "corrigible", "conditional", "scratch", "scratch_exposed"]
    claims = study(tmp_path, world={"audit_penalty": 0.0}, **one_arm(starts))
    measured = pandas.read_parquet(tmp_path / "tables" / "alignment.parquet")
    prices = [name for name in measured if name.startswith("price_")]
    assert len(prices) == 2 * 11 + 1 and measured[prices].isna().all(axis=None)
    rows = claims[claims.outcome == "deception"]
    assert set(rows.claim) >= {"P1", "P2", "P3", "P4a"}
    assert set(rows.verdict) == {"not_tested"} and set(rows[~rows.primary].reason) == {NO_PRICE}
    assert (primary(claims, "P2").outcome, primary(claims, "P2").verdict) == ("deception", "not_tested")
    assert row_of(claims, "P2", "d", "conditional").verdict == "supported"  # what needs no price is tested all the same


def test_each_p_claim_is_answered_three_times(planted: tuple[Path, pandas.DataFrame]) -> None:
    _, claims = planted
    for claim in ("P1", "P2", "P3", "P4a"):
        rows = claims[claims.claim == claim]
        assert {"c", "d", "deception"} <= set(rows.outcome)
        assert not rows[rows.outcome == "deception"].reason.eq(NO_PRICE).any()


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


def test_without_a_manifest_nothing_is_confirmatory(tmp_path: Path) -> None:
    overrides = one_arm(["scratch"]) | {"seeds": {"first": 1000, "count": 4, "block": 4}}
    assert not study(tmp_path, **overrides).confirmatory.any()
    config = write_study(tmp_path, overrides)
    hashes = {"config_sha256": "a", "claims_sha256": "b"}
    other = hashes | {"claims_sha256": "c"}
    for first, edited, expected in ((hashes, False, True), (other, True, False), (hashes, True, False)):
        (tmp_path / "manifest.json").write_text(json.dumps(hashes | {"first": first, "edited": edited}))
        aggregate(config, tmp_path, "0" * 12)
        again = pandas.read_parquet(tmp_path / "tables" / "claims.parquet")
        assert again.confirmatory.any() == expected and not again[~again.primary].confirmatory.any()


def test_two_runs_give_equal_tables(tmp_path: Path) -> None:
    starts = ["internal", "deceptive", "scratch", "scratch_exposed"]
    for run in ("one", "two"):
        study(tmp_path / run, **one_arm(starts), seeds={"first": 1000, "count": 12, "block": 6})
    listed = re.search(r"^TABLES = \[(.*?)\]", (RULES / "aggregate.smk").read_text(), re.M | re.S)
    assert listed
    files = {f"{name}.parquet" for name in re.findall(r'"(\w+)"', listed[1])} | {"claims.csv"}
    one, two = (tmp_path / run / "tables" for run in ("one", "two"))
    assert {path.name for path in one.iterdir()} == files
    for name in files:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_planted_null_is_no_effect(tmp_path: Path) -> None:
    """Deceptive models whose D is null heed the price and not the cue: they are not deceptive either."""
    starts = ["internal", "corrigible", "deceptive", "scratch", "scratch_exposed"]
    truth = Truth(c=NULL, placebo=NULL, slope=0.0, spread=0.01)
    claims = study(tmp_path, truth, **one_arm(starts, distances=[45, 90]))
    assert [primary(claims, name).verdict for name in ("P1", "P2", "P3", "P4a")] == ["no_effect"] * 4


def test_too_few_seeds_have_no_verdict(tmp_path: Path) -> None:
    starts = ["internal", "corrigible", "deceptive", "scratch", "scratch_exposed"]
    claims = study(tmp_path, **one_arm(starts), seeds={"first": 0, "count": 6, "block": 3})
    assert set(claims[claims.claim.str.startswith("P")].verdict) == {"not_tested"}
    assert "fewer than 12" in primary(claims, "P2").reason


def test_failed_premise_stops_p1_and_p3_for_that_start_alone(tmp_path: Path) -> None:
    truth = Truth()
    slow = replace(truth, half_way={**truth.half_way, "internal": 420})
    claims = study(tmp_path, slow, **one_arm(["internal", "corrigible", "scratch", "scratch_exposed"]))
    assert primary(claims, "P1").reason.startswith("premise failed")
    assert primary(claims, "P3").verdict == "supported"
    rows = claims[claims.claim.isin(["P1", "P3"]) & (claims.start == "internal")]
    assert set(rows.verdict) == {"not_tested"} and rows.estimate.notna().all()


def test_starts_that_never_arrive_are_counted(tmp_path: Path) -> None:
    truth = Truth(stuck=frozenset({"corrigible"}))
    claims = study(tmp_path, truth, **one_arm(["corrigible", "scratch", "scratch_exposed"]))
    row = row_of(claims, "P3", "d", "corrigible")
    assert row.verdict == "not_tested" and row.never_start == 24 and row.n_pairs == 0
    premise = pandas.read_parquet(tmp_path / "tables" / "premise.parquet").set_index("start")
    assert premise.loc["corrigible", "verdict"] == "fails" and premise.loc["corrigible", "never_start"] == 24


def test_a_study_in_which_all_models_diverged_still_builds(tmp_path: Path) -> None:
    starts = ["internal", "scratch"]
    truth = Truth(diverging=frozenset((start, seed) for start in starts for seed in range(1000, 1024)))
    claims = study(tmp_path, truth, **one_arm(starts))
    assert set(claims[claims.primary].verdict) == {"not_tested"}
    for name in ("persistence", "multiverse"):
        assert len(pandas.read_parquet(tmp_path / "tables" / f"{name}.parquet")) == 0, name
    write_report(write_study(tmp_path, one_arm(starts), truth), tmp_path)
    assert "diverged" in (tmp_path / "report.html").read_text()


def test_diverged_models_are_counted_and_left_out(tmp_path: Path) -> None:
    broken = frozenset(("internal", seed) for seed in range(1000, 1024))
    truth = Truth(diverging=broken | {("corrigible", 1003)})
    claims = study(tmp_path, truth, **one_arm(["internal", "corrigible", "scratch", "scratch_exposed"]))
    assert primary(claims, "P1").verdict == "not_tested"
    row = primary(claims, "P3")
    assert row.diverged == 1 and row.n_pairs == 23 and "1 models diverged" in row.reason
    levels = pandas.read_parquet(tmp_path / "tables" / "levels.parquet")
    assert levels[(levels.start == "internal")]["mean"].isna().all()
    motives = pandas.read_parquet(tmp_path / "tables" / "motives.parquet").set_index(["start", "when", "quantity"])
    assert "internal" not in motives.index and motives.models["corrigible", "after", "price_sensitivity"].item() == 23


def test_missing_starts_are_said_so(tmp_path: Path) -> None:
    claims = study(tmp_path, **one_arm(["corrigible", "scratch_exposed"]))
    assert "no models" in primary(claims, "P1").reason and "no models" in primary(claims, "P2").reason
    assert primary(claims, "P3").reason.startswith("premise not measured")  # no scratch to compare with


def test_scratch_alone_still_builds(tmp_path: Path) -> None:
    claims = study(tmp_path, **one_arm(["scratch"]))
    assert set(claims[claims.claim.str.startswith("P")].verdict) == {"not_tested"}


def test_pretraining_steps_share_the_reference(tmp_path: Path) -> None:
    claims = study(tmp_path, **one_arm(["internal", "scratch", "scratch_exposed"], pretraining_steps=[600, 2000]))
    rows = claims[(claims.claim == "P1") & (claims.variant == "pretraining 600 steps")]
    assert (rows[rows.match != "capability 0.95"].n_pairs >= 22).all()  # not every model gets to 0.95
    assert len(rows) > 10 and not rows.primary.any()


JUDGED = ("measurements", "curves", "causes")
WRONG = {
    "missing ledger": ("gating/{first}.parquet", None, "no such file"),
    "missing curves": ("classify/{first}/curves.parquet", None, "no such file"),
    "missing causes": ("classify/{first}/causes.parquet", None, "no such file"),
    "missing cases": ("planted/discrimination.parquet", None, "no such file"),
    "missing probes": ("defection/defection.parquet", None, "no such file"),
    "garbage": ("finetune/{first}/organisms.parquet", "", "not a readable Parquet file"),
    "models of another cell": ("finetune/{first}/organisms.parquet", "finetune/{last}/organisms.parquet", "of cell"),
    "another table": ("planted/known.parquet", "planted/causes.parquet", "holds table planted causes v1, .* known v1"),
} | {
    f"{name} of another cell": (f"classify/{{first}}/{name}.parquet", f"classify/{{last}}/{name}.parquet", "not those")
    for name in JUDGED
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_files_stop_the_stage(tmp_path: Path, kind: str) -> None:
    seeds = {"first": 1000, "count": 2, "block": 2}
    config = write_study(tmp_path, {"seeds": seeds, **one_arm(["scratch", "internal"])})
    jobs = sorted(path.parent.relative_to(tmp_path / "finetune") for path in tmp_path.glob("finetune/*/*/organisms.*"))
    path, other, message = WRONG[kind]
    target = tmp_path / path.format(first=jobs[0])
    if other is None:
        target.unlink()
    else:
        target.write_bytes((tmp_path / other.format(last=jobs[-1])).read_bytes() if other else b"PAR1")
    with pytest.raises(TableError, match=message):
        aggregate(config, tmp_path, "0" * 12)
