"""Figures of outcomes: C and D at equal capability, what is kept through fine-tuning, and where gradient passes."""

import numpy as np
import pandas

from turncoat.reporting.charts import Axis, Chart, Panel, Series, frame, nothing, places
from turncoat.reporting.style import ACTIVATIONS, STARTS, look
from turncoat.statistics.gating_claims import comparable

UPDATES = {
    "rank_gradient_out": "gradient",
    "rank_update_out": "real update, saved state",
    "rank_fresh_update_out": "real update, fresh state",
}
CLOSED = {
    "closed_share_in": "gradient",
    "dead_share_update_in": "real update, saved state",
    "dead_share_fresh_update_in": "real update, fresh state",
}
FILLS = ("#0072B2", "#E69F00", "#CC79A7")
CLOSE = 0.15  # half the height of the close-up on starts that were not made conditional
CONDITIONAL = ("conditional", "benign_conditional", "placebo_conditional", "deceptive", "internal_strategic")


def headline(levels: pandas.DataFrame, margin: float, minimum: int) -> Chart:
    """C and D against capability, a column for each distance, a line for each start.

    The last row shows D again, close up, without the starts that were made conditional, against the margin. Means of
    fewer than `minimum` models are left out: few that arrive early are no picture of an arm.
    """
    label = "C and D against capability on X, by start and distance between the objectives, with intervals"
    own = headline_rows(levels, minimum)
    distances = sorted(own.distance.unique())
    if not distances:
        return nothing(
            "headline", label, f"no arm at a distance above 0 reaches a compared capability with {minimum} models"
        )
    rows = (
        ("c", "C: shortfall of transfer", False),
        ("d", "D: C less placebo", False),
        ("d", "D close up (grey: margin)", True),
    )
    panels = []
    for outcome, words, close in rows:
        shown = own[own.outcome == outcome]
        axis = Axis(words, limits=(-CLOSE, CLOSE) if close else _room(shown))
        for distance in distances:
            here = shown[(shown.distance == distance) & ~(close & shown.start.isin(CONDITIONAL))]
            lines = [_line(start, here[here.start == start].sort_values("capability")) for start in ordered(here.start)]
            panels.append(
                Panel(
                    f"{words.split(' ')[0].rstrip(':')} at {distance:g}°" + (", close up" if close else ""),
                    lines,
                    Axis("capability on X"),
                    axis,
                    rules=[("y", 0, False)],
                    shades=[("y", -margin, margin, False)] if close else [],
                )
            )
    return Chart("headline", label, panels, len(distances), (3.2, 2.6))


def headline_rows(levels: pandas.DataFrame, minimum: int) -> pandas.DataFrame:
    """Rows of the table `levels` that the headline shows, with the capability as a number: the study's own settings,
    X apart from Y, at equal capability, where at least `minimum` models got there."""
    own = levels[(levels.setting == "") & (levels.variant == "") & (levels.distance > 0)]
    own = own[own.match.str.startswith("capability") & own["mean"].notna() & (own.n >= minimum)]
    return own.assign(capability=own.match.str.removeprefix("capability ").astype(float))


def _room(rows: pandas.DataFrame) -> tuple[float, float]:
    """Ends of an axis that all panels of a row share."""
    low, high = float(rows.low.fillna(rows["mean"]).min()), float(rows.high.fillna(rows["mean"]).max())
    low, high = min(low, 0.0), max(high, 0.0)
    room = 0.05 * (high - low or 1)
    return low - room, high + room


def _line(start: str, line: pandas.DataFrame) -> Series:
    data = frame(x=line.capability, y=line["mean"], low=line.low, high=line.high, n=line.n)
    return Series(start, data, dashed=start.startswith("scratch"), **look(start))


def persistence(table: pandas.DataFrame) -> Chart:
    """How much of the unoverseen choices at step 0 is kept as fine-tuning goes on, a panel for each distance."""
    label = "Share of unoverseen step-0 choices kept against episodes of fine-tuning, by start and distance"
    own = table[(table.setting == "") & (table.variant == "") & ~table.start.str.startswith("scratch")]
    distances = sorted(own.distance.unique())
    if not distances:
        return nothing("persistence", label, "no pre-trained start was fine-tuned")
    low = min(0.0, float(own.low.min())) - 0.03
    panels = []
    for distance in distances:
        here = own[own.distance == distance]
        first, last = float(here.episodes[here.episodes > 0].min()), float(here.episodes.max())
        lines = [_kept(start, here[here.start == start].sort_values("step"), first) for start in ordered(here.start)]
        decades = [10**power for power in range(1, 12) if first < 10**power <= last]
        ticks = {_place(0, first): "0"} | {_place(decade, first): _short(decade) for decade in decades}
        title = "X = Y (drift control)" if distance == 0 else f"{distance:g}°"
        axes = Axis("episodes", ticks), Axis("unoverseen choices kept", limits=(low, 1.05))
        panels.append(Panel(title, lines, *axes, rules=[("y", 0.5, True)]))
    return Chart("persistence", label, panels, len(distances), (2.9, 2.8))


def _kept(start: str, line: pandas.DataFrame, first: float) -> Series:
    at = [_place(episodes, first) for episodes in line.episodes]
    words = [f"{episodes:,.0f}" for episodes in line.episodes]
    data = frame(x=at, y=line.retained, low=line.low, high=line.high, n=line.n, shown=words)
    return Series(start, data, **look(start))


def _place(episodes: float, first: float) -> float:
    """Where a count of episodes stands on a logarithmic axis with room for none."""
    return float(np.log10(episodes)) if episodes > 0 else float(np.log10(first)) - 0.5


def _short(count: int) -> str:
    return f"{count // 1_000_000}M" if count >= 1_000_000 else f"{count // 1_000}k" if count >= 1_000 else f"{count}"


def gating(ledger: pandas.DataFrame) -> Chart:
    """Rank correlation of |h| with gradient and update, and what passes closed units, a row for each optimizer."""
    label = "Rank correlation of activation with gradient and update, and the share of both that passes closed units"
    sound = comparable(ledger)
    if sound.empty:
        return nothing("gating", label, "no fine-tuned model has a gradient ledger")
    activations = [name for name in ACTIVATIONS if name in set(sound.activation_function)]
    groups = [(activation, layer) for activation in activations for layer in sorted(sound.layer.unique())]
    panels = []
    for optimizer in sorted(sound.optimizer.unique()):
        here = sound[sound.optimizer == optimizer]
        correlations = [
            _spreads(words, [_spread(here, *group, column) for group in groups], offset)
            for offset, (column, words) in enumerate(UPDATES.items())
        ]
        names = [f"{name.replace('_relu', '')}\n{layer}" for name, layer in groups]
        lowest = min(-0.1, *(float(series.data.low.min()) for series in correlations))
        axes = Axis(ticks=places(names)), Axis("rank correlation with |h|", limits=(lowest, 1.05))
        panels.append(Panel(f"{optimizer}: outgoing weights", correlations, *axes, rules=[("y", 0, False)]))
        shares = [
            _spreads(words, [_spread(here, activation, None, column) for activation in activations], offset)
            for offset, (column, words) in enumerate(CLOSED.items())
        ]
        ticks = places([name.replace("_relu", "") for name in activations])
        panels.append(Panel(f"{optimizer}: what passes z ≤ 0", shares, Axis(ticks=ticks), Axis("squared share")))
    return Chart("gating", label, panels, 2, (4.4, 2.8))


def _spreads(name: str, values: list[tuple[float, float, int]], offset: int) -> Series:
    means, spreads, counts = (np.array(column, float) for column in zip(*values, strict=True))
    at = np.arange(len(values)) + 0.27 * (offset - 1)
    data = frame(x=at, y=means, low=means - spreads, high=means + spreads, n=counts)
    return Series(name, data, "bars", FILLS[offset], width=0.25)


def _spread(ledger: pandas.DataFrame, activation: str, layer: int | None, column: str) -> tuple[float, float, int]:
    """Mean over models, standard deviation between them, and their number."""
    chosen = ledger[ledger.activation_function == activation]
    if layer is not None:
        chosen = chosen[chosen.layer == layer]
    values = chosen.groupby("organism_id")[column].mean().dropna()
    if len(values) < 2:
        return np.nan, 0.0, len(values)
    return float(values.mean()), float(values.std(ddof=1)), len(values)


def ordered(starts: pandas.Series) -> list[str]:
    """Starts that are present, in the order of the legend."""
    present = set(starts)
    return [start for start in STARTS if start in present] + sorted(present - set(STARTS))
