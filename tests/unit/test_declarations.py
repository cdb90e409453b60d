"""Claims are judged by what their file declares, and an edit of it shows."""

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas
import pytest
from aggregated import Truth, one_arm, primary, study, write_study

from turncoat.configuration import manifest
from turncoat.configuration.errors import ConfigurationError
from turncoat.configuration.loading import load_config
from turncoat.fingerprint import ROOT, imported_files
from turncoat.stages.aggregate import aggregate
from turncoat.statistics.claims import CLAIMS, DECLARATIONS, read_claims
from turncoat.statistics.contrasts import Plan
from turncoat.statistics.evidence import contrast_row
from turncoat.statistics.rows import Row, finished

PLAN = Plan(confidence=0.95, resamples=300, margin=0.05, minimum_seeds=12)
STARTS = ["corrigible", "scratch", "scratch_exposed"]


def edited(tmp_path: Path, claim: str, before: str, after: str) -> Path:
    """The declarations with one line of one claim replaced."""
    text = DECLARATIONS.read_text()
    head, body = text[: text.index(f"\n{claim}:")], text[text.index(f"\n{claim}:") :]
    assert before in body
    path = tmp_path / "claims.yaml"
    path.write_text(head + body.replace(before, after, 1))
    return path


def test_every_claim_declares_everything() -> None:
    for claim in CLAIMS.values():
        assert all((claim.sentence, claim.estimand, claim.contrast, claim.strata, claim.primary)), claim.id
    assert CLAIMS["P4c"].margin == pytest.approx(np.log(1.25)) and CLAIMS["P1"].margin is None
    assert [name for name, claim in CLAIMS.items() if claim.premise] == ["P1", "P3", "P4c", "P7", "P9"]
    assert CLAIMS["P1"].margin_of("d", 0.07) == 0.07 and CLAIMS["G2"].margin_of("rotation", 0.07) == 1.0


def test_a_declared_margin_and_minimum_decide_the_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted difference of 0.10 in D: found beyond 0.05, nothing to speak of within 0.2, untested below 30 seeds."""
    folder = tmp_path / "study"
    config = write_study(folder, one_arm(STARTS), Truth())

    def p3() -> pandas.Series:
        aggregate(config, folder, "0" * 12)
        return primary(pandas.read_parquet(folder / "tables" / "claims.parquet"), "P3")

    row = p3()
    assert (row.verdict, row.margin, row.minimum_n) == ("supported", 0.05, 12)
    wide = read_claims(edited(tmp_path, "P3", "margin: statistics.margin", "margin: 0.2"))
    monkeypatch.setitem(CLAIMS, "P3", wide["P3"])
    row = p3()
    assert (row.verdict, row.margin) == ("no_effect", 0.2) and row.equivalence_p < 0.01
    strict = read_claims(edited(tmp_path, "P3", "minimum_n: statistics.minimum_seeds", "minimum_n: 30"))
    monkeypatch.setitem(CLAIMS, "P3", strict["P3"])
    row = p3()
    assert (row.verdict, row.minimum_n) == ("not_tested", 30) and "24 models, fewer than 30" in row.reason


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("margin: statistics.margin", "margin: log 0.5", "claim P3: margin = 'log 0.5'; allowed"),
        ("margin: statistics.margin", "margin: -1", "margin = -1; allowed"),
        ("minimum_n: statistics.minimum_seeds", "minimum_n: 1", "minimum_n = 1; allowed"),
        ("premise: true", "premise: perhaps", "premise = 'perhaps'; allowed: true, false"),
        ("premise: true", "premises: true", r"missing keys \['premise'\], unknown keys \['premises'\]"),
        ("  sentence:", "  sentence: ''\n  contrast_:", "unknown keys"),
    ],
)
def test_what_a_declaration_may_not_say(tmp_path: Path, before: str, after: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_claims(edited(tmp_path, "P3", before, after))


def test_the_frozen_hash_covers_declarations_and_judging_code_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    covered: list[set[str]] = []

    def noted(files: set[Path]) -> str:
        covered.append({file.relative_to(ROOT).as_posix() for file in files})
        return "hash"

    monkeypatch.setattr(manifest, "files_fingerprint", noted)
    assert manifest.claims_sha256() == "hash"
    judging = {"analysis", "rows", "verdicts", "claims", "contrasts", "intervals", "equivalence", "paired_shares"}
    judging |= {"dose", "sequential", "power", "multiplicity", "premise", "matching", "outcomes", "transitions"}
    assert {f"statistics/{name}.py" for name in judging} <= covered[0]
    assert {"statistics/claims.yaml", "classification/types.py"} <= covered[0]
    others = {"validation", "multiverse", "motives", "defection", "populations", "selftest", "descriptions"}
    assert not {f"statistics/{name}.py" for name in others} & covered[0]
    answering = {file for file in covered[0] if file.endswith("_claims.py")}
    assert len(answering) == len(list((ROOT / "statistics").glob("*_claims.py")))
    assert ROOT / "statistics" / "claims.py" in imported_files(ROOT / "statistics" / "analysis.py")


def test_an_edit_since_the_first_start_shows_in_every_primary_row(tmp_path: Path) -> None:
    config = write_study(tmp_path, one_arm(["scratch"]) | {"seeds": {"first": 1000, "count": 4, "block": 4}})
    hashes = {"config_sha256": manifest.config_sha256(load_config(config)), "claims_sha256": manifest.claims_sha256()}

    def statuses(first: dict[str, str], **last: Any) -> pandas.Series:
        (tmp_path / "manifest.json").write_text(json.dumps(hashes | last | {"first": first, "edited": False}))
        aggregate(config, tmp_path, "0" * 12)
        claims = pandas.read_parquet(tmp_path / "tables" / "claims.parquet")
        assert (claims.confirmatory == (claims.status == "confirmatory")).all()
        others = claims[~claims.primary].status
        assert others.str.startswith("exploratory: not the claim's primary stratum").all()
        because = re.split("confirmatory|exploratory: ", claims[claims.primary].status.iloc[0])[-1]
        assert others.str.endswith(because).all()
        return set(claims[claims.primary].status)

    assert statuses(hashes) == {"confirmatory"}
    told = statuses(hashes | {"claims_sha256": "c"})
    assert told == {"exploratory: edited since the first start: claims or the code that judges them"}
    assert statuses(hashes | {"config_sha256": "c"}) == {"exploratory: edited since the first start: configuration"}
    # A manifest that Snakemake wrote before the last edit vouches for nothing that runs now.
    old = hashes | {"config_sha256": "c"}
    assert statuses(old, config_sha256="c") == {"exploratory: edited since the first start: configuration"}
    removed = statuses(hashes, lost=True)
    assert removed == {"exploratory: the manifest that said what was declared before training was removed"}


def test_seeds_may_be_added_where_that_is_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hashed(count: int, planned: int | None) -> str:
        statistics = {"planned_seeds": planned}
        return manifest.config_sha256(load_config({"seeds": {"count": count, "block": 24}, "statistics": statistics}))

    assert hashed(24, None) != hashed(48, None)
    assert hashed(24, 96) == hashed(48, 96) != hashed(48, None)
    with pytest.raises(ConfigurationError, match=r"planned_seeds = 24: allowed: at least seeds.count = 48"):
        load_config({"seeds": {"count": 48, "block": 24}, "statistics": {"planned_seeds": 24}})


def test_a_look_before_the_end_needs_more(tmp_path: Path) -> None:
    """p = 0.01 at half of the planned seeds is not enough, and it is at the end of a study that is looked at once."""
    row = Row("P3", "d", "s", "e", "difference", 0.05, study_estimate(), 0.01, 1.0, primary=True)
    assert finished([row], PLAN)[0]["verdict"] == "supported"
    early = finished([row], replace(PLAN, fractions=(0.5,)))[0]
    assert early["verdict"] == "inconclusive" and early["adjusted_p"] > 0.05 and early["p"] == 0.01


def study_estimate() -> object:
    from turncoat.statistics.intervals import Estimate

    return Estimate(0.3, 0.1, 0.5, 48)


def item(left: np.ndarray, right: np.ndarray, outcome: str) -> SimpleNamespace:
    places = {
        "setting": "",
        "variant": "",
        "start": "corrigible",
        "reference": "scratch",
        "distance": 90.0,
        "match": "m",
    }
    counts = dict.fromkeys(("never_start", "never_reference", "diverged"), 0)
    counts |= dict.fromkeys(("n_start", "n_reference", "n_pairs"), len(left))
    mean = float((left - right).mean())
    numbers = {"estimate": mean, "low": mean, "high": mean, "p": 1.0, "equivalence_p": 0.0}
    bounds = {"bound_low": mean, "bound_high": mean}
    return SimpleNamespace(**places, **counts, **numbers, **bounds, outcome=outcome, left=left, right=right)


@pytest.mark.parametrize(("seeds", "verdict"), [(24, "inconclusive"), (60, "no_effect")])
def test_that_nobody_deceives_is_shown_by_many_models_only(seeds: int, verdict: str) -> None:
    """Of 24 models none need be deceptive though one in ten is; the same for D, whose spread is seen, is not asked."""
    none = np.full(seeds, 0.001)
    found = finished([contrast_row("P3", item(none, none, "deception"), PLAN, True)], PLAN)[0]
    assert found["verdict"] == verdict
    assert found["low"] < -0.05 and found["high"] > 0.05
    d = finished([contrast_row("P3", item(none, none, "d"), PLAN, True)], PLAN)[0]
    assert d["verdict"] == "no_effect" and d["low"] == 0
    only = finished([contrast_row("P3", item(none + 0.9, none, "deception"), PLAN, True)], PLAN)[0]
    assert only["low"] < 0.9 <= only["high"]


def test_p_never_stands_alone(tmp_path: Path) -> None:
    claims = study(tmp_path, **one_arm())
    told = claims[claims.p.notna() & ~claims.outcome.isin(["persistence", "points_to_x"])]  # times may be infinite
    assert len(told) > 100
    assert told[["estimate", "low", "high"]].notna().all(axis=None)
    judged = claims[claims.primary & claims.verdict.isin(["supported", "contradicted", "no_effect", "inconclusive"])]
    assert len(judged) > 4
    varied = judged[judged.spread != 0]  # where all models are alike, nothing is known of what could have been found
    assert len(varied) == len(judged) - 1 and (varied.detectable > 0).all() and (varied.seeds_needed >= 2).all()
    shares = claims[claims.outcome == "deceptive_share"]
    assert len(shares) and shares[["estimate", "low", "high", "p"]].notna().all(axis=None)
