"""Figures of the claims themselves: every primary answer in one picture, and the strata of each claim."""

import math
import textwrap
from typing import Any

import numpy as np
import pandas

from turncoat.reporting import claim_words
from turncoat.reporting.charts import Axis, Chart, Panel, Series, frame, nothing
from turncoat.reporting.summary import VERDICT_WORDS
from turncoat.statistics.claims import ORDER

COLORS = {
    "supported": "#009E73",
    "contradicted": "#D55E00",
    "no_effect": "#0072B2",
    "identity": "#882255",
    "inconclusive": "#E69F00",
    "not_tested": "#7F7F7F",
}
MARKERS = {"supported": "o", "contradicted": "s", "no_effect": "D", "identity": "p", "inconclusive": "^"}
MOST_STRATA = 16
CLOSE = 3.0  # margins that the close-up shows
FAR = 9.0  # rooms beyond an axis's end to which what has no end is drawn
NEAR = ("setting", "variant", "match", "distance")  # what the nearest strata share with the primary one
ENDLESS = "\N{NO-BREAK SPACE}\N{INFINITY}"  # beside the name of a row that is infinite, or whose interval is

Ends = tuple[float, float]


def verdicts(claims: pandas.DataFrame) -> Chart:
    """Estimate and interval of every primary row that has one, on scales that make different units comparable.

    Differences are in multiples of their margin: within one of zero is what the study calls no effect. Quantities that
    a claim sets against a level are drawn by how far they lie on the claim's side of it, as a share of the level.
    """
    label = (
        "Estimate and interval of the primary stratum of every claim, in multiples of its margin or level, by verdict"
    )
    rows = claims[claims.primary & claims.estimate.notna() & (claims.margin > 0)]
    if rows.empty:
        return nothing("verdicts", label, "no primary stratum of this study has an estimate")
    rows = rows.sort_values("claim", key=lambda names: names.map(ORDER.index)).reset_index(drop=True)
    levelled = rows.kind.isin(claim_words.SIDES)
    panels = []
    if not levelled.all():
        compared = rows[~levelled].reset_index(drop=True)
        scaled = compared.assign(**{name: compared[name] / compared.margin for name in ("estimate", "low", "high")})
        shade = ("x", -1.0, 1.0, False)
        panels += [
            _claims_panel(title, scaled, ends, "estimate, in margins", shade)
            for title, ends in (("differences, whole", _ends(scaled, (-1.0, 1.0))), ("close up", (-CLOSE, CLOSE)))
        ]
    if levelled.any():
        scaled = _beyond_level(rows[levelled].reset_index(drop=True))
        ends = _ends(scaled, (-0.1, 0.1))
        words = "beyond the level, over the level"
        panels.append(_claims_panel("against a level", scaled, ends, words, ("x", 0.0, _far(ends)[1], True)))
    tallest = max(len(panel.y.ticks or {}) for panel in panels)
    return Chart("verdicts", label, panels, len(panels), (3.9, 0.3 * tallest + 1.2))


def _claims_panel(title: str, rows: pandas.DataFrame, ends: Ends, words: str, shade: Any) -> Panel:
    shown = [f"{row['claim']}: {claim_words.stratum(row)}" for row in rows.to_dict("records")]
    ticks = {float(place): row.claim + _mark(row) for place, row in enumerate(rows.itertuples())}
    axes = Axis(words, limits=ends), Axis(ticks=ticks, limits=(-0.6, len(rows) - 0.4), reversed=True)
    return Panel(title, _by_verdict(rows, ends, shown), *axes, rules=[("x", 0, False)], shades=[shade])


def _beyond_level(rows: pandas.DataFrame) -> pandas.DataFrame:
    """How far estimate and interval lie on the claim's side of the level, as a share of the level."""
    sign = np.where(rows.kind == "above", 1.0, -1.0)
    moved = {name: sign * (rows[name] - rows.margin) / rows.margin for name in ("estimate", "low", "high")}
    low, high = np.minimum(moved["low"], moved["high"]), np.maximum(moved["low"], moved["high"])
    return rows.assign(said=_said(rows), estimate=moved["estimate"], low=low, high=high)


def strata(claims: pandas.DataFrame, claim: str) -> Chart | None:
    """The primary stratum of one claim above its other strata of the same outcome, in the outcome's own units.

    None where the claim has no estimate.
    """
    rows = claims[(claims.claim == claim) & claims.estimate.notna()]
    primary = rows[rows.primary]
    if primary.empty:
        return None
    first = primary.iloc[0]
    alike = rows[(rows.outcome == first.outcome) & ~rows.primary & (rows.margin == first.margin)]
    far = sum((alike[name] != first[name]).astype(int) for name in NEAR)
    alike = alike.assign(far=far).sort_values(["far", "stratum"], kind="stable")
    shown = pandas.concat([primary.iloc[:1], alike.iloc[: MOST_STRATA - 1]]).reset_index(drop=True)
    margin = float(first.margin) if first.margin > 0 else 0.0
    levelled = first.kind in claim_words.SIDES
    ends = _ends(shown, (margin, margin) if levelled else (-margin, margin))
    names = _names(shown)
    panel = Panel(
        "",
        _by_verdict(shown, ends, [claim_words.stratum(row) for row in shown.to_dict("records")]),
        Axis("\n".join(textwrap.wrap(claim_words.outcome(first), 28)), limits=ends),
        Axis(ticks=dict(enumerate(names)), limits=(-0.6, len(shown) - 0.4), reversed=True),
        rules=[("x", margin if levelled else 0, False)],
        shades=[_shade(first.kind, margin, ends)] if margin else [],
    )
    left = len(alike) + 1 - len(shown)
    label = f"{claim}: the primary stratum and {len(shown) - 1} others of the same outcome"
    label += f"; {left} more are listed below it" if left else ""
    lines = sum(max(name.count("\n") + 1, 2) for name in names)
    return Chart(f"claim-{claim}", label, [panel], 1, (6.5, 0.18 * lines + 1.0))


def _shade(kind: str, margin: float, ends: Ends) -> tuple[str, float, float, bool]:
    """The margin about zero or, of a claim about a level, the side of it that the claim speaks of."""
    low, high = _far(ends)
    low, high = {"above": (margin, high), "below": (low, margin)}.get(kind, (-margin, margin))
    return "x", low, high, kind in claim_words.SIDES


def _ends(rows: pandas.DataFrame, held: Ends) -> Ends:
    """Ends of an axis that holds all finite values of the rows, `held`, and zero unless it holds a level."""
    known = np.concatenate([rows[name].to_numpy(float) for name in ("estimate", "low", "high")])
    known = np.append(known[np.isfinite(known)], held)
    low, high = float(known.min()), float(known.max())
    room = 0.06 * (high - low or 1.0)
    return low - room, high + room


def _far(ends: Ends) -> Ends:
    """Beyond the ends of an axis, for what has none, so that zooming out does not uncover them soon."""
    room = FAR * (ends[1] - ends[0])
    return ends[0] - room, ends[1] + room


def _by_verdict(rows: pandas.DataFrame, ends: Ends, shown: list[str]) -> list[Series]:
    """Points and intervals by verdict; arrows at the ends of the axis where an estimate lies beyond it, or is endless.

    Hovering tells the row's own numbers, whatever is cut or scaled.
    """
    rows = rows if "said" in rows else rows.assign(said=_said(rows))
    rows = rows.assign(place=np.arange(len(rows)), shown=shown)
    low, high = _far(ends)
    inset = 0.015 * (ends[1] - ends[0])
    cut = rows.assign(low=rows.low.clip(low, high), high=rows.high.clip(low, high))
    found = []
    for verdict, name in VERDICT_WORDS.items():
        here = cut[(cut.verdict == verdict) & np.isfinite(cut.estimate)]
        arrows = [
            _arrows(rows[(rows.verdict == verdict) & beyond], name, COLORS[verdict], at, marker)
            for at, marker, beyond in (
                (ends[0] + inset, "<", (rows.estimate < ends[0]) | np.isneginf(rows.low)),
                (ends[1] - inset, ">", (rows.estimate > ends[1]) | np.isposinf(rows.high)),
            )
        ]
        if len(here):
            columns = {column: here[column] for column in ("low", "high", "n", "said", "shown")}
            data, marker = frame(x=here.estimate, y=here.place, **columns), MARKERS.get(verdict, "x")
            found.append(Series(name, data, "points", COLORS[verdict], marker, across=True))
        found += [series for series in arrows if len(series.data)]
    return found


def _arrows(rows: pandas.DataFrame, name: str, color: str, at: float, marker: str) -> Series:
    data = frame(x=np.full(len(rows), at), y=rows.place, n=rows.n, said=rows.said, shown=rows.shown)
    return Series(name, data, "points", color, marker, across=True, legend=False, size=7)


def _said(rows: pandas.DataFrame) -> list[str]:
    """The rows' estimates with intervals, in their own units."""
    return [f"{claim_words.outcome(row)} {claim_words.estimate(row)}" for row in rows.to_dict("records")]


def _mark(row: Any) -> str:
    known = (value for value in (row.estimate, row.low, row.high) if not math.isnan(value))
    return "" if all(math.isfinite(value) for value in known) else ENDLESS


def _names(rows: pandas.DataFrame) -> list[str]:
    """Names of the strata: the primary one, marked, in full; of the others what is compared and what differs from it,
    where that tells them apart."""
    parts = [claim_words.stratum(row).split(", ") for row in rows.to_dict("records")]
    short = [_short(row, own, parts[0]) for row, own in zip(rows.itertuples(), parts, strict=True)]
    names = []
    for row, own, few in zip(rows.itertuples(), parts, short, strict=True):
        words = ", ".join(few if few and short.count(few) == 1 and not row.primary else own)
        words = words.replace("_", " ").replace(" degrees", "°").replace("capability ", "cap. ")
        names.append("\n".join(textwrap.wrap(("\N{BLACK STAR} " if row.primary else "") + words + _mark(row), 36)))
    return names


def _short(row: Any, parts: list[str], primary: list[str]) -> list[str]:
    """The parts of a stratum's words that are not the primary one's; none where it lacks some that are."""
    if len(parts) < len(primary):
        return []
    compared = parts[:1] if row.start and row.reference else []
    return compared + [part for part in parts[len(compared) :] if part not in primary]
