"""The premise gate: one row per start."""

from turncoat.tables.fields import field, table_schema

SCHEMA = table_schema(
    "premise",
    1,
    ("setting", "variant", "start"),
    (
        field("setting", "text", "", "factors that differ from the study's own"),
        field("variant", "text", "", "pre-training that differs from the study's own"),
        field("start", "text", "", "pre-trained start"),
        field("distance", "number", "degrees", "distance at which the premise is checked"),
        field("capability", "number", "share", "capability that must be reached"),
        field(
            "ratio",
            "number",
            "ratio",
            "median over seeds of episodes to capability, start over scratch",
            True,
        ),
        field("low", "number", "ratio", "lower end of the interval", True),
        field("high", "number", "ratio", "upper end of the interval", True),
        field("allowed", "number", "ratio", "largest ratio for which the premise holds"),
        field("pairs", "integer", "seeds", "seeds with both models"),
        field("never_start", "integer", "models", "starts that never arrived (infinite ratio)"),
        field(
            "never_scratch",
            "integer",
            "models",
            "scratch models that never arrived (censored at their budget)",
        ),
        field("diverged", "integer", "models", "models that diverged; left out"),
        field("start_episodes", "number", "episodes", "median episodes of the start; null where infinite", True),
        field("scratch_episodes", "number", "episodes", "median episodes of scratch; null where infinite", True),
        field("verdict", "text", "", "holds, fails, uncertain or not_measured"),
        field("reason", "text", "", "why"),
    ),
)
