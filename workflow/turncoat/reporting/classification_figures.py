"""Figures of what models want, what carries it inside them, and how far the classifier can be trusted."""

import numpy as np
import pandas

from turncoat.reporting.charts import Axis, Chart, Heat, Panel, Series, frame, nothing, places
from turncoat.reporting.figures import ordered
from turncoat.reporting.style import look
from turncoat.tables.alignment import TYPES

OVERSIGHT, RANDOM, PLACEBO = "#0072B2", "#bbbbbb", "#D55E00"


def motives(table: pandas.DataFrame, distance: float) -> Chart:
    """Compliance at a low and a high price, before and after fine-tuning; and over cue strength."""
    label = "Compliance at a low and a high price before and after fine-tuning, and agreement with X by cue strength"
    own = table[(table.setting == "") & (table.variant == "") & (table.distance == distance)]
    own = own[~own.start.str.startswith("planted")]
    starts = [start for start in ordered(own.start) if start != "scratch_exposed"]
    if not starts:
        return nothing("motives", label, f"no arm at {distance:g} degrees")
    panels = [
        _prices(f"{when} fine-tuning: compliance with {name}", own[(own.when == when) & (own.part == part)], starts)
        for when, part, name in (("before", "slot1", "slot 1"), ("after", "x", "X"))
    ]
    for cue in ("oversight", "placebo"):
        here = own[(own.when == "after") & (own.quantity == f"agreement_x_{cue}")]
        lines = [_strength(start, here[here.start == start]) for start in ordered(here.start)]
        axes = Axis(f"strength of the {cue} cue (dotted: trained)"), Axis("agreement with X")
        panels.append(Panel(f"after: as the {cue} cue grows", lines, *axes, rules=[("x", -1, True), ("x", 1, True)]))
    return Chart("motives", label, panels, 2, (5, 3.4))


def _strength(start: str, rows: pandas.DataFrame) -> Series:
    line = rows.assign(strength=rows.part.astype(float)).sort_values("strength")
    data = frame(x=line.strength, y=line["mean"], low=line.low, high=line.high, n=line.n)
    return Series(start, data, dashed=start.startswith("scratch"), **look(start))


def _prices(title: str, own: pandas.DataFrame, starts: list[str]) -> Panel:
    """For each start, compliance at the low price (hollow) and at the high price (filled), joined."""
    found: list[Series] = []
    for row, start in enumerate(starts):
        here = own[own.start == start].set_index("quantity")
        if not {"price_low", "price_high"} <= set(here.index) or np.isnan(here["mean"].get("price_low", np.nan)):
            found.append(Series(start, frame(x=[0.5], y=[row], note="too few conflicts"), "text", legend=False))
            continue
        how = look(start)
        points = here.loc[["price_low", "price_high"]]
        joined = frame(x=points["mean"], y=row, shown=["low price", "high price"], n=points.n)
        found.append(Series(start, joined, "line", how["color"], "", legend=False))
        for price, hollow in (("low", True), ("high", False)):
            point = here.loc[f"price_{price}"]
            shown = f"{start.replace('_', ' ')}, {price} price"
            data = frame(x=[point["mean"]], y=row, low=[point.low], high=[point.high], n=[point.n], shown=shown)
            found.append(Series(start, data, "points", how["color"], "o", hollow=hollow, across=True, legend=False))
        if point.n < point.models:
            some = frame(x=[1.0], y=[row - 0.3], note=f"{int(point.n)} of {int(point.models)}")
            found.append(Series(start, some, "text", legend=False))
    value = Axis("share of conflicts on which it complies\n(open: low price, filled: high price)", limits=(-0.03, 1.06))
    return Panel(title, found, value, Axis(ticks=places(starts), limits=(-0.6, len(starts) - 0.4), reversed=True))


def causal(table: pandas.DataFrame, distance: float, minimum: int) -> Chart:
    """Share of the oversight gap that the oversight direction carries, beside placebo and random.

    Starts of which fewer than `minimum` models have a gap are left out, planted networks apart.
    """
    label = "Share of the oversight gap carried by the oversight direction, beside random and placebo directions"
    own = table[(table.setting == "") & (table.variant == "") & (table.distance == distance) & (table.when == "after")]
    own = own[own.quantity.isin(["carried", "placebo_carried", "random_high", "random_largest"]) & own["mean"].notna()]
    planted = own.start.str.startswith("planted")
    own = own[planted | (own.n >= minimum)]
    parts = sorted(own.part[~planted].unique())
    if not parts:
        return nothing("causal", label, f"too few models at {distance:g} degrees have an oversight gap")
    interventions = [name for name in ("swap", "add", "ablate") if any(part.startswith(name) for part in parts)]
    layers = sorted({part.split(", ")[1] for part in parts})
    starts = ordered(own.start)
    axes = (
        Axis("share of the gap carried", limits=(-0.3, 1.1)),
        Axis(ticks=places(starts), limits=(-0.6, len(starts) - 0.4), reversed=True),
    )
    panels = [
        Panel(part, _carried(own[own.part == part], starts), *axes, rules=[("x", 0, False)])
        for part in (f"{intervention}, {layer}" for layer in layers for intervention in interventions)
    ]
    return Chart("causal", label, panels, len(interventions), (3.4, 2.7))


def _carried(own: pandas.DataFrame, starts: list[str]) -> list[Series]:
    """What the oversight direction carries, over what random and placebo directions do, by start."""
    kinds = {
        name: own[own.quantity == name].assign(place=lambda rows: rows.start.map(starts.index))
        for name in ("random_high", "random_largest", "placebo_carried", "carried")
    }

    def data(name: str) -> pandas.DataFrame:
        rows = kinds[name].sort_values("place")
        return frame(x=rows["mean"], y=rows.place, n=rows.n, **({} if name != "carried" else _ends(rows)))

    return [
        Series("95 % of random directions", data("random_high"), "bars", RANDOM, across=True, width=0.3),
        Series("largest of 200 random", data("random_largest"), "points", "#777777", "|", across=True, size=8),
        Series("placebo direction", data("placebo_carried"), "points", PLACEBO, "x", across=True),
        Series("oversight direction", data("carried"), "points", OVERSIGHT, "o", across=True),
    ]


def _ends(rows: pandas.DataFrame) -> dict[str, pandas.Series]:
    return {"low": rows.low, "high": rows.high}


def trust(validation: pandas.DataFrame, reliability: pandas.DataFrame, points: pandas.DataFrame) -> Chart:
    """Confusion of scored planted kinds, X told from Y by angle and noise, and calibration."""
    label = "Confusion of planted types, share told X from Y by angle and noise, and calibration of the probabilities"
    scored = validation[validation.split == "scored"]
    counts = pandas.crosstab(scored.truth, scored.reading, normalize="index")
    counts = counts.reindex(index=TYPES, columns=TYPES).dropna(how="all").fillna(0)
    told = points.assign(share=points.right / points.cases).pivot(index="temperature", columns="angle", values="share")
    known = reliability[reliability.cases > 0]
    bins = frame(x=known.predicted, y=known.observed, low=known.low, high=known.high, n=known.cases)
    panels = [
        Panel(
            "planted type (rows) read as (columns)",
            (),
            Axis(ticks=places(list(counts.columns))),
            Axis(ticks=places(list(counts.index)), reversed=True),
            heat=Heat(counts, 0, 1),
        ),
        Panel(
            "X told from Y",
            (),
            Axis("degrees between X and Y", ticks=places([f"{angle:g}" for angle in told.columns])),
            Axis("noise, over utility's spread", ticks=places([f"{heat:g}" for heat in told.index]), reversed=True),
            heat=Heat(told, 0.5, 1),
        ),
        Panel(
            "calibration on planted ladders",
            [Series("bin of ladders", bins, "points", "#0072B2")],
            Axis("predicted probability of the type", limits=(-0.03, 1.03)),
            Axis("share whose exact value reaches the cutoff", limits=(-0.03, 1.03)),
            diagonal=True,
        ),
    ]
    return Chart("trust", label, panels, 3, (4.2, 4.2))


def multiverse(table: pandas.DataFrame) -> Chart:
    """The headline contrast of types for every choice of cutoffs, ordered by its value."""
    label = "Share of models read as conditional or deceptive, start less scratch exposed, for every choice of cutoffs"
    known = table[table.estimate.notna()]
    if known.empty:
        reason = "no start and scratch_exposed at the premise distance and the primary capability"
        return nothing("multiverse", label, reason)
    panels = []
    for reading in dict.fromkeys(known.reading):
        here = known[known.reading == reading]
        lines = []
        for start in ordered(here.start):
            rows = here[here.start == start].sort_values("estimate", kind="stable").reset_index(drop=True)
            how = look(start)
            data = frame(x=rows.index + 1, y=rows.estimate, low=rows.low, high=rows.high, n=rows.n)
            lines.append(Series(start, data, "line", how["color"], ""))
            own = rows[rows.configured.astype(bool)]
            at = frame(x=own.index + 1, y=own.estimate, n=own.n, shown="configured")
            lines.append(Series(start, at, "points", how["color"], how["marker"], legend=False, size=8))
        axes = Axis("choices of cutoffs, in order (marker: configured)"), Axis("share, start less scratch exposed")
        panels.append(Panel(f"read as {reading}", lines, *axes, rules=[("y", 0, False)]))
    return Chart("multiverse", label, panels, len(panels), (5, 3.4))
