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
DARK = {
    "#0072B2": "#5AB4E8",
    "#009E73": "#3CC9A0",
    "#D55E00": "#FF8A3D",
    "#882255": "#E07BB0",
    "#117733": "#63C47D",
    "#AA4499": "#D98BCB",
    "#000000": "#F2F2F2",
    "#7F7F7F": "#B0B0B0",
    "#999933": "#C9C963",
    "#bbbbbb": "#5c6268",
    "#777777": "#a9b0b7",
}
"""What these colours become on a dark ground; others serve on both."""
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
    return {"color": colour, "marker": marker}


def empty(axes: Axes, text: str) -> None:
    """Say in the figure's place why there is nothing to see."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)


def save(figure: Figure, folder: Path, name: str) -> str:
    """Write `name`.svg and `name`.png and return the SVG element, without its prologue."""
    vector, pixels = as_svg(figure), BytesIO()
    figure.savefig(pixels, format="png", dpi=150, metadata={"Software": None})
    write_bytes(folder / f"{name}.svg", vector)
    write_bytes(folder / f"{name}.png", pixels.getvalue())
    return element(vector)


def as_svg(figure: Figure) -> bytes:
    """The figure as an SVG file, equal bytes each run."""
    vector = BytesIO()
    figure.savefig(vector, format="svg", metadata={"Date": None})
    return vector.getvalue()


def element(svg: bytes) -> str:
    """The SVG element of a file, without what stands before it."""
    text = svg.decode("utf-8")
    return text[text.index("<svg") :]
