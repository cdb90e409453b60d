"""Figures of the claims themselves: every primary answer in one picture, and the strata of each claim."""

import textwrap
from typing import Any

import numpy as np
import pandas

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
NEAR = ("setting", "variant", "match", "distance")  # what the nearest strata share with the primary one


def verdicts(claims: pandas.DataFrame) -> Chart:
    """Estimate and interval of every primary row that has one, each in multiples of its margin.

    Outcomes of different units become comparable: within one margin of zero is what the study calls no effect, or, for
    claims about a level, that level is at one.
    """
    label = "Estimate and interval of the primary stratum of every claim, in multiples of its margin, by verdict"
    rows = claims[claims.primary & np.isfinite(claims.estimate) & (claims.margin > 0)]
    if rows.empty:
        return nothing("verdicts", label, "no primary stratum of this study has an estimate")
    rows = rows.sort_values("claim", key=lambda names: names.map(ORDER.index)).reset_index(drop=True)
    scaled = rows.assign(place=rows.index, **{name: rows[name] / rows.margin for name in ("estimate", "low", "high")})
    scaled, whole = _within(scaled, 1.0)
    ticks = {float(place): claim for place, claim in enumerate(rows.claim)}
    limits = (-0.6, len(rows) - 0.4)
    panels = [
        Panel(
            title,
            _by_verdict(scaled, rows),
            Axis("estimate, in margins", limits=ends),
            Axis(ticks=ticks, limits=limits, reversed=True),
            rules=[("x", 0, False)],
            shades=[("x", -1, 1)],
        )
        for title, ends in (("all of it", whole), ("close up", (-CLOSE, CLOSE)))
    ]
    return Chart("verdicts", label, panels, 2, (4.6, 0.3 * len(rows) + 1.2))


def _by_verdict(scaled: pandas.DataFrame, rows: pandas.DataFrame) -> list[Series]:
    found = []
    for verdict in dict.fromkeys(VERDICT_WORDS):
        here = scaled[scaled.verdict == verdict]
        if here.empty:
            continue
        said = [f"{row.claim}: {row.stratum}" for row in rows.loc[here.index].itertuples()]
        data = frame(x=here.estimate, y=here.place, low=here.low, high=here.high, n=here.n, shown=said)
        name, marker = VERDICT_WORDS[verdict], MARKERS.get(verdict, "x")
        found.append(Series(name, data, "points", COLORS[verdict], marker, across=True))
    return found


def strata(claims: pandas.DataFrame, claim: str) -> Chart | None:
    """The primary stratum of one claim above its other strata of the same outcome, in the outcome's own units.

    None where the claim has no estimate.
    """
    rows = claims[(claims.claim == claim) & np.isfinite(claims.estimate)]
    primary = rows[rows.primary]
    if primary.empty:
        return None
    first = primary.iloc[0]
    alike = rows[(rows.outcome == first.outcome) & ~rows.primary & (rows.margin == first.margin)]
    far = sum((alike[name] != first[name]).astype(int) for name in NEAR)
    alike = alike.assign(far=far).sort_values(["far", "stratum"], kind="stable")
    shown = pandas.concat([primary.iloc[:1], alike.iloc[: MOST_STRATA - 1]]).reset_index(drop=True)
    margin = float(first.margin) if first.margin > 0 else 0.0
    shown, ends = _within(shown, margin)
    points = []
    for verdict in VERDICT_WORDS:
        here = shown[shown.verdict == verdict]
        if here.empty:
            continue
        data = frame(x=here.estimate, y=here.index, low=here.low, high=here.high, n=here.n)
        name, marker = VERDICT_WORDS[verdict], MARKERS.get(verdict, "x")
        points.append(Series(name, data, "points", COLORS[verdict], marker, across=True))
    names = [("\N{BLACK STAR} " if row.primary else "") + _short(row, first) for row in shown.itertuples()]
    panel = Panel(
        "",
        points,
        Axis("estimate", limits=ends),
        Axis(ticks=dict(enumerate(names)), limits=(-0.6, len(shown) - 0.4), reversed=True),
        rules=[("x", 0, False)],
        shades=[("x", -margin, margin)] if margin else [],
    )
    label = f"{claim}: the primary stratum and {len(shown) - 1} others of the same outcome"
    return Chart(f"claim-{claim}", label, [panel], 1, (6.5, 0.36 * len(shown) + 1.0))


def _within(rows: pandas.DataFrame, margin: float) -> tuple[pandas.DataFrame, tuple[float, float]]:
    """The rows, and ends of an axis that holds them; an interval without an end (a time: never) runs off it."""
    known = np.concatenate([rows[name].to_numpy(float) for name in ("estimate", "low", "high")])
    known = known[np.isfinite(known)]
    low, high = min(float(known.min()), -margin, 0.0), max(float(known.max()), margin, 0.0)
    room = 0.06 * (high - low or 1.0)
    cut = {name: rows[name].clip(low - 9 * room, high + 9 * room) for name in ("low", "high")}
    return rows.assign(**cut), (low - room, high + room)


def _short(row: Any, primary: pandas.Series) -> str:
    """A stratum in few words: what is compared, and where that is elsewhere than in the primary one."""
    if not row.start or not row.reference:
        return _broken(row.stratum)
    words = f"{row.start} minus {row.reference}".replace("_", " ")
    elsewhere = [words]
    if row.distance != primary.distance and pandas.notna(row.distance):
        elsewhere.append(f"{row.distance:g}°")
    elsewhere += [
        value.replace("capability ", "cap. ")
        for value, usual in ((row.match, primary.match), (row.setting, primary.setting), (row.variant, primary.variant))
        if value != usual and value
    ]
    return _broken(", ".join(elsewhere))


def _broken(words: str) -> str:
    """Over two lines where it is long, and cut where it is longer."""
    lines = textwrap.wrap(words, 34, max_lines=2, placeholder=" …")
    return "\n".join(lines)
