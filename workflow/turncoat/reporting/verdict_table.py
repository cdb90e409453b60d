"""The verdict table: one row for each claim, with all that opens under it."""

import math
from typing import Any

import numpy as np
import pandas

from turncoat.reporting import claim_words
from turncoat.reporting.summary import VERDICT_WORDS, number
from turncoat.statistics.claims import CLAIMS, ORDER

_PLACES = {
    "headline": ("figure-headline", "C and D at equal capability", ("P1", "P3", "P4a", "P4b")),
    "persistence": ("figure-persistence", "How long unoverseen choices last", ("P2",)),
    "turning": ("turning", "Turning points, as ratios of episodes", ("P4c", "P5c")),
    "dodges": ("dodges", "What each dodge does, and costs", ("P10",)),
    "gating": ("figure-gating", "Activation, gradient and real update", ("G1", "G3")),
    "flow": ("figure-flow", "Where gradient goes", ("G5",)),
    "reinforcement": ("figure-reinforcement", "Same answer, different motive", ("G2", "G4", "G6", "G7", "G8")),
    "correction": ("figure-correction", "What the gate protects", ("G9",)),
}
PLACE_OF = {
    claim: {"name": name, "anchor": anchor, "words": words}
    for name, (anchor, words, claims) in _PLACES.items()
    for claim in claims
}
"""What else on the page bears on a claim's primary stratum. The others have their own figure alone."""
SHOWN = {
    "order", "primary_first", "claim", "outcome", "stratum", "estimand", "estimate", "low", "high", "n", "n_start",
    "n_reference", "n_pairs", "never_start", "never_reference", "diverged", "bound_low", "bound_high", "p",
    "adjusted_p", "equivalence_p", "adjusted_equivalence_p", "kind", "margin", "primary", "confirmatory", "status",
    "verdict", "reason", "setting", "variant", "start", "reference", "distance", "match",
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
                "words": _words(first),
                "drawn": _drawn(first),
                "place": PLACE_OF.get(name),
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
            lines = rest.to_dict("records")
            found[row["claim"].id] = {name: [_cell(line, name) for line in lines] for name in STRATA}
    return found


def _cell(row: dict[str, Any], name: str) -> Any:
    value = row[name]
    if isinstance(value, str):
        return claim_words.stratum(row) if name == "stratum" else value
    if pandas.isna(value):
        return None
    if not math.isfinite(value):
        return claim_words.value(row, name)
    return int(value) if float(value).is_integer() and not isinstance(value, float) else float(f"{value:.5g}")


def _words(row: pandas.Series) -> dict[str, Any]:
    """The primary row's numbers in words."""
    bound, against = claim_words.margin(row)
    return {
        "outcome": claim_words.outcome(row),
        "stratum": claim_words.stratum(row),
        "estimate": claim_words.estimate(row),
        "ratio": claim_words.ratio(row),
        "models": claim_words.models(row),
        "bound": bound,
        "against": against,
        "rests_on": claim_words.rests_on(row),
    }


def _drawn(row: pandas.Series) -> dict[str, Any] | None:
    """Where the line, the shade, the interval and the estimate stand, from 0 to 100; None without a finite estimate.

    The line is zero and the shade the margin about it; of a claim about a level the line is that level, and the shade
    (`claimed`) the side of it on which the claim says the quantity lies. An endless interval runs to the edge.
    """
    if not math.isfinite(row.estimate) or pandas.isna(row.low) or pandas.isna(row.high):
        return None
    margin = float(row.margin) if pandas.notna(row.margin) and row.margin > 0 else 0.0
    claimed = row.kind in claim_words.SIDES
    line = margin if claimed else 0.0
    shade = {"above": (line, math.inf), "below": (-math.inf, line)}.get(row.kind, (-margin, margin))
    known = [end for end in (row.estimate, row.low, row.high, line, *shade) if math.isfinite(end)]
    left, right = min(known), max(known)
    room = (0.25 if claimed else 0.06) * (right - left or 1.0)
    left, right = left - room, right + room
    marks = {"line": line, "from": shade[0], "to": shade[1], "low": row.low, "high": row.high, "at": row.estimate}
    places = {
        name: 100 * (min(max(float(value), left), right) - left) / (right - left) for name, value in marks.items()
    }
    return {name: round(place, 2) for name, place in places.items()} | {"claimed": claimed}


def _more(row: pandas.Series) -> list[tuple[str, str]]:
    """Columns of the table that have no place of their own, as words; of a log-ratio with its scale."""
    scale = ", log-ratio" if claim_words.is_log_ratio(row) else ""
    found = []
    for name, value in row.items():
        if name in SHOWN or (not isinstance(value, str) and pandas.isna(value)) or value == "":
            continue
        words = str(name).replace("_", " ") + (scale if name in ("spread", "detectable") else "")
        if isinstance(value, str):
            text = value
        elif isinstance(value, bool | np.bool_):
            text = "yes" if value else "no"
        else:
            text = f"{value:,.0f}" if float(value).is_integer() else number(value)
        found.append((words, text.replace("_", " ")))
    return found
