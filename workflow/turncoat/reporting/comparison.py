"""Two or more studies side by side: verdicts, estimates, configuration and code."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas
import pyarrow.parquet as parquet
import yaml

from turncoat.reporting import claim_words
from turncoat.statistics.claims import CLAIMS, ORDER
from turncoat.tables import claims
from turncoat.tables.atomic import TableError, read_table

IGNORED = ("study", "table.study")  # what differs between studies by its nature


@dataclass(frozen=True)
class Study:
    """What a comparison needs of a study: its primary rows by claim, its configuration and its manifest, both flat."""

    name: str
    folder: Path
    primary: pandas.DataFrame
    config: Mapping[str, str]
    code: Mapping[str, str]
    seeds: str


def read_study(folder: Path) -> Study:
    """Read the study in `folder`.

    Raises ValueError where it is no study's folder or has no claims yet, and TableError where its claims are of
    another version than this one reads.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; give the folder of a study, such as results/default")
    table, config = folder / "tables" / "claims.parquet", folder / "config.yaml"
    if not table.is_file():
        raise ValueError(f"{folder}: holds no tables/claims.parquet; run the study first, or give its own folder")
    found = read_table(table, claims.SCHEMA).to_pandas()
    known = set(found.claim) - set(ORDER)
    if known:
        raise TableError(f"{table}: holds claims that this version does not know: {', '.join(sorted(known))}")
    values = yaml.safe_load(config.read_text(encoding="utf-8")) if config.is_file() else {}
    manifest_path = folder / "manifest.json"
    manifest = json.loads(manifest_path.read_text(encoding="utf-8")) if manifest_path.is_file() else {}
    seeds = (values or {}).get("seeds", {})
    return Study(
        str((values or {}).get("study", folder.name)),
        folder,
        found[found.primary].set_index("claim"),
        flat(values or {}),
        _code(manifest, table),
        f"{seeds['first']} to {seeds['first'] + seeds['count'] - 1}" if {"first", "count"} <= set(seeds) else "",
    )


def _code(manifest: Mapping[str, Any], table: Path) -> dict[str, str]:
    """Fingerprints of code, environment and claims; from the table's own provenance where there is no manifest."""
    metadata = parquet.read_schema(table).metadata or {}
    made = json.loads(metadata.get(b"provenance", b"{}"))
    chosen = {
        name: manifest[name] for name in ("git_commit", "claims_sha256", "python", "device") if manifest.get(name)
    }
    found = flat({"table": made, **chosen, "code": manifest.get("code", {}), "versions": manifest.get("versions", {})})
    return {key: value[:16] if "sha256" in key or key == "git_commit" else value for key, value in found.items()}


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested values as one mapping from dotted keys to text."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value, default=str)
    return found


def compared(studies: Sequence[Study]) -> list[dict[str, Any]]:
    """A row for each claim: what it says, each study's answer, and whether they agree.

    `agreement` is 'same' or 'differ' among the studies that tested it; 'one' where a single one did and 'none' where
    none did. `overlap` says whether all intervals of one outcome and stratum meet (None: not comparable, as where the
    primary strata are not one). An answer has `number`, `ratio` (of a log-ratio) and `what` in words.
    """
    rows = []
    for name in ORDER:
        answers = [_answer(study, name) for study in studies]
        if not any(answers):
            continue
        tested = [answer for answer in answers if answer and answer["verdict"] != "not_tested"]
        verdicts = {answer["verdict"] for answer in tested}
        agreement = ("none", "one")[len(tested)] if len(tested) < 2 else ("same" if len(verdicts) == 1 else "differ")
        rows.append({"claim": CLAIMS[name], "answers": answers, "agreement": agreement, "overlap": _overlap(tested)})
    return rows


def _answer(study: Study, claim: str) -> dict[str, Any] | None:
    if claim not in study.primary.index:
        return None
    row = study.primary.loc[claim]
    names = ("verdict", "outcome", "stratum", "estimate", "low", "high", "n", "margin", "reason", "confirmatory")
    words = {"number": claim_words.estimate(row), "ratio": claim_words.ratio(row), "what": _what(row)}
    return {name: row[name] for name in names} | words


def _what(row: Mapping[str, Any]) -> str:
    """What a number is of and where, and whether it was declared beforehand."""
    standing = "" if row["confirmatory"] else "; exploratory"
    return f"{claim_words.outcome(row)}: {claim_words.stratum(row)}{standing}"


def _overlap(answers: Sequence[Mapping[str, Any]]) -> bool | None:
    known = [answer for answer in answers if pandas.notna(answer["low"]) and pandas.notna(answer["high"])]
    alike = {(answer["outcome"], answer["stratum"]) for answer in known}
    if len(known) < 2 or len(alike) != 1:
        return None
    return bool(max(answer["low"] for answer in known) <= min(answer["high"] for answer in known))


def differing(columns: Sequence[Mapping[str, str]]) -> list[tuple[str, list[str]]]:
    """Keys whose values are not the same in all, with each one's value; empty text where one has none."""
    keys = dict.fromkeys(key for values in columns for key in values)
    rows = [(key, [values.get(key, "") for values in columns]) for key in keys if key not in IGNORED]
    return [(key, values) for key, values in rows if len(set(values)) > 1]
