"""The verdict table: one row for each claim, with all that opens under it."""

import math
from typing import Any

import numpy as np
import pandas

from turncoat.reporting.summary import VERDICT_WORDS, number
from turncoat.statistics.claims import CLAIMS, ORDER

FIGURE_OF = {
    "P2": "persistence",
    "P9": "learning",
    "P10": "dodges",
    "G1": "gating",
    "G3": "gating",
    "G5": "flow",
    "G9": "correction",
} | dict.fromkeys(("G2", "G4", "G6", "G7", "G8"), "reinforcement")
"""The figure that shows what a claim speaks of; for the others it is C and D."""
SHOWN = {
    "order", "primary_first", "claim", "outcome", "stratum", "estimand", "estimate", "low", "high", "n", "n_start",
    "n_reference", "n_pairs", "never_start", "never_reference", "diverged", "bound_low", "bound_high", "p",
    "adjusted_p", "equivalence_p", "margin", "primary", "confirmatory", "verdict", "reason", "setting", "variant",
    "start", "reference", "distance", "match",
}  # fmt: skip
"""Columns with a place of their own; any other is listed by its name."""
STRATA = (
    "outcome", "stratum", "estimate", "low", "high", "n", "n_start", "n_reference", "p", "adjusted_p", "verdict",
    "reason",
)  # fmt: skip


def verdict_rows(table: pandas.DataFrame) -> list[dict[str, Any]]:
    """For each declared claim its primary answer, how it is drawn, and how its other strata came out.

    Those with a verdict first, then those not tested, each in the order of the claims.
    """
    found = []
    for place, name in enumerate(ORDER):
        rows = table[table.claim == name]
        if rows.empty:
            continue
        first = (rows[rows.primary] if rows.primary.any() else rows).iloc[0]
        rest = rows.drop(first.name)
        found.append(
            {
                "claim": CLAIMS[name],
                "order": place + len(ORDER) * (first.verdict == "not_tested"),
                "row": first.to_dict(),
                "drawn": _drawn(first),
                "figure": FIGURE_OF.get(name, "headline"),
                "counts": {verdict: int(count) for verdict, count in rest.verdict.value_counts().sort_index().items()},
                "others": len(rest),
                "more": _more(first),
            }
        )
    return sorted(found, key=lambda item: item["order"])


def counts(table: pandas.DataFrame) -> dict[str, int]:
    """Claims by the verdict of their primary stratum, in the order of the verdicts; none is left out."""
    first = [row["row"]["verdict"] for row in verdict_rows(table)]
    return {verdict: first.count(verdict) for verdict in VERDICT_WORDS}


def strata(table: pandas.DataFrame) -> dict[str, Any]:
    """Every row that is not a claim's primary one, as columns by claim, for the page to list."""
    found = {}
    for row in verdict_rows(table):
        rest = table[(table.claim == row["claim"].id) & ~table.primary]
        if len(rest):
            found[row["claim"].id] = {name: [_plain(value) for value in rest[name]] for name in STRATA}
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if pandas.isna(value):
        return None
    if not math.isfinite(value):
        return number(value)
    return int(value) if float(value).is_integer() and not isinstance(value, float) else float(f"{value:.5g}")


def _drawn(row: pandas.Series) -> dict[str, float] | None:
    """Where zero, the margin, the interval and the estimate stand, from 0 to 100."""
    if not all(math.isfinite(value) for value in (row.estimate, row.low, row.high)):
        return None
    margin = float(row.margin) if pandas.notna(row.margin) and row.margin > 0 else 0.0
    left, right = min(row.low, -margin, 0.0), max(row.high, margin, 0.0)
    room = 0.06 * (right - left or 1.0)
    left, right = left - room, right + room
    marks = {"zero": 0.0, "from": -margin, "to": margin, "low": row.low, "high": row.high, "at": row.estimate}
    return {name: round(100 * (float(value) - left) / (right - left), 2) for name, value in marks.items()}


def _more(row: pandas.Series) -> list[tuple[str, str]]:
    """Columns of the table that have no place of their own, as words."""
    found = []
    for name, value in row.items():
        if name in SHOWN or (not isinstance(value, str) and pandas.isna(value)) or value == "":
            continue
        words = str(name).replace("_", " ")
        if isinstance(value, str):
            text = value
        elif isinstance(value, bool | np.bool_):
            text = "yes" if value else "no"
        else:
            text = f"{value:,.0f}" if float(value).is_integer() else number(value)
        found.append((words, text.replace("_", " ")))
    return found
