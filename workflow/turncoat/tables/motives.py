"""One row per arm, time and quantity: means over models of what classification read."""

from turncoat.tables.contrasts import ARM
from turncoat.tables.fields import field, table_schema

SCHEMA = table_schema(
    "motives",
    1,
    ("setting", "variant", "start", "distance", "when", "quantity", "part"),
    (
        *ARM,
        field("when", "text", "", "before or after fine-tuning"),
        field("quantity", "text", "", "a column of alignment, curves or causes; curve_<shape> is a share of models"),
        field("part", "text", "", "overseer; cue; strength of the cue; or intervention and layer"),
        field("mean", "number", "of the quantity", "mean over the models on which it is defined", True),
        field("low", "number", "of the quantity", "lower end of its interval", True),
        field("high", "number", "of the quantity", "upper end of its interval", True),
        field("n", "integer", "models", "models on which it is defined"),
        field("models", "integer", "models", "sound models of the arm"),
    ),
)
