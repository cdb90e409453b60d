"""Turn every job's rows into the study's tables and verdicts.

    python -m turncoat.stages.aggregate --config JSON --results results/<study> --threads N --code FINGERPRINT

Reads the files that the configuration's plan names under --results; writes tables/*.parquet and
tables/claims.csv. With --partial jobs whose files are missing are left out, and every claim says so:

    python -m turncoat.stages.aggregate --config @results/<study>/config.yaml --results results/<study> --threads 1 \
        --partial
"""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.csv as csv
import yaml

from turncoat.classification.types import assign, read_types
from turncoat.configuration.cells import canonical_json, digest
from turncoat.configuration.errors import ConfigurationError
from turncoat.configuration.job_settings import settings_of
from turncoat.configuration.loading import load_config
from turncoat.configuration.manifest import BACK_AGAIN, FROZEN, claims_sha256, config_sha256
from turncoat.configuration.models import Config
from turncoat.configuration.plan import Plan, expand
from turncoat.configuration.study_file import read_manifest
from turncoat.fingerprint import stage_fingerprint
from turncoat.stages.common import begin, read_settings, run_program, stage_parser
from turncoat.statistics import validation as trusted
from turncoat.statistics.analysis import analyse, exploratory_because
from turncoat.statistics.contrasts import Plan as StatisticsPlan
from turncoat.statistics.descriptions import describe
from turncoat.statistics.motives import ALIGNED, ends, motive_table, planted_rows
from turncoat.statistics.multiverse import multiverse
from turncoat.tables import (
    alignment,
    assembly,
    causes,
    claims,
    contrasts,
    curves,
    defection,
    displacement,
    dodges,
    gating,
    knowledge,
    models,
    motives,
    planted,
    populations,
    premise,
    reinforcement,
    transitions,
    trust,
    validation,
)
from turncoat.tables.atomic import Column, TableError, write_file, write_table
from turncoat.tables.collect import Collected, collect
from turncoat.tables.factors import factor_table
from turncoat.tables.jobs import absent_jobs, foreign_files, job_files
from turncoat.tables.origins import check_settings

log = logging.getLogger("turncoat")
DERIVED = {
    "levels": contrasts.LEVELS,
    "contrasts": contrasts.SCHEMA,
    "priors": contrasts.PRIORS,
    "persistence": contrasts.PERSISTENCE,
    "half_lives": contrasts.HALF_LIVES,
    "transitions": transitions.SCHEMA,
    "ratios": transitions.RATIOS,
    "occupancy": transitions.OCCUPANCY,
    "dodges": dodges.SCHEMA,
    "displacement": displacement.SCHEMA,
    "populations": populations.SCHEMA,
    "premise": premise.SCHEMA,
    "claims": claims.SCHEMA,
}
TYPE_DRAWS = 100  # draws of a model's measurement errors behind its type probabilities
CUTOFF_GRIDS = {
    "coherent_r2": np.linspace(0.02, 0.6, 30).round(3).tolist(),
    "baked_share": np.linspace(0.3, 0.95, 27).round(3).tolist(),
    "pointer_share": np.linspace(0.3, 0.95, 27).round(3).tolist(),
    "cosine": np.linspace(0.5, 0.99, 50).round(3).tolist(),
    "conditional_gap": np.linspace(0.02, 0.5, 25).round(3).tolist(),
    "price_sensitivity": np.linspace(0.05, 0.9, 18).round(3).tolist(),
}


def main() -> None:
    """Run the stage from the command line."""
    parser = stage_parser("aggregate", "Turn every job's rows into the study's tables and verdicts.")
    parser.add_argument("--config", required=True, help="the merged configuration as JSON")
    parser.add_argument("--results", required=True, type=Path, help="the study's folder")
    parser.add_argument("--partial", action="store_true", help="leave out jobs whose files are missing")
    options = begin("aggregate", parser)
    config = yaml.safe_load(read_settings(options.config))  # JSON is YAML
    check_origins(load_config(config), options.results)
    aggregate(config, options.results, stage_fingerprint("aggregate"), options.partial)


def check_origins(config: Config, folder: Path) -> None:
    """Raise TableError where a job's table was made with settings that are not this study's."""
    plan = expand(config)
    made_with = {path: settings_of(path, config, plan) for path in job_files(plan.cells, plan.blocks, plan.reinforced)}
    check_settings(folder, {path: settings for path, settings in made_with.items() if settings is not None})


def aggregate(config: Mapping[str, Any], folder: Path, code: str, partial_study: bool = False) -> None:
    """Write every table of the study in `folder`. Raises TableError where a job's file does not fit, or is missing; of
    a partial study jobs that lack a file are left out, with what descends from them.
    """
    plan = expand(load_config(config))
    leftover = foreign_files(folder, plan.cells, plan.blocks, plan.reinforced)
    if leftover:
        log.info("%d files of earlier configurations are left out, such as %s", len(leftover), leftover[0])
    absent = absent_jobs(folder, plan.cells, plan.blocks, plan.reinforced) if partial_study else set()
    if absent:
        log.warning("%d jobs are missing and left out, such as %s", len(absent), " ".join(min(absent)))
    collected = collect(folder, plan.cells, plan.blocks, plan.reinforced, absent)
    write_tables(collected, plan, config, folder, code, len(absent))
    log.info("tables of %d models are in %s", len(collected.organisms), folder / "tables")


def write_tables(
    collected: Collected, plan: Plan, config: Mapping[str, Any], folder: Path, code: str, absent: int = 0
) -> None:
    """Derive and write the tables; `absent` jobs were left out."""
    provenance = {
        "study": config["study"],
        "config_sha256": digest(canonical_json(config)),
        "aggregate_code": code,
    } | ({"jobs_left_out": str(absent)} if absent else {})
    tables, statistics = folder / "tables", config["statistics"]

    def write(name: str, columns: Mapping[str, Column], schema: pa.Schema) -> None:
        write_table(tables / f"{name}.parquet", columns, schema, provenance)

    assigned = partial(assign, cutoffs=config["types"], samples=TYPE_DRAWS)
    organisms = assembly.organism_frame(collected, factor_table(plan.cells, config))
    write("organisms", _columns(organisms), models.SCHEMA)
    write("trajectories", assembly.trajectory_columns(collected, organisms), models.TRAJECTORIES)
    aligned = assembly.alignment_columns(collected, organisms, assigned)
    write("alignment", aligned, alignment.SCHEMA)
    factors = ("cell", "stage", "start", "distance", "setting", "variant")
    judged_curves = assembly.labelled(collected.curves, organisms, factors)
    judged_causes = assembly.labelled(collected.causes, organisms, factors)
    write("curves", judged_curves, curves.STUDY)
    write("causes", judged_causes, causes.STUDY)
    known = assembly.labelled(collected.knowledge, organisms, (*factors, "diverged"))
    write("knowledge", {name: values for name, values in known.items() if name != "diverged"}, knowledge.STUDY)
    write("defection", assembly.probe_columns(collected.defection, organisms), defection.STUDY)
    ledger = assembly.ledger_frame(collected.ledger, organisms)
    write("gating", _columns(ledger), gating.SCHEMA)
    reinforced = assembly.reinforcement_columns(collected, organisms)
    write("reinforcement", reinforced, reinforcement.STUDY)
    cases = assembly.validation_columns(collected, assigned)
    write("validation", cases, validation.SCHEMA)
    trained = trusted.called_deceptive(_plain(aligned, ("start", "type", "diverged")), statistics["confidence"])
    for name, frame, schema in _trust(collected, cases, trained, config):
        write(name, _columns(frame), schema)
    course = assembly.course_frame(collected, organisms, aligned)
    manifest = _manifest(folder)
    planned = _statistics_plan(config, manifest)
    found = analyse(
        course,
        ledger,
        assembly.elicited_frame(collected, organisms),
        pandas.DataFrame({name: np.asarray(values) for name, values in known.items()}),
        pandas.DataFrame({name: np.asarray(values) for name, values in reinforced.items()}),
        config["statistics"],
        config["reinforcement"],
        config["types"]["cosine"],
        _own_factors(config),
        config["organism"]["activation"],
        config["finetuning"]["optimizer"],
        planned,
        exploratory_because(organisms.seed.tolist(), _changed(manifest, config, absent)),
    )
    for name, frame in describe(course, found, planned).items():
        write(name, _columns(frame), DERIVED[name])
    read = {name: aligned[name] for name in (*ALIGNED, "organism_id", "seed", "stage", "step")}
    at_ends, at_curves, moved = (_at_ends(columns, organisms) for columns in (read, judged_curves, judged_causes))
    planted_moved = planted_rows(collected.planted_causes.to_pandas(), statistics["premise_distance"])
    wanted = motive_table(at_ends, at_curves, pandas.concat([moved, planted_moved]), statistics["confidence"])
    write("motives", _columns(wanted), motives.SCHEMA)
    write("multiverse", _columns(_multiverse(collected, aligned, config)), trust.MULTIVERSE)
    write_file(tables / "claims.csv", lambda path: csv.write_csv(_claims_in_order(found.claims), path))


def _trust(
    collected: Collected, cases: Mapping[str, Column], trained: pandas.DataFrame, config: Mapping[str, Any]
) -> list[tuple[str, pandas.DataFrame, pa.Schema]]:
    """Tables that say how far the classifier can be trusted."""
    confidence, cutoffs = config["statistics"]["confidence"], config["types"]
    names = ("split", "kind", "truth", "reading", "value")
    frame = pandas.DataFrame({name: np.asarray(cases[name]) for name in names})
    ladder = frame.split == "ladder"
    frame["above"] = ladder & (frame.value >= frame.kind.map(cutoffs))
    predicted = np.array([cases[f"probability_{truth}"][row] for row, truth in enumerate(frame.truth)])
    frame["predicted"] = np.where(ladder, predicted, np.nan)
    points = collected.discrimination.to_pandas()
    reliability = trusted.calibration_table(frame, confidence)
    calibration = frame.split == "calibration"
    measured = {
        name: values[calibration.to_numpy()] for name, values in assembly.numpy_columns(collected.planted).items()
    }
    chosen = trusted.cutoff_table(partial(read_types, measured), frame[calibration], cutoffs, CUTOFF_GRIDS)
    summary = pandas.concat([trusted.summary(frame, reliability, points, confidence), trained])
    return [
        ("trust", summary, trust.TRUST),
        ("reliability", reliability, trust.RELIABILITY),
        ("cutoffs", chosen, trust.CUTOFFS),
        ("coverage", trusted.coverage_table(collected.known.to_pandas(), confidence), trust.COVERAGE),
        ("discrimination", points, planted.DISCRIMINATION),
    ]


def _multiverse(collected: Collected, aligned: Mapping[str, Column], config: Mapping[str, Any]) -> pandas.DataFrame:
    """The headline contrast over cutoffs, of each model at its first snapshot with the primary capability."""
    statistics = config["statistics"]
    rows = assembly.at_capability(aligned, statistics["primary_capability"], statistics["premise_distance"])
    measured = assembly.numpy_columns(collected.measurements.take(pa.array(rows.index)))
    rows = rows.reset_index(drop=True)
    return multiverse(rows, partial(read_types, measured), config["types"], _statistics_plan(config))


def _at_ends(columns: Mapping[str, Column], organisms: pandas.DataFrame) -> pandas.DataFrame:
    """Rows of sound fine-tuned models before and after fine-tuning."""
    frame = pandas.DataFrame({name: np.asarray(values) for name, values in columns.items() if np.ndim(values) == 1})
    sound = ~organisms.diverged.loc[frame.organism_id].to_numpy(bool)
    return ends(frame[(frame.stage == "finetune") & sound])


def _own_factors(config: Mapping[str, Any]) -> dict[str, str]:
    """The study's own values of factors that claims read, as words tell them."""
    return {
        "mode": config["finetuning"]["mode"],
        "slot_angle": f"{config['world']['slot_angle']:g}",
        "heads.objective": f"{config['pretraining']['heads']['objective']:g}",
    }


def _statistics_plan(config: Mapping[str, Any], manifest: Mapping[str, Any] | None = None) -> StatisticsPlan:
    """How to estimate; with `statistics.planned_seeds`, every number of seeds that the study was started with before is
    a look."""
    names = ("confidence", "resamples", "margin", "minimum_seeds", "minimum_arrived")
    planned, count = config["statistics"]["planned_seeds"], config["seeds"]["count"]
    looks = {*(manifest or {}).get("looks", []), count} if planned else ()
    fractions = tuple(look / planned for look in sorted(looks) if look <= count)
    return StatisticsPlan(**{name: config["statistics"][name] for name in names}, fractions=fractions)


def _plain(columns: Mapping[str, Column], names: Sequence[str]) -> pandas.DataFrame:
    return pandas.DataFrame({name: np.asarray(columns[name]) for name in names})


def _columns(frame: pandas.DataFrame) -> dict[str, Column]:
    return {str(name): pa.array(frame[name], from_pandas=True) for name in frame}


def _claims_in_order(frame: pandas.DataFrame) -> pa.Table:
    ordered = frame.sort_values(["order", "primary_first", "outcome", "stratum"], kind="stable")
    return pa.table({name: pa.array(ordered[name], from_pandas=True) for name in claims.SCHEMA.names})


def _manifest(folder: Path) -> dict[str, Any] | None:
    """What the study was started with; None where it was not started by Snakemake."""
    path = folder / "manifest.json"
    if not path.is_file():
        return None
    try:
        manifest = read_manifest(path)
    except ConfigurationError as error:
        raise TableError(str(error)) from error
    lacking = [key for key in (*FROZEN, "first", "edited") if key not in manifest]
    lacking += [f"first.{key}" for key in FROZEN if key not in manifest.get("first", FROZEN)]
    if lacking:
        remedy = "start a study of another name; without this file what is here is exploratory"
        raise TableError(f"{path}: lacks {lacking}; {remedy}")
    return manifest


def _changed(manifest: Mapping[str, Any] | None, config: Mapping[str, Any], absent: int) -> str:
    """What is not as it was when the study first started, by its manifest; empty where everything is."""
    found = [f"{absent} jobs are missing"] if absent else []
    if manifest is None:
        log.warning("there is no manifest.json: without it no verdict can be called confirmatory")
        return "; ".join([*found, "no manifest says what was declared before training"])
    now = {"config_sha256": config_sha256(load_config(config)), "claims_sha256": claims_sha256()}
    # By what runs here, too: the stage may be run without Snakemake, which keeps the manifest.
    edited = [words for key, words in FROZEN.items() if {manifest[key], now[key]} != {manifest["first"][key]}]
    if not edited and manifest["edited"]:
        edited = [BACK_AGAIN]
    if edited:
        log.warning("verdicts are exploratory: edited since the first start: %s", " and ".join(edited))
        found.append(f"edited since the first start: {' and '.join(edited)}")
    if manifest.get("lost"):
        found.append("the manifest that said what was declared before training was removed")
    if max(manifest.get("looks", [0])) > config["seeds"]["count"]:
        found.append("an earlier look had more seeds")
    return "; ".join(found)


if __name__ == "__main__":
    run_program(main)
