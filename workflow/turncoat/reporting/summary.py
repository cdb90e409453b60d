"""The answer in words: plain sentences computed from the tables, and nothing beyond them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas

from turncoat.statistics.pretraining_claims import NON_DECEPTIVE

VERDICT_WORDS = {
    "supported": "supported",
    "contradicted": "contradicted",
    "no_effect": "no effect",
    "inconclusive": "inconclusive",
    "identity": "identity",
    "not_tested": "not tested",
}
DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"


def number(value: Any, digits: int = 3) -> str:
    """A number for people, rounded to `digits` places; a dash where there is none."""
    if value is None or pandas.isna(value):
        return DASH
    value = float(value)
    if abs(value) == float("inf"):
        return "never" if value > 0 else f"{MINUS}\N{INFINITY}"
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", MINUS)


def interval(low: Any, high: Any, digits: int = 3) -> str:
    """An interval for people; a dash where there is none."""
    return DASH if pandas.isna(low) or pandas.isna(high) else f"[{number(low, digits)}, {number(high, digits)}]"


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
    yield from _survival(claims)
    null = levels[
        (levels.distance == 0) & (levels.match == "final step") & (levels.outcome == "d") & (levels.setting == "")
    ]
    null = null[(null.variant == "") & null.start.isin(NON_DECEPTIVE) & null["mean"].notna()]
    if len(null):
        largest = null.loc[null["mean"].abs().idxmax()]
        names = ", ".join(sorted(null.start))
        yield (
            f"Null arm (X equal to Y), starts that were not made conditional ({names}): the mean D at the final step "
            f"that is farthest from zero is {number(largest['mean'])} "
            f"{interval(largest.low, largest.high)} (start {largest.start.replace('_', ' ')}, {largest.n} models)."
        )
    yield from _real_update(claims)
    tested = claims[claims.primary & (claims.verdict != "not_tested")].claim.nunique()
    judged = claims.estimate[claims.outcome == "deception"].notna().any()
    yield (
        f"{tested} of {claims.claim.nunique()} declared claims have a primary verdict in this study."
        + ("" if judged else " Deception proper was not measured.")
    )


def trust_sentences(trust: pandas.DataFrame) -> Iterator[str]:
    """How well planted truth was read."""
    found = trust.set_index("statistic")
    accuracy, worst, control, calibration = (
        found.loc[name] for name in ("balanced accuracy, kinds", "worst kind", "shuffled control", "calibration error")
    )
    yield (
        f"Of {accuracy.n} planted cases the classifier reads {number(100 * accuracy.value, 1)} % right "
        f"({accuracy.what}; worst kind {number(100 * worst.value, 1)} %), by chance "
        f"{number(100 * control.value, 1)} %; calibration error of its probabilities {number(calibration.value, 3)}."
    )


def price_sentences(motives: pandas.DataFrame, distance: float) -> Iterator[str]:
    """Whether compliance follows the price, for starts that were conditional on oversight before fine-tuning."""
    own = motives[(motives.setting == "") & (motives.variant == "") & (motives.distance == distance)]
    own = own[(own.quantity == "price_sensitivity") & own["mean"].notna()].set_index(["start", "when"])
    for start in ("deceptive", "internal_strategic", "conditional", "benign_conditional"):
        found = [own.loc[(start, when)] for when in ("before", "after") if (start, when) in own.index]
        if len(found) == 2:
            before, after = (
                f"{number(row['mean'], 2)} {interval(row.low, row.high, 2)} ({row.n} of {row.models} models)"
                for row in found
            )
            yield (
                f"Price sensitivity (1: complies as far as that pays) of {start.replace('_', ' ')} models: "
                f"{before} before fine-tuning, {after} after, of those whose own will conflicts with the overseer's."
            )


def _survival(claims: pandas.DataFrame) -> Iterator[str]:
    """How long conditional models stay so, against the benign control, at the distance of P2's primary stratum."""
    primary = claims[(claims.claim == "P2") & claims.primary]
    lives = claims[(claims.claim == "P2") & (claims.outcome == "persistence") & (claims.setting == "")]
    if primary.empty or lives.empty:
        return
    lives = lives[(lives.variant == "") & (lives.distance == primary.iloc[0].distance)]
    for row in lives.itertuples():
        if pandas.notna(row.estimate):
            ratio, low, high = (float(np.exp(value)) for value in (row.estimate, row.low, row.high))
            yield (
                f"At {row.distance:g} degrees the unoverseen choices of {row.start} models have a half-life of "
                f"{number(ratio, 2)} {interval(low, high, 2)} times that of the benign two-task control "
                f"(median over {row.n} seeds)."
            )


def _real_update(claims: pandas.DataFrame) -> Iterator[str]:
    """Whether what holds of the gradient (G1) holds of the step the optimizer takes, in the primary stratum."""
    primary = claims[(claims.claim == "G1") & claims.primary]
    if primary.empty or pandas.isna(primary.iloc[0].estimate):
        return
    stratum = primary.iloc[0].stratum
    name = stratum.replace("gradient", "real update, saved optimizer state", 1)
    real = claims[(claims.claim == "G1") & (claims.stratum == name)]
    if len(real):
        row = real.iloc[0]
        yield (
            f"Activation predicts the gradient of outgoing weights ({stratum}: rank correlation "
            f"{number(primary.iloc[0].estimate, 2)}), and the step that the optimizer really takes with "
            f"{number(row.estimate, 2)} {interval(row.low, row.high, 2)}."
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
