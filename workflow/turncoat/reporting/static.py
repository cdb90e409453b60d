"""A chart as files for papers: SVG and PNG, drawn with matplotlib, equal bytes each run."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from turncoat.reporting.charts import Axis, Chart, Heat, Panel, Series
from turncoat.reporting.style import as_svg, element, empty, save, style

RULE = "#555555"
SHADES = {False: "#eeeeee", True: "#dcf1ea"}


def draw(chart: Chart, folder: Path) -> str:
    """Write `name`.svg and `name`.png of the chart into `folder`; returns the SVG's text."""
    with style():
        return save(_figure(chart), folder, chart.name)


def svg(chart: Chart) -> str:
    """The chart as an SVG element, without a file."""
    with style():
        return element(as_svg(_figure(chart)))


def _figure(chart: Chart) -> Figure:
    if not chart.panels:
        figure = Figure(figsize=(6, 1.2))
        empty(figure.subplots(), chart.empty)
        return figure
    columns = min(chart.columns, len(chart.panels))
    rows = -(-len(chart.panels) // columns)
    figure = Figure(figsize=(chart.size[0] * columns + 0.6, chart.size[1] * rows + 0.6), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(chart.panels) :]:
        axes.set_axis_off()
    for place, (axes, panel) in enumerate(zip(grid.flat, chart.panels, strict=False)):
        _panel(axes, panel, first=place % columns == 0 or panel.y != chart.panels[place - 1].y)
    handles: dict[str, Any] = {}
    for axes in grid.flat:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    names = [name for name in chart.names() if name in handles]
    if len(names) > 1:
        labels = [name.replace("_", " ") for name in names]
        width = max(1, int(columns * chart.size[0] / (0.5 + 0.085 * max(map(len, labels)))))
        figure.legend([handles[name] for name in names], labels, loc="outside lower center", ncols=min(width, 6))
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.execute(figure)  # once for both files
    figure.set_layout_engine(None)  # not "none", which has each file drawn twice
    return figure


def _panel(axes: Axes, panel: Panel, first: bool) -> None:
    for axis, low, high, claimed in panel.shades:
        (axes.axvspan if axis == "x" else axes.axhspan)(low, high, color=SHADES[claimed], zorder=0, linewidth=0)
    for axis, value, dotted in panel.rules:
        line = axes.axvline if axis == "x" else axes.axhline
        line(value, color=RULE, linewidth=0.8, linestyle=":" if dotted else "-")
    if panel.diagonal:
        axes.plot([0, 1], [0, 1], color=RULE, linewidth=0.8, linestyle="--")
    if panel.heat is not None:
        _heat(axes, panel.heat)
    for series in panel.series:
        _MARKS[series.kind](axes, series)
    axes.set_title(panel.title)
    axes.set_xlabel(panel.x.label)
    axes.set_ylabel(panel.y.label if first else "")
    _axis(axes, panel.x, "x")
    _axis(axes, panel.y, "y")
    if not first and panel.y.ticks:
        axes.set_yticklabels([])


def _axis(axes: Axes, axis: Axis, which: str) -> None:
    if axis.log:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    if axis.ticks is not None:
        ticks = axes.set_xticks if which == "x" else axes.set_yticks
        ticks(list(axis.ticks), list(axis.ticks.values()), fontsize=8)
        if which == "x" and axis.crowded:
            axes.tick_params(axis="x", rotation=40)
            for label in axes.get_xticklabels():
                label.set_horizontalalignment("right")
    if axis.limits is not None:
        (axes.set_xlim if which == "x" else axes.set_ylim)(*axis.limits)
    turned = axes.xaxis_inverted() if which == "x" else axes.yaxis_inverted()
    if axis.reversed and not turned:
        (axes.invert_xaxis if which == "x" else axes.invert_yaxis)()


def _line(axes: Axes, series: Series) -> None:
    data = series.data
    axes.plot(
        data.x,
        data.y,
        color=series.color,
        marker=series.marker or None,
        markersize=0.7 * series.size,
        linestyle="--" if series.dashed else "-",
        linewidth=1.4,
        label=_label(series),
    )
    if series.interval:
        axes.fill_between(data.x, data.low, data.high, color=series.color, alpha=0.15, linewidth=0)


def _points(axes: Axes, series: Series) -> None:
    data = series.data
    errors = _errors(series)
    how: Any = {"xerr": errors} if series.across else {"yerr": errors}
    axes.errorbar(
        data.x,
        data.y,
        **how,
        linestyle="",
        color=series.color,
        marker=series.marker,
        markersize=series.size,
        markerfacecolor="white" if series.hollow else series.color,
        elinewidth=1.4,
        label=_label(series),
    )


def _bars(axes: Axes, series: Series) -> None:
    data, errors = series.data, _errors(series)
    how: Any = {"color": series.color, "label": _label(series)}
    lines = {"elinewidth": 0.8}
    if series.across:
        axes.barh(data.y, data.x, series.width, xerr=errors, error_kw=lines, **how)
    else:
        axes.bar(data.x, data.y, series.width, yerr=errors, error_kw=lines, **how)


def _text(axes: Axes, series: Series) -> None:
    for row in series.data.itertuples():
        axes.text(row.x, row.y, row.note, fontsize=7.5, color="#666666", va="center", ha="center")


def _errors(series: Series) -> np.ndarray | None:
    """Distances to both ends of the interval: not below zero (rounding), and zero where it has no ends."""
    if not series.interval:
        return None
    data = series.data
    middle = (data.x if series.across else data.y).to_numpy(float)
    low, high = data.low.to_numpy(float), data.high.to_numpy(float)
    known = np.isfinite(middle) & np.isfinite(low) & np.isfinite(high)
    ends = np.zeros((2, len(data)))
    ends[:, known] = middle[known] - low[known], high[known] - middle[known]
    return np.maximum(ends, 0)


def _heat(axes: Axes, heat: Heat) -> None:
    values = heat.values.to_numpy(float)
    axes.imshow(values, cmap="RdBu_r" if heat.diverging else "Blues", vmin=heat.low, vmax=heat.high, aspect="auto")
    axes.grid(visible=False)
    span = heat.high - heat.low
    for (row, column), value in np.ndenumerate(values):
        share = (value - heat.low) / span
        dark = abs(share - 0.5) > 0.3 if heat.diverging else share > 0.6
        text = "" if np.isnan(value) else f"{value:.{heat.digits}f}"
        axes.text(column, row, text, ha="center", va="center", fontsize=7, color="white" if dark else "#222222")


def _label(series: Series) -> str:
    return series.name if series.legend else "_nolegend_"


_MARKS = {"line": _line, "points": _points, "bars": _bars, "text": _text}
