"""Synthetic studies brought through the aggregate stage."""

from pathlib import Path
from typing import Any

import pandas

from synthetic import SMALL, Truth, write_study
from turncoat.stages.aggregate import aggregate

STARTS = SMALL["arms"]["main"]["starts"]


def study(folder: Path, truth: Truth | None = None, **overrides: Any) -> pandas.DataFrame:
    """Write a study and its tables; return its claims."""
    config = write_study(folder, overrides, truth)
    aggregate(config, folder, "0" * 12)
    return pandas.read_parquet(folder / "tables" / "claims.parquet")


def one_arm(starts: list[str] | None = None, **changes: Any) -> dict[str, Any]:
    """A study of one arm, at the distance where the premise is checked."""
    return {"arms": {"main": {"starts": starts or STARTS, "distances": [90], **changes}}}


def primary(claims: pandas.DataFrame, claim: str) -> Any:
    """The row that the claim's verdict rests on."""
    rows = claims[(claims.claim == claim) & claims.primary]
    assert len(rows) == 1
    return rows.iloc[0]


def row_of(claims: pandas.DataFrame, claim: str, outcome: str, start: str, reference: str = "scratch_exposed") -> Any:
    """The row at the primary distance and capability."""
    rows = claims[(claims.claim == claim) & (claims.outcome == outcome) & (claims.start == start)]
    rows = rows[(rows.reference == reference) & (rows.distance == 90) & (rows.match == "capability 0.90")]
    assert len(rows) == 1
    return rows.iloc[0]
