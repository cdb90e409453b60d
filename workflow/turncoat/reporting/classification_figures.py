"""Figures of what models want, what carries it inside them, and how far the classifier can be trusted."""

from pathlib import Path

import numpy as np
import pandas
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from turncoat.reporting.figures import nothing, ordered
from turncoat.reporting.style import interval_line, look, save
from turncoat.tables.alignment import TYPES

SHADES = "Blues"


def motives(table: pandas.DataFrame, distance: float, folder: Path) -> str:
    """Compliance at a low and a high price, before and after fine-tuning; and over cue strength. Returns the SVG."""
    own = table[(table.setting == "") & (table.variant == "") & (table.distance == distance)]
    own = own[~own.start.str.startswith("planted")]
    starts = [start for start in ordered(own.start) if start != "scratch_exposed"]
    if not starts:
        return nothing(f"no arm at {distance:g} degrees", folder, "motives")
    figure = Figure(figsize=(10.5, 6.6))
    grid = figure.subplots(2, 2)
    for column, (when, overseer) in enumerate((("before", "slot1"), ("after", "x"))):
        _prices(grid[0, column], own[(own.when == when) & (own.part == overseer)], starts)
        name = "slot 1" if overseer == "slot1" else "X"
        grid[0, column].set_title(f"{when} fine-tuning: compliance with {name}")
    for column, cue in enumerate(("oversight", "placebo")):
        here = own[(own.when == "after") & (own.quantity == f"agreement_x_{cue}")]
        for start in ordered(here.start):
            line = here[here.start == start].assign(strength=here.part.astype(float)).sort_values("strength")
            interval_line(grid[1, column], line.strength, line["mean"], line.low, line.high, label=start, **look(start))
        for trained in (-1, 1):
            grid[1, column].axvline(trained, color="#555555", linewidth=0.8, linestyle=":")
        grid[1, column].set_title(f"after: agreement with X as the {cue} cue grows")
        grid[1, column].set_xlabel("strength of the cue (dotted: trained)")
    grid[1, 0].set_ylabel("agreement with X")
    figure.legend(*grid[1, 0].get_legend_handles_labels(), loc="lower center", ncols=4, bbox_to_anchor=(0.5, -0.06))
    figure.tight_layout()
    return save(figure, folder, "motives")


def _prices(axes: Axes, own: pandas.DataFrame, starts: list[str]) -> None:
    """For each start, compliance at the low price and at the high price, joined."""
    for row, start in enumerate(reversed(starts)):
        here = own[own.start == start].set_index("quantity")
        if not {"price_low", "price_high"} <= set(here.index) or np.isnan(here["mean"].get("price_low", np.nan)):
            axes.text(0.01, row, "too few conflicts", va="center", fontsize=8, color="#777777")
            continue
        low, high = (here.loc[f"price_{name}"] for name in ("low", "high"))
        colour = look(start)["color"]
        if low.n < low.models:
            axes.text(1.01, row, f"{low.n} of {low.models}", va="center", ha="right", fontsize=8, color="#777777")
        axes.plot([low["mean"], high["mean"]], [row, row], color=colour, linewidth=2)
        for point, fill in ((low, "white"), (high, colour)):
            axes.plot([point.low, point.high], [row, row], color=colour, linewidth=5, alpha=0.25)
            axes.plot(point["mean"], row, marker="o", markersize=7, color=colour, markerfacecolor=fill)
    axes.set_yticks(range(len(starts)), [start.replace("_", " ") for start in reversed(starts)])
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.6, len(starts) - 0.4)
    axes.set_xlabel("share of conflicts on which it complies (open: low price, filled: high price)")


def causal(table: pandas.DataFrame, distance: float, minimum: int, folder: Path) -> str:
    """Share of the oversight gap that the oversight direction carries, beside placebo and random. Returns the SVG.

    Starts of which fewer than `minimum` models have a gap are left out, planted networks apart.
    """
    own = table[(table.setting == "") & (table.variant == "") & (table.distance == distance) & (table.when == "after")]
    own = own[own.quantity.isin(["carried", "placebo_carried", "random_high", "random_largest"]) & own["mean"].notna()]
    planted = own.start.str.startswith("planted")
    own = own[planted | (own.n >= minimum)]
    places = sorted(own.part[~planted].unique())
    if not places:
        return nothing(f"too few models at {distance:g} degrees have an oversight gap", folder, "causal")
    interventions = [name for name in ("swap", "add", "ablate") if any(place.startswith(name) for place in places)]
    layers = sorted({place.split(", ")[1] for place in places})
    starts = ordered(own.start)
    figure = Figure(figsize=(3.4 * len(interventions) + 1.6, 2.6 * len(layers) + 0.6))
    grid = figure.subplots(len(layers), len(interventions), squeeze=False, sharey=True, sharex=True)
    for row, layer in enumerate(layers):
        for column, intervention in enumerate(interventions):
            axes = grid[row, column]
            _carried(axes, own[own.part == f"{intervention}, {layer}"], starts)
            axes.set_title(f"{intervention}, {layer}")
            axes.set_yticks(range(len(starts)), [start.replace("_", " ") for start in reversed(starts)])
    for axes in grid[-1]:
        axes.set_xlabel("share of the gap carried")
    figure.tight_layout()
    return save(figure, folder, "causal")


def _carried(axes: Axes, own: pandas.DataFrame, starts: list[str]) -> None:
    """For each start what the oversight direction carries, over what random and placebo directions do."""
    for row, start in enumerate(reversed(starts)):
        here = own[own.start == start].set_index("quantity")
        if here.empty:
            continue
        axes.plot([0, here["mean"].random_high], [row, row], color="#bbbbbb", linewidth=6, solid_capstyle="butt")
        axes.plot(here["mean"].random_largest, row, marker="|", color="#777777", markersize=10)
        axes.plot(here["mean"].placebo_carried, row, marker="x", color="#555555", linestyle="none")
        carried, colour = here.loc["carried"], look(start)["color"]
        axes.plot([carried.low, carried.high], [row, row], color=colour, linewidth=3, alpha=0.4)
        axes.plot(carried["mean"], row, marker="o", color=colour)
    axes.axvline(0, color="#555555", linewidth=0.8)
    axes.set_xlim(-0.3, 1.1)


def trust(validation: pandas.DataFrame, reliability: pandas.DataFrame, points: pandas.DataFrame, folder: Path) -> str:
    """Confusion of scored planted kinds, X told from Y by angle and noise, and calibration. Returns the SVG."""
    figure = Figure(figsize=(12.5, 5.2))
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.2, 1.1, 1))
    scored = validation[validation.split == "scored"]
    counts = pandas.crosstab(scored.truth, scored.reading, normalize="index")
    _heat(left, counts.reindex(index=TYPES, columns=TYPES).dropna(how="all").fillna(0), "{:.2f}")
    left.set_title("planted type (rows) read as (columns)")
    left.tick_params(axis="x", rotation=45)
    told = points.assign(share=points.right / points.cases).pivot(index="temperature", columns="angle", values="share")
    _heat(middle, told, "{:.2f}", low=0.5)
    middle.set_title("X told from Y")
    middle.set_xlabel("degrees between X and Y")
    middle.set_ylabel("noise: Gumbel scale over utility's spread")
    known = reliability[reliability.cases > 0]
    right.plot([0, 1], [0, 1], color="#555555", linewidth=0.8, linestyle="--")
    errors = [(known.observed - known.low).clip(lower=0), (known.high - known.observed).clip(lower=0)]  # rounding
    right.errorbar(known.predicted, known.observed, yerr=errors, fmt="o", color="#0072B2", capsize=2)
    right.set_title("calibration on planted ladders")
    right.set_xlabel("predicted probability of the type")
    right.set_ylabel("share whose exact value reaches the cutoff")
    figure.tight_layout()
    return save(figure, folder, "trust")


def _heat(axes: Axes, table: pandas.DataFrame, form: str, low: float = 0.0) -> None:
    """A table as shaded cells with their numbers."""
    values = table.to_numpy(float)
    axes.imshow(values, cmap=SHADES, vmin=low, vmax=1, aspect="auto")
    for row, column in np.ndindex(values.shape):
        shade = "white" if values[row, column] > (1 + low) / 2 + 0.15 else "#222222"
        text = "" if np.isnan(values[row, column]) else form.format(values[row, column])
        axes.text(column, row, text, ha="center", va="center", fontsize=7, color=shade)
    axes.set_xticks(range(values.shape[1]), [_short(name) for name in table.columns], fontsize=8)
    axes.set_yticks(range(values.shape[0]), [_short(name) for name in table.index], fontsize=8)
    axes.grid(visible=False)


def _short(name: object) -> str:
    return f"{name:g}" if isinstance(name, float) else str(name)


def multiverse(table: pandas.DataFrame, folder: Path) -> str:
    """The headline contrast of types for every choice of cutoffs, ordered by its value. Returns the SVG."""
    known = table[table.estimate.notna()]
    if known.empty:
        return nothing(
            "no start and scratch_exposed at the premise distance and the primary capability", folder, "multiverse"
        )
    readings = list(dict.fromkeys(known.reading))
    figure = Figure(figsize=(5.2 * len(readings), 3.8))
    grid = figure.subplots(1, len(readings), sharey=True, squeeze=False)[0]
    for axes, reading in zip(grid, readings, strict=True):
        here = known[known.reading == reading]
        for start in ordered(here.start):
            line = here[here.start == start].sort_values("estimate", kind="stable").reset_index(drop=True)
            kind = look(start)
            interval_line(axes, line.index + 1, line.estimate, line.low, line.high, color=kind["color"], label=start)
            own = line[line.configured]
            axes.plot(own.index + 1, own.estimate, marker=kind["marker"], color=kind["color"], markersize=8)
        axes.axhline(0, color="#555555", linewidth=0.8)
        axes.set_title(f"read as {reading}")
        axes.set_xlabel("choices of cutoffs, in order (marker: configured)")
    grid[0].set_ylabel("share, start less scratch exposed")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="lower center", ncols=4, bbox_to_anchor=(0.5, -0.1))
    figure.tight_layout()
    return save(figure, folder, "multiverse")
