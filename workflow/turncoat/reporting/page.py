"""The report: one HTML file that opens offline, computed from the study's tables."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas
import pyarrow as pa
import yaml

from turncoat.configuration.study_file import read_manifest
from turncoat.reporting import (
    arm_figures,
    claim_figures,
    classification_figures,
    content,
    figures,
    gating_figures,
    static,
    summary,
)
from turncoat.reporting.assets import downloads, packed, plotly_script
from turncoat.reporting.charts import Chart
from turncoat.reporting.interactive import interactive
from turncoat.reporting.notices import notices
from turncoat.reporting.style import DARK
from turncoat.reporting.templates import environment
from turncoat.reporting.verdict_table import counts, strata, verdict_rows
from turncoat.statistics.claims import ORDER
from turncoat.tables import (
    alignment,
    claims,
    contrasts,
    defection,
    dodges,
    gating,
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
from turncoat.tables.atomic import read_table, write_text

_SCHEMAS: dict[str, pa.Schema] = {
    "organisms": models.SCHEMA,
    "trajectories": models.TRAJECTORIES,
    "claims": claims.SCHEMA,
    "premise": premise.SCHEMA,
    "levels": contrasts.LEVELS,
    "contrasts": contrasts.SCHEMA,
    "priors": contrasts.PRIORS,
    "persistence": contrasts.PERSISTENCE,
    "half_lives": contrasts.HALF_LIVES,
    "ratios": transitions.RATIOS,
    "dodges": dodges.SCHEMA,
    "gating": gating.SCHEMA,
    "reinforcement": reinforcement.STUDY,
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
READ = tuple(_SCHEMAS)  # the tables that the report is made from


def write_report(config: Mapping[str, Any], folder: Path) -> Path:
    """Write figures/ and report.html of the study in `folder`; returns the report's path.

    Raises TableError where a table is missing or of another version.
    """
    tables = {
        name: read_table(folder / "tables" / f"{name}.parquet", schema).to_pandas() for name, schema in _SCHEMAS.items()
    }
    drawn = [*_charts(tables, config), *_claim_charts(tables["claims"])]
    vectors = {
        chart.name: static.svg(chart) if chart.name.startswith("claim-") else static.draw(chart, folder / "figures")
        for chart in drawn
    }
    charts = {chart.name: interactive(chart) for chart in drawn}
    saved = downloads(folder / "tables")
    page = (
        environment()
        .get_template("report.html.j2")
        .render(
            _content(tables, config),
            charts=charts,
            manifest=list(_flat(_manifest(folder))),
            notices=notices(tables, config),
            downloads=saved,
            assets={
                "plotly": packed(plotly_script()),
                "charts": packed(_json(charts)),
                "strata": packed(_json(strata(tables["claims"]))),
                "dark": json.dumps(DARK),
                **{f"svg-{name}": packed(text.encode()) for name, text in vectors.items()},
                **{f"csv-{table.name}": table.csv for table in saved if table.csv},
            },
        )
    )
    path = folder / "report.html"
    write_text(path, page)
    return path


def _charts(tables: Mapping[str, pandas.DataFrame], config: Mapping[str, Any]) -> list[Chart]:
    """Every figure of the study, in the order of the page."""
    statistics = config["statistics"]
    distance, confidence = statistics["premise_distance"], statistics["confidence"]
    validation = tables["validation"], tables["reliability"], tables["discrimination"]
    lost = tables["organisms"].organism_id[tables["organisms"].diverged]
    courses = tables["trajectories"][~tables["trajectories"].organism_id.isin(lost)]
    return [
        claim_figures.verdicts(tables["claims"]),
        figures.headline(tables["levels"], statistics["margin"], statistics["minimum_seeds"]),
        classification_figures.motives(tables["motives"], distance),
        classification_figures.multiverse(tables["multiverse"]),
        classification_figures.causal(tables["motives"], distance, statistics["minimum_seeds"]),
        figures.persistence(tables["persistence"]),
        arm_figures.learning(courses, distance),
        arm_figures.dodges(tables["dodges"], distance),
        gating_figures.flow(tables["gating"], distance, confidence),
        figures.gating(tables["gating"]),
        gating_figures.factorial(tables["gating"]),
        gating_figures.reinforcement(tables["reinforcement"], config["reinforcement"], distance, confidence),
        gating_figures.correction(tables["contrasts"], distance),
        classification_figures.trust(*validation),
    ]


def _claim_charts(table: pandas.DataFrame) -> list[Chart]:
    found = (claim_figures.strata(table, claim) for claim in ORDER)
    return [chart for chart in found if chart is not None]


def _content(tables: Mapping[str, pandas.DataFrame], config: Mapping[str, Any]) -> dict[str, Any]:
    """What the templates fill in from the tables and the configuration."""
    distance = config["statistics"]["premise_distance"]
    return {
        "study": config["study"],
        "config": yaml.safe_dump(dict(config), sort_keys=False, default_flow_style=None, width=100),
        "verdicts": verdict_rows(tables["claims"]),
        "verdict_counts": counts(tables["claims"]),
        "ranks": {verdict: rank for rank, verdict in enumerate(summary.VERDICT_WORDS)},
        "sentences": [
            *summary.sentences(tables["claims"], tables["premise"], tables["levels"]),
            *summary.price_sentences(tables["motives"], distance),
            *summary.trust_sentences(tables["trust"]),
        ],
        "premise": content.records(tables["premise"]),
        "contrasts": content.primary_contrasts(tables["contrasts"], config),
        "break_even": content.records(tables["priors"][tables["priors"].kind == "break_even"]),
        "types": list(alignment.TYPES),
        "confusion": content.confusion(tables["validation"]),
        "planted": len(tables["validation"]),
        "trust": content.records(tables["trust"]),
        "cutoffs": content.records(tables["cutoffs"]),
        "coverage": content.records(tables["coverage"]),
        "motives": content.motives(tables["motives"], distance),
        "probes": content.records(content.probes(tables["defection"], distance)),
        "populations": content.records(content.populations(tables["populations"], config)),
        "half_lives": content.records(content.half_lives(tables["half_lives"], tables["levels"])),
        "turning": content.records(content.turning(tables["ratios"])),
        "dodges": content.records(content.dodges(tables["dodges"])),
        "drift": content.records(content.drift(tables["levels"])),
        "run": content.counts(tables["organisms"], tables["levels"], config),
        "cells": content.records(content.cells(tables["organisms"], tables["levels"], config)),
        "statistics": config["statistics"],
        "cosine": config["types"]["cosine"],
    }


def _json(values: Any) -> bytes:
    return json.dumps(values, allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode()


def _manifest(folder: Path) -> dict[str, Any]:
    """What the manifest says; empty where Snakemake did not start the study."""
    path = folder / "manifest.json"
    content = dict(read_manifest(path)) if path.is_file() else {}
    content.pop("accepted", None)  # says of earlier code that it made these same bits; the page would differ for it
    return content


def _flat(content: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in content.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{key}.")
        elif value is not None:
            found.append((f"{prefix}{key}", json.dumps(value) if isinstance(value, list) else str(value)))
    return found
