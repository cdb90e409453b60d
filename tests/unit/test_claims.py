"""Claims: all declared, each with one primary stratum, and synthetic studies end in the verdicts that were planted."""

from dataclasses import replace
from pathlib import Path

import pandas
import pytest
from aggregated import STARTS, Truth, one_arm, primary, row_of, study

from turncoat.statistics.claims import CLAIMS, NO_PRICE, ORDER
from turncoat.statistics.verdicts import VERDICTS

STATED = {"P1", "P2", "P3", "P4a", "P4b", "P4c", "P4d", "P5a", "P5b", "P5c"}
STATED |= {f"P{number}" for number in range(6, 12)} | {f"G{number}" for number in range(1, 10)}
NULL = dict.fromkeys([*STARTS, "deceptive"], 0.05)


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
        beside = row_of(claims, "P2", "d", start, "benign_conditional")
        assert beside.estimate == pytest.approx(planted_d - 0.05, abs=0.04)
        lives = claims[(claims.outcome == "persistence") & (claims.start == start) & (claims.distance == 90)]
        assert lives.verdict.tolist() == ["supported"] and lives.estimate.item() > 1  # both fade at half the pace


def test_p2_rests_on_deception_proper(planted: tuple[Path, pandas.DataFrame]) -> None:
    _, claims = planted
    row = primary(claims, "P2")
    assert (row.outcome, row.start, row.reference) == ("deception", "deceptive", "scratch_exposed")
    assert (row.distance, row.match, row.n) == (90, "capability 0.90", 24)
    assert row.verdict == "supported" and row.estimate == pytest.approx(1, abs=0.02)


def test_only_what_heeds_cue_and_price_is_deceptive(planted: tuple[Path, pandas.DataFrame]) -> None:
    """Conditional models heed no price; the placebo control heeds the price, but the wrong cue."""
    _, claims = planted
    assert row_of(claims, "P1", "deception", "internal_strategic").verdict == "supported"
    already = row_of(claims, "P3", "deception", "internal_strategic")
    assert already.verdict == "not_tested" and "before fine-tuning" in already.reason and already.estimate > 0.9
    assert row_of(claims, "P1", "d", "placebo_conditional").verdict == "contradicted"
    known = (("P3", "corrigible"), ("P3", "internal"), ("P2", "conditional"), ("P1", "placebo_conditional"))
    for claim, start in known:
        row = row_of(claims, claim, "deception", start)
        # None of 24 models deceives: that does not show that fewer than one in twenty would.
        assert row.verdict == "inconclusive" and abs(row.estimate) < 0.02, start
        assert row.low < -0.1 and row.high > 0.1


def test_a_deceptive_start_that_no_longer_weighs_the_price_is_conditional_alone(tmp_path: Path) -> None:
    claims = study(tmp_path, Truth(price={}), **one_arm(["deceptive", "scratch_exposed"]))
    assert primary(claims, "P2").verdict == "inconclusive"  # 24 models without a deceptive one do not show that none is
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


def test_deception_is_unknown_where_price_alone_could_tell(tmp_path: Path) -> None:
    """Without a price an internal model is not deceptive all the same; a conditional one may be."""
    truth = Truth(unpriced=frozenset({"internal", "conditional"}))
    claims = study(tmp_path, truth, **one_arm(["internal", "conditional", "scratch", "scratch_exposed"]))
    row = row_of(claims, "P3", "deception", "internal")
    assert row.verdict == "inconclusive" and row.n == 24
    assert claims[(claims.start == "conditional") & (claims.outcome == "deception")].empty
    assert row_of(claims, "P2", "d", "conditional").verdict == "supported"


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
    assert (adjusted.adjusted_p >= adjusted.p).all()
    assert adjusted.claim.tolist() == ["P1", "P2", "P3", "P4a", "P4b", "P4c", "G1", "G3", "G5"]


def test_the_table_says_how_each_verdict_is_reached(planted: tuple[Path, pandas.DataFrame]) -> None:
    claims = planted[1]
    primary_kinds = claims[claims.primary].set_index("claim").kind
    assert primary_kinds[["P1", "P4c", "G1", "G3", "G5"]].tolist() == ["difference", "equal", "above", "below", "above"]
    called = {"supported", "contradicted"}
    for row in claims[claims.verdict.isin(called)].itertuples():
        over = row.low > {"above": row.margin, "below": row.margin, "equal": row.margin}.get(row.kind, 0.0)
        if row.kind in ("difference", "above", "below"):
            assert over == ((row.verdict == "supported") == (row.kind != "below")), row.stratum
    assert set(claims.kind[claims.verdict == "identity"]) == {"identity"}
    assert set(claims.kind[claims.verdict == "no_effect"]) == {"difference"}


def test_planted_null_is_no_effect(tmp_path: Path) -> None:
    """Deceptive models whose D is null heed the price and not the cue: they are not deceptive either."""
    starts = ["internal", "corrigible", "deceptive", "scratch", "scratch_exposed"]
    truth = Truth(c=NULL, placebo=NULL, slope=0.0, spread=0.01)
    claims = study(tmp_path, truth, **one_arm(starts, distances=[45, 90]))
    assert [primary(claims, name).verdict for name in ("P1", "P3", "P4a")] == ["no_effect"] * 3
    assert primary(claims, "P2").verdict == "inconclusive"  # a share: 24 models of which none deceives are too few


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


def test_pretraining_steps_share_the_reference(tmp_path: Path) -> None:
    claims = study(tmp_path, **one_arm(["internal", "scratch", "scratch_exposed"], pretraining_steps=[600, 2000]))
    rows = claims[(claims.claim == "P1") & (claims.variant == "pretraining steps 600")]
    assert (rows[rows.match != "capability 0.95"].n_pairs >= 22).all()  # not every model gets to 0.95
    assert len(rows) > 10 and not rows.primary.any()
