"""Rows of the claims table before and after their verdict."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from turncoat.statistics.contrasts import Plan
from turncoat.statistics.intervals import NOTHING, Estimate
from turncoat.statistics.multiplicity import holm
from turncoat.statistics.verdicts import direction, equality, threshold

_JUDGED = ("difference", "equal", "above", "below")
KINDS = (*_JUDGED, "identity", "shown")


@dataclass(frozen=True)
class Row:
    """One answer. `kind` says how the verdict is reached: a difference from zero with an equivalence `level`, one that
    the claim says lies within it (equal), a quantity above or below `level`, an identity that held or not, or a number
    that is only shown. `blocked` is the reason for which it must not be judged."""

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


def finished(rows: Sequence[Row], plan: Plan, confirmatory: bool) -> list[dict[str, Any]]:
    """Rows with adjusted p, verdict and reason.

    Holm's adjustment runs over all primary rows that are judged, for the tests of a difference (or of a level) and,
    apart from those, for the tests of equivalence.
    """
    judged = [row.primary and not row.blocked and row.kind in _JUDGED and _enough(row, plan) for row in rows]
    chosen = [index for index, use in enumerate(judged) if use]
    adjusted, equivalent = np.full(len(rows), np.nan), np.array([row.equivalence_p for row in rows])
    adjusted[chosen] = holm([rows[index].p for index in chosen])
    equivalent[chosen] = holm([rows[index].equivalence_p for index in chosen])
    return [
        _finish(row, float(p), float(equivalence), plan, confirmatory)
        for row, p, equivalence in zip(rows, adjusted, equivalent, strict=True)
    ]


def _enough(row: Row, plan: Plan) -> bool:
    return row.estimate.count >= plan.minimum_seeds


def _finish(row: Row, adjusted: float, equivalent: float, plan: Plan, confirmatory: bool) -> dict[str, Any]:
    verdict, reason = _verdict(row, adjusted, equivalent, plan)
    values = {
        "claim": row.claim,
        "outcome": row.outcome,
        "stratum": row.stratum,
        "estimand": row.estimand,
        "estimate": row.estimate.value,
        "low": row.estimate.low,
        "high": row.estimate.high,
        "n": row.estimate.count,
        "p": row.p,
        "adjusted_p": adjusted,
        "equivalence_p": row.equivalence_p,
        "margin": row.level,
        "primary": row.primary,
        "confirmatory": confirmatory and row.primary,
        "verdict": verdict,
        "reason": "; ".join(part for part in (reason, row.note) if part),
    }
    return values | FACTS | row.facts


def _verdict(row: Row, adjusted: float, equivalent: float, plan: Plan) -> tuple[str, str]:
    if row.blocked:
        return "not_tested", row.blocked
    if row.kind == "shown":
        return "not_tested", "the claim does not speak of this stratum; shown for comparison"
    if not _enough(row, plan):
        return "not_tested", f"{row.estimate.count} models, fewer than {plan.minimum_seeds}"
    if row.kind == "identity":
        return ("identity", "true by algebra, checked") if row.held else ("contradicted", "the identity does not hold")
    p = row.p if np.isnan(adjusted) else adjusted
    alpha = 1 - plan.confidence
    if row.kind in ("above", "below"):
        return threshold(row.estimate, row.level, row.kind == "above", plan.minimum_seeds, p, alpha)
    judge = equality if row.kind == "equal" else direction
    verdict, reason = judge(row.estimate, p, equivalent, alpha, row.level, plan.minimum_seeds)
    if _settled(verdict, row, plan):
        return verdict, reason
    return "inconclusive", f"only {row.facts['n_pairs']} seeds got there on both sides: too few for '{verdict}'"


def _settled(verdict: str, row: Row, plan: Plan) -> bool:
    """Whether enough seeds arrived for the verdict, or it would stand whatever those that did not had shown."""
    low, high = row.facts.get("bound_low", np.nan), row.facts.get("bound_high", np.nan)
    never = row.facts.get("never_start", 0) + row.facts.get("never_reference", 0)  # perhaps of different seeds
    pairs = row.facts.get("n_pairs", row.estimate.count)
    if never == 0 or pairs >= plan.minimum_arrived * (pairs + never):
        return True
    inside = max(abs(low), abs(high)) < row.level
    if row.kind == "equal":
        return bool({"supported": inside, "contradicted": min(abs(low), abs(high)) > row.level}.get(verdict, True))
    within = {"supported": low > 0, "contradicted": high < 0, "no_effect": inside}
    return bool(within.get(verdict, True))
