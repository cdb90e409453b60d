"""Figures of the gating claims: where gradient goes, what reward does to motives, what the gate protects."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from turncoat.reporting.figures import nothing, ordered
from turncoat.reporting.style import ACTIVATIONS, look, save
from turncoat.statistics.gating_claims import comparable
from turncoat.statistics.intervals import t_interval
from turncoat.statistics.reinforcement_arms import Primary

MOTIVES = {"x": ("#0072B2", "X, woken when overseen"), "m": ("#D55E00", "M, woken when unoverseen")}
CIRCUITS = {
    "x": ("#0072B2", "X circuit"),
    "m": ("#D55E00", "M circuit"),
    "random": ("#999999", "circuit of a random objective"),
}
STATES = ("overseen", "unoverseen")
TWO_MOTIVES = ("conditional", "deceptive")
SIGNALS = {"reward": "reward", "own_choice": "own choices"}
HEATS = {
    "rank_gradient_out": "gradient with |h|",
    "rank_update_out": "real update with |h|",
    "closed_share_in": "gradient through z ≤ 0",
}
OPTIMIZERS = ("sgd", "momentum", "adam", "adamw")


def flow(ledger: pandas.DataFrame, confidence: float, folder: Path) -> str:
    """Where gradient goes: how open each circuit is in each cue state, and its gradient per unit. Returns the SVG.

    Of fine-tuned models with two motives, at the last step, the study's own settings. Gradient: mean square over the
    circuit's units of the norm on incoming weights, relative to all units of the layer in that model and state. Bars
    are Student intervals over models.
    """
    own = ledger[~ledger.diverged.astype(bool) & (ledger.step == ledger.steps) & (ledger.setting == "")]
    own = own[(own.variant == "") & (own.distance > 0) & own.state.isin(STATES)]
    starts = [start for start in TWO_MOTIVES if start in set(own.start)]
    if not starts:
        return nothing("no start of this study serves two motives", folder, "flow")
    own = own[own.start == starts[0]].assign(square=lambda frame: frame.gradient_in**2 / frame.units)
    keys = ["organism_id", "layer", "state"]
    everyone = own[own.circuit == "all"].set_index(keys).square
    own = own.assign(relative=own.square.to_numpy() / everyone.loc[pandas.MultiIndex.from_frame(own[keys])].to_numpy())
    layers = sorted(own.layer.unique())
    figure = Figure(figsize=(8.6, 2.5 * len(layers) + 0.7))
    grid = figure.subplots(len(layers), 2, squeeze=False)
    for row, layer in enumerate(layers):
        for column, (name, title) in enumerate(
            (("open_share", "open share"), ("relative", "squared gradient per unit"))
        ):
            axes = grid[row, column]
            _circuit_bars(axes, own[own.layer == layer], name, confidence)
            axes.set_title(f"layer {layer}: {title}" + (", over the layer's mean" if column else ""))
    grid[0, 0].set_ylim(0, 1)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="lower center", ncols=3, bbox_to_anchor=(0.5, -0.06))
    figure.suptitle(f"start {starts[0]}, after fine-tuning", y=1.0)
    figure.tight_layout()
    return save(figure, folder, "flow")


def _circuit_bars(axes: Axes, rows: pandas.DataFrame, column: str, confidence: float) -> None:
    for offset, (circuit, (colour, label)) in enumerate(CIRCUITS.items()):
        found = [
            t_interval(
                rows[(rows.circuit == circuit) & (rows.state == state)][column].dropna().to_numpy(float), confidence
            )
            for state in STATES
        ]
        errors = np.nan_to_num([item.high - item.value for item in found])
        places = np.arange(len(STATES)) + 0.27 * (offset - 1)
        axes.bar(places, [item.value for item in found], 0.25, yerr=errors, color=colour, label=label)
    if column == "relative":
        axes.axhline(1, color="#555555", linewidth=0.8)
    axes.set_xticks(range(len(STATES)), STATES)


def reinforcement(
    table: pandas.DataFrame, section: Mapping[str, Any], distance: float, confidence: float, folder: Path
) -> str:
    """Change of both motives' gains by training prompt and signal, planted and trained networks. Returns the SVG.

    Of the arms that primary rows of the claims stand in, the prompt and the signal apart; trained networks of the
    study's own settings at the premise distance. `section` is the configuration's `reinforcement`. Bars are Student
    intervals over models.
    """
    sound = table[table.matched.astype(bool) & ~table.diverged.astype(bool)] if len(table) else table
    groups = _reinforced_groups(sound, Primary.of(section), distance) if len(sound) else {}
    if not groups:
        return nothing("this study reinforces no motive", folder, "reinforcement")
    figure = Figure(figsize=(4.2 * len(groups) + 0.6, 3.4))
    grid = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    for axes, (name, rows) in zip(grid, groups.items(), strict=True):
        _changes(axes, rows, confidence)
        axes.set_title(name)
    grid[0].set_ylabel("change of gain,\nin initial woken gains")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="lower center", ncols=2, bbox_to_anchor=(0.5, -0.07))
    figure.tight_layout()
    return save(figure, folder, "reinforcement")


def _reinforced_groups(sound: pandas.DataFrame, primary: Primary, distance: float) -> dict[str, pandas.DataFrame]:
    arms = sound.to_dict("records")

    def of(test: Callable[..., bool], **how: Any) -> pandas.DataFrame:
        wanted = [abs(arm["prompt"]) == 1 and test(arm, arm["prompt"], **how) for arm in arms]
        return sound[np.array(wanted, bool)]

    groups = {"planted": of(primary.planted)}
    for start in TWO_MOTIVES:
        groups[f"trained, {start}"] = of(primary.trained, distance=distance, start=start)
    return {name: rows for name, rows in groups.items() if len(rows)}


def _changes(axes: Axes, rows: pandas.DataFrame, confidence: float) -> None:
    places = [(prompt, signal) for prompt in (1.0, -1.0) for signal in SIGNALS if signal in set(rows.signal)]
    for offset, (motive, (colour, label)) in enumerate(MOTIVES.items()):
        means, errors = [], []
        for prompt, signal in places:
            arm = rows[(rows.prompt == prompt) & (rows.signal == signal)]
            column = "woken_change" if (motive == "x") == (prompt > 0) else "dormant_change"
            found = t_interval(arm[column].dropna().to_numpy(float), confidence)
            means.append(found.value)
            errors.append(found.high - found.value)
        heights = np.arange(len(places)) + 0.36 * (offset - 0.5)
        axes.bar(heights, means, 0.34, yerr=np.nan_to_num(errors), color=colour, label=label)
    axes.axhline(0, color="#555555", linewidth=0.8)
    names = {1.0: "overseen", -1.0: "unoverseen"}
    axes.set_xticks(
        range(len(places)), [f"{SIGNALS[signal]}\n{names[prompt]}" for prompt, signal in places], fontsize=8
    )


def correction(contrasts: pandas.DataFrame, distance: float, folder: Path) -> str:
    """Unoverseen agreement with M, natural minus each gate, a panel for each start; one distance. Returns the SVG."""
    contrasts = contrasts[(contrasts.distance == distance) & (contrasts.variant == "")]
    gated = contrasts[contrasts.reference.str.startswith("without gate ") & (contrasts.outcome == "m")]
    gated = gated[gated.estimate.notna() & (gated.match != "final step") & gated.match.str.startswith("capability")]
    starts = ordered(gated.start)
    if not starts:
        return nothing("no arm of this study is fine-tuned under gate control", folder, "correction")
    settings = sorted(set(gated.setting), key=lambda words: (words.count(","), words))
    places = {setting: place for place, setting in enumerate(reversed(settings))}
    matches = sorted(set(gated.match))
    figure = Figure(figsize=(3.6 * len(starts) + 2.4, 0.36 * len(settings) + 1.5))
    grid = figure.subplots(1, len(starts), sharey=True, sharex=True, squeeze=False)[0]
    for axes, start in zip(grid, starts, strict=True):
        for number, match in enumerate(matches):
            rows = gated[(gated.start == start) & (gated.match == match)]
            heights = rows.setting.map(places).to_numpy(float) + 0.2 * (number - (len(matches) - 1) / 2)
            # natural minus gate: the contrasts hold gate minus natural
            errors = np.stack([rows.high - rows.estimate, rows.estimate - rows.low]).astype(float)
            axes.errorbar(
                -rows.estimate,
                heights,
                xerr=np.maximum(np.nan_to_num(errors), 0),
                linestyle="",
                marker=("o", "s", "^", "D")[number % 4],
                color=look(start)["color"],
                alpha=0.45 + 0.55 * (number + 1) / len(matches),
                markersize=4,
                label=match,
            )
        axes.axvline(0, color="#555555", linewidth=0.8)
        axes.set_title(start)
        axes.set_xlabel("unoverseen agreement with M,\nnatural minus this gate")
    grid[0].set_yticks(list(places.values()), list(places))
    figure.legend(*grid[0].get_legend_handles_labels(), loc="lower center", ncols=3, bbox_to_anchor=(0.5, -0.06))
    figure.tight_layout()
    return save(figure, folder, "correction")


def factorial(ledger: pandas.DataFrame, folder: Path) -> str:
    """Activation by optimizer, first hidden layer: what follows activation, and what passes closed gates. Returns the
    SVG."""
    sound = comparable(ledger)
    sound = sound[sound.layer == 1]
    activations = [name for name in ACTIVATIONS if name in set(sound.activation_function)]
    optimizers = [name for name in OPTIMIZERS if name in set(sound.optimizer)]
    if len(activations) < 2 or len(optimizers) < 2:
        return nothing("no arm of this study crosses activations with optimizers", folder, "factorial")
    figure = Figure(figsize=(3.5 * len(HEATS) + 1, 0.42 * len(activations) + 1.6))
    grid = figure.subplots(1, len(HEATS), sharey=True, squeeze=False)[0]
    for axes, (column, title) in zip(grid, HEATS.items(), strict=True):
        means = sound.groupby(["activation_function", "optimizer"])[column].mean()
        values = np.array([[means.get((row, name), np.nan) for name in optimizers] for row in activations])
        _heat(axes, values, optimizers, activations)
        axes.set_title(title)
    figure.tight_layout()
    return save(figure, folder, "factorial")


def _heat(axes: Axes, values: np.ndarray, columns: Sequence[str], rows: Sequence[str]) -> None:
    axes.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    axes.grid(visible=False)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    for (row, column), value in np.ndenumerate(values):
        dark = abs(value) > 0.6
        text = "" if np.isnan(value) else f"{value:.2f}"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
