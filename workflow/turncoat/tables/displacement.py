"""The baseline predictor: D against the distance that weights moved."""

from turncoat.tables.fields import field, table_schema

SCHEMA = table_schema(
    "displacement",
    1,
    ("setting", "distance", "start"),
    (
        field("setting", "text", "", "factors that differ from the study's own"),
        field("distance", "number", "degrees", "angle between Y and X"),
        field("start", "text", "", "start; all: every start together"),
        field("displacement", "number", "", "mean L2 distance of the weights from the start of fine-tuning", True),
        field("d", "number", "", "mean D at the final step", True),
        field("correlation", "number", "", "Spearman's correlation of the two over models", True),
        field("low", "number", "", "lower end of the interval, from a bootstrap over seeds", True),
        field("high", "number", "", "upper end of the interval", True),
        field("n", "integer", "models", "models with D"),
    ),
)
