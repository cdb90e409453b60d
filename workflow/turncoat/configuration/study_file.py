"""The manifest of a study as a file: complete or as it was, with a version and a checksum that reading verifies."""

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from turncoat.configuration.cells import canonical_json, digest
from turncoat.configuration.errors import ConfigurationError

NAME = "manifest.json"
VERSION = 1


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest in `path`. Raises ConfigurationError where it is damaged, altered or of another version.

    Manifests from before there were versions and checksums have neither.
    """
    remedy = "; put back a copy of it, or remove the study's folder and run again"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError):
        raise ConfigurationError([f"{path} is cut or damaged{remedy}"], "the results folder") from None
    if not isinstance(content, dict):
        raise ConfigurationError([f"{path} is no manifest of turncoat{remedy}"], "the results folder")
    version, checksum = content.pop("schema_version", None), content.pop("sha256", None)
    if (version, checksum) == (None, None):
        return content
    if checksum != digest(canonical_json({"schema_version": version, **content})):
        problem = f"{path}: its checksum is not that of its content: it was damaged or altered{remedy}"
        raise ConfigurationError([problem], "the results folder")
    if version != VERSION:
        problem = f"{path} has version {version}, this code reads {VERSION}{remedy}"
        raise ConfigurationError([problem], "the results folder")
    return content


def write_manifest(path: Path, content: Mapping[str, Any]) -> None:
    """Write the manifest with its version and checksum."""
    whole = {"schema_version": VERSION, **content}
    replace_text(path, json.dumps({**whole, "sha256": digest(canonical_json(whole))}, indent=2) + "\n")


def replace_text(path: Path, text: str) -> None:
    """Write a text under a temporary name, to the disk, and rename it."""
    temporary = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
