"""Turn every job's rows into the study's tables and verdicts.

    python -m turncoat.stages.aggregate --config JSON --results results/<study> --threads N --code FINGERPRINT

Reads the files that the configuration's plan names under --results; writes tables/*.parquet and
tables/claims.csv.
"""

import json
import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas
import pyarrow as pa
import pyarrow.csv as csv

from turncoat.classification.types import assign
from turncoat.configuration.cells import canonical_json, digest
from turncoat.configuration.loading import load_config
from turncoat.configuration.plan import Plan, expand
from turncoat.fingerprint import stage_fingerprint
from turncoat.stages.common import begin, read_settings, stage_parser
from turncoat.statistics.analysis import Analysis, analyse, confirmatory
from turncoat.tables import alignment, assembly, claims, contrasts, gating, models, premise, validation
from turncoat.tables.atomic import Column, TableError, write_file, write_table
from turncoat.tables.collect import Collected, collect, foreign_files
from turncoat.tables.factors import factor_table

log = logging.getLogger("turncoat")
TYPE_DRAWS = 100  # draws of a model's measurement errors behind its type probabilities


def main() -> None:
    """Run the stage from the command line."""
    parser = stage_parser("aggregate", "Turn every job's rows into the study's tables and verdicts.")
    parser.add_argument("--config", required=True, help="the merged configuration as JSON")
    parser.add_argument("--results", required=True, type=Path, help="the study's folder")
    options = begin("aggregate", parser)
    aggregate(json.loads(read_settings(options.config)), options.results, stage_fingerprint("aggregate"))


def aggregate(config: Mapping[str, Any], folder: Path, code: str) -> None:
    """Write every table of the study in `folder`. Raises TableError where a job's file is missing or does
    not fit.
    """
    plan = expand(load_config(config))
    leftover = foreign_files(folder, plan.cells, plan.blocks)
    if leftover:
        log.info("%d files of earlier configurations are left out, such as %s", len(leftover), leftover[0])
    collected = collect(folder, plan.cells, plan.blocks)
    write_tables(collected, plan, config, folder, code)
    log.info("tables of %d models are in %s", len(collected.organisms), folder / "tables")


def write_tables(collected: Collected, plan: Plan, config: Mapping[str, Any], folder: Path, code: str) -> None:
    """Derive and write the tables."""
    provenance = {
        "study": config["study"],
        "config_sha256": digest(canonical_json(config)),
        "aggregate_code": code,
    }
    tables = folder / "tables"

    def write(name: str, columns: Mapping[str, Column], schema: pa.Schema) -> None:
        write_table(tables / f"{name}.parquet", columns, schema, provenance)

    read_types = partial(assign, cutoffs=config["types"], samples=TYPE_DRAWS)
    organisms = assembly.organism_frame(collected, factor_table(plan.cells, config))
    write("organisms", _columns(organisms), models.SCHEMA)
    write("trajectories", assembly.trajectory_columns(collected, organisms), models.TRAJECTORIES)
    aligned = assembly.alignment_columns(collected, organisms, read_types)
    write("alignment", aligned, alignment.SCHEMA)
    ledger = assembly.ledger_frame(collected.ledger, organisms)
    write("gating", _columns(ledger), gating.SCHEMA)
    write("validation", assembly.validation_columns(collected, read_types), validation.SCHEMA)
    course = assembly.course_frame(collected, organisms, aligned)
    unchanged = _unchanged_since_first_start(folder)
    found = analyse(
        course,
        ledger,
        config["statistics"],
        config["organism"]["activation"],
        config["finetuning"]["optimizer"],
        confirmatory(organisms.seed.tolist(), unchanged),
    )
    for name, frame, schema in _derived(found):
        write(name, _columns(frame), schema)
    write_file(tables / "claims.csv", lambda path: csv.write_csv(_claims_in_order(found.claims), path))


def _derived(found: Analysis) -> list[tuple[str, pandas.DataFrame, pa.Schema]]:
    return [
        ("levels", found.levels, contrasts.LEVELS),
        ("contrasts", found.contrasts, contrasts.SCHEMA),
        ("priors", found.priors, contrasts.PRIORS),
        ("persistence", found.persistence, contrasts.PERSISTENCE),
        ("half_lives", found.half_lives, contrasts.HALF_LIVES),
        ("premise", found.premise, premise.SCHEMA),
        ("claims", found.claims, claims.SCHEMA),
    ]


def _columns(frame: pandas.DataFrame) -> dict[str, Column]:
    return {str(name): pa.array(frame[name], from_pandas=True) for name in frame}


def _claims_in_order(frame: pandas.DataFrame) -> pa.Table:
    ordered = frame.sort_values(["order", "primary_first", "outcome", "stratum"], kind="stable")
    return pa.table({name: pa.array(ordered[name], from_pandas=True) for name in claims.SCHEMA.names})


def _unchanged_since_first_start(folder: Path) -> bool:
    """Whether claims and configuration are those with which the study first started, by its manifest."""
    path = folder / "manifest.json"
    if not path.is_file():
        log.warning("%s is missing: without it no verdict can be called confirmatory", path)
        return False
    manifest = json.loads(path.read_text(encoding="utf-8"))
    try:
        same = all(manifest[key] == manifest["first"][key] for key in ("config_sha256", "claims_sha256"))
        return same and not manifest["edited"]
    except KeyError as error:
        raise TableError(f"{path}: lacks {error}; delete it and run the study again") from error


if __name__ == "__main__":
    main()
