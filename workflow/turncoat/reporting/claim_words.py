"""Rows of the table `claims` in words: what the number is of, its unit, what it is held against, and who is behind it.

Rows are given as mappings with that table's columns.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import pandas

from turncoat.reporting.summary import interval, number

Row = Mapping[str, Any]

OUTCOMES = {
    "c": "C",
    "d": "D",
    "deception": "deception proper (mean probability)",
    "deceptive_share": "share of models called deceptive",
    "deceptive_odds": "log-odds of being called deceptive",
    "m": "unoverseen agreement with M",
    "persistence": "log-ratio of half-lives in episodes",
    "points_to_x": "log-ratio of episodes until the utility points to X",
    "pointer_shifted": "log-ratio of episodes until slot 2 outweighs slot 1",
    "elicited": "log-ratio of episodes until M is back",
    "ablation": "agreement with X that is lost",
    "correlation": "rank correlation",
    "share": "share of the squared gradient",
    "dead_update": "share of the squared update",
}
SIDES = ("above", "below")
ON_EQUIVALENCE = (("no_effect", "difference"), ("supported", "equal"))


def outcome(row: Row) -> str:
    """What the estimate is of, with its unit where it has one."""
    return OUTCOMES.get(row["outcome"], str(row["outcome"]).replace("_", " "))


def stratum(row: Row) -> str:
    """What is compared, where; without the outcome, which stands beside it."""
    return ", ".join(part for part in str(row["stratum"]).split(", ") if part != row["outcome"])


def is_log_ratio(row: Row) -> bool:
    """Whether the row speaks of a ratio of two times, on the natural logarithm's scale."""
    return outcome(row).startswith("log-ratio")


def value(row: Row, name: str) -> str:
    """The column `name` (estimate, low or high) for people. A log-ratio is infinite where the one time never came."""
    found = row[name]
    if pandas.isna(found) or math.isfinite(found):
        return number(found)
    sign = "" if found > 0 else "\N{MINUS SIGN}"
    return f"{sign}\N{INFINITY}" + (f" ({_never(row, found > 0)})" if is_log_ratio(row) else "")


def _never(row: Row, upper: bool) -> str:
    """Whose time never came: that of the arm above the line, or below it, as the stratum names them."""
    found = re.search(r"(?:^|, )([^,]+) over ([^,]+)", str(row["stratum"]))
    if upper:
        return "never"
    return f"{found[2] if found else row['reference'] or 'the reference'} never".replace("_", " ")


def estimate(row: Row) -> str:
    """The estimate with its interval; what an infinite end means is said where the estimate does not say so."""
    found = value(row, "estimate")
    if pandas.isna(row["low"]) or pandas.isna(row["high"]):
        return found
    low, high = (value(row, name) for name in ("low", "high"))
    if "(" in found:
        low, high = (end.split(" (")[0] for end in (low, high))
    return f"{found} [{low}, {high}]"


def ratio(row: Row, digits: int = 2) -> str:
    """A log-ratio's estimate and interval as ratios, such as 6.99 [5.98, 8.91]; empty of other rows."""
    if not is_log_ratio(row) or pandas.isna(row["estimate"]):
        return ""
    middle, low, high = (_exponential(row[name]) for name in ("estimate", "low", "high"))
    return f"{number(middle, digits)} {interval(low, high, digits)}"


def _exponential(logarithm: float) -> float:
    return math.exp(logarithm) if logarithm < math.inf else math.inf


def margin(row: Row) -> tuple[str, str]:
    """What the estimate is held against: its name, and it in words."""
    bound = row["margin"]
    if row["kind"] in SIDES:
        return "Level", f"{number(bound)}, to lie {row['kind']} it"
    if is_log_ratio(row):
        return "Margin, log-ratio", f"{number(bound)}: a ratio of {math.exp(bound):.3g} either way"
    return "Margin", number(bound)


def models(row: Row) -> str:
    """How many models of what are behind the row, and how many could not be used."""
    start, reference = (str(row[name] or "").replace("_", " ") for name in ("start", "reference"))
    if not row["n_start"]:
        return ""
    if not row["n_reference"]:
        used = row["n_pairs"] or row["n_start"]
        counted = f"{row['n_start']} {start} models".replace("  ", " ")
        return counted if used == row["n_start"] else f"{used} of {counted}"
    found = f"{row['n_start']} {start} and {row['n_reference']} {reference} models, {row['n_pairs']} pairs"
    if row["never_start"] or row["never_reference"]:
        found += f"; never got there: {row['never_start']} {start}, {row['never_reference']} {reference}"
    return found


def rests_on(row: Row) -> str:
    """The test that the verdict rests on: `equivalence`, `p`, or neither (empty)."""
    if (row["verdict"], row["kind"]) in ON_EQUIVALENCE:
        return "equivalence"
    return "p" if row["verdict"] in ("supported", "contradicted") and row["kind"] != "identity" else ""
