"""The report: one HTML file that opens offline, computed from the study's tables."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import pandas
import pyarrow as pa
import yaml

from turncoat.reporting import classification_figures, figures, summary
from turncoat.reporting.style import style
from turncoat.statistics.claims import CLAIMS, ORDER
from turncoat.statistics.contrasts import capability_match
from turncoat.statistics.validation import misread_kinds
from turncoat.tables import (
    alignment,
    claims,
    contrasts,
    defection,
    gating,
    models,
    motives,
    planted,
    populations,
    premise,
    trust,
    validation,
)
from turncoat.tables.atomic import read_table, write_text

TEMPLATES = Path(__file__).resolve().parents[2] / "report"
_SCHEMAS: dict[str, pa.Schema] = {
    "organisms": models.SCHEMA,
    "claims": claims.SCHEMA,
    "premise": premise.SCHEMA,
    "levels": contrasts.LEVELS,
    "contrasts": contrasts.SCHEMA,
    "priors": contrasts.PRIORS,
    "persistence": contrasts.PERSISTENCE,
    "half_lives": contrasts.HALF_LIVES,
    "gating": gating.SCHEMA,
    "motives": motives.SCHEMA,
    "defection": defection.STUDY,
    "populations": populations.SCHEMA,
    "multiverse": trust.MULTIVERSE,
    "validation": validation.SCHEMA,
    "trust": trust.TRUST,
    "reliability": trust.RELIABILITY,
    "cutoffs": trust.CUTOFFS,
    "coverage": trust.COVERAGE,
    "discrimination": planted.DISCRIMINATION,
}


def write_report(config: Mapping[str, Any], folder: Path) -> Path:
    """Write figures/ and report.html of the study in `folder`; returns the report's path.

    Raises TableError where a table is missing or of another version.
    """
    tables = {
        name: read_table(folder / "tables" / f"{name}.parquet", schema).to_pandas() for name, schema in _SCHEMAS.items()
    }
    distance = config["statistics"]["premise_distance"]
    with style():
        drawn = {
            "motives": classification_figures.motives(tables["motives"], distance, folder / "figures"),
            "causal": classification_figures.causal(
                tables["motives"], distance, config["statistics"]["minimum_seeds"], folder / "figures"
            ),
            "multiverse": classification_figures.multiverse(tables["multiverse"], folder / "figures"),
            "trust": classification_figures.trust(
                tables["validation"], tables["reliability"], tables["discrimination"], folder / "figures"
            ),
            "headline": figures.headline(tables["levels"], config["statistics"]["margin"], folder / "figures"),
            "persistence": figures.persistence(tables["persistence"], folder / "figures"),
            "gating": figures.gating(tables["gating"], folder / "figures"),
        }
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            study=config["study"],
            config=yaml.safe_dump(dict(config), sort_keys=False, default_flow_style=None, width=100),
            manifest=_manifest(folder),
            figures=drawn,
            answers=summary.answers(tables["claims"]),
            sentences=[
                *summary.sentences(tables["claims"], tables["premise"], tables["levels"]),
                *summary.price_sentences(tables["motives"], distance),
                *summary.trust_sentences(tables["trust"]),
            ],
            claims=_by_claim(tables["claims"]),
            premise=_records(tables["premise"]),
            contrasts=_primary_contrasts(tables["contrasts"], config),
            break_even=_records(tables["priors"][tables["priors"].kind == "break_even"]),
            types=list(alignment.TYPES),
            confusion=_confusion(tables["validation"]),
            misread=misread_kinds(tables["validation"]),
            planted=len(tables["validation"]),
            trust=_records(tables["trust"]),
            cutoffs=_records(tables["cutoffs"]),
            coverage=_records(tables["coverage"]),
            motives=_motives(tables["motives"], distance),
            probes=_records(_probes(tables["defection"], distance)),
            populations=_records(_populations(tables["populations"], config)),
            half_lives=_records(_half_lives(tables["half_lives"], tables["levels"])),
            drift=_records(_drift(tables["levels"])),
            run=_counts(tables["organisms"], tables["levels"], config),
            cells=_records(_cells(tables["organisms"], tables["levels"], config)),
            statistics=config["statistics"],
        )
    )
    path = folder / "report.html"
    write_text(path, page)
    return path


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": summary.number,
        "words": lambda text: str(text).replace("_", " "),
        "verdict": lambda verdict: summary.VERDICT_WORDS.get(verdict, str(verdict).replace("_", " ")),
        "p": lambda value: summary.DASH if pandas.isna(value) else ("< 0.001" if value < 0.001 else f"{value:.3f}"),
    }
    environment.globals["interval"] = summary.interval
    return environment


def _records(frame: pandas.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def _by_claim(table: pandas.DataFrame) -> list[dict[str, Any]]:
    """Tested claims with their primary and other rows; the others only with their reason."""
    found = []
    for name in ORDER:
        rows = table[table.claim == name]
        if rows.empty:
            continue
        first = rows[rows.primary] if rows.primary.any() else rows.iloc[:1]
        rest = rows.drop(first.index)
        found.append(
            {"claim": CLAIMS[name], "primary": _records(first), "rest": _records(rest)}
            | {
                "counts": rest.verdict.value_counts().sort_index().to_dict(),
                "tested": not CLAIMS[name].untested,
            }
        )
    return found


def _primary_contrasts(table: pandas.DataFrame, config: Mapping[str, Any]) -> list[dict[str, Any]]:
    match = capability_match(config["statistics"]["primary_capability"])
    own = table[(table.setting == "") & (table.variant == "") & (table.match == match)]
    keys = ["start", "distance", "reference"]
    both = own[own.outcome == "c"].merge(own[own.outcome == "d"], on=keys, suffixes=("_c", "_d"))
    both = both[~both.start.str.startswith("scratch") & (both.reference != "benign_conditional")]
    return _records(both.sort_values(keys))


def _motives(table: pandas.DataFrame, distance: float) -> list[dict[str, Any]]:
    """By start: price sensitivity, type probabilities and shape of the compliance curve, before and after."""
    own = table[(table.setting == "") & (table.variant == "") & (table.distance == distance)]
    own = own[~own.start.str.startswith("planted")]
    columns = {
        "sensitivity": ("price_sensitivity", ""),
        "conditional": ("probability_conditional", ""),
        "deceptive": ("probability_deceptive", ""),
        "moved": ("curve_moved", "oversight"),
        "threshold": ("curve_threshold", "oversight"),
        "rising": ("curve_rising", "oversight"),
        "non_monotone": ("curve_non_monotone", "oversight"),
    }
    rows = []
    for (start, when), here in own.groupby(["start", "when"], sort=True):
        found = here.set_index(["quantity", "part"])
        rows.append({"start": start, "when": when} | {name: found.loc[key].to_dict() for name, key in columns.items()})
    return sorted(rows, key=lambda row: (row["start"], row["when"] == "after"))


def _probes(table: pandas.DataFrame, distance: float) -> pandas.DataFrame:
    """Probes trained at one distance, tested on the same start at every distance."""
    chosen = table[(table.train_distance == distance) & (table.train_start == table.test_start) & table.auroc.notna()]
    return chosen.sort_values(["test_start", "test_distance", "representation", "layer"])


def _populations(table: pandas.DataFrame, config: Mapping[str, Any]) -> pandas.DataFrame:
    match = capability_match(config["statistics"]["primary_capability"])
    own = table[(table.setting == "") & (table.variant == "") & (table.match == match) & (table.distance > 0)]
    return own.sort_values(["distance", "start"])


def _confusion(table: pandas.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for (split, kind, truth), group in table[table.split != "ladder"].groupby(["split", "kind", "truth"], sort=True):
        counts = group.reading.value_counts()
        rows.append(
            {"split": split, "kind": kind, "truth": truth, "n": len(group), "correct": int(group.correct.sum())}
            | {name: int(counts.get(name, 0)) for name in alignment.TYPES}
        )
    return rows


def _half_lives(lives: pandas.DataFrame, levels: pandas.DataFrame) -> pandas.DataFrame:
    """Half-lives of the study's own settings, with D at the final step beside them."""
    keys = ["setting", "variant", "start", "distance"]
    final = levels[(levels.match == "final step") & (levels.outcome == "d")][[*keys, "mean", "low", "high"]]
    final = final.rename(columns={"mean": "d", "low": "d_low", "high": "d_high"})
    own = lives[(lives.setting == "") & (lives.variant == "")]
    return own.merge(final, on=keys, how="left").sort_values(["distance", "start"])


def _drift(levels: pandas.DataFrame) -> pandas.DataFrame:
    final = levels[(levels.match == "final step") & (levels.setting == "") & (levels.variant == "")]
    wide = final[final.distance == 0].pivot(index="start", columns="outcome", values=["mean", "low", "high", "n"])
    if wide.empty:
        return pandas.DataFrame()
    moved = final[(final.distance > 0) & (final.outcome == "displacement")].groupby("start")["mean"].mean()
    rows = pandas.DataFrame({"start": wide.index})
    for outcome in ("c", "d", "capability", "displacement"):
        for part in ("mean", "low", "high"):
            rows[f"{outcome}_{part}"] = wide[(part, outcome)].to_numpy()
    rows["n"] = wide[("n", "displacement")].to_numpy()
    rows["displacement_elsewhere"] = moved.reindex(wide.index).to_numpy()
    return rows


def _cells(organisms: pandas.DataFrame, levels: pandas.DataFrame, config: Mapping[str, Any]) -> pandas.DataFrame:
    keys = ["stage", "start", "distance", "setting", "variant"]
    table = organisms.groupby(keys, dropna=False, sort=True).agg(
        models=("seed", "size"),
        diverged=("diverged", "sum"),
        seconds=("train_seconds", "sum"),
        arms=("arms", "first"),
    )
    match = capability_match(config["statistics"]["primary_capability"])
    never = levels[(levels.match == match) & (levels.outcome == "d")].assign(stage="finetune")
    return table.reset_index().merge(never[[*keys, "never_arrived"]], on=keys, how="left")


def _counts(organisms: pandas.DataFrame, levels: pandas.DataFrame, config: Mapping[str, Any]) -> dict[str, Any]:
    cells = _cells(organisms, levels, config)
    changed = organisms.initial_fingerprint != organisms.final_fingerprint
    return {
        "models": len(organisms),
        "trained": int(changed.sum()),
        "pretrained": int((organisms.stage == "pretrain").sum()),
        "seeds": organisms.seed.nunique(),
        "first_seed": int(organisms.seed.min()),
        "last_seed": int(organisms.seed.max()),
        "cells": organisms.cell.nunique(),
        "diverged": int(organisms.diverged.sum()),
        "never": int(cells.never_arrived.sum()),
        "minutes": organisms.train_seconds.sum() / 60,
        "devices": ", ".join(sorted(organisms.device.unique())),
    }


def _manifest(folder: Path) -> list[tuple[str, str]]:
    """What the manifest says, as (key, value); empty where Snakemake did not start the study."""
    path = folder / "manifest.json"
    if not path.is_file():
        return []
    return list(_flat(json.loads(path.read_text(encoding="utf-8"))))


def _flat(content: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in content.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{key}.")
        elif value is not None:
            found.append((f"{prefix}{key}", json.dumps(value) if isinstance(value, list) else str(value)))
    return found
