"""What the report carries inside itself: the plotting library's script, figures, and tables to save."""

import base64
import gzip
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pandas
import pyarrow.parquet as parquet

EMBEDDED_AT_MOST = 400_000  # characters of one packed table
EMBEDDED_IN_ALL = 1_500_000
READ_AT_MOST = 400_000  # bytes of a Parquet file: a larger one is not tried


def packed(content: bytes) -> str:
    """Bytes as the page holds them: compressed, then in base64. Equal bytes give equal text."""
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode("ascii")


def plotly_script() -> bytes:
    """The script of plotly.js, which the installed package `plotly` brings (MIT licence, named in its first lines)."""
    return (files("plotly") / "package_data" / "plotly.min.js").read_bytes()


@dataclass(frozen=True)
class Download:
    """A table of the study: `csv` is its packed CSV, empty where it is too large to be carried along."""

    name: str
    rows: int
    columns: int
    size: int
    csv: str


def downloads(folder: Path, first: Iterable[str] = ("claims",)) -> list[Download]:
    """The tables in `folder`, those named in `first` before the others, then by name.

    Each is carried along as CSV while it is small and there is room; the others stand beside the report as Parquet.
    """
    paths = {path.stem: path for path in sorted(folder.glob("*.parquet"))}
    leading = [name for name in first if name in paths]
    found, room = [], EMBEDDED_IN_ALL
    for name in [*leading, *(name for name in paths if name not in leading)]:
        path = paths[name]
        size, shape = path.stat().st_size, parquet.read_metadata(path)
        text = packed(pandas.read_parquet(path).to_csv(index=False).encode()) if size <= READ_AT_MOST else ""
        if len(text) > min(EMBEDDED_AT_MOST, room):
            text = ""
        room -= len(text)
        found.append(Download(name, shape.num_rows, shape.num_columns, size, text))
    return found
