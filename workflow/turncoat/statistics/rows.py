"""Rows of the claims table before and after their verdict."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from turncoat.statistics.claims import CLAIMS, NO_MODELS
from turncoat.statistics.contrasts import Plan
from turncoat.statistics.intervals import NOTHING, Estimate
from turncoat.statistics.multiplicity import holm
from turncoat.statistics.power import detectable_effect, detectable_median, seeds_for_mean, seeds_for_median
from turncoat.statistics.sequential import sequential_p
from turncoat.statistics.verdicts import direction, equality, threshold

Array = np.ndarray

_JUDGED = ("difference", "equal", "above", "below")
KINDS = (*_JUDGED, "identity", "shown")


@dataclass(frozen=True)
class Row:
    """One answer. `kind` says how the verdict is reached: a difference from zero with an equivalence `level`, one that
    the claim says lies within it (equal), a quantity above or below `level`, an identity that held or not, or a number
    that is only shown. `blocked` is the reason for which it must not be judged. `values` (seeds,) are those whose mean,
    or `median`, is judged: what power is reckoned from."""

    claim: str
    outcome: str
    stratum: str
    estimand: str
    kind: str
    level: float
    estimate: Estimate = NOTHING
    p: float = float("nan")
    equivalence_p: float = float("nan")
    primary: bool = False
    held: bool = False
    blocked: str = ""
    note: str = ""
    values: Array = field(default_factory=lambda: np.zeros(0))
    median: bool = False
    facts: dict[str, Any] = field(default_factory=dict)


FACTS: dict[str, Any] = {
    "setting": "",
    "variant": "",
    "start": "",
    "reference": "",
    "distance": float("nan"),
    "match": "",
    "n_start": 0,
    "n_reference": 0,
    "n_pairs": 0,
    "never_start": 0,
    "never_reference": 0,
    "diverged": 0,
    "bound_low": float("nan"),
    "bound_high": float("nan"),
}


def missing_row(claim: str, outcome: str, kind: str, configured: float) -> Row:
    """The primary row of a claim that the study has no models for; `configured` is statistics.margin."""
    declared = CLAIMS[claim]
    level, reason = declared.margin_of(outcome, configured), f"{NO_MODELS} ({declared.primary})"
    return Row(claim, outcome, "primary", declared.estimand, kind, level, primary=True, blocked=reason)


def finished(rows: Sequence[Row], plan: Plan, exploratory: str = "") -> list[dict[str, Any]]:
    """Rows with adjusted p, power, verdict and reason; `exploratory` says why primary verdicts are no more than that.

    Holm's adjustment runs over all primary rows that are judged, for the tests of a difference (or of a level) and,
    apart from those, for the tests of equivalence. Where seeds are added in looks, each of those p is first that of the
    looks so far taken together (group-sequential Holm: Ye, Li, Liu and Yao 2013).
    """
    judged = [row.primary and not row.blocked and row.kind in _JUDGED and _enough(row, plan) for row in rows]
    chosen = [index for index, use in enumerate(judged) if use]
    adjusted, equivalent = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    adjusted[chosen] = holm([sequential_p(rows[index].p, plan.fractions, 2) for index in chosen])
    equivalent[chosen] = holm([sequential_p(rows[index].equivalence_p, plan.fractions, 1) for index in chosen])
    found = []
    for row, p, equivalence, use in zip(rows, adjusted, equivalent, judged, strict=True):
        level = (1 - plan.confidence) / (len(chosen) if use else 1)
        found.append(_finish(row, float(p), float(equivalence), plan, exploratory) | _power(row, level, plan))
    return found


def _minimum(row: Row, plan: Plan) -> int:
    return CLAIMS[row.claim].minimum(plan.minimum_seeds)


def _enough(row: Row, plan: Plan) -> bool:
    return row.estimate.count >= _minimum(row, plan)


def _power(row: Row, alpha: float, plan: Plan) -> dict[str, Any]:
    """Spread over seeds, the smallest effect that is found with 80 % power, and how many seeds the next study needs.

    At level `alpha`: for primary rows that of Holm's first step. An effect is counted from zero, or from the level.
    Enough seeds find an effect of the size of the margin (of statistics.margin, where the margin is a level) and, where
    no effect is an answer, show that one of zero is within it; both from the spread of this study.
    """
    nothing = {"spread": np.nan, "detectable": np.nan, "seeds_needed": np.nan}
    values = row.values
    if row.kind not in _JUDGED or len(values) < 2:
        return nothing
    if row.median:
        seeds = seeds_for_median(values, row.level, alpha)
        return nothing | {"detectable": detectable_median(values, alpha), "seeds_needed": seeds}
    spread = float(values.std(ddof=1))
    if not spread > 1e-12:  # alike in every model: nothing to reckon with
        return nothing | {"spread": spread}
    levelled = row.kind in ("above", "below")
    effect = plan.margin if levelled else row.level
    detectable = detectable_effect(len(values), alpha) * spread
    seeds = seeds_for_mean(effect / spread, alpha, not levelled) if effect > 0 else np.nan
    return {"spread": spread, "detectable": detectable, "seeds_needed": seeds}


def _finish(row: Row, adjusted: float, equivalent: float, plan: Plan, exploratory: str) -> dict[str, Any]:
    verdict, reason = _verdict(row, adjusted, equivalent, plan)
    because = "; ".join(filter(None, ["" if row.primary else "not the claim's primary stratum", exploratory]))
    values = {
        "claim": row.claim,
        "outcome": row.outcome,
        "kind": row.kind,
        "stratum": row.stratum,
        "estimand": row.estimand,
        "estimate": row.estimate.value,
        "low": row.estimate.low,
        "high": row.estimate.high,
        "n": row.estimate.count,
        "p": row.p,
        "adjusted_p": adjusted,
        "equivalence_p": row.equivalence_p,
        "adjusted_equivalence_p": equivalent,
        "margin": row.level,
        "minimum_n": _minimum(row, plan),
        "primary": row.primary,
        "confirmatory": not because,
        "status": f"exploratory: {because}" if because else "confirmatory",
        "verdict": verdict,
        "reason": "; ".join(part for part in (reason, row.note) if part),
    }
    return values | FACTS | row.facts


def _verdict(row: Row, adjusted: float, equivalent: float, plan: Plan) -> tuple[str, str]:
    minimum = _minimum(row, plan)
    if row.blocked:
        return "not_tested", row.blocked
    if row.kind == "shown":
        return "not_tested", "the claim does not speak of this stratum; shown for comparison"
    if not _enough(row, plan):
        return "not_tested", f"{row.estimate.count} models, fewer than {minimum}"
    if row.kind == "identity":
        return ("identity", "true by algebra, checked") if row.held else ("contradicted", "the identity does not hold")
    p = row.p if np.isnan(adjusted) else adjusted
    equivalence = row.equivalence_p if np.isnan(equivalent) else equivalent
    alpha = 1 - plan.confidence
    if row.kind in ("above", "below"):
        verdict, reason = threshold(row.estimate, row.level, row.kind == "above", minimum, p, alpha)
    else:
        judge = equality if row.kind == "equal" else direction
        verdict, reason = judge(row.estimate, p, equivalence, alpha, row.level, minimum)
    if _settled(verdict, row, plan):
        return verdict, reason
    return "inconclusive", f"only {row.facts['n_pairs']} seeds got there on both sides: too few for '{verdict}'"


def _settled(verdict: str, row: Row, plan: Plan) -> bool:
    """Whether enough seeds arrived for the verdict, or it would stand whatever those that did not had shown.

    A median counts those that never arrived, as infinite; pairs of them without an order block its row.
    """
    if row.median:
        return True
    low, high = row.facts.get("bound_low", np.nan), row.facts.get("bound_high", np.nan)
    never = row.facts.get("never_start", 0) + row.facts.get("never_reference", 0)  # perhaps of different seeds
    pairs = row.facts.get("n_pairs", row.estimate.count)
    if never == 0 or pairs >= plan.minimum_arrived * (pairs + never):
        return True
    if row.kind in ("above", "below"):
        over, under = low > row.level, high < row.level
        sides = (over, under) if row.kind == "above" else (under, over)
        return bool(dict(zip(("supported", "contradicted"), sides, strict=True)).get(verdict, True))
    inside = max(abs(low), abs(high)) < row.level
    if row.kind == "equal":
        return bool({"supported": inside, "contradicted": min(abs(low), abs(high)) > row.level}.get(verdict, True))
    within = {"supported": low > 0, "contradicted": high < 0, "no_effect": inside}
    return bool(within.get(verdict, True))
