"""Figures of the gating claims: where gradient goes, what reward does to motives, what the gate protects."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas

from turncoat.reporting.charts import Axis, Chart, Heat, Panel, Series, frame, nothing, places
from turncoat.reporting.figures import ordered
from turncoat.reporting.style import ACTIVATIONS, look
from turncoat.statistics.gating_claims import comparable
from turncoat.statistics.intervals import Estimate, t_interval
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


def flow(ledger: pandas.DataFrame, distance: float, confidence: float) -> Chart:
    """Where gradient goes: how open each circuit is in each cue state, and its gradient per unit.

    Of fine-tuned models with two motives, at the last step and one distance, the study's own settings. Gradient: mean
    square over the circuit's units of the norm on incoming weights, relative to all units of the layer in that model
    and state. Bars are Student intervals over seeds.
    """
    label = "Open share and squared gradient per unit of the X and the M circuit, overseen and unoverseen"
    label += f", at {distance:g} degrees"
    own = ledger[~ledger.diverged.astype(bool) & (ledger.step == ledger.steps) & (ledger.setting == "")]
    own = own[(own.variant == "") & (own.distance == distance) & own.state.isin(STATES)]
    starts = [start for start in TWO_MOTIVES if start in set(own.start)]
    if not starts:
        return nothing("flow", label, f"no start with two motives was fine-tuned at {distance:g} degrees")
    own = own[own.start == starts[0]].assign(square=lambda frame: frame.gradient_in**2 / frame.units)
    keys = ["organism_id", "layer", "state"]
    everyone = own[own.circuit == "all"].set_index(keys).square
    own = own.assign(relative=own.square.to_numpy() / everyone.loc[pandas.MultiIndex.from_frame(own[keys])].to_numpy())
    panels = []
    for layer in sorted(own.layer.unique()):
        rows = own[own.layer == layer]
        title = f"{starts[0]}, layer {layer}"
        axis = Axis(ticks=places(STATES))
        open_bars, gradient_bars = (_circuits(rows, column, confidence) for column in ("open_share", "relative"))
        panels.append(Panel(title, open_bars, axis, Axis("open share", limits=(0, 1))))
        value = Axis("squared gradient per unit,\nover the layer's mean")
        panels.append(Panel(title, gradient_bars, axis, value, rules=[("y", 1, True)]))
    return Chart("flow", label, panels, 2, (4.2, 2.5))


def _circuits(rows: pandas.DataFrame, column: str, confidence: float) -> list[Series]:
    found = []
    for offset, (circuit, (colour, label)) in enumerate(CIRCUITS.items()):
        of_circuit = rows[rows.circuit == circuit]
        estimates = [_interval(of_circuit[of_circuit.state == state], column, confidence) for state in STATES]
        at = np.arange(len(STATES)) + 0.27 * (offset - 1)
        found.append(Series(label, _estimates(at, estimates), "bars", colour, width=0.25))
    return found


def _interval(rows: pandas.DataFrame, column: str, confidence: float) -> Estimate:
    """Mean over seeds, each being the mean of its models, with Student's interval: seeds are what is independent."""
    return t_interval(rows.groupby("seed")[column].mean().dropna().to_numpy(float), confidence)


def _estimates(at: np.ndarray, found: Sequence[Estimate]) -> pandas.DataFrame:
    return frame(
        x=at,
        y=[item.value for item in found],
        low=[item.low for item in found],
        high=[item.high for item in found],
        n=[item.count for item in found],
    )


def reinforcement(table: pandas.DataFrame, section: Mapping[str, Any], distance: float, confidence: float) -> Chart:
    """Change of both motives' gains by training prompt and signal, planted and trained networks.

    Of the arms that primary rows of the claims stand in, the prompt and the signal apart; trained networks of the
    study's own settings at the premise distance. `section` is the configuration's `reinforcement`. Bars are Student
    intervals over seeds.
    """
    label = "Change of the gains of X and M by training prompt and signal, planted and trained networks"
    sound = table[table.matched.astype(bool) & ~table.diverged.astype(bool)] if len(table) else table
    groups = _reinforced_groups(sound, Primary.of(section), distance) if len(sound) else {}
    if not groups:
        return nothing("reinforcement", label, "this study reinforces no motive")
    panels = [_changes(name, rows, confidence) for name, rows in groups.items()]
    return Chart("reinforcement", label, panels, len(panels), (4.2, 3.0))


def _reinforced_groups(sound: pandas.DataFrame, primary: Primary, distance: float) -> dict[str, pandas.DataFrame]:
    arms = sound.to_dict("records")

    def of(test: Callable[..., bool], **how: Any) -> pandas.DataFrame:
        wanted = [abs(arm["prompt"]) == 1 and test(arm, arm["prompt"], **how) for arm in arms]
        return sound[np.array(wanted, bool)]

    groups = {"planted": of(primary.planted)}
    for start in TWO_MOTIVES:
        groups[f"trained, {start}"] = of(primary.trained, distance=distance, start=start)
    return {name: rows for name, rows in groups.items() if len(rows)}


def _changes(title: str, rows: pandas.DataFrame, confidence: float) -> Panel:
    arms = [(prompt, signal) for prompt in (1.0, -1.0) for signal in SIGNALS if signal in set(rows.signal)]
    bars = []
    for offset, (motive, (colour, label)) in enumerate(MOTIVES.items()):
        found = []
        for prompt, signal in arms:
            arm = rows[(rows.prompt == prompt) & (rows.signal == signal)]
            column = "woken_change" if (motive == "x") == (prompt > 0) else "dormant_change"
            found.append(_interval(arm, column, confidence))
        at = np.arange(len(arms)) + 0.36 * (offset - 0.5)
        bars.append(Series(label, _estimates(at, found), "bars", colour, width=0.34))
    names = {1.0: "overseen", -1.0: "unoverseen"}
    ticks = places([f"{SIGNALS[signal]}\n{names[prompt]}" for prompt, signal in arms])
    value = Axis("change of gain, in initial woken gains")
    return Panel(title, bars, Axis(ticks=ticks), value, rules=[("y", 0, False)])


def correction(contrasts: pandas.DataFrame, distance: float) -> Chart:
    """Unoverseen agreement with M, natural minus each gate, a panel for each start; one distance."""
    label = "Agreement of unoverseen choices with M after fine-tuning, natural gate minus each gate control"
    contrasts = contrasts[(contrasts.distance == distance) & (contrasts.variant == "")]
    gated = contrasts[contrasts.reference.str.startswith("without gate ") & (contrasts.outcome == "m")]
    gated = gated[gated.estimate.notna() & gated.match.str.startswith("capability")]
    starts = ordered(gated.start)
    if not starts:
        return nothing("correction", label, "no arm of this study is fine-tuned under gate control")
    settings = sorted(set(gated.setting), key=lambda words: (words.count(","), words))
    at = {setting: float(place) for place, setting in enumerate(settings)}
    matches = sorted(set(gated.match))
    # natural minus gate: the contrasts hold gate minus natural
    gated = gated.assign(value=-gated.estimate, value_low=-gated.high, value_high=-gated.low)
    panels = []
    for start in starts:
        points = []
        for number, match in enumerate(matches):
            rows = gated[(gated.start == start) & (gated.match == match)]
            height = rows.setting.map(at).to_numpy(float) + 0.2 * (number - (len(matches) - 1) / 2)
            data = frame(x=rows.value, y=height, low=rows.value_low, high=rows.value_high, n=rows.n_pairs)
            marker = ("o", "s", "^", "D")[number % 4]
            points.append(Series(match, data, "points", look(start)["color"], marker, across=True, size=4.5))
        axes = (
            Axis("unoverseen agreement with M,\nnatural minus this gate"),
            Axis(ticks=places(settings), limits=(-0.6, len(settings) - 0.4), reversed=True),
        )
        panels.append(Panel(start.replace("_", " "), points, *axes, rules=[("x", 0, False)]))
    return Chart("correction", label, panels, len(panels), (3.6, 0.36 * len(settings) + 1.3))


def factorial(ledger: pandas.DataFrame) -> Chart:
    """Activation by optimizer, first hidden layer: what follows activation, and what passes closed gates."""
    label = "First hidden layer, activation by optimizer: rank correlations, and the gradient through closed units"
    sound = comparable(ledger)
    sound = sound[sound.layer == 1]
    activations = [name for name in ACTIVATIONS if name in set(sound.activation_function)]
    optimizers = [name for name in OPTIMIZERS if name in set(sound.optimizer)]
    if len(activations) < 2 or len(optimizers) < 2:
        return nothing("factorial", label, "no arm of this study crosses activations with optimizers")
    panels = []
    for column, title in HEATS.items():
        means = sound.groupby(["activation_function", "optimizer"])[column].mean()
        values = [[means.get((row, name), np.nan) for name in optimizers] for row in activations]
        heat = Heat(pandas.DataFrame(values, index=activations, columns=optimizers), -1, 1, diverging=True)
        axes = Axis(ticks=places(optimizers)), Axis(ticks=places(activations), reversed=True)
        panels.append(Panel(title, (), *axes, heat=heat))
    return Chart("factorial", label, panels, len(panels), (3.4, 0.42 * len(activations) + 1.2))
