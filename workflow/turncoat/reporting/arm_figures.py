"""Figures of arms beside the main ones: how fast each method learns, and what each dodge does."""

from pathlib import Path

import numpy as np
import pandas
from matplotlib.figure import Figure

from turncoat.reporting.figures import nothing, ordered
from turncoat.reporting.style import interval_line, look, save
from turncoat.statistics.factors import factors_of

METHODS = ("method", "optimizer", "optimizer_state", "schedule", "samples")
MOST_PANELS = 8
PER_ROW = 4


def learning(trajectories: pandas.DataFrame, distance: float, folder: Path) -> str:
    """Mean capability over episodes, a panel for each method of fine-tuning, a line for each start. Returns the SVG.

    `trajectories` is that table, without models that diverged. Bands are 1.96 standard errors.
    """
    tuned = trajectories[(trajectories.stage == "finetune") & (trajectories.distance == distance)]
    tuned = tuned[tuned.variant.map(_is_method).astype(bool) & tuned.setting.map(_is_method).astype(bool)]
    panels = sorted(set(tuned[["setting", "variant"]].itertuples(index=False, name=None)), key=_simple_first)
    if not panels:
        return nothing("no model was fine-tuned at the premise distance", folder, "learning")
    panels = panels[:MOST_PANELS]
    columns, rows = min(PER_ROW, len(panels)), -(-len(panels) // PER_ROW)
    figure = Figure(figsize=(2.9 * columns + 0.8, 2.7 * rows + 0.6))
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, (setting, variant) in zip(grid.flat, panels, strict=False):
        here = tuned[(tuned.setting == setting) & (tuned.variant == variant) & (tuned.episodes > 0)]
        for start in ordered(here.start):
            line = here[here.start == start].groupby("episodes").capability.agg(["mean", "sem"])
            low, high = line["mean"] - 1.96 * line["sem"], line["mean"] + 1.96 * line["sem"]
            interval_line(axes, line.index, line["mean"], low, high, label=start, **(look(start) | {"markersize": 3}))
        axes.set_xscale("log")
        axes.set_title(", ".join(part for part in (setting, variant) if part) or "the study's own", fontsize=8)
        axes.set_xlabel("episodes")
    for row in grid:
        row[0].set_ylabel("capability on X")
    handles = {
        label: handle for axes in grid.flat for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(list(handles.values()), list(handles), loc="lower center", ncols=5, bbox_to_anchor=(0.5, -0.06))
    figure.tight_layout()
    return save(figure, folder, "learning")


def dodges(table: pandas.DataFrame, distance: float, folder: Path) -> str:
    """Change of D by dodge, dodge minus plain, a panel for each start; beside it what capability costs in episodes.

    Returns the SVG.
    """
    here = table[(table.distance == distance) & table.d_change.notna()]
    starts = ordered(here.start)
    if not starts:
        return nothing("this study trains no dodge", folder, "dodges")
    names = sorted(set(here.dodge), key=lambda name: float(here[here.dodge == name].d_change.mean()), reverse=True)
    places = {name: place for place, name in enumerate(names)}
    figure = Figure(figsize=(3.4 * len(starts) + 2.2, 0.34 * len(names) + 1.3))
    grid = figure.subplots(1, len(starts), sharey=True, sharex=True, squeeze=False)[0]
    for axes, start in zip(grid, starts, strict=True):
        rows = here[here.start == start]
        height = rows.dodge.map(places).to_numpy(float)
        low, high = (rows.d_change - rows.d_low).to_numpy(float), (rows.d_high - rows.d_change).to_numpy(float)
        errors = np.maximum(np.nan_to_num(np.stack([low, high])), 0)
        axes.errorbar(rows.d_change, height, xerr=errors, linestyle="", **_point(start))
        for place, change, ratio in zip(height, rows.d_change, rows.episodes_ratio, strict=True):
            axes.annotate(
                _times(ratio),
                (change, place),
                (0, 5),
                textcoords="offset points",
                ha="center",
                fontsize=7,
                color="#555555",
            )
        axes.axvline(0, color="#555555", linewidth=0.8)
        axes.set_title(start)
        axes.set_xlabel("D, dodge minus plain")
    grid[0].set_yticks(range(len(names)), [name.removeprefix("dodge ") for name in names])
    figure.tight_layout()
    return save(figure, folder, "dodges")


def _point(start: str) -> dict[str, object]:
    shown = look(start)
    return {"color": shown["color"], "marker": shown["marker"], "markersize": 5}


def _times(ratio: float) -> str:
    return "never as capable" if np.isinf(ratio) else "" if np.isnan(ratio) else f"{ratio:.2g}x episodes"


def _is_method(words: str) -> bool:
    return all(factor.split(" ")[0] in METHODS for factor in factors_of(words))


def _simple_first(panel: tuple[str, str]) -> tuple[int, str, str]:
    setting, variant = panel
    return len(factors_of(setting)) + len(factors_of(variant)), setting, variant
