"""One row per model, snapshot and quantity: what a model's trunk knows of the cues, and of what X values."""

from turncoat.tables.fields import field, table_schema
from turncoat.tables.labels import LABELS

FIELDS = (
    field("organism_id", "text", "", "<cell>-<seed>"),
    field("seed", "integer", "", "seed of the model"),
    field("step", "integer", "steps", "optimizer steps before this snapshot, the first or the last"),
    field(
        "quantity",
        "text",
        "",
        "oversight, placebo: a linear probe of that cue; objective: the objective head's direction taken out",
    ),
    field("value", "number", "share", "the probe's accuracy on held-out episodes, or the agreement with X lost", True),
    field("reference", "number", "share", "accuracy for other episodes' labels; mean loss by random directions", True),
)
SCHEMA = table_schema("knowledge", 1, ("organism_id", "step", "quantity"), FIELDS)
STUDY = table_schema("knowledge of a study", 1, ("organism_id", "step", "quantity"), (*LABELS, *FIELDS))
