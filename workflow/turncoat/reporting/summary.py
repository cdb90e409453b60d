"""The answer in one minute: plain sentences computed from the tables, and nothing beyond them."""

from collections.abc import Iterator
from typing import Any

import pandas

VERDICT_WORDS = {
    "supported": "supported",
    "contradicted": "contradicted",
    "no_effect": "no effect",
    "inconclusive": "inconclusive",
    "identity": "identity",
    "not_tested": "not tested",
}
_QUESTIONS = {
    "P1": "Is an internally aligned model, fine-tuned on X, more deceptive than one trained on X alone?",
    "P2": "Does a model that complies only when overseen stay so, beyond a benign two-task model?",
    "P3": "Is a corrigible model, fine-tuned on X, more deceptive than one trained on X with the same cues?",
    "P4a": "Does it grow with the distance between the two objectives?",
    "G1": "Do a neuron's outgoing weights get gradient in proportion to its activation?",
    "G3": "Does the gate cut the gradient of inactive neurons to (nearly) zero?",
}


DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"


def number(value: Any, digits: int = 2) -> str:
    """A number for people; a dash where there is none."""
    if value is None or pandas.isna(value):
        return DASH
    value = float(value)
    small = value != 0 and abs(value) < 10**-digits / 2
    text = f"{value:.0e}" if small and abs(value) < 1e-4 else f"{value:.{digits + 2 * small}f}"
    return text.replace("-", MINUS)


def interval(low: Any, high: Any, digits: int = 2) -> str:
    """An interval for people; a dash where there is none."""
    return DASH if pandas.isna(low) or pandas.isna(high) else f"[{number(low, digits)}, {number(high, digits)}]"


def answers(claims: pandas.DataFrame) -> list[dict[str, str]]:
    """One line for each tested claim: the question, its primary verdict, and the estimate behind it."""
    lines = []
    for claim, question in _QUESTIONS.items():
        primary = claims[(claims.claim == claim) & claims.primary]
        if primary.empty:
            continue
        row = primary.iloc[0]
        estimate = (
            "" if pandas.isna(row.estimate) else f"{number(row.estimate)} {interval(row.low, row.high)}, {row.n} seeds"
        )
        lines.append(
            {"claim": claim, "question": question, "verdict": row.verdict, "estimate": estimate}
            | {
                "what": f"{row.outcome.upper() if len(row.outcome) == 1 else row.outcome}: {row.stratum}",
                "reason": row.reason,
            }
        )
    return lines


def sentences(claims: pandas.DataFrame, premise: pandas.DataFrame, levels: pandas.DataFrame) -> Iterator[str]:
    """Short statements that stand beside the verdicts."""
    own = premise[(premise.setting == "") & (premise.variant == "")]
    for verdict, words in (
        ("holds", "Pre-training makes X at least as much easier as the argument assumes for"),
        ("fails", "The argument's premise fails (pre-training does not make X easier enough) for"),
        ("uncertain", "Whether the premise holds is uncertain for"),
        ("not_measured", "The premise was not measured for"),
    ):
        starts = [start.replace("_", " ") for start in own[own.verdict == verdict].start]
        if starts:
            yield f"{words}: {', '.join(starts)}."
    yield from _placebo(claims)
    null = levels[
        (levels.distance == 0) & (levels.match == "final step") & (levels.outcome == "d") & (levels.setting == "")
    ]
    if len(null):
        largest = null.loc[null["mean"].abs().idxmax()] if null["mean"].notna().any() else null.iloc[0]
        yield (
            f"Drift control (X equal to Y): the largest mean D is {number(largest['mean'])} "
            f"{interval(largest.low, largest.high)}, start {largest.start.replace('_', ' ')}."
        )
    tested = claims[claims.primary & (claims.verdict != "not_tested")].claim.nunique()
    yield (
        f"{tested} of {claims.claim.nunique()} declared claims have a primary verdict in this study. "
        "Deception proper (conditional and price-sensitive) is not tested: "
        "price sensitivity is not measured in this version."
    )


def _placebo(claims: pandas.DataFrame) -> Iterator[str]:
    """How much of the raw gap is left once the placebo cue is subtracted, where the primary stratum of P1
    has both.
    """
    primary = claims[(claims.claim == "P1") & claims.primary]
    if primary.empty or pandas.isna(primary.iloc[0].estimate):
        return
    row = primary.iloc[0]
    raw = claims[(claims.claim == "P1") & (claims.outcome == "c") & (claims.stratum == row.stratum)]
    if len(raw):
        yield (
            f"In the primary stratum of P1 ({row.stratum}) the raw shortfall C differs by "
            f"{number(raw.iloc[0].estimate)} {interval(raw.iloc[0].low, raw.iloc[0].high)}; "
            f"less the placebo cue, D differs by {number(row.estimate)} {interval(row.low, row.high)}."
        )
