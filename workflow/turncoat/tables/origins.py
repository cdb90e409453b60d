"""Whose a file is: every job's table must have been made with the settings that the study has now.

A file's place says which cell and block it is of, and cells differ in their settings; but evaluation, probes and
planted cases have settings of their own, with which another study's file of the same place may have been made.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from turncoat.tables.atomic import TableError, read_provenance


def check_settings(folder: Path, expected: Mapping[Path, str]) -> None:
    """Raise TableError where a table of the study in `folder` is damaged, lies in another's place, or was made with
    other settings; also those that no later stage reads. What is missing is left to whoever reads it.

    `expected` gives the settings, JSON as jobs are given it, by the table's path in the folder.
    """
    for name, settings in expected.items():
        path = folder / name
        found = read_provenance(path).get("settings") if path.is_file() else settings
        if found != settings:
            raise TableError(
                f"{path}: was made with other settings than this study's ({_difference(found, settings)}); "
                "delete it and run the study again"
            )


def check_configuration(folder: Path, config_sha256: str, names: Iterable[str]) -> None:
    """Raise TableError where one of the study's own tables is damaged, or was made from another configuration."""
    for name in names:
        path = folder / "tables" / f"{name}.parquet"
        found = read_provenance(path).get("config_sha256")
        if found != config_sha256:
            raise TableError(
                f"{path}: was made from another configuration (its hash is {found}, this study's {config_sha256}); "
                "delete it and run the study again"
            )


def _difference(found: str | None, settings: str) -> str:
    if not found:
        return "it says none"
    old, new = json.loads(found), json.loads(settings)
    keys = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    return "they differ in " + ", ".join(keys)
