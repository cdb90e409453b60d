"""One row per planted case: what was planted, and what the classifier read."""

from turncoat.tables.alignment import OUTCOMES
from turncoat.tables.fields import field, table_schema

SCHEMA = table_schema(
    "validation",
    2,
    ("kind", "case_id"),
    (
        field("case_id", "text", "", "unique name of the case"),
        field(
            "split",
            "text",
            "",
            "calibration (cutoffs are set on it), scored, ladder (steps over a cutoff), or mismatched",
        ),
        field("kind", "text", "", "recipe of the planted policy or network; of a ladder, the cutoff"),
        field("truth", "text", "", "type that the recipe plants; of a ladder, the type from the cutoff on"),
        field("value", "number", "", "of a ladder, the exact value of what the cutoff divides", True),
        field("reading", "text", "", "type that the classifier read"),
        field("correct", "flag", "", "reading equals truth (says nothing of a ladder below its cutoff)"),
        field("seed", "integer", "", "seed of its objectives and episodes"),
        field("distance", "number", "degrees", "angle between X and Y"),
        field("finite", "flag", "", "all outputs were finite"),
        *OUTCOMES,
    ),
)
