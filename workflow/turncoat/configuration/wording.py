"""How a cell differs from the study's own settings, in words that the tables carry."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from turncoat.configuration.sections import ADAPTIVE_OPTIMIZERS
from turncoat.configuration.settings import LEGACY

IMPLIED = {"cue.bits": 3, "samples": 4, "entropy_bonus": 0.0, "warm_steps": 100}
"""Settings that only appear with another coding, method or state, at the value that goes without saying."""
FIRST = ("optimizer", "activation", "width", "depth", "steps", "snapshots")


def differences(
    chosen: dict[str, Any], own: dict[str, Any], sections: Sequence[str], own_rate: float
) -> dict[str, Any]:
    """Settings of these sections in which a cell differs from the study's own, by key below the section.

    `own_rate` is the learning rate that the study itself has for the cell's optimizer: one that only follows from
    another optimizer is left out, any other is told. Left out too are where a table lies, what only appears with
    another difference, at its default, and what the cell's optimizer or gate does not read.
    """
    training = chosen["training"]
    if "training" in sections:
        chosen, own = (settings | {"training": LEGACY | settings["training"]} for settings in (chosen, own))
    found: dict[str, Any] = {}
    for section in sections:
        ours, theirs = (dict(_leaves(settings.get(section, {}), section)) for settings in (chosen, own))
        found |= {
            key: value
            for key, value in ours.items()
            if (theirs[key] != value if key in theirs else IMPLIED.get(key) != value)
        }
        found |= {key: "none" for key in theirs if key not in ours and IMPLIED.get(key) != theirs[key]}
    found.pop("learning_rate", None)
    if "training" in sections and training["learning_rate"] != own_rate:
        found["learning_rate"] = training["learning_rate"]
    if training["optimizer"] not in ADAPTIVE_OPTIMIZERS:
        found.pop("beta2", None)
    if "gate" not in training:
        found.pop("gate_norm_matched", None)
    found.pop("attribute_table", None)
    return found


def words(found: Mapping[str, Any], prefix: str = "") -> str:
    """Differences as text, `steps 600, label_noise 0.1`; `prefix` goes before each but a dodge."""
    if not found:
        return ""
    order = sorted(found, key=lambda key: (FIRST.index(key) if key in FIRST else len(FIRST), key))
    return ", ".join((prefix if key != "dodge" else "") + f"{key} {_plain(found[key])}" for key in order)


def _leaves(value: Any, name: str, path: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        yield path or name, value
        return
    for key, item in value.items():
        yield from _leaves(item, name, f"{path}.{key}" if path else key)


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
