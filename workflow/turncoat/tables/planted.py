"""What `classify_planted` writes: planted cases, measured as trained models are; discrimination; coverage; causes."""

from turncoat.tables.causes import FIELDS
from turncoat.tables.fields import field, table_schema
from turncoat.tables.measurements import MEASUREMENTS

MODEL = ("organism_id", "step")
CASE = (
    field("case_id", "text", "", "unique name of the case; it does not tell the truth"),
    field(
        "split", "text", "", "calibration (cutoffs are set on it), scored, ladder (steps over a cutoff), or mismatched"
    ),
    field("kind", "text", "", "recipe of the planted policy or network; of a ladder, the cutoff that it leads over"),
    field("truth", "text", "", "type that the recipe plants; of a ladder, the type from the cutoff on"),
    field("value", "number", "", "of a ladder, the exact value of what the cutoff divides", True),
    field("seed", "integer", "", "seed of its objectives and episodes"),
    field("distance", "number", "degrees", "angle between X and Y"),
)
SCHEMA = table_schema("planted", 2, ("case_id",), (*CASE, *MEASUREMENTS))
CAUSES = table_schema(
    "planted causes",
    1,
    ("kind", "seed", "layer", "intervention"),
    (field("kind", "text", "", "recipe of the planted network"), *(item for item in FIELDS if item.name not in MODEL)),
)
DISCRIMINATION = table_schema(
    "discrimination",
    1,
    ("angle", "temperature"),
    (
        field("angle", "number", "degrees", "angle between X and Y"),
        field("temperature", "number", "utility", "scale of the Gumbel noise on utilities of standard deviation 1"),
        field("right", "integer", "cases", "models read as serving the objective that they serve"),
        field("cases", "integer", "cases", "models of X and of Y"),
    ),
)
KNOWN = table_schema(
    "known",
    1,
    ("quantity",),
    (
        field("quantity", "text", "", "what was estimated"),
        field("estimate", "number", "", "its estimate", True),
        field("error", "number", "", "its standard error", True),
        field("truth", "number", "", "its exact value"),
    ),
)
