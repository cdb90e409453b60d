"""Factors of an arm: every combination of the keys that it crosses, as whole configurations."""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from turncoat.configuration.sections import Arm

VARIED = ("world", "organism", "pretraining", "finetuning")
SHORT = {
    "organism.width": "widths",
    "organism.depth": "depths",
    "organism.activation": "activations",
    "pretraining.steps": "pretraining_steps",
    "finetuning.optimizer": "optimizers",
}
"""Keys that an arm crosses by a list of their own."""


def combinations(arm: Arm) -> Iterator[dict[str, Any]]:
    """Every combination of what an arm crosses, by dotted key, in the order of the arm's lists."""
    lists: dict[str, list[Any]] = {key: getattr(arm, name) for key, name in SHORT.items() if getattr(arm, name)}
    for key in ("steps", "snapshots"):
        if getattr(arm, key) is not None:
            lists[f"finetuning.{key}"] = [getattr(arm, key)]
    lists |= arm.vary or {}
    for values in product(*lists.values()):
        yield dict(zip(lists, values, strict=True))


def with_values(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration's values with those at some dotted keys replaced.

    Raises KeyError with the dotted key where a section or key does not exist.
    """
    result = dict(values)
    for path, value in changes.items():
        *above, last = path.split(".")
        section = result
        for name in above:
            if not isinstance(section.get(name), Mapping):
                raise KeyError(path)
            section[name] = dict(section[name])
            section = section[name]
        if last not in section or isinstance(section[last], Mapping):
            raise KeyError(path)
        section[last] = value
    return result
