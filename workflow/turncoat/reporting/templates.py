"""The page's templates, and how they write numbers and words."""

from pathlib import Path
from typing import Any

import jinja2
import pandas

from turncoat.reporting import summary

TEMPLATES = Path(__file__).resolve().parents[2] / "report"


def environment() -> jinja2.Environment:
    """Templates of workflow/report, that refuse a name they were not given."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": summary.number,
        "words": lambda text: str(text).replace("_", " "),
        "verdict": lambda verdict: summary.VERDICT_WORDS.get(verdict, str(verdict).replace("_", " ")),
        "p": lambda value: summary.DASH if pandas.isna(value) else ("< 0.001" if value < 0.001 else f"{value:.3f}"),
        "plain": _plain,
        "size": _size,
    }
    made.globals["interval"] = summary.interval
    return made


def _plain(value: Any) -> str:
    """A number as scripts read it, such as Infinity; empty where there is none."""
    return "" if pandas.isna(value) else f"{float(value):.6g}".replace("inf", "Infinity")


def _size(count: Any) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{max(count / 1e3, 0.1):.1f} kB"
