"""Identity of a cell: the hash of its canonical settings, which outlives new factors."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

LEGACY: dict[str, Any] = {
    "world.cue.contexts": 1,
    "world.slot_angle": 90.0,
    "training.conditional_share": 1.0,
    "training.foreknowledge": 0.0,
    "training.label_noise": 0.0,
    "training.heads.objective": 0.0,
    "training.schedule": "constant",
    "training.overseen_share": 1.0,
    "training.optimizer_state": "fresh",
}
"""Settings that a cell's identity leaves out at one frozen value, by dotted path.

A new factor enters here with the value that stands for the behaviour before the factor existed, so that the
identities of earlier results stay as they are: `{"training.momentum": 0.0}`. An entry is never changed or
removed, whatever the default in the configuration becomes.
"""

NOT_IDENTITY = frozenset({"world.attribute_table"})
"""Settings that never count: where a table lies, whose content counts as `world.attribute_table_sha256`."""


def canonical_json(value: Any) -> str:
    """Return `value` as JSON with sorted keys, no spaces, and integral numbers as integers.

    Raises ValueError on NaN and infinity, TypeError on what JSON cannot hold.
    """
    return json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def cell_id(settings: Mapping[str, Any]) -> str:
    """Return the first 10 hex digits of the sha256 of the canonical settings, legacy values omitted."""
    return digest(canonical_json(_without_legacy(settings)))[:10]


def digest(text: str) -> str:
    """Return the sha256 of `text` in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return value


def _without_legacy(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in settings.items():
        path = f"{prefix}{key}"
        if path in NOT_IDENTITY or (path in LEGACY and LEGACY[path] == value):
            continue
        kept[key] = _without_legacy(value, f"{path}.") if isinstance(value, Mapping) else value
    return kept
