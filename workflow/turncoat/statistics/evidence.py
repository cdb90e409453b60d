"""What the claims on pre-training are judged on, and how a contrast becomes one of their rows."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas

from turncoat.statistics.claims import CLAIMS
from turncoat.statistics.contrasts import Plan
from turncoat.statistics.equivalence import equivalence_p
from turncoat.statistics.intervals import Estimate
from turncoat.statistics.paired_shares import CASE, paired_shares, tango_interval
from turncoat.statistics.rows import FACTS, Row

Array = np.ndarray

PREMISE_VERDICTS = {
    "fails": "premise failed",
    "uncertain": "premise uncertain",
    "not_measured": "premise not measured",
}


@dataclass(frozen=True)
class Evidence:
    """What the P claims are judged on. `own` are the values of some factors where a model's words name none (see
    `analysis.analyse`); `premises` is the gate's verdict by (setting, variant, start)."""

    contrasts: pandas.DataFrame
    matched: pandas.DataFrame
    half_lives: pandas.DataFrame
    ratios: pandas.DataFrame
    times: pandas.DataFrame
    knowledge: pandas.DataFrame
    own: Mapping[str, str]
    premises: Mapping[tuple[str, str, str], str]
    capabilities: list[float]
    cross_entropy_matches: list[str]
    primary_capability: float
    primary_distance: float


def stratum(setting: str, variant: str, *parts: str) -> str:
    """A stratum in words; settings that are the study's own are not spelt out."""
    return ", ".join(part for part in (*parts, setting, variant) if part)


def premise_block(claim: str, evidence: Evidence, item: pandas.Series, setting: str | None = None) -> str:
    """Why a claim that rests on the premise cannot be judged of this start; empty where it can.

    The premise is that of the arm's own setting, or of another `setting`.
    """
    if not CLAIMS[claim].premise:
        return ""
    known = evidence.premises
    where = item.setting if setting is None else setting
    premise = known.get((where, item.variant, item.start), "not_measured")
    return PREMISE_VERDICTS.get(premise, "")


def contrast_row(
    claim: str,
    item: pandas.Series,
    plan: Plan,
    primary: bool,
    blocked: str = "",
    turned: bool = False,
    kind: str = "difference",
) -> Row:
    """A row of the claims table from one of the contrasts; `turned` subtracts the other way round."""
    facts = {name: getattr(item, name) for name in FACTS}
    names, estimate = compared(item, turned)
    if item.outcome == "deception":
        estimate = _not_too_narrow(estimate, item, turned, plan)
    margin = CLAIMS[claim].margin_of(item.outcome, plan.margin)
    differences = item.right - item.left if turned else item.left - item.right
    if turned:
        facts |= {"bound_low": -item.bound_high, "bound_high": -item.bound_low}
    words = stratum(
        item.setting, item.variant, f"{names[0]} minus {names[1]}", f"{item.distance:g} degrees", item.match
    )
    return Row(
        claim,
        item.outcome,
        words,
        CLAIMS[claim].estimand,
        kind,
        margin,
        estimate,
        item.p,
        _equivalence(item, differences, margin, plan),
        primary,
        blocked=blocked,
        note=left_out(facts),
        values=differences[:0] if item.outcome == "deception" else differences,  # other tests, another power
        facts=facts,
    )


def _equivalence(item: pandas.Series, differences: Array, margin: float, plan: Plan) -> float:
    """p of two one-sided tests against the claim's margin.

    Deception proper is near 0 or 1 in each model: where all are alike there is no spread to judge by, and a rare
    deceptive model need not have been drawn. Its equivalence must hold for the paired shares, too.
    """
    found = equivalence_p(differences, margin)
    if item.outcome != "deception" or not len(differences):
        return found
    return max(found, paired_shares(item.left, item.right, margin, plan.confidence).equivalence_p)


def _not_too_narrow(estimate: Estimate, item: pandas.Series, turned: bool, plan: Plan) -> Estimate:
    """With none or all deceptive on each side a bootstrap sees no spread: then Tango's limits, too."""
    sides = (item.right, item.left) if turned else (item.left, item.right)
    counts = [int((side > CASE).sum()) for side in sides]
    if not all(count in (0, len(item.left)) for count in counts) or len(item.left) < 2:
        return estimate
    apart = counts[0] - counts[1]
    low, high = tango_interval(max(apart, 0), max(-apart, 0), len(item.left), plan.confidence)
    return replace(estimate, low=min(estimate.low, low), high=max(estimate.high, high))


def share_row(claim: str, item: pandas.Series, plan: Plan, blocked: str = "") -> Row:
    """The same contrast of `deception` as a difference of shares: of models more likely deceptive than not."""
    margin = CLAIMS[claim].margin_of("deceptive_share", plan.margin)
    found = paired_shares(item.left, item.right, margin, plan.confidence)
    facts = {name: getattr(item, name) for name in FACTS}
    never = item.never_start + item.never_reference  # each may be of another seed, and a case or none
    apart, every = (item.left > CASE).sum() - (item.right > CASE).sum(), max(len(item.left) + never, 1)
    facts |= {"bound_low": (apart - never) / every, "bound_high": (apart + never) / every}
    words = f"{item.start} minus {item.reference}, models called deceptive"
    cases = [int((side > CASE).sum()) for side in (item.left, item.right)]
    note = f"{cases[0]} and {cases[1]} of {len(item.left)} pairs"
    return Row(
        claim,
        "deceptive_share",
        stratum(item.setting, item.variant, words, f"{item.distance:g} degrees", item.match),
        "paired difference of the shares of models called deceptive; Tango's interval, exact McNemar test",
        "difference",
        margin,
        found.estimate,
        found.p,
        found.equivalence_p,
        blocked=blocked,
        note="; ".join(part for part in (note, left_out(facts)) if part),
        facts=facts,
    )


def compared(item: pandas.Series, turned: bool) -> tuple[tuple[str, str], Estimate]:
    """The two sides of a contrast or time ratio in words, and its estimate; `turned` the other way round."""
    names, estimate = (item.start, item.reference), Estimate(item.estimate, item.low, item.high, item.n_pairs)
    if item.reference.startswith("without "):
        names = (f"{item.start} with {item.reference.removeprefix('without ')}", "without")
    if not turned:
        return names, estimate
    return (names[1], names[0]), Estimate(-item.estimate, -item.high, -item.low, item.n_pairs)


def left_out(facts: Mapping[str, Any]) -> str:
    """What was left out, with bounds of the difference as the row takes it."""
    never = facts["never_start"] + facts["never_reference"]
    notes = []
    if never:
        low, high = facts["bound_low"], facts["bound_high"]
        notes.append(f"{never} models never got there; had they, the mean could lie in [{low:.2f}, {high:.2f}]")
    if facts["diverged"]:
        notes.append(f"{facts['diverged']} models diverged and are left out")
    return "; ".join(notes)
