"""Rows of the claims table in words: units, infinities, models and the test that a verdict rests on."""

import math
from typing import Any

import pandas
import pytest

from turncoat.reporting import claim_words
from turncoat.reporting.summary import MINUS
from turncoat.reporting.templates import environment
from turncoat.reporting.verdict_table import strata, verdict_rows
from turncoat.statistics.claims import ORDER
from turncoat.tables import claims

INFINITE, NAN = float("inf"), float("nan")
EMPTY: dict[str, Any] = {
    field.name: NAN if str(field.type) == "double" else "" if str(field.type) == "string" else 0
    for field in claims.SCHEMA
}
ROW = EMPTY | {
    "claim": "P4c",
    "outcome": "points_to_x",
    "kind": "equal",
    "stratum": "internal over scratch, points_to_x, 90 degrees",
    "start": "internal",
    "reference": "scratch",
    "estimate": math.log(7),
    "low": math.log(6),
    "high": math.log(9),
    "margin": math.log(1.25),
    "n": 24,
    "n_start": 24,
    "n_reference": 23,
    "n_pairs": 22,
    "verdict": "contradicted",
    "primary": True,
    "confirmatory": True,
    "status": "confirmatory",
}
OPEN = ROW | {
    "claim": "G5",
    "outcome": "open_share",
    "kind": "above",
    "stratum": "conditional, open share of the X circuit, overseen, layer 1, 90 degrees",
    "start": "conditional",
    "reference": "",
    "estimate": 0.81,
    "low": 0.75,
    "high": 0.86,
    "margin": 0.95,
    "n_start": 48,
    "n_reference": 0,
    "n_pairs": 43,
    "never_start": 5,
}


def test_a_ratio_says_of_what_and_has_its_margin_on_its_scale() -> None:
    assert claim_words.outcome(ROW) == "log-ratio of episodes until the utility points to X"
    assert claim_words.stratum(ROW) == "internal over scratch, 90 degrees"
    assert claim_words.estimate(ROW) == "1.946 [1.792, 2.197]"
    assert claim_words.ratio(ROW) == "7.00 [6.00, 9.00]"
    assert claim_words.margin(ROW) == ("Margin, log-ratio", "0.223: a ratio of 1.25 either way")


def test_deception_proper_is_no_ratio_although_its_claim_has_one() -> None:
    """P2's estimand speaks of half-lives, too."""
    row = ROW | {"claim": "P2", "outcome": "deception", "kind": "difference", "estimand": "mean; median log-ratio of"}
    assert claim_words.ratio(row) == "" and claim_words.outcome(row) == "deception proper (mean probability)"
    assert claim_words.ratio(row | {"outcome": "persistence"}) == "7.00 [6.00, 9.00]"


def test_infinite_ends_say_what_they_are() -> None:
    never = ROW | {"estimate": INFINITE, "low": 4.6, "high": INFINITE}
    assert claim_words.estimate(never) == "∞ (never) [4.600, ∞]"
    assert claim_words.ratio(never) == "never [99.48, never]"
    assert claim_words.value(ROW | {"low": -INFINITE}, "low") == f"{MINUS}∞ (scratch never)"
    odds = ROW | {"outcome": "deceptive_odds", "low": -INFINITE, "high": INFINITE, "estimate": 0.0}
    assert claim_words.estimate(odds) == f"0.000 [{MINUS}∞, ∞]"  # odds are unbounded there: nothing that never came


def test_models_are_said_of_what_is_compared() -> None:
    assert claim_words.models(OPEN) == "43 of 48 conditional models"
    assert claim_words.models(OPEN | {"n_pairs": 0}) == "48 conditional models"
    assert claim_words.models(ROW) == "24 internal and 23 scratch models, 22 pairs"
    slow = claim_words.models(ROW | {"never_start": 2, "never_reference": 1, "reference": "scratch_exposed"})
    assert slow.endswith("; never got there: 2 internal, 1 scratch exposed")
    assert claim_words.models(EMPTY) == ""


@pytest.mark.parametrize(
    ("verdict", "kind", "test"),
    [
        ("no_effect", "difference", "equivalence"),
        ("supported", "equal", "equivalence"),
        ("contradicted", "equal", "p"),
        ("supported", "difference", "p"),
        ("contradicted", "below", "p"),
        ("inconclusive", "difference", ""),
        ("contradicted", "identity", ""),
    ],
)
def test_the_test_that_a_verdict_rests_on(verdict: str, kind: str, test: str) -> None:
    assert claim_words.rests_on(ROW | {"verdict": verdict, "kind": kind}) == test


def drawn(**changes: Any) -> dict[str, Any]:
    table = pandas.DataFrame([OPEN | changes])
    found = verdict_rows(table)[0]["drawn"]
    assert found is not None
    return dict(found)


def test_a_level_has_one_line_and_the_claims_side_shaded() -> None:
    above = drawn()
    assert above["claimed"] and above["from"] == above["line"] and above["to"] == 100
    assert above["low"] < above["at"] < above["high"] < above["line"]
    below = drawn(kind="below", margin=0.6)
    assert below["claimed"] and below["to"] == below["line"] and below["from"] == 0
    assert below["line"] < below["low"]
    scale = (below["at"] - below["line"]) / (below["high"] - below["line"])
    assert scale == pytest.approx((0.81 - 0.6) / (0.86 - 0.6), abs=0.01)


def test_a_difference_has_its_margin_about_zero_and_an_endless_interval_reaches_the_edge() -> None:
    found = drawn(kind="difference", margin=0.05, estimate=0.2, low=0.1, high=INFINITE)
    assert not found["claimed"] and found["high"] == 100
    assert found["line"] - found["from"] == pytest.approx(found["to"] - found["line"], abs=0.02) and found["from"] > 0
    assert verdict_rows(pandas.DataFrame([OPEN | {"estimate": INFINITE}]))[0]["drawn"] is None


def test_infinite_numbers_sort_as_numbers_and_missing_ones_do_not() -> None:
    plain = environment().filters["plain"]
    assert (plain(INFINITE), plain(-INFINITE), plain(NAN), plain(0.25)) == ("Infinity", "-Infinity", "", "0.25")


def test_other_strata_carry_what_infinities_mean() -> None:
    other = ROW | {"primary": False, "estimate": INFINITE, "high": INFINITE, "status": "exploratory: not primary"}
    rows = strata(pandas.DataFrame([ROW, other, other | {"estimate": NAN}]))["P4c"]
    assert rows["estimate"] == ["∞ (never)", None] and rows["low"] == [pytest.approx(math.log(6), rel=1e-4)] * 2
    assert rows["stratum"] == ["internal over scratch, 90 degrees"] * 2


def test_every_claim_that_is_linked_elsewhere_is_declared() -> None:
    from turncoat.reporting.verdict_table import PLACE_OF

    assert set(PLACE_OF) <= set(ORDER) and PLACE_OF["P4c"]["anchor"] == "turning"
