"""What a figure shows, said once: the static and the interactive one are drawn from these same frames."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas

KINDS = ("line", "points", "bars", "text")


@dataclass(frozen=True)
class Axis:
    """One axis of a panel. `ticks` maps positions to words (without: numbers), `limits` are fixed ends.

    `log` is base 10. A `reversed` axis counts from the top, as lists are read.
    """

    label: str = ""
    ticks: Mapping[float, str] | None = None
    limits: tuple[float, float] | None = None
    log: bool = False
    reversed: bool = False

    @property
    def crowded(self) -> bool:
        """Whether its words have no room beside each other."""
        return self.ticks is not None and sum(len(word.split("\n")[0]) for word in self.ticks.values()) > 46


@dataclass(frozen=True)
class Series:
    """Marks of one name. `data` has the columns x and y, and where known low and high (the interval, along x where
    `across`, else along y), n (models or seeds behind it), shown (the place in words), said (the value with its
    interval in words, where it is drawn in other units or cut), tip (more words, on hovering alone) and note (the text
    of a series of kind text).

    Series of one name share a legend entry, in all panels. `width` is that of bars, in units of their axis.
    """

    name: str
    data: pandas.DataFrame
    kind: str = "line"
    color: str = "#0072B2"
    marker: str = "o"
    dashed: bool = False
    hollow: bool = False
    across: bool = False
    legend: bool = True
    width: float = 0.8
    size: float = 6.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind of the series {self.name!r}: {self.kind!r}; allowed: {', '.join(KINDS)}")
        if {"x", "y"} - set(self.data.columns):
            raise ValueError(f"the series {self.name!r} has columns {list(self.data.columns)}; it needs x and y")

    @property
    def interval(self) -> bool:
        """Whether it has an interval to show."""
        return {"low", "high"} <= set(self.data.columns) and bool(self.data.low.notna().any())


@dataclass(frozen=True)
class Heat:
    """A table as shades: rows and columns are those of `values`; null cells stay empty."""

    values: pandas.DataFrame
    low: float
    high: float
    diverging: bool = False
    digits: int = 2


@dataclass(frozen=True)
class Panel:
    """One pair of axes. `rules` are constant lines (axis, value, dotted), `shades` bands (axis, low, high, claimed):
    grey, or green where they are the side of a level that a claim speaks of."""

    title: str = ""
    series: Sequence[Series] = ()
    x: Axis = Axis()
    y: Axis = Axis()
    rules: Sequence[tuple[str, float, bool]] = ()
    shades: Sequence[tuple[str, float, float, bool]] = ()
    diagonal: bool = False
    heat: Heat | None = None


@dataclass(frozen=True)
class Chart:
    """A figure: panels in rows of `columns`, each about `size` inches, or the reason for which there is nothing to see.

    `label` says what it shows to those who cannot see it.
    """

    name: str
    label: str
    panels: Sequence[Panel] = ()
    columns: int = 1
    size: tuple[float, float] = (3.2, 2.6)
    empty: str = ""

    def names(self) -> list[str]:
        """Names of the series that the legend lists, in order."""
        return list(dict.fromkeys(series.name for panel in self.panels for series in panel.series if series.legend))


def nothing(name: str, label: str, reason: str) -> Chart:
    """A figure that says why there is nothing to see."""
    return Chart(name, label, empty=reason)


def frame(**columns: Any) -> pandas.DataFrame:
    """Columns as a frame, whatever index they had."""
    lengths = {len(values) for values in columns.values() if hasattr(values, "__len__") and not isinstance(values, str)}
    size = lengths.pop() if lengths else 1
    if lengths:
        raise ValueError(f"columns differ in length: { {name: len(values) for name, values in columns.items()} }")
    plain = {
        name: list(values) if hasattr(values, "__len__") and not isinstance(values, str) else [values] * size
        for name, values in columns.items()
    }
    return pandas.DataFrame(plain)


def places(names: Sequence[str]) -> dict[float, str]:
    """Words at the positions 0, 1, 2, ..., as an axis's ticks."""
    return {float(place): name.replace("_", " ") for place, name in enumerate(names)}
