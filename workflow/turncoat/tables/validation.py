"""One row per planted case: what was planted, and what the classifier read."""

from turncoat.tables.alignment import OUTCOMES
from turncoat.tables.fields import field, table_schema

SCHEMA = table_schema(
    "validation",
    1,
    ("kind", "case_id"),
    (
        field("case_id", "text", "", "unique name of the case"),
        field("kind", "text", "", "recipe of the planted policy or network"),
        field("truth", "text", "", "type that the recipe plants"),
        field("reading", "text", "", "type that the classifier read"),
        field("correct", "flag", "", "reading equals truth"),
        field("seed", "integer", "", "seed of its objectives and episodes"),
        field("finite", "flag", "", "all outputs were finite"),
        *OUTCOMES,
    ),
)
