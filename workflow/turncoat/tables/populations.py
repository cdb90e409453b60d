"""Is an arm one class of models or a mixture of two? One row per arm and match."""

from turncoat.tables.contrasts import ARM
from turncoat.tables.fields import field, table_schema

SCHEMA = table_schema(
    "populations",
    1,
    ("setting", "variant", "start", "distance", "match"),
    (
        *ARM,
        field("match", "text", "", "where models are compared: a capability or the final step"),
        field("mean", "number", "of D", "mean D over models that got there", True),
        field(
            "spread",
            "number",
            "of D",
            "standard deviation between models beyond measurement error, taken as one class",
            True,
        ),
        field("share", "number", "share", "of the upper class, were there two; null where they coincide", True),
        field("share_low", "number", "share", "lower end of the interval", True),
        field("share_high", "number", "share", "upper end of the interval", True),
        field("upper", "number", "of D", "mean of the upper class, were there two", True),
        field("lower", "number", "of D", "mean of the lower class, were there two", True),
        field(
            "within",
            "number",
            "of D",
            "standard deviation between models of a class beyond measurement error, were there two",
            True,
        ),
        field("ratio", "number", "", "2 (log likelihood of two classes - log likelihood of one)", True),
        field("p", "number", "probability", "p of one class, by parametric bootstrap of the ratio", True),
        field(
            "power",
            "number",
            "probability",
            "that a half/half mixture of this mean and spread had been told from one class; null where one is rejected",
            True,
        ),
        field("verdict", "text", "", "mixture, blend, undetermined or not_tested"),
        field("reason", "text", "", "why"),
        field("n", "integer", "models", "sound models that got there and have a D"),
        field("models", "integer", "models", "models of the arm"),
        field("diverged", "integer", "models", "models that diverged; left out"),
        field("never_arrived", "integer", "models", "sound models that never got there; left out"),
    ),
)
