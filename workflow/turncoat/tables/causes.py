"""One row per model, hidden layer and intervention: the share of the oversight gap that a direction carries."""

from turncoat.tables.fields import field, table_schema
from turncoat.tables.labels import LABELS

INTERVENTIONS = ("swap", "add", "ablate")
FIELDS = (
    field("organism_id", "text", "", "<cell>-<seed>"),
    field("seed", "integer", "", "seed of the model"),
    field("step", "integer", "steps", "optimizer steps before this snapshot"),
    field("layer", "integer", "", "hidden layer, 1 is the first"),
    field("intervention", "text", "", "swap, add or ablate"),
    field("gap", "number", "", "1 - kappa of the unoverseen with the overseen choice, on the half that measures", True),
    field(
        "carried", "number", "share", "share of the gap that the oversight direction carries; null without a gap", True
    ),
    field("placebo_carried", "number", "share", "the same for the placebo direction, at equal length", True),
    field("random_mean", "number", "share", "the same for random directions of equal length: mean", True),
    field("random_low", "number", "share", "their 5 % quantile", True),
    field("random_high", "number", "share", "their 95 % quantile", True),
    field("random_largest", "number", "share", "the largest of them", True),
    field("random_p", "number", "probability", "rank: (1 + random ones that carry as much) / (1 + all)", True),
    field("norm", "number", "", "length of the oversight direction", True),
    field("placebo_norm", "number", "", "length of the placebo direction as found", True),
    field("directions", "integer", "directions", "random directions"),
)
SCHEMA = table_schema("causes", 1, ("organism_id", "step", "layer", "intervention"), FIELDS)
STUDY = table_schema("causes of a study", 1, ("organism_id", "step", "layer", "intervention"), (*LABELS, *FIELDS))
