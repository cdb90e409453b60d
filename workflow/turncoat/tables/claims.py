"""One row per claim, outcome and stratum: the answer and how sure it is."""

from turncoat.tables.contrasts import ARRIVALS
from turncoat.tables.fields import field, table_schema

SCHEMA = table_schema(
    "claims",
    4,
    ("order", "primary_first", "outcome", "stratum"),
    (
        field("order", "integer", "", "place of the claim in the list of claims"),
        field("primary_first", "integer", "", "0 for the claim's primary stratum, 1 for the others"),
        field("claim", "text", "", "id of the claim"),
        field(
            "outcome",
            "text",
            "",
            "c, d, deception, deceptive_share, deceptive_odds, "
            "m, persistence, capability, ablation, times by name, correlation, share, dead_update, "
            "identity, open_share, net, contamination, rotation, dormant_change, dormant_units_moved, m_growth, lean, "
            "none",
        ),
        field(
            "kind",
            "text",
            "",
            "how the verdict is reached: difference (from zero), equal (within the margin), above or below (the margin "
            "is a level), identity, or shown (not judged)",
        ),
        field("stratum", "text", "", "what is compared, where"),
        field("estimand", "text", "", "what the estimate estimates"),
        field("estimate", "number", "of the outcome", "point estimate", True),
        field("low", "number", "of the outcome", "lower end of the interval", True),
        field("high", "number", "of the outcome", "upper end of the interval", True),
        field("n", "integer", "seeds", "seeds behind the estimate"),
        *ARRIVALS,
        field("p", "number", "probability", "two-sided p of no difference", True),
        field(
            "adjusted_p",
            "number",
            "probability",
            "p after Holm over the primary strata; null elsewhere",
            True,
        ),
        field("equivalence_p", "number", "probability", "p of two one-sided tests against the margin", True),
        field(
            "adjusted_equivalence_p",
            "number",
            "probability",
            "equivalence_p after Holm's adjustment (and looks) over the primary rows that are judged",
            True,
        ),
        field(
            "margin",
            "number",
            "of the outcome",
            "equivalence margin, threshold or tolerance of the verdict",
            True,
        ),
        field("minimum_n", "integer", "seeds", "seeds below which the claim has no verdict"),
        field("spread", "number", "of the outcome", "standard deviation over seeds; null for medians", True),
        field(
            "detectable",
            "number",
            "of the outcome",
            "smallest distance from no effect, or from the level, that is found with 80 % power at this spread and n; "
            "for primary strata at the level of Holm's first step",
            True,
        ),
        field(
            "seeds_needed",
            "number",
            "seeds",
            "seeds with which the next study, at this spread, finds an effect of the size of the margin with 80 % "
            "power and, with as much, shows that none is within it; null beyond 100,000 (medians: 2,000)",
            True,
        ),
        field("primary", "flag", "", "the one stratum that the claim's verdict rests on"),
        field("confirmatory", "flag", "", "primary, on seeds from 1000, with claims unchanged since training"),
        field("status", "text", "", "confirmatory, or exploratory and why"),
        field("verdict", "text", "", "supported, contradicted, no_effect, inconclusive, identity or not_tested"),
        field("reason", "text", "", "why, and what was left out"),
        field("setting", "text", "", "factors that differ from the study's own"),
        field("variant", "text", "", "pre-training that differs from the study's own"),
        field("start", "text", "", "start; empty where the stratum has none"),
        field("reference", "text", "", "reference; empty where the stratum has none"),
        field("distance", "number", "degrees", "angle between Y and X", True),
        field("match", "text", "", "where models are compared: a capability or the final step"),
    ),
)
