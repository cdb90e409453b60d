"""A chart as what plotly.js draws: the same frames as the static figure, with hover, zoom and a legend that toggles.

The page draws each panel by itself, so that panels flow on a narrow screen; colours for the dark are set there.
"""

import math
from typing import Any

import numpy as np
import pandas

from turncoat.reporting.charts import Axis, Chart, Heat, Panel, Series
from turncoat.reporting.summary import interval, number

SYMBOLS = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "v": "triangle-down",
    "<": "triangle-left",
    ">": "triangle-right",
    "D": "diamond",
    "P": "cross",
    "p": "pentagon",
    "x": "x-thin-open",
    "+": "cross-thin-open",
    "|": "line-ns-open",
}
BLUES = [[0, "#f7fbff"], [0.5, "#6baed6"], [1, "#08306b"]]
RED_BLUE = [[0, "#2166ac"], [0.5, "#f7f7f7"], [1, "#b2182b"]]
RULE = "#7a7a7a"
SHADES = {False: "rgba(128,128,128,0.16)", True: "rgba(0,158,115,0.16)"}


def interactive(chart: Chart) -> dict[str, Any]:
    """The chart as JSON values: its legend and, for each panel, plotly's `data` and `layout`."""
    legend = {
        series.name: {"color": series.color, "symbol": series.marker, "dashed": series.dashed}
        for panel in reversed(chart.panels)
        for series in reversed(panel.series)
        if series.legend
    }
    return {
        "label": chart.label,
        "empty": chart.empty,
        "columns": chart.columns,
        "height": round(96 * chart.size[1]),
        "legend": [{"name": name, **legend[name]} for name in chart.names()] if len(legend) > 1 else [],
        "panels": [
            {"title": panel.title, "data": _traces(panel), "layout": _layout(panel), "label": _said(panel)}
            for panel in chart.panels
        ],
    }


def _traces(panel: Panel) -> list[dict[str, Any]]:
    traces = [_heat(panel.heat)] if panel.heat is not None else []
    for series in panel.series:
        if series.kind == "line" and series.interval:
            traces.append(_band(series))
        traces.append(_TRACES[series.kind](series, panel))
    return traces


def _named(series: Series) -> dict[str, Any]:
    return {"name": series.name, "legendgroup": series.name, "showlegend": False}


def _band(series: Series) -> dict[str, Any]:
    known = series.data.dropna(subset=["low", "high"])
    return _named(series) | {
        "type": "scatter",
        "mode": "lines",
        "x": _values([*known.x, *known.x[::-1]]),
        "y": _values([*known.high, *known.low[::-1]]),
        "fill": "toself",
        "fillcolor": series.color,
        "opacity": 0.18,
        "line": {"width": 0, "color": series.color},
        "hoverinfo": "skip",
    }


def _line(series: Series, panel: Panel) -> dict[str, Any]:
    line = {"color": series.color, "width": 2, "dash": "dash" if series.dashed else "solid"}
    mode = "lines+markers" if series.marker else "lines"
    return _named(series) | _places(series, panel) | {"type": "scatter", "mode": mode, "line": line} | _marker(series)


def _points(series: Series, panel: Panel) -> dict[str, Any]:
    trace = _named(series) | _places(series, panel) | {"type": "scatter", "mode": "markers"} | _marker(series)
    return trace | _error(series)


def _bars(series: Series, panel: Panel) -> dict[str, Any]:
    trace = _named(series) | _places(series, panel)
    trace |= {"type": "bar", "width": series.width, "marker": {"color": series.color}} | _error(series)
    return trace | ({"orientation": "h"} if series.across else {})


def _text(series: Series, panel: Panel) -> dict[str, Any]:
    trace = _named(series) | {"x": _values(series.data.x), "y": _values(series.data.y)}
    return trace | {
        "type": "scatter",
        "mode": "text",
        "text": list(series.data.note),
        "hoverinfo": "skip",
        "textfont": {"size": 11},
    }


def _places(series: Series, panel: Panel) -> dict[str, Any]:
    return {
        "x": _values(series.data.x),
        "y": _values(series.data.y),
        "text": _hovers(series, panel),
        "hovertemplate": "%{text}<extra></extra>",
        "textposition": "none",
    } | ({} if series.kind == "bars" else {"textposition": "top center"})


def _marker(series: Series) -> dict[str, Any]:
    if not series.marker:
        return {}
    symbol = SYMBOLS[series.marker] + ("-open" if series.hollow else "")
    line = {"width": 2 if symbol.endswith("-open") else 0, "color": series.color}
    return {"marker": {"color": series.color, "symbol": symbol, "size": 1.3 * series.size, "line": line}}


def _error(series: Series) -> dict[str, Any]:
    if not series.interval:
        return {}
    data = series.data
    middle = data.x if series.across else data.y
    bar = {
        "type": "data",
        "symmetric": False,
        "array": _values((data.high - middle).clip(lower=0)),
        "arrayminus": _values((middle - data.low).clip(lower=0)),
        "color": series.color if series.kind == "points" else RULE,
        "thickness": 2 if series.kind == "points" else 1.2,
        "width": 0 if series.kind == "points" else 3,
    }
    return {"error_x" if series.across else "error_y": bar}


def _hovers(series: Series, panel: Panel) -> list[str]:
    """What hovering shows: the name, the place, the value with its interval, and n."""
    found = []
    place_axis, value_axis = (panel.y, panel.x) if series.across else (panel.x, panel.y)
    for row in series.data.to_dict("records"):
        place, value = (row["y"], row["x"]) if series.across else (row["x"], row["y"])
        words = row.get("shown") or _on(place_axis, place)
        lines = [f"<b>{series.name.replace('_', ' ')}</b>", f"{_plain(place_axis.label)} {words}".strip()]
        text = f"{_plain(value_axis.label)} {number(value)}".strip()
        low, high = row.get("low"), row.get("high")
        if low is not None and not pandas.isna(low):
            text += f" {interval(low, high)}"
        lines.append(row.get("said") or text)
        if "n" in row and not pandas.isna(row["n"]):
            lines.append(f"n = {int(row['n'])}")
        if row.get("tip"):
            lines.append(str(row["tip"]))
        found.append("<br>".join(lines))
    return found


def _on(axis: Axis, value: float) -> str:
    if axis.ticks:
        nearest = min(axis.ticks, key=lambda tick: abs(tick - value))
        return axis.ticks[nearest].replace("\n", ", ")
    return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def _plain(label: str) -> str:
    return label.split("(")[0].replace("\n", " ").strip()


def _heat(heat: Heat) -> dict[str, Any]:
    values = heat.values.to_numpy(float)
    words = [["" if np.isnan(value) else f"{value:.{heat.digits}f}" for value in row] for row in values]
    return {
        "type": "heatmap",
        "z": [_values(row) for row in values],
        "text": words,
        "texttemplate": "%{text}",
        "zmin": heat.low,
        "zmax": heat.high,
        "colorscale": RED_BLUE if heat.diverging else BLUES,
        "showscale": False,
        "hovertemplate": "row %{y}, column %{x}: %{text}<extra></extra>",
        "xgap": 1,
        "ygap": 1,
    }


def _layout(panel: Panel) -> dict[str, Any]:
    shapes = [_shade(*shade) for shade in panel.shades] + [_rule(*rule) for rule in panel.rules]
    if panel.diagonal:
        shapes.append({"type": "line", "x0": 0, "y0": 0, "x1": 1, "y1": 1, "line": {"color": RULE, "dash": "dash"}})
    return {"xaxis": _axis(panel.x), "yaxis": _axis(panel.y) | {"tickangle": 0}, "shapes": shapes, "barmode": "overlay"}


def _rule(axis: str, value: float, dotted: bool) -> dict[str, Any]:
    other = "y" if axis == "x" else "x"
    ends = {f"{axis}0": value, f"{axis}1": value, f"{other}0": 0, f"{other}1": 1, f"{other}ref": f"{other} domain"}
    line = {"color": RULE, "width": 1, "dash": "dot" if dotted else "solid"}
    return {"type": "line", "layer": "below", "line": line} | ends


def _shade(axis: str, low: float, high: float, claimed: bool) -> dict[str, Any]:
    other = "y" if axis == "x" else "x"
    ends = {f"{axis}0": low, f"{axis}1": high, f"{other}0": 0, f"{other}1": 1, f"{other}ref": f"{other} domain"}
    return {"type": "rect", "layer": "below", "fillcolor": SHADES[claimed], "line": {"width": 0}} | ends


def _axis(axis: Axis) -> dict[str, Any]:
    found: dict[str, Any] = {"title": {"text": axis.label.replace("\n", "<br>")}}
    if axis.log:
        found |= {"type": "log", "dtick": 1}
    if axis.ticks is not None:
        words = [word.replace("\n", "<br>") for word in axis.ticks.values()]
        found |= {"tickmode": "array", "tickvals": list(axis.ticks), "ticktext": words}
        if axis.crowded:
            found["tickangle"] = -40
    if axis.limits is not None:
        low, high = axis.limits
        found["range"] = [high, low] if axis.reversed else [low, high]
    elif axis.reversed:
        found["autorange"] = "reversed"
    return found


def _values(values: Any) -> list[float | None]:
    """Numbers as JSON has them, to six figures: null where there is none."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in map(float, values)]


def _said(panel: Panel) -> str:
    axes = " against ".join(part.replace("\n", " ") for part in (panel.y.label, panel.x.label) if part)
    return ": ".join(part for part in (panel.title, axes) if part)


_TRACES = {"line": _line, "points": _points, "bars": _bars, "text": _text}
