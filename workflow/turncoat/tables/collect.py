"""Reading a study: every file that its plan names must be there and hold the models the plan says, or it is
an error.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas
import pyarrow as pa
import pyarrow.compute as compute

from turncoat.tables import (
    causes,
    curves,
    defection,
    gating,
    knowledge,
    measurements,
    organisms,
    planted,
    reinforcement,
    trajectories,
)
from turncoat.tables.atomic import TableError, read_table


class CellLike(Protocol):
    """What is needed of a cell of the plan."""

    @property
    def id(self) -> str: ...
    @property
    def stage(self) -> str: ...
    @property
    def labels(self) -> dict[str, Any]: ...
    @property
    def parent(self) -> str | None: ...


class BlockLike(Protocol):
    """What is needed of a block of seeds."""

    @property
    def name(self) -> str: ...
    @property
    def first(self) -> int: ...
    @property
    def count(self) -> int: ...


@dataclass(frozen=True)
class Collected:
    """All job tables of a study, one after the other, those of models sorted by organism (and step)."""

    organisms: pa.Table
    trajectories: pa.Table
    measurements: pa.Table
    curves: pa.Table
    causes: pa.Table
    knowledge: pa.Table
    ledger: pandas.DataFrame
    planted: pa.Table
    discrimination: pa.Table
    known: pa.Table
    planted_causes: pa.Table
    defection: pa.Table
    reinforcement: pa.Table


def collect(
    folder: Path, cells: Sequence[CellLike], blocks: Sequence[BlockLike], reinforced: Sequence[str] = ()
) -> Collected:
    """Read the study in `folder`. Raises TableError for a file that is missing, foreign, or does not match
    the plan. `reinforced` names the folders of reinforcement: ids of cells, or `planted`.
    """
    _check_complete(folder, cells, blocks, reinforced)
    names = ("organisms", "trajectories", "measurements", "curves", "causes", "knowledge")
    parts: dict[str, list[pa.Table]] = {name: [] for name in names}
    ledgers = []
    for cell in cells:
        for block in blocks:
            job = folder / cell.stage / cell.id / block.name
            models = read_table(job / "organisms.parquet", organisms.SCHEMA)
            _check_organisms(models, cell, block, job / "organisms.parquet")
            steps = read_table(job / "trajectories.parquet", trajectories.SCHEMA)
            _check_same_models(steps, models, job / "trajectories.parquet")
            parts["organisms"].append(models)
            parts["trajectories"].append(steps)
            if cell.stage == "elicit":
                continue
            judged = folder / "classify" / cell.id / block.name
            measured_path = judged / "measurements.parquet"
            measured = read_table(measured_path, measurements.SCHEMA)
            for name, schema in (
                ("curves", curves.SCHEMA),
                ("causes", causes.SCHEMA),
                ("knowledge", knowledge.SCHEMA),
            ):
                table = read_table(judged / f"{name}.parquet", schema)
                _check_same_models(table, models, judged / f"{name}.parquet")
                parts[name].append(table)
            _check_measured_where_trained(measured, steps, measured_path)
            parts["measurements"].append(measured)
            if cell.stage == "finetune":
                path = folder / "gating_sums" / cell.id / f"{block.name}.parquet"
                sums = read_table(path, gating.SUMS)
                _check_same_models(sums, models, path)
                ledgers.append(sums)
    tables = {name: _joined(tables) for name, tables in parts.items()}
    _check_lineage(tables["organisms"], folder)
    return Collected(
        **tables,
        ledger=pa.concat_tables([table.replace_schema_metadata(None) for table in ledgers]).to_pandas(),
        planted=read_table(folder / "planted" / "planted.parquet", planted.SCHEMA),
        discrimination=read_table(folder / "planted" / "discrimination.parquet", planted.DISCRIMINATION),
        known=read_table(folder / "planted" / "known.parquet", planted.KNOWN),
        planted_causes=read_table(folder / "planted" / "causes.parquet", planted.CAUSES),
        defection=read_table(folder / "defection" / "defection.parquet", defection.SCHEMA),
        reinforcement=_reinforcement(folder / "reinforce", reinforced, blocks),
    )


def job_files(cells: Iterable[CellLike], blocks: Sequence[BlockLike], reinforced: Sequence[str] = ()) -> Iterator[Path]:
    """The Parquet files that the plan's jobs write, relative to the study's folder."""
    for cell in cells:
        for block in blocks:
            yield Path(cell.stage, cell.id, block.name, "organisms.parquet")
            yield Path(cell.stage, cell.id, block.name, "trajectories.parquet")
            if cell.stage == "elicit":
                continue
            for name in ("measurements", "curves", "causes", "knowledge"):
                yield Path("classify", cell.id, block.name, f"{name}.parquet")
            if cell.stage == "finetune":
                yield Path("gating", cell.id, f"{block.name}.parquet")
                yield Path("gating_sums", cell.id, f"{block.name}.parquet")
    for name in reinforced:
        for block in blocks:
            yield Path("reinforce", name, f"{block.name}.parquet")
    for name in ("planted", "discrimination", "known", "causes"):
        yield Path("planted", f"{name}.parquet")
    yield Path("defection", "defection.parquet")


def foreign_files(
    folder: Path, cells: Sequence[CellLike], blocks: Sequence[BlockLike], reinforced: Sequence[str] = ()
) -> list[Path]:
    """Parquet files of jobs that the plan does not name: an earlier configuration of the study left them."""
    expected = set(job_files(cells, blocks, reinforced))
    found: set[Path] = set()
    stages = (
        "pretrain",
        "finetune",
        "elicit",
        "classify",
        "gating",
        "gating_sums",
        "reinforce",
        "planted",
        "defection",
    )
    for stage in stages:
        found.update(path.relative_to(folder) for path in (folder / stage).rglob("*.parquet") if path.name[0] != ".")
    return sorted(found - expected)


def _check_complete(
    folder: Path, cells: Sequence[CellLike], blocks: Sequence[BlockLike], reinforced: Sequence[str]
) -> None:
    missing = [path for path in job_files(cells, blocks, reinforced) if not (folder / path).is_file()]
    if missing:
        raise TableError(
            f"{folder / missing[0]}: no such file, and {len(missing) - 1} more are missing; "
            "run the study again so that Snakemake makes them"
        )


def _check_organisms(models: pa.Table, cell: CellLike, block: BlockLike, path: Path) -> None:
    seeds = sorted(models["seed"].to_pylist())
    if seeds != list(range(block.first, block.first + block.count)):
        raise TableError(
            f"{path}: holds {len(seeds)} seeds from {seeds[:1]}, the plan says {block.name}; "
            "delete the file and run again"
        )
    found = set(compute.unique(models["cell"]).to_pylist())
    expected_ids = {f"{cell.id}-{seed}" for seed in seeds}
    if found != {cell.id} or set(models["organism_id"].to_pylist()) != expected_ids:
        raise TableError(
            f"{path}: holds models of cell {sorted(found)}, not of {cell.id}; delete the file and run again"
        )
    parents = models["parent_id"].to_pylist()
    expected = [None if cell.parent is None else f"{cell.parent}-{seed}" for seed in models["seed"].to_pylist()]
    if parents != expected:
        raise TableError(f"{path}: names other parents than cell {cell.parent}; delete the file and run again")


def _check_lineage(models: pa.Table, folder: Path) -> None:
    """Every fine-tuned model must begin with the weights that its parent ended with."""
    frame = models.select(["organism_id", "parent_id", "initial_fingerprint", "final_fingerprint"]).to_pandas()
    children = frame[frame.parent_id.notna()]
    ended = frame.set_index("organism_id").final_fingerprint.reindex(children.parent_id).to_numpy()
    broken = children[children.initial_fingerprint.to_numpy() != ended]
    if len(broken):
        raise TableError(
            f"{folder}: {len(broken)} models do not begin as their parent ended, such as {broken.organism_id.iloc[0]}; "
            "delete their cells' folders and run again"
        )


def _check_same_models(table: pa.Table, models: pa.Table, path: Path) -> None:
    if set(compute.unique(table["organism_id"]).to_pylist()) != set(models["organism_id"].to_pylist()):
        raise TableError(
            f"{path}: its models are not those of organisms.parquet beside it; delete the file and run again"
        )


def _check_measured_where_trained(measured: pa.Table, steps: pa.Table, path: Path) -> None:
    """Weights are kept at some of the steps at which capability was measured; the first and last are among them."""
    keys = ["organism_id", "step"]
    kept, trained = (table.select(keys).to_pandas() for table in (measured, steps))
    unknown = ~kept.set_index(keys).index.isin(trained.set_index(keys).index)
    ends = trained.groupby("organism_id").step.agg(["min", "max"])
    if unknown.any() or not kept.groupby("organism_id").step.agg(["min", "max"]).equals(ends):
        raise TableError(
            f"{path}: its snapshots are not those of its job's trajectories; delete the file and run again"
        )


def _reinforcement(folder: Path, reinforced: Sequence[str], blocks: Sequence[BlockLike]) -> pa.Table:
    """All reinforcement rows, none where the study has no reinforcement."""
    parts = [reinforcement.SCHEMA.empty_table()]
    for name in reinforced:
        for block in blocks:
            path = folder / name / f"{block.name}.parquet"
            table = read_table(path, reinforcement.SCHEMA)
            seeds = sorted(set(table["seed"].to_pylist()))
            if seeds != list(range(block.first, block.first + block.count)):
                raise TableError(
                    f"{path}: holds {len(seeds)} seeds from {seeds[:1]}, the plan says {block.name}; "
                    "delete the file and run again"
                )
            if any(not found.startswith(f"{name}-") for found in compute.unique(table["organism_id"]).to_pylist()):
                raise TableError(f"{path}: holds models of others than {name}; delete the file and run again")
            parts.append(table)
    return _joined(parts)


def _joined(tables: list[pa.Table]) -> pa.Table:
    joined = pa.concat_tables([table.replace_schema_metadata(None) for table in tables])
    keys = [(key, "ascending") for key in ("organism_id", "step") if key in joined.column_names]
    return joined.take(compute.sort_indices(joined, sort_keys=keys))
