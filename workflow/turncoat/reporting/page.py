"""The report: one HTML file that opens offline, computed from the study's tables."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import pandas
import pyarrow as pa
import yaml

from turncoat.reporting import figures, summary
from turncoat.reporting.style import style
from turncoat.statistics.claims import CLAIMS, ORDER
from turncoat.statistics.contrasts import capability_match
from turncoat.tables import alignment, claims, contrasts, gating, models, premise, validation
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
    "validation": validation.SCHEMA,
}


def write_report(config: Mapping[str, Any], folder: Path) -> Path:
    """Write figures/ and report.html of the study in `folder`; returns the report's path.

    Raises TableError where a table is missing or of another version.
    """
    tables = {
        name: read_table(folder / "tables" / f"{name}.parquet", schema).to_pandas() for name, schema in _SCHEMAS.items()
    }
    with style():
        drawn = {
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
            sentences=list(summary.sentences(tables["claims"], tables["premise"], tables["levels"])),
            claims=_by_claim(tables["claims"]),
            premise=_records(tables["premise"]),
            contrasts=_primary_contrasts(tables["contrasts"], config),
            break_even=_records(tables["priors"][tables["priors"].kind == "break_even"]),
            types=list(alignment.TYPES),
            confusion=_confusion(tables["validation"]),
            misread=_misread(tables["validation"]),
            planted=len(tables["validation"]),
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


def _confusion(table: pandas.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for (kind, truth), group in table.groupby(["kind", "truth"], sort=True):
        counts = group.reading.value_counts()
        rows.append(
            {"kind": kind, "truth": truth, "n": len(group), "correct": int(group.correct.sum())}
            | {name: int(counts.get(name, 0)) for name in alignment.TYPES}
        )
    return rows


def _misread(table: pandas.DataFrame) -> list[str]:
    """Kinds of which at least one case in twenty was misread."""
    share = table.groupby("kind").correct.mean()
    return [str(kind) for kind in share[share < 0.95].index]


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
