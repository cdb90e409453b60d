"""The figures of the claims hold the table's rows, on scales that say what is compared, infinite ones among them."""

from typing import Any

import numpy as np
import pandas
import pytest
from figured import Made

from turncoat.reporting import claim_figures
from turncoat.reporting.interactive import interactive
from turncoat.reporting.summary import VERDICT_WORDS

INFINITE = float("inf")


def test_verdicts_draw_every_primary_estimate_on_its_scale(made: Made) -> None:
    claims = made[0]["claims"]
    primary = claims[claims.primary & claims.estimate.notna() & (claims.margin > 0)].set_index("claim")
    assert {"difference", "above", "below"} <= set(primary.kind)
    whole, _, levels = made[1]["verdicts"].panels
    found = {}
    for panel in (whole, levels):
        assert panel.y.ticks is not None
        for series in panel.series:
            for point in series.data.itertuples():
                found[panel.y.ticks[point.y].rstrip("\N{NO-BREAK SPACE}\N{INFINITY}")] = (series.name, point)
    assert set(found) == set(primary.index)  # none is dropped
    for name, row in primary.iterrows():
        verdict, point = found[name]
        assert verdict == VERDICT_WORDS[row.verdict]
        if not np.isfinite(row.estimate):
            continue
        scaled = [value / row.margin for value in (row.estimate, row.low, row.high)]
        if row.kind == "above":
            scaled = [value - 1 for value in scaled]
        elif row.kind == "below":
            scaled = [1 - scaled[0], 1 - scaled[2], 1 - scaled[1]]
        known = [value if np.isfinite(value) else drawn for value, drawn in zip(scaled, point[2:5], strict=True)]
        assert (point.x, point.low, point.high) == pytest.approx((known[0], known[1], known[2])), name
    assert levels.shades[0][1] == 0 and levels.shades[0][3] and levels.shades[0][2] > levels.x.limits[1]


def timed(**changes: Any) -> dict[str, Any]:
    row = {
        "claim": "P4c", "primary": False, "kind": "equal", "outcome": "points_to_x", "margin": np.log(1.25),
        "stratum": "internal over scratch, points_to_x, 90 degrees", "estimand": "median over seeds of the log-ratio",
        "start": "internal", "reference": "scratch", "setting": "", "variant": "", "match": "", "distance": 90.0,
        "estimate": 1.9, "low": 1.7, "high": 2.1, "n": 24, "verdict": "contradicted",
    }  # fmt: skip
    return row | changes


TIMES = [
    timed(primary=True),
    timed(stratum="internal over scratch, points_to_x, 45 degrees", distance=45.0, high=INFINITE),
    timed(stratum="benign over scratch, points_to_x, 90 degrees", start="benign", estimate=INFINITE, low=4.6,
          high=INFINITE),
    timed(stratum="benign over scratch_exposed, points_to_x, 90 degrees", start="benign", reference="scratch_exposed",
          estimate=-INFINITE, low=-INFINITE, high=-3.0),
]  # fmt: skip


def test_strata_show_what_is_infinite_and_say_so() -> None:
    chart = claim_figures.strata(pandas.DataFrame(TIMES), "P4c")
    assert chart is not None
    (panel,) = chart.panels
    assert panel.y.ticks is not None and panel.x.limits is not None
    assert list(panel.y.ticks.values()) == [
        "★ internal over scratch, 90°",
        "benign over scratch\N{NO-BREAK SPACE}∞",
        "benign over scratch exposed\N{NO-BREAK SPACE}∞",
        "internal over scratch, 45°\N{NO-BREAK SPACE}∞",
    ]
    marks = [(series.marker, point) for series in panel.series for point in series.data.itertuples()]
    assert sorted((marker, point.y) for marker, point in marks) == [("<", 2), (">", 1), (">", 3), ("s", 0), ("s", 3)]
    said = {(marker, point.y): point.said for marker, point in marks}
    of = "log-ratio of episodes until the utility points to X"
    assert said[">", 1] == f"{of} ∞ (never) [4.600, ∞]"
    assert said["s", 3] == said[">", 3] == f"{of} 1.900 [1.700, ∞ (never)]"
    assert "scratch exposed never" in said["<", 2]
    for _, point in marks:
        assert panel.x.limits[0] < point.x < panel.x.limits[1]
    hovers = [text for trace in interactive(chart)["panels"][0]["data"] for text in trace["text"]]
    assert sum("∞ (never)" in text for text in hovers) == 3 and not any("inf" in text for text in hovers)


def test_verdicts_keep_a_primary_row_whose_time_never_came() -> None:
    chart = claim_figures.verdicts(pandas.DataFrame([TIMES[2] | {"primary": True}]))
    for panel in chart.panels:
        (series,) = panel.series
        assert series.marker == ">" and "∞ (never)" in series.data.said[0]
        assert panel.y.ticks == {0.0: "P4c\N{NO-BREAK SPACE}∞"}


def test_strata_of_a_claim_about_a_level_have_one_line_at_it(made: Made) -> None:
    claims = made[0]["claims"]
    for claim in ("G1", "G3"):
        chart = claim_figures.strata(claims, claim)
        row = claims[(claims.claim == claim) & claims.primary].iloc[0]
        assert chart is not None
        (panel,) = chart.panels
        assert panel.rules == [("x", row.margin, False)]
        ((axis, low, high, claimed),) = panel.shades
        assert axis == "x" and claimed and {"above": low, "below": high}[row.kind] == row.margin
        assert panel.x.limits is not None and low < high and not (low < panel.x.limits[0] and high > panel.x.limits[1])
    chart = claim_figures.strata(claims, "P1")
    row = claims[(claims.claim == "P1") & claims.primary].iloc[0]
    assert chart is not None and chart.panels[0].shades == [("x", -row.margin, row.margin, False)]


def test_strata_draw_the_tables_rows_the_primary_one_first(made: Made) -> None:
    claims = made[0]["claims"]
    chart = claim_figures.strata(claims, "P1")
    assert chart is not None
    panel = chart.panels[0]
    points = pandas.concat([series.data for series in panel.series if series.marker not in "<>"])
    points = points.sort_values("y").reset_index(drop=True)
    rows = claims[(claims.claim == "P1") & (claims.outcome == "d") & np.isfinite(claims.estimate)]
    first = rows[rows.primary].iloc[0]
    assert (points.x[0], points.low[0], points.high[0]) == (first.estimate, first.low, first.high)
    known = {(row.estimate, row.low, row.high, row.n): row.stratum for row in rows.itertuples()}
    for point in points.itertuples():
        assert known[point.x, point.low, point.high, point.n] == point.shown
    assert len(points) == min(len(rows), claim_figures.MOST_STRATA) and panel.y.ticks is not None
    names = list(panel.y.ticks.values())
    assert len(set(names)) == len(names) and not any("…" in name for name in names)
