"""Tables that describe a study beside its verdicts, which rest on none of them."""

import pandas

from turncoat.classification.types import TYPES
from turncoat.statistics.analysis import Analysis
from turncoat.statistics.contrasts import COLUMNS, FINAL, Plan, capability_match, levels
from turncoat.statistics.displacement import displacement_table
from turncoat.statistics.dodges import leaderboard
from turncoat.statistics.populations import population_table
from turncoat.statistics.prior_table import prior_table
from turncoat.statistics.study import DRIFT, OUTCOMES, half_life_table, persistence
from turncoat.statistics.transitions import RATIO_COLUMNS, occupancy, transition_table


def describe(course: pandas.DataFrame, found: Analysis, plan: Plan) -> dict[str, pandas.DataFrame]:
    """Derived tables by name, with the columns of the schema of that name; arguments as in `analysis.analyse`."""
    evidence, snapshots = found.evidence, course[course.measured]
    primary = capability_match(evidence.primary_capability)
    compared, contrasts, ratios = evidence.matched, evidence.contrasts[COLUMNS], evidence.ratios[RATIO_COLUMNS]
    drift = levels(found.matched[found.matched.match == FINAL], DRIFT, plan)
    return {
        "levels": pandas.concat([levels(found.matched, OUTCOMES, plan), drift], ignore_index=True),
        "contrasts": contrasts,
        "premise": found.premise,
        "persistence": persistence(snapshots, plan),
        "half_lives": half_life_table(evidence.half_lives, plan),
        "transitions": transition_table(evidence.times, plan),
        "ratios": ratios,
        "occupancy": occupancy(snapshots, list(TYPES), plan),
        "dodges": leaderboard(compared, contrasts, ratios, primary),
        "displacement": displacement_table(compared, plan),
        "priors": prior_table(compared, primary, plan),
        "populations": population_table(compared[compared.match.isin([primary, FINAL])], plan),
        "claims": found.claims,
    }
