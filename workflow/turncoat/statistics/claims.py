"""The claims that turncoat puts to the test, read from their declarations in `claims.yaml`.

Declared before training: the file's hash, and that of the code that judges by it, stand in each study's manifest.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

NO_MODELS = "the study has no models for it"
NO_PRICE = "price sensitivity was not measured: the study's world has no audit terms"
SAME_SIGNAL = (
    0.99  # G2, G6, G8: above this share of episodes on which own choices earn the reward, reward and they are one
)

DECLARATIONS = Path(__file__).with_name("claims.yaml")
OWN_MARGIN, OWN_MINIMUM = "statistics.margin", "statistics.minimum_seeds"
_TEXTS = ("sentence", "estimand", "contrast", "strata", "primary")
_NEEDED = {*_TEXTS, "margin", "minimum_n", "premise"}
_KEYS = {*_NEEDED, "other_margins", "untested"}


@dataclass(frozen=True)
class Claim:
    """One claim as it is declared; `claims.yaml` says what each part means. A margin or minimum of None is the
    configuration's."""

    id: str
    sentence: str
    estimand: str
    contrast: str
    strata: str
    primary: str
    margin: float | None
    minimum_n: int | None
    premise: bool
    other_margins: Mapping[str, float | None] = field(default_factory=dict)
    untested: str = ""

    def margin_of(self, outcome: str, configured: float) -> float:
        """The margin or level that rows of this outcome are judged by; `configured` is statistics.margin."""
        declared = self.other_margins.get(outcome, self.margin)
        return configured if declared is None else declared

    def minimum(self, configured: int) -> int:
        """Seeds below which there is no verdict; `configured` is statistics.minimum_seeds."""
        return configured if self.minimum_n is None else self.minimum_n


def read_claims(path: Path) -> dict[str, Claim]:
    """The claims declared in a file, by id, in its order.

    Raises ValueError where a key is missing or unknown or a value is not what it may be, naming the claim, the key and
    what is allowed.
    """
    declared = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {str(name): _claim(str(name), values, path.name) for name, values in declared.items()}


def _claim(name: str, values: Mapping[str, Any], file: str) -> Claim:
    where = f"{file}: claim {name}"
    missing, unknown = sorted(_NEEDED - set(values)), sorted(set(values) - _KEYS)
    if missing or unknown:
        raise ValueError(f"{where}: missing keys {missing}, unknown keys {unknown}; allowed: {sorted(_KEYS)}")
    for key in (*_TEXTS, *({"untested"} & set(values))):
        if not isinstance(values[key], str) or not values[key].strip():
            raise ValueError(f"{where}: {key} = {values[key]!r}; allowed: words")
    if not isinstance(values["premise"], bool):
        raise ValueError(f"{where}: premise = {values['premise']!r}; allowed: true, false")
    others = values.get("other_margins", {})
    return Claim(
        id=name,
        **{key: values[key] for key in _TEXTS},
        margin=_margin(values["margin"], f"{where}: margin"),
        minimum_n=_minimum(values["minimum_n"], f"{where}: minimum_n"),
        premise=values["premise"],
        other_margins={key: _margin(value, f"{where}: other_margins.{key}") for key, value in others.items()},
        untested=values.get("untested", ""),
    )


def _margin(value: Any, where: str) -> float | None:
    if value == OWN_MARGIN:
        return None
    number = value
    if isinstance(value, str) and value.startswith("log "):
        ratio = _number(value.removeprefix("log "))
        number = math.log(ratio) if ratio > 1 else math.nan
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < math.inf:
        raise ValueError(f"{where} = {value!r}; allowed: a number from 0, `log` and a ratio above 1, or {OWN_MARGIN}")
    return float(number)


def _minimum(value: Any, where: str) -> int | None:
    if value == OWN_MINIMUM:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 2:
        raise ValueError(f"{where} = {value!r}; allowed: a whole number from 2, or {OWN_MINIMUM}")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


CLAIMS = read_claims(DECLARATIONS)
ORDER = tuple(CLAIMS)
UNTESTED = tuple(claim for claim in CLAIMS.values() if claim.untested)
