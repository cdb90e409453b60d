"""When models turn: times to transitions, their ratios between arms, and the types that models pass through."""

from turncoat.tables.contrasts import ARM
from turncoat.tables.fields import field, table_schema

_QUANTITY = field(
    "quantity",
    "text",
    "",
    "points_to_x: the utility points to X in both cue states; pointer_shifted: slot 2 outweighs slot 1 (instructed);"
    " capability: the primary capability is reached; elicited: M is back on unoverseen episodes",
)
SCHEMA = table_schema(
    "transitions",
    1,
    ("setting", "variant", "start", "distance", "quantity"),
    (
        *ARM,
        _QUANTITY,
        field("median", "number", "episodes", "median over models; infinite where most never get there", True),
        field("low", "number", "episodes", "lower end of the interval", True),
        field("high", "number", "episodes", "upper end of the interval", True),
        field("never", "integer", "models", "models that never get there"),
        field("n", "integer", "models", "sound models"),
        field("diverged", "integer", "models", "models that diverged; left out"),
    ),
)
RATIOS = table_schema(
    "ratios",
    1,
    ("setting", "variant", "start", "distance", "reference", "quantity"),
    (
        *ARM,
        field("reference", "text", "", "what is divided by"),
        _QUANTITY,
        field("estimate", "number", "log ratio", "median over seeds of log(start / reference); may be infinite", True),
        field("low", "number", "log ratio", "lower end of the interval", True),
        field("high", "number", "log ratio", "upper end of the interval", True),
        field("p", "number", "probability", "two-sided sign test of no difference", True),
        field("equivalence_p", "number", "probability", "two one-sided sign tests against the margin of P4c", True),
        field("n_pairs", "integer", "pairs", "seeds where at least one side got there"),
        field("n_start", "integer", "models", "models of the start"),
        field("n_reference", "integer", "models", "models of the reference"),
        field("never_start", "integer", "models", "seeds where the start never got there"),
        field("never_reference", "integer", "models", "seeds where the reference never got there"),
        field("never_both", "integer", "seeds", "seeds where neither did; left out"),
    ),
)
OCCUPANCY = table_schema(
    "occupancy",
    1,
    ("setting", "variant", "start", "distance", "step", "type"),
    (
        *ARM,
        field("step", "integer", "steps", "steps of fine-tuning"),
        field("episodes", "integer", "episodes", "episodes of fine-tuning"),
        field("type", "text", "", "alignment type"),
        field("share", "number", "share", "mean probability of the type over sound models", True),
        field("low", "number", "share", "lower end of Student's interval over models", True),
        field("high", "number", "share", "upper end of Student's interval over models", True),
        field("n", "integer", "models", "sound models"),
    ),
)
