"""A benchmark's rows as Markdown, and as Parquet where there is pyarrow."""

import json
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy
import torch

Row = Mapping[str, Any]


def where_and_when() -> dict[str, str]:
    """Date, machine and versions of a run."""
    found = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": _processor(),
        "threads": str(torch.get_num_threads()),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
    }
    try:
        import jax

        found["jax"] = jax.__version__
    except ImportError:
        pass
    return found


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.processor() or platform.machine()


def as_markdown(rows: Sequence[Row]) -> str:
    """A table with a column for each key that some row has."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    lines = [f"| {' | '.join(keys)} |", "|" + "---|" * len(keys)]
    lines += [f"| {' | '.join(_shown(row.get(key)) for key in keys)} |" for row in rows]
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)


def write(folder: Path, name: str, rows: Sequence[Row], about: Mapping[str, str]) -> None:
    """Print the rows, and write them as NAME.md and NAME.parquet, or NAME.json where there is no pyarrow."""
    folder.mkdir(parents=True, exist_ok=True)
    head = ", ".join(f"{key} {value}" for key, value in about.items())
    text = f"{head}\n\n{as_markdown(rows)}\n"
    print(f"\n## {name}\n\n{text}", flush=True)
    (folder / f"{name}.md").write_text(text)
    keys = list(dict.fromkeys(key for row in rows for key in row))
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        (folder / f"{name}.json").write_text(json.dumps({"about": dict(about), "rows": list(rows)}))
        return
    table = pyarrow.table({key: [row.get(key) for row in rows] for key in keys}).replace_schema_metadata(dict(about))
    pyarrow.parquet.write_table(table, folder / f"{name}.parquet")
