"""The report's figures, drawn from the study's tables."""

from pathlib import Path

import numpy as np
import pandas
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from turncoat.reporting.style import ACTIVATIONS, STARTS, empty, interval_line, look, save
from turncoat.statistics.gating_claims import comparable

UPDATES = {
    "rank_gradient_out": "gradient",
    "rank_update_out": "real update, saved state",
    "rank_fresh_update_out": "real update, fresh state",
}


CLOSE = 0.15  # half the height of the close-up on starts that were not made conditional
CONDITIONAL = ("conditional", "benign_conditional", "placebo_conditional", "deceptive", "internal_strategic")


def headline(levels: pandas.DataFrame, margin: float, folder: Path) -> str:
    """C and D against capability, a column for each distance, a line for each start. Returns the SVG.

    The last row shows D again, close up, without the starts that were made conditional, against the margin.
    """
    own = levels[(levels.setting == "") & (levels.variant == "") & (levels.distance > 0)]
    own = own[own.match.str.startswith("capability") & own["mean"].notna()]
    own = own.assign(capability=own.match.str.removeprefix("capability ").astype(float))
    distances = sorted(own.distance.unique())
    if not distances:
        return nothing("no arm at a distance above 0 reaches a compared capability", folder, "headline")
    figure = Figure(figsize=(3.2 * len(distances) + 0.6, 8.2))
    grid = figure.subplots(3, len(distances), sharex=True, sharey="row", squeeze=False)
    for column, distance in enumerate(distances):
        for row, outcome in enumerate(("c", "d", "d")):
            axes = grid[row, column]
            axes.axhline(0, color="#555555", linewidth=0.8)
            here = own[(own.distance == distance) & (own.outcome == outcome)]
            if row == 2:
                here = here[~here.start.isin(CONDITIONAL)]
                axes.axhspan(-margin, margin, color="#f0f0f0", zorder=0)
                axes.set_ylim(-CLOSE, CLOSE)
            for start in ordered(here.start):
                line = here[here.start == start].sort_values("capability")
                dash = "--" if start.startswith("scratch") else "-"
                interval_line(
                    axes,
                    line.capability,
                    line["mean"],
                    line.low,
                    line.high,
                    linestyle=dash,
                    label=start,
                    **look(start),
                )
            axes.set_title(f"{distance:g}° between X and Y" if row == 0 else "")
        grid[2, column].set_xlabel("capability on X")
    grid[0, 0].set_ylabel("C: shortfall of transfer")
    grid[1, 0].set_ylabel("D: C less placebo")
    grid[2, 0].set_ylabel("D close up (grey: margin)")
    handles = {
        label: handle for axes in grid.flat for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    labels = ordered(pandas.Series(list(handles)))
    figure.legend(
        [handles[label] for label in labels],
        labels,
        loc="upper center",
        ncols=min(6, len(labels)),
        bbox_to_anchor=(0.5, 0.0),
    )
    figure.tight_layout()
    return save(figure, folder, "headline")


def persistence(table: pandas.DataFrame, folder: Path) -> str:
    """How much of the unoverseen choices at step 0 is kept as fine-tuning goes on. Returns the SVG."""
    own = table[(table.setting == "") & (table.variant == "") & ~table.start.str.startswith("scratch")]
    distances = sorted(own.distance.unique())
    if not distances:
        return nothing("no pre-trained start was fine-tuned", folder, "persistence")
    figure = Figure(figsize=(2.7 * len(distances) + 0.8, 3.2))
    grid = figure.subplots(1, len(distances), sharey=True, squeeze=False)[0]
    for axes, distance in zip(grid, distances, strict=True):
        here = own[own.distance == distance]
        for start in ordered(here.start):
            line = here[here.start == start].sort_values("step")
            interval_line(axes, line.episodes, line.retained, line.low, line.high, label=start, **look(start))
        axes.axhline(0.5, color="#555555", linewidth=0.8, linestyle=":")
        _episode_axis(axes, here.episodes)
        axes.set_title("X = Y (drift control)" if distance == 0 else f"{distance:g}°")
        axes.set_xlabel("episodes")
    grid[0].set_ylabel("unoverseen choices kept")
    grid[0].set_ylim(top=1.05)
    figure.legend(*grid[-1].get_legend_handles_labels(), loc="lower center", ncols=4, bbox_to_anchor=(0.5, -0.08))
    figure.tight_layout()
    return save(figure, folder, "persistence")


def gating(ledger: pandas.DataFrame, folder: Path) -> str:
    """Rank correlation of |h| with gradient and update, and what passes closed units. Returns the SVG."""
    sound = comparable(ledger)
    if sound.empty:
        return nothing("no fine-tuned model has a gradient ledger", folder, "gating")
    optimizers = sorted(sound.optimizer.unique())
    activations = [name for name in ACTIVATIONS if name in set(sound.activation_function)]
    figure = Figure(figsize=(9.6, 3.1 * len(optimizers)))
    grid = figure.subplots(len(optimizers), 2, squeeze=False, width_ratios=(1.5, 1))
    for row, optimizer in enumerate(optimizers):
        here = sound[sound.optimizer == optimizer]
        _correlations(grid[row, 0], here, activations)
        _closed(grid[row, 1], here, activations)
        grid[row, 0].set_ylabel(f"{optimizer}\nrank correlation with |h|")
        grid[row, 1].set_ylabel("squared share")
    grid[0, 0].set_title("outgoing weights: activation against gradient and update")
    grid[0, 1].set_title("incoming weights: what passes z ≤ 0")
    for axes in (grid[-1, 0], grid[-1, 1]):
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=3, fontsize=8)
    figure.tight_layout()
    return save(figure, folder, "gating")


def _episode_axis(axes: Axes, episodes: pandas.Series) -> None:
    """Logarithmic from the first snapshot on, with room for step 0."""
    first, last = float(episodes[episodes > 0].min()), float(episodes.max())
    axes.set_xscale("symlog", linthresh=first, linscale=0.5)
    decades = [10.0**power for power in range(1, 12) if 2 * first < 10.0**power <= last]
    axes.set_xlim(0, 1.3 * last)
    axes.set_xticks([0, *decades])
    axes.minorticks_off()


def _correlations(axes: Axes, ledger: pandas.DataFrame, activations: list[str]) -> None:
    layers = sorted(ledger.layer.unique())
    fills = ("#0072B2", "#E69F00", "#CC79A7")
    places = [(activation, layer) for activation in activations for layer in layers]
    for offset, (column, label) in enumerate(UPDATES.items()):
        values = [_spread(ledger, activation, layer, column) for activation, layer in places]
        _bars(axes, values, offset, fills[offset], label)
    axes.axhline(0, color="#555555", linewidth=0.8)
    axes.set_xticks(range(len(places)), [f"{name.replace('_relu', '')}\n{layer}" for name, layer in places], fontsize=8)
    axes.set_ylim(min(-0.1, axes.get_ylim()[0]), 1.05)


def _closed(axes: Axes, ledger: pandas.DataFrame, activations: list[str]) -> None:
    columns = {
        "closed_share_in": ("gradient", "#0072B2"),
        "dead_share_update_in": ("update on dead units, saved", "#E69F00"),
        "dead_share_fresh_update_in": ("fresh", "#CC79A7"),
    }
    for offset, (column, (label, fill)) in enumerate(columns.items()):
        values = [_spread(ledger, activation, None, column) for activation in activations]
        _bars(axes, values, offset, fill, label)
    axes.set_xticks(range(len(activations)), [name.replace("_relu", "") for name in activations], fontsize=8)
    axes.set_ylim(bottom=0)


def _bars(axes: Axes, values: list[tuple[float, float]], offset: int, fill: str, label: str) -> None:
    means = [mean for mean, _ in values]
    spreads = [spread for _, spread in values]
    places = np.arange(len(values)) + 0.27 * (offset - 1)
    axes.bar(places, means, 0.25, yerr=spreads, color=fill, label=label, error_kw={"elinewidth": 0.8})


def _spread(ledger: pandas.DataFrame, activation: str, layer: int | None, column: str) -> tuple[float, float]:
    """Mean over models and standard deviation between them."""
    chosen = ledger[ledger.activation_function == activation]
    if layer is not None:
        chosen = chosen[chosen.layer == layer]
    values = chosen.groupby("organism_id")[column].mean().dropna()
    return (float(values.mean()), float(values.std(ddof=1))) if len(values) > 1 else (np.nan, 0.0)


def ordered(starts: pandas.Series) -> list[str]:
    """Starts that are present, in the order of the legend."""
    present = set(starts)
    return [start for start in STARTS if start in present] + sorted(present - set(STARTS))


def nothing(text: str, folder: Path, name: str) -> str:
    """A figure that says why there is nothing to see."""
    figure = Figure(figsize=(6, 1.2))
    empty(figure.subplots(), text)
    return save(figure, folder, name)
