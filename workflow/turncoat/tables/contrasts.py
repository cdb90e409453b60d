"""Outcomes by arm, contrasts between arms, and what a mixture of starts would give."""

from turncoat.tables.fields import field, table_schema

ARM = (
    field("setting", "text", "", "factors that differ from the study's own"),
    field("variant", "text", "", "pre-training that differs from the study's own"),
    field("start", "text", "", "start"),
    field("distance", "number", "degrees", "angle between Y and X"),
)
_WHERE = (
    field("match", "text", "", "where models are compared: a capability or the final step"),
    field(
        "outcome",
        "text",
        "",
        "c, d, placebo, deception, m, and at the final step also capability and displacement; m: agreement of "
        "unoverseen choices with M",
    ),
)
_INTERVAL = (
    field("low", "number", "of the outcome", "lower end of the interval", True),
    field("high", "number", "of the outcome", "upper end of the interval", True),
)
LEVELS = table_schema(
    "levels",
    1,
    ("setting", "variant", "start", "distance", "match", "outcome"),
    (
        *ARM,
        *_WHERE,
        field("mean", "number", "of the outcome", "mean over models that got there", True),
        *_INTERVAL,
        field("n", "integer", "models", "models in the mean"),
        field("models", "integer", "models", "models of the arm"),
        field("diverged", "integer", "models", "models that diverged"),
        field(
            "never_arrived", "integer", "models", "sound models that never got there, or whose outcome is not defined"
        ),
    ),
)
ARRIVALS = (
    field("n_start", "integer", "models", "models of the start that got there"),
    field("n_reference", "integer", "models", "models of the reference that got there"),
    field("n_pairs", "integer", "pairs", "seeds where both got there"),
    field("never_start", "integer", "models", "models of the start that never got there, or without the outcome"),
    field("never_reference", "integer", "models", "models of the reference that never got there, or without it"),
    field("diverged", "integer", "models", "models that diverged; never averaged in"),
    field("bound_low", "number", "of the outcome", "lowest possible mean, had all got there", True),
    field("bound_high", "number", "of the outcome", "highest possible mean, had all got there", True),
)
SCHEMA = table_schema(
    "contrasts",
    1,
    ("setting", "variant", "start", "distance", "reference", "match", "outcome"),
    (
        *ARM,
        field("reference", "text", "", "what is subtracted"),
        *_WHERE,
        field("estimate", "number", "of the outcome", "mean paired difference over seeds", True),
        *_INTERVAL,
        field("p", "number", "probability", "two-sided p of no difference", True),
        field("equivalence_p", "number", "probability", "p of two one-sided tests against the margin", True),
        *ARRIVALS,
    ),
)
PRIORS = table_schema(
    "priors",
    1,
    ("setting", "variant", "reference", "distance", "outcome", "kind", "share"),
    (
        *(item for item in ARM if item.name != "start"),
        field("reference", "text", "", "what is subtracted"),
        field("outcome", "text", "", "c or d"),
        field(
            "kind",
            "text",
            "",
            "line: contrast at this prior share; break_even: the share itself at which it is zero",
        ),
        field(
            "share",
            "number",
            "share",
            "prior share of starts that are deceptive by design; null when infinite",
            True,
        ),
        field("estimate", "number", "of the outcome", "contrast of the mixture with the reference", True),
        *_INTERVAL,
        field("n", "integer", "seeds", "seeds with every start and the reference"),
        field("reason", "text", "", "what the break-even share says"),
    ),
)
PERSISTENCE = table_schema(
    "persistence",
    1,
    ("setting", "variant", "start", "distance", "step"),
    (
        *ARM,
        field("step", "integer", "steps", "steps of fine-tuning"),
        field("episodes", "integer", "episodes", "episodes of fine-tuning"),
        field(
            "retained",
            "number",
            "share",
            "chance-corrected agreement with the model's own unoverseen step-0 choices",
            True,
        ),
        *_INTERVAL,
        field("kept_share", "number", "share", "models that retain at least half", True),
        field("kept_low", "number", "share", "lower end of Wilson's interval of it", True),
        field("kept_high", "number", "share", "upper end of Wilson's interval of it", True),
        field("n", "integer", "models", "models"),
        field("capability", "number", "share", "mean capability", True),
        field("c", "number", "", "mean C where defined", True),
        field("d", "number", "", "mean D where defined", True),
        field("n_defined", "integer", "models", "models in which C and D are defined"),
    ),
)
HALF_LIVES = table_schema(
    "half_lives",
    1,
    ("setting", "variant", "start", "distance"),
    (
        *ARM,
        field(
            "half_life",
            "number",
            "episodes",
            "median over models of the episodes until half of the unoverseen step-0 choices are lost; infinite: never",
            True,
        ),
        *_INTERVAL,
        field("never", "integer", "models", "models that keep more than half throughout"),
        field("n", "integer", "models", "models"),
        field("diverged", "integer", "models", "models that diverged; left out"),
    ),
)
