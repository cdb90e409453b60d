"""Figures of arms beside the main ones: how fast each method learns, and what each dodge does."""

from typing import Any

import numpy as np
import pandas

from turncoat.reporting.charts import Axis, Chart, Panel, Series, frame, nothing, places
from turncoat.reporting.figures import ordered
from turncoat.reporting.style import look
from turncoat.statistics.factors import factors_of, without

METHODS = ("method", "optimizer", "optimizer_state", "schedule", "samples")
PER_ROW = 4


def learning(trajectories: pandas.DataFrame, distance: float) -> Chart:
    """Mean capability over episodes, a panel for each method of fine-tuning, a line for each start.

    `trajectories` is that table, without models that diverged. Bands are 1.96 standard errors.
    """
    label = "Mean capability on X against episodes of fine-tuning, by start, a panel for each method"
    tuned = trajectories[(trajectories.stage == "finetune") & (trajectories.distance == distance)]
    tuned = tuned[tuned.variant.map(_is_method).astype(bool) & tuned.setting.map(_is_method).astype(bool)]
    found = sorted(set(tuned[["setting", "variant"]].itertuples(index=False, name=None)), key=_simple_first)
    if not found:
        return nothing("learning", label, "no model was fine-tuned at the premise distance")
    panels = []
    for setting, variant in found:
        here = tuned[(tuned.setting == setting) & (tuned.variant == variant) & (tuned.episodes > 0)]
        lines = [_learnt(start, here[here.start == start]) for start in ordered(here.start)]
        title = ", ".join(part for part in (setting, variant) if part) or "the study's own"
        panels.append(Panel(title, lines, Axis("episodes", log=True), Axis("capability on X", limits=(0.45, 1.01))))
    return Chart("learning", label, panels, min(PER_ROW, len(panels)), (4.6, 3.2) if len(panels) == 1 else (3, 2.6))


def _learnt(start: str, rows: pandas.DataFrame) -> Series:
    line = rows.groupby("episodes").capability.agg(["mean", "sem", "count"])
    low, high = line["mean"] - 1.96 * line["sem"], line["mean"] + 1.96 * line["sem"]
    data = frame(x=line.index, y=line["mean"], low=low, high=high, n=line["count"])
    return Series(start, data, dashed=start.startswith("scratch"), **(look(start) | {"size": 4.5}))


def dodges(table: pandas.DataFrame, distance: float) -> Chart:
    """Change of D by dodge, dodge minus plain, a panel for each start; in a column right of it what capability costs
    in episodes."""
    label = "Change in D by dodge and start with intervals, and the ratio of episodes to capability"
    here = table[(table.distance == distance) & table.d_change.notna()]
    starts = ordered(here.start)
    if not starts:
        return nothing("dodges", label, "this study trains no dodge")
    here = here.assign(what=[_arm(row) for row in here.itertuples()])
    names = sorted(set(here.what), key=lambda name: float(here[here.what == name].d_change.mean()), reverse=True)
    at = {name: float(place) for place, name in enumerate(names)}
    low, high = float(here.d_low.fillna(here.d_change).min()), float(here.d_high.fillna(here.d_change).max())
    span = max(high, 0) - min(low, 0) or 1
    edge = max(high, 0) + 0.1 * span  # right of all intervals: there costs are listed
    column = edge + 0.2 * span
    axes = (
        Axis(
            "D, dodge minus plain\n(right: episodes, over plain's)",
            limits=(min(low, 0) - 0.1 * span, edge + 0.4 * span),
        ),
        Axis(ticks=places(names), limits=(-0.6, len(names) - 0.4)),
    )
    panels = []
    for start in starts:
        rows = here[here.start == start]
        data = frame(
            x=rows.d_change,
            y=rows.what.map(at),
            low=rows.d_low,
            high=rows.d_high,
            n=rows.n_pairs,
            tip=[f"episodes to capability: {_cost(ratio)}" for ratio in rows.episodes_ratio],
        )
        points = Series(start, data, "points", across=True, **look(start))
        costs = Series(
            start, frame(x=column, y=rows.what.map(at), note=rows.episodes_ratio.map(_cost)), "text", legend=False
        )
        panels.append(
            Panel(start.replace("_", " "), [points, costs], *axes, rules=[("x", 0, False), ("x", edge, True)])
        )
    return Chart("dodges", label, panels, len(panels), (3.4, 0.34 * len(names) + 1.4))


def _arm(row: Any) -> str:
    """A dodge, and what else differs from the study's own settings where it is tried: each has a row of its own."""
    parts = (row.dodge.removeprefix("dodge "), without(row.setting, row.dodge), without(row.variant, row.dodge))
    return ", ".join(filter(None, parts))


def _cost(ratio: float) -> str:
    """Episodes to capability as a multiple of plain training's."""
    return "never" if np.isinf(ratio) else "" if np.isnan(ratio) else f"{ratio:.2g}\N{MULTIPLICATION SIGN}"


def _is_method(words: str) -> bool:
    return all(factor.split(" ")[0] in METHODS for factor in factors_of(words))


def _simple_first(panel: tuple[str, str]) -> tuple[int, str, str]:
    setting, variant = panel
    return len(factors_of(setting)) + len(factors_of(variant)), setting, variant
