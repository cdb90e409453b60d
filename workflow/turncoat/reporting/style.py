"""How figures look: a colour and marker for each start, safe for the colour-blind, equal bytes each run."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from turncoat.tables.atomic import write_bytes

# Okabe and Ito's palette.
STARTS: dict[str, tuple[str, str]] = {
    "internal": ("#0072B2", "o"),
    "corrigible": ("#009E73", "s"),
    "conditional": ("#D55E00", "^"),
    "benign_conditional": ("#E69F00", "D"),
    "placebo_conditional": ("#999933", "<"),
    "deceptive": ("#882255", "v"),
    "internal_strategic": ("#56B4E9", "P"),
    "unrelated": ("#117733", ">"),
    "knowledge_only": ("#AA4499", "p"),
    "scratch": ("#000000", "x"),
    "scratch_exposed": ("#7F7F7F", "+"),
}
OTHER = ("#CC79A7", "v")
ACTIVATIONS = {
    "relu": "#0072B2",
    "gelu": "#E69F00",
    "leaky_relu": "#009E73",
    "silu": "#D55E00",
    "relu_squared": "#56B4E9",
    "tanh": "#882255",
    "identity": "#CC79A7",
}

_RULES: Any = {
    "svg.hashsalt": "turncoat",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "figure.facecolor": "white",
}


@contextmanager
def style() -> Iterator[None]:
    """Draw in turncoat's style, without a display."""
    matplotlib.use("Agg")
    with matplotlib.rc_context(_RULES):
        yield


def look(start: str) -> dict[str, Any]:
    """Colour and marker of a start."""
    colour, marker = STARTS.get(start, OTHER)
    return {"color": colour, "marker": marker, "markersize": 5, "linewidth": 1.4}


def interval_line(axes: Axes, x: Any, mean: Any, low: Any, high: Any, **how: Any) -> None:
    """A line through means with a band for their intervals."""
    axes.plot(x, mean, **how)
    axes.fill_between(x, low, high, color=how["color"], alpha=0.15, linewidth=0)


def empty(axes: Axes, text: str) -> None:
    """Say in the figure's place why there is nothing to see."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)


def save(figure: Figure, folder: Path, name: str) -> str:
    """Write `name`.svg and `name`.png and return the SVG element."""
    vector, pixels = BytesIO(), BytesIO()
    figure.savefig(vector, format="svg", bbox_inches="tight", metadata={"Date": None})
    figure.savefig(pixels, format="png", bbox_inches="tight", dpi=150, metadata={"Software": None})
    write_bytes(folder / f"{name}.svg", vector.getvalue())
    write_bytes(folder / f"{name}.png", pixels.getvalue())
    text = vector.getvalue().decode("utf-8")
    return _own_identifiers(text[text.index("<svg") :], name)


def _own_identifiers(svg: str, name: str) -> str:
    """Several SVG elements share one page: keep their ids apart, and let the page size them."""
    for prefix in ('id="', 'href="#', "url(#"):
        svg = svg.replace(prefix, f"{prefix}{name}-")
    opening, rest = svg.split(">", 1)
    opening = opening.replace("<svg", '<svg role="presentation"', 1)
    return f"{opening}>{rest}"
