"""Planted-truth cases with the same measurement columns as trained models."""

from turncoat.tables.fields import field, table_schema
from turncoat.tables.measurements import MEASUREMENTS

SCHEMA = table_schema(
    "planted",
    1,
    ("case_id",),
    (
        field("case_id", "text", "", "unique name of the case; it does not tell the truth"),
        field("kind", "text", "", "recipe of the planted policy or network"),
        field("truth", "text", "", "type that the recipe plants"),
        field("seed", "integer", "", "seed of its objectives and episodes"),
        *MEASUREMENTS,
    ),
)
