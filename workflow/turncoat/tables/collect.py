"""Reading a study: every file that its plan names must be there and hold the models the plan says, or it is
an error.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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
from turncoat.tables.atomic import TableError, in_order, read_table
from turncoat.tables.jobs import BlockLike, CellLike, Job, job_files, reinforced_file


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
    folder: Path,
    cells: Sequence[CellLike],
    blocks: Sequence[BlockLike],
    reinforced: Sequence[str] = (),
    absent: Collection[Job] = (),
) -> Collected:
    """Read the study in `folder`. Raises TableError for a file that is missing, foreign, or does not match
    the plan. `reinforced` names the folders of reinforcement: ids of cells, or `planted`. Jobs in `absent` are left
    out.
    """
    _check_complete(folder, cells, blocks, reinforced, absent)
    names = ("organisms", "trajectories", "measurements", "curves", "causes", "knowledge")
    parts: dict[str, list[pa.Table]] = {name: [] for name in names}
    ledgers = []
    for cell in cells:
        for block in blocks:
            if (cell.id, block.name) in absent:
                continue
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
    if not ledgers:
        raise TableError(f"{folder}: holds no fine-tuned models; run the study again")
    tables = {name: _joined(tables) for name, tables in parts.items()}
    _check_lineage(tables["organisms"], folder)
    return Collected(
        **tables,
        ledger=pa.concat_tables([table.replace_schema_metadata(None) for table in ledgers]).to_pandas(),
        planted=read_table(folder / "planted" / "planted.parquet", planted.SCHEMA),
        discrimination=read_table(folder / "planted" / "discrimination.parquet", planted.DISCRIMINATION),
        known=read_table(folder / "planted" / "known.parquet", planted.KNOWN),
        planted_causes=read_table(folder / "planted" / "causes.parquet", planted.CAUSES),
        defection=_probes(folder / "defection" / "defection.parquet", tables, bool(absent)),
        reinforcement=_reinforcement(folder, reinforced, blocks, absent),
    )


def _probes(path: Path, tables: Mapping[str, pa.Table], partial: bool) -> pa.Table:
    """Defection probes; of a partial study those of the cells that are there."""
    probes = read_table(path, defection.SCHEMA)
    cells = compute.unique(tables["organisms"]["cell"])
    sides = [compute.is_in(probes[f"{side}_cell"], value_set=cells) for side in ("train", "test")]
    present = probes.filter(compute.and_(*sides))
    if len(present) < len(probes) and not partial:
        raise TableError(
            f"{path}: holds probes of cells that the plan does not name; delete it and run the study again"
        )
    return present


def _check_complete(
    folder: Path,
    cells: Sequence[CellLike],
    blocks: Sequence[BlockLike],
    reinforced: Sequence[str],
    absent: Collection[Job],
) -> None:
    missing = [path for path in job_files(cells, blocks, reinforced, absent) if not (folder / path).is_file()]
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
    kept, trained = (
        set(zip(table["organism_id"].to_pylist(), table["step"].to_pylist(), strict=True))
        for table in (measured, steps)
    )
    if not kept <= trained or _ends(measured) != _ends(steps):
        raise TableError(
            f"{path}: its snapshots are not those of its job's trajectories; delete the file and run again"
        )


def _ends(table: pa.Table) -> dict[str, tuple[int, int]]:
    """First and last step of each model."""
    found = table.group_by("organism_id").aggregate([("step", "min"), ("step", "max")]).to_pydict()
    return {
        name: (first, last)
        for name, first, last in zip(found["organism_id"], found["step_min"], found["step_max"], strict=True)
    }


def _reinforcement(
    folder: Path, reinforced: Sequence[str], blocks: Sequence[BlockLike], absent: Collection[Job]
) -> pa.Table:
    """All reinforcement rows, none where the study has no reinforcement."""
    parts = [reinforcement.SCHEMA.empty_table()]
    for name in reinforced:
        for block in blocks:
            if (f"reinforce/{name}", block.name) in absent:
                continue
            path = folder / reinforced_file(name, block)
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
    """All rows sorted by organism (and step): joined in the order of their first, tables of jobs need no copy."""
    filled = sorted((table for table in tables if len(table)), key=lambda table: table["organism_id"][0].as_py())
    joined = pa.concat_tables([table.replace_schema_metadata(None) for table in filled or tables[:1]])
    return in_order(joined, [key for key in ("organism_id", "step") if key in joined.column_names])
