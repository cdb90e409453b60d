"""Factors of a model: what its cell's labels and the study's own settings say about it."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas

from turncoat.tables.jobs import CellLike


def factor_table(cells: Sequence[CellLike], config: Mapping[str, Any]) -> pandas.DataFrame:
    """One row per cell, indexed by its id, with every factor (see `models.FACTORS`) and its stage.

    `setting` spells out the factors in which a cell differs from the study's own sections; models of
    different settings are never compared. `variant` does so for pre-training, which models from scratch
    do not have, and for dodges.
    """
    return pandas.DataFrame([_factors(cell, config) for cell in cells]).set_index("cell")


def _factors(cell: CellLike, config: Mapping[str, Any]) -> dict[str, Any]:
    labels = cell.labels
    return {
        "cell": cell.id,
        "stage": cell.stage,
        "start": labels["start"],
        "distance": float("nan") if labels["distance"] is None else float(labels["distance"]),
        "arms": ",".join(labels["arms"]),
        "setting": labels["setting"],
        "variant": labels["variant"],
        "dodge": labels["dodge"],
        "activation": labels["activation"],
        "optimizer": labels["optimizer"],
        "width": labels["width"],
        "depth": labels["depth"],
        "pretraining_steps": labels["pretraining_steps"],
        "encoding": config["world"]["encoding"],
    }
