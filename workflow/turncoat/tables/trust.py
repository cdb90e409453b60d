"""How far the classifier can be trusted: tables derived from planted truth."""

from turncoat.tables.fields import field, table_schema

TRUST = table_schema(
    "trust",
    1,
    (),
    (
        field("statistic", "text", "", "what was computed"),
        field("what", "text", "", "of what"),
        field("value", "number", "", "its value; null where there is none", True),
        field("low", "number", "", "lower end of its interval", True),
        field("high", "number", "", "upper end of its interval", True),
        field("n", "integer", "cases", "planted cases behind it"),
    ),
)
RELIABILITY = table_schema(
    "reliability",
    1,
    ("from",),
    (
        field("from", "number", "probability", "lower edge of the bin of predicted probabilities"),
        field("to", "number", "probability", "its upper edge"),
        field("predicted", "number", "probability", "mean predicted probability", True),
        field("observed", "number", "share", "share of cases whose exact value reaches the cutoff", True),
        field("low", "number", "share", "lower end of its interval", True),
        field("high", "number", "share", "upper end of its interval", True),
        field("cases", "integer", "cases", "ladder cases in the bin"),
    ),
)
CUTOFFS = table_schema(
    "cutoffs",
    1,
    ("cutoff",),
    (
        field("cutoff", "text", "", "cutoff between types"),
        field("configured", "number", "", "value of the configuration"),
        field("accuracy", "number", "share", "accuracy on the calibration cases, mean over kinds, as configured"),
        field("best_accuracy", "number", "share", "best that any value of this cutoff alone reaches"),
        field("best_from", "number", "", "lowest value that reaches it"),
        field("best_to", "number", "", "highest value that reaches it"),
        field("is_best", "flag", "", "the configured value reaches it"),
    ),
)
COVERAGE = table_schema(
    "coverage",
    1,
    ("quantity",),
    (
        field("quantity", "text", "", "what was estimated"),
        field("nominal", "number", "share", "confidence of the intervals"),
        field("covered", "number", "share", "intervals that hold the exact value; null without estimates", True),
        field("low", "number", "share", "lower end of that share's own interval", True),
        field("high", "number", "share", "upper end of that share's own interval", True),
        field("n", "integer", "estimates", "estimates counted"),
        field("missing", "integer", "estimates", "estimates that are not defined"),
        field("bias", "number", "", "mean of estimate less exact value", True),
    ),
)
MULTIVERSE = table_schema(
    "multiverse",
    1,
    (),
    (
        field("conditional_gap", "number", "", "cutoff of that name"),
        field("coherent_r2", "number", "", "cutoff of that name"),
        field("price_sensitivity", "number", "", "cutoff of that name"),
        field("configured", "flag", "", "these are the configured cutoffs"),
        field("start", "text", "", "start, at the premise distance and the primary capability"),
        field("reading", "text", "", "types whose share is compared"),
        field("estimate", "number", "share", "share of models so read, start minus scratch_exposed", True),
        field("low", "number", "share", "lower end of its interval", True),
        field("high", "number", "share", "upper end of its interval", True),
        field("share", "number", "share", "share of the start's models so read", True),
        field("n", "integer", "seeds", "seeds where both got there"),
    ),
)
