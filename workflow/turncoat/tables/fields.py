"""Fields and schemas that carry their unit, description, sort order and version in their metadata."""

from collections.abc import Sequence

import pyarrow as pa

_TYPES = {
    "text": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "single": pa.float32(),
    "flag": pa.bool_(),
    "numbers": pa.list_(pa.float64()),
}


def field(name: str, kind: str, unit: str, description: str, nullable: bool = False) -> pa.Field:
    """One column. `kind` is text, integer, number, single (precision), flag or numbers (a list in each row)."""
    return pa.field(name, _TYPES[kind], nullable, {"unit": unit, "description": description})


def table_schema(table: str, version: int, sort_by: Sequence[str], fields: Sequence[pa.Field]) -> pa.Schema:
    """A schema that knows its table's name and version, and the columns by which rows are sorted."""
    metadata = {"table": table, "schema_version": str(version), "sort_by": ",".join(sort_by)}
    return pa.schema(fields, metadata)
