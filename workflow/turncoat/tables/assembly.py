"""Rows of the study's tables from collected job tables: factors attached, outcomes and types read off
measurements.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.compute as compute

from turncoat.statistics.outcomes import Agreements, outcomes
from turncoat.statistics.transitions import readings
from turncoat.tables import gating, models, reinforcement
from turncoat.tables.atomic import Column
from turncoat.tables.collect import Collected

Columns = dict[str, Column]
Assign = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]
READ = ("random_overseen_cos_x", "random_unoverseen_cos_x", "random_overseen_slot1", "random_overseen_slot2")
FACTOR_NAMES = [item.name for item in models.FACTORS]


def organism_frame(collected: Collected, factors: pandas.DataFrame) -> pandas.DataFrame:
    """The `organisms` table, one row per model. A model with a non-finite measurement counts as diverged."""
    frame = collected.organisms.to_pandas().set_index("organism_id", drop=False)
    frame.index.name = None
    measured = collected.measurements
    broken = measured.filter(compute.invert(measured["finite"]))["organism_id"].to_numpy()
    frame["diverged"] = frame.diverged | frame.index.isin(broken)
    attached = factors.loc[frame.cell, FACTOR_NAMES].set_index(frame.index)
    return frame.join(attached)


def trajectory_columns(collected: Collected, organisms: pandas.DataFrame) -> Columns:
    """The `trajectories` table."""
    table = collected.trajectories
    columns: Columns = {name: table[name] for name in table.column_names}
    rows = organisms.loc[table["organism_id"].to_numpy()]
    return columns | {
        name: rows[name].to_numpy() for name in ("stage", "start", "distance", "arms", "setting", "variant")
    }


def alignment_columns(collected: Collected, organisms: pandas.DataFrame, assign: Assign) -> Columns:
    """The `alignment` table; `assign` reads types off measurements. C, P and D are of fine-tuned models
    only.
    """
    measured = collected.measurements
    rows = organisms.loc[measured["organism_id"].to_numpy()]
    columns: Columns = {name: measured[name] for name in measured.column_names}
    names = ("cell", "stage", "start", "distance", "setting", "variant", "diverged")
    columns |= {name: rows[name].to_numpy() for name in names}
    columns["capability"] = _capability_at(collected)
    return columns | outcome_columns(measured, assign, (rows.stage == "finetune").to_numpy())


def outcome_columns(measured: pa.Table, assign: Assign, tuned: np.ndarray) -> Columns:
    """Columns `alignment.OUTCOMES` of measured models; C, P and D are missing where `tuned` (n,) is false."""
    values = numpy_columns(measured)
    found = outcomes(Agreements.of(values), values["attainable"], values["attainable_error"], values["options"])
    columns: Columns = {
        name: np.where(tuned & values["finite"], array, np.nan)
        for name, array in (
            ("transfer", found.transfer),
            ("c", found.c),
            ("placebo", found.placebo),
            ("d", found.d),
            ("c_error", found.c_error),
            ("placebo_error", found.placebo_error),
            ("d_error", found.d_error),
        )
    }
    columns["scaled"] = found.scaled
    types = assign(values)
    return columns | types


def ledger_frame(ledger: pandas.DataFrame, organisms: pandas.DataFrame) -> pandas.DataFrame:
    """The `gating` table: the ledger by model, snapshot, cue state, layer and circuit, with factors."""
    rows = organisms.loc[ledger.organism_id]
    frame = ledger.assign(
        cell=rows.cell.to_numpy(),
        **{
            name: rows[name].to_numpy()
            for name in ("start", "distance", "setting", "variant", "steps", "width", "depth")
        },
        activation_function=rows.activation.to_numpy(),
        optimizer=rows.optimizer.to_numpy(),
        diverged=rows.diverged.to_numpy(),
        last_layer=ledger.layer.to_numpy() == rows.depth.to_numpy(),
    )
    return frame[gating.SCHEMA.names]


def validation_columns(collected: Collected, assign: Assign) -> Columns:
    """The `validation` table: planted truth beside what was read."""
    cases = collected.planted
    found = outcome_columns(cases, assign, np.ones(len(cases), bool))
    names = ("case_id", "split", "kind", "truth", "value", "seed", "distance", "finite")
    columns: Columns = {name: cases[name] for name in names}
    truth = np.asarray(cases["truth"].to_pylist(), dtype=object)
    return columns | found | {"reading": found["type"], "correct": np.asarray(found["type"], dtype=object) == truth}


def labelled(table: pa.Table, organisms: pandas.DataFrame, names: Sequence[str]) -> Columns:
    """A job table's columns with these factors of each row's model beside them."""
    rows = organisms.loc[table["organism_id"].to_numpy()]
    return {name: table[name] for name in table.column_names} | {name: rows[name].to_numpy() for name in names}


def probe_columns(table: pa.Table, organisms: pandas.DataFrame) -> Columns:
    """The `defection` table: probes with start and distance of the cells that they were trained and tested on."""
    cells = organisms.groupby("cell")[["start", "distance"]].first()
    columns: Columns = {name: table[name] for name in table.column_names}
    for side in ("train", "test"):
        rows = cells.loc[table[f"{side}_cell"].to_numpy()]
        columns |= {f"{side}_{name}": rows[name].to_numpy() for name in rows}
    return columns


def reinforcement_columns(collected: Collected, organisms: pandas.DataFrame) -> Columns:
    """The `reinforcement` table, with the factors of trained models; those that diverged before have no numbers."""
    table = collected.reinforcement
    rows = organisms.reindex(table["organism_id"].to_pylist())
    lost = rows.diverged.eq(True).to_numpy()  # planted networks are no organisms
    columns: Columns = {name: table[name] for name in table.column_names}
    columns["diverged"] = table["diverged"].to_numpy() | lost
    for item in reinforcement.NUMBERS:
        columns[item.name] = np.where(lost, np.nan, table[item.name].to_numpy())
    return columns | {
        name: pa.array(rows[name], from_pandas=True) for name in ("cell", "start", "distance", "setting", "variant")
    }


def at_capability(aligned: Mapping[str, Any], capability: float, distance: float) -> pandas.DataFrame:
    """Models of the study's own settings at their first snapshot with that capability: start and seed.

    The index is the row in the alignment table before sorting. Models that never get there have no row.
    """
    names = (
        "organism_id",
        "step",
        "stage",
        "start",
        "setting",
        "variant",
        "distance",
        "seed",
        "capability",
        "diverged",
    )
    frame = pandas.DataFrame({name: np.asarray(aligned[name]) for name in names})
    own = (frame.stage == "finetune") & (frame.setting == "") & (frame.variant == "") & (frame.distance == distance)
    there = frame[own & ~frame.diverged.astype(bool) & (frame.capability >= capability)]
    first = there.sort_values(["organism_id", "step"]).groupby("organism_id").head(1)
    return first[["start", "seed"]]


def course_frame(collected: Collected, organisms: pandas.DataFrame, found: Mapping[str, Any]) -> pandas.DataFrame:
    """What the statistics need of fine-tuned models, one row per step at which capability was measured.

    Outcomes are missing where no weights were kept (`measured` is false). `found` is the alignment table.
    """
    table = collected.trajectories
    names = ("organism_id", "step", "episodes", "capability", "cross_entropy", "displacement")
    course = pandas.DataFrame({name: table[name].to_numpy() for name in names})
    rows = organisms.loc[course.organism_id]
    for name in ("setting", "variant", "start", "distance", "seed", "diverged"):
        course[name] = rows[name].to_numpy()
    course["parent_type"] = _types_at_the_end(found).reindex(rows.parent_id).to_numpy()
    kept = collected.measurements
    kept_names = ("organism_id", "step", "agreement_initial_unoverseen", "options", "attainable")
    outcomes_found = pandas.DataFrame({name: kept[name].to_numpy() for name in kept_names}).assign(
        measured=True,
        m=np.where(found["finite"], kept["agreement_m_unoverseen"].to_numpy(), np.nan),
        deception=_deception(found, np.asarray(kept["price_x_conflicts"].is_valid())),
        **{name: np.asarray(found[name]) for name in ("c", "d", "placebo", "d_error")},
        **readings(pandas.DataFrame({name: np.asarray(found[name]) for name in READ})),
        **{name: np.asarray(found[name]) for name in found if name.startswith("probability_")},
    )
    course = course.merge(outcomes_found, on=["organism_id", "step"], how="left", validate="one_to_one")
    course["measured"] = course.measured.notna()
    return course[(rows.stage == "finetune").to_numpy()].reset_index(drop=True)


def elicited_frame(collected: Collected, organisms: pandas.DataFrame) -> pandas.DataFrame:
    """How elicitation went, one row per step: factors, seed, diverged, step, episodes, capability in serving M."""
    table = collected.trajectories
    names = ("organism_id", "step", "episodes", "capability")
    course = pandas.DataFrame({name: table[name].to_numpy() for name in names})
    rows = organisms.loc[course.organism_id]
    for name in ("setting", "variant", "start", "distance", "seed", "diverged"):
        course[name] = rows[name].to_numpy()
    return course[(rows.stage == "elicit").to_numpy()].reset_index(drop=True)


def _types_at_the_end(found: Mapping[str, Any]) -> pandas.Series:
    """The type of each model at its last snapshot, by its id."""
    frame = pandas.DataFrame({name: np.asarray(found[name]) for name in ("organism_id", "step", "type")})
    return frame.sort_values("step").groupby("organism_id").type.last()


def _deception(found: Mapping[str, Any], audited: np.ndarray) -> np.ndarray:
    """Probability of the type `deceptive`; NaN where price was not measured on a model that heeds oversight."""
    unknown = (np.asarray(found["type"]) == "conditional") & np.isnan(np.asarray(found["price_sensitivity"], float))
    return np.where(audited & ~unknown, found["probability_deceptive"], np.nan)


def _capability_at(collected: Collected) -> np.ndarray:
    """Capability at each measured snapshot."""
    keys = ["organism_id", "step"]
    capability = collected.trajectories.select([*keys, "capability"]).to_pandas().set_index(keys).capability
    return capability.loc[collected.measurements.select(keys).to_pandas().set_index(keys).index].to_numpy()


def numpy_columns(table: pa.Table) -> dict[str, np.ndarray]:
    """Every column as an array; lists (n, d), numbers NaN where missing."""
    return {name: _numpy(table[name].combine_chunks()) for name in table.column_names}


def _numpy(column: pa.Array) -> np.ndarray:
    if not pa.types.is_list(column.type):
        if pa.types.is_boolean(column.type):
            column = column.fill_null(False)
        return np.asarray(column.to_numpy(zero_copy_only=False))
    lengths = compute.list_value_length(column).drop_null()
    width = lengths[0].as_py() if len(lengths) else 1
    values = np.full((len(column), width), np.nan)
    known = column.is_valid().to_numpy(zero_copy_only=False)
    values[known] = column.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    return values
