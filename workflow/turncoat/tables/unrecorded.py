"""Results of which Snakemake has no record: it keeps them, whatever code and settings the study has now.

A job on a cluster that outlives its driver leaves such results: the driver would have written the record. What made
them stands in the tables themselves.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa

from turncoat.tables.atomic import TableError, read_provenance


def not_as_planned(jobs: Iterable[tuple[Sequence[str], str, str]]) -> list[Path]:
    """Return the outputs of each job that has no table, or one that does not name the job's code and settings.

    A job is its outputs, the fingerprint of its code, and its settings as JSON. What cannot be read counts as unlike.
    """
    unlike: list[Path] = []
    for names, code, settings in jobs:
        outputs = [Path(name) for name in names]
        tables = [path for path in outputs if path.suffix == ".parquet"]
        if not tables or any(_made_with(path) != (code, settings) for path in tables):
            unlike.extend(outputs)
    return unlike


def _made_with(path: Path) -> tuple[str, str]:
    try:
        made = read_provenance(path)
    except (TableError, pa.ArrowInvalid, OSError):
        return "", ""
    return made.get("code", ""), made.get("settings", "")
