"""The report: one HTML file that opens offline, computed from the study's tables."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import pandas
import pyarrow as pa
import yaml

from turncoat.configuration.study_file import read_manifest
from turncoat.reporting import arm_figures, classification_figures, content, figures, gating_figures, summary
from turncoat.reporting.style import style
from turncoat.statistics.validation import misread_kinds
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

TEMPLATES = Path(__file__).resolve().parents[2] / "report"
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
            "learning": arm_figures.learning(tables["trajectories"], distance, folder / "figures"),
            "dodges": arm_figures.dodges(tables["dodges"], distance, folder / "figures"),
            "headline": figures.headline(tables["levels"], config["statistics"]["margin"], folder / "figures"),
            "persistence": figures.persistence(tables["persistence"], folder / "figures"),
            "gating": figures.gating(tables["gating"], folder / "figures"),
            "flow": gating_figures.flow(tables["gating"], config["statistics"]["confidence"], folder / "figures"),
            "reinforcement": gating_figures.reinforcement(
                tables["reinforcement"],
                config["reinforcement"],
                distance,
                config["statistics"]["confidence"],
                folder / "figures",
            ),
            "correction": gating_figures.correction(tables["contrasts"], distance, folder / "figures"),
            "factorial": gating_figures.factorial(tables["gating"], folder / "figures"),
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
            claims=content.by_claim(tables["claims"]),
            premise=content.records(tables["premise"]),
            contrasts=content.primary_contrasts(tables["contrasts"], config),
            break_even=content.records(tables["priors"][tables["priors"].kind == "break_even"]),
            types=list(alignment.TYPES),
            confusion=content.confusion(tables["validation"]),
            misread=misread_kinds(tables["validation"]),
            planted=len(tables["validation"]),
            trust=content.records(tables["trust"]),
            cutoffs=content.records(tables["cutoffs"]),
            coverage=content.records(tables["coverage"]),
            motives=content.motives(tables["motives"], distance),
            probes=content.records(content.probes(tables["defection"], distance)),
            populations=content.records(content.populations(tables["populations"], config)),
            half_lives=content.records(content.half_lives(tables["half_lives"], tables["levels"])),
            turning=content.records(content.turning(tables["ratios"])),
            dodges=content.records(content.dodges(tables["dodges"])),
            drift=content.records(content.drift(tables["levels"])),
            run=content.counts(tables["organisms"], tables["levels"], config),
            cells=content.records(content.cells(tables["organisms"], tables["levels"], config)),
            statistics=config["statistics"],
            cosine=config["types"]["cosine"],
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


def _manifest(folder: Path) -> list[tuple[str, str]]:
    """What the manifest says, as (key, value); empty where Snakemake did not start the study."""
    path = folder / "manifest.json"
    if not path.is_file():
        return []
    return list(_flat(read_manifest(path)))


def _flat(content: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in content.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{key}.")
        elif value is not None:
            found.append((f"{prefix}{key}", json.dumps(value) if isinstance(value, list) else str(value)))
    return found
