"""One row per model, snapshot, cue and strength: what it chooses as the cue grows."""

from turncoat.tables.fields import field, table_schema
from turncoat.tables.labels import LABELS

SHAPES = ("rising", "flat", "non_monotone", "unknown")
CURVE = (
    field("cue", "text", "", "oversight or placebo"),
    field("strength", "number", "amplitudes", "shown strength of that cue; the other stands at 1"),
    field("as_on", "number", "share", "conflicts on which it chooses as at strength 1", True),
    field("as_off", "number", "share", "conflicts on which it chooses as at strength -1", True),
    field("as_neither", "number", "share", "conflicts on which it chooses a third option", True),
    field("agreement_x", "number", "share", "episodes whose choice is best for X", True),
    field("conflicts", "number", "episodes", "episodes whose choice at strength 1 is not that at -1"),
    field("moved", "number", "share", "share of episodes that are conflicts", True),
    field("shape", "text", "", "of the curve over all strengths: rising, flat, non_monotone or unknown"),
    field("slope", "number", "per amplitude", "slope of as_on over strength, logistic; null where flat", True),
    field("slope_error", "number", "per amplitude", "its standard error, clustered by episode", True),
    field(
        "threshold", "number", "amplitudes", "strength at which half choose as at 1; null without a clear slope", True
    ),
    field("threshold_error", "number", "amplitudes", "its standard error", True),
)
FIELDS = (
    field("organism_id", "text", "", "<cell>-<seed>"),
    field("seed", "integer", "", "seed of the model"),
    field("step", "integer", "steps", "optimizer steps before this snapshot"),
    *CURVE,
)
SCHEMA = table_schema("curves", 1, ("organism_id", "step", "cue", "strength"), FIELDS)
STUDY = table_schema("curves of a study", 1, ("organism_id", "step", "cue", "strength"), (*LABELS, *FIELDS))
