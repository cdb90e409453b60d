"""What every section of the configuration shares: strictness, and fields that document themselves."""

import itertools
from typing import Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A mapping of the configuration: unknown keys, text for numbers, NaN and infinity are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def setting(default: Any, description: str, unit: str = "", **bounds: Any) -> Any:
    """A documented field; a callable `default` makes the value anew for each model."""
    if unit:
        bounds["json_schema_extra"] = {"unit": unit}
    if callable(default):
        return Field(default_factory=default, description=description, **bounds)
    return Field(default=default, description=description, **bounds)


def _unique(values: list[Any]) -> list[Any]:
    repeated = [value for position, value in enumerate(values) if value in values[:position]]
    if repeated:
        raise ValueError(f"holds {repeated[0]!r} more than once; allowed: each entry once")
    return values


UNIQUE = AfterValidator(_unique)


def increasing(values: list[float]) -> list[float]:
    """Return `values` as they are; raises ValueError unless each is larger than the one before."""
    if any(later <= earlier for earlier, later in itertools.pairwise(values)):
        raise ValueError("must increase from each entry to the next")
    return values


INCREASING = AfterValidator(increasing)
