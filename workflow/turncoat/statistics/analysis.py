"""The whole statistical part of a study: from snapshots and ledger to every derived table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas

from turncoat.classification.types import TYPES
from turncoat.statistics import (
    arm_claims,
    circuit_claims,
    correction_claims,
    gating_claims,
    pretraining_claims,
    reinforcement_claims,
)
from turncoat.statistics.claims import CLAIMS, ORDER, UNTESTED
from turncoat.statistics.contrasts import (
    ARM,
    FINAL,
    Plan,
    capability_match,
    contrast_table,
    cross_entropy_match,
    levels,
)
from turncoat.statistics.displacement import displacement_table
from turncoat.statistics.dodges import leaderboard
from turncoat.statistics.evidence import Evidence
from turncoat.statistics.factors import value_of
from turncoat.statistics.populations import population_table
from turncoat.statistics.premise_table import premise_table
from turncoat.statistics.prior_table import prior_table
from turncoat.statistics.rows import Row, finished
from turncoat.statistics.study import (
    DRIFT,
    OUTCOMES,
    half_life_table,
    matched_models,
    model_half_lives,
    offsets_of,
    persistence,
)
from turncoat.statistics.transitions import (
    HALF,
    POINTS_TO_X,
    SHIFTED,
    occupancy,
    ratio_table,
    transition_table,
    transition_times,
)

FIRST_CONFIRMATORY_SEED = 1000


@dataclass(frozen=True)
class Analysis:
    """Derived tables, one frame each, with the columns of the schema of that name."""

    levels: pandas.DataFrame
    contrasts: pandas.DataFrame
    premise: pandas.DataFrame
    persistence: pandas.DataFrame
    half_lives: pandas.DataFrame
    transitions: pandas.DataFrame
    ratios: pandas.DataFrame
    occupancy: pandas.DataFrame
    dodges: pandas.DataFrame
    displacement: pandas.DataFrame
    priors: pandas.DataFrame
    populations: pandas.DataFrame
    claims: pandas.DataFrame


def analyse(
    course: pandas.DataFrame,
    ledger: pandas.DataFrame,
    elicited: pandas.DataFrame,
    knowledge: pandas.DataFrame,
    reinforced: pandas.DataFrame,
    statistics: Mapping[str, Any],
    reinforcement: Mapping[str, Any],
    cosine: float,
    own: Mapping[str, str],
    activation: str,
    optimizer: str,
    confirmatory: bool,
) -> Analysis:
    """Analyse fine-tuned models.

    `course` (see `study.matched_models`) and `ledger` (the gating table) hold fine-tuned models only; `elicited` is how
    elicitation went, `knowledge` and `reinforced` are those tables; `statistics` and `reinforcement` are those sections
    of the configuration; `own` the study's own values, in words, of the factors `mode`, `slot_angle` and
    `heads.objective`.
    """
    names = ("confidence", "resamples", "margin", "minimum_seeds", "minimum_arrived")
    plan = Plan(**{name: statistics[name] for name in names})
    capabilities, surprises = list(statistics["capabilities"]), list(statistics["cross_entropies"])
    matched = matched_models(course, capabilities, surprises)
    snapshots = course[course.measured]
    # Below the compared capabilities outcomes are for the figure's curve only.
    named = [*map(capability_match, capabilities), *map(cross_entropy_match, surprises), FINAL]
    compared = matched[matched.match.isin(named)]
    contrasts = pandas.concat([contrast_table(compared, OUTCOMES, plan), _final_capability(compared, plan)])
    level = statistics["primary_capability"]
    turned = [_times(course, matched, level, cosine, own["mode"]), _elicited(elicited, level)]
    times = pandas.concat(turned, ignore_index=True)
    ratios = ratio_table(times, plan)
    drift = levels(matched[matched.match == "final step"], DRIFT, plan)
    gate = premise_table(matched, statistics, plan)
    lives = model_half_lives(snapshots)
    primary = capability_match(statistics["primary_capability"])
    evidence = Evidence(
        contrasts=contrasts,
        ratios=ratios,
        times=times,
        knowledge=knowledge,
        own=own,
        matched=compared,
        half_lives=lives,
        premises={(row.setting, row.variant, row.start): row.verdict for row in gate.itertuples()},
        capabilities=capabilities,
        cross_entropy_matches=[*map(cross_entropy_match, surprises)],
        primary_capability=statistics["primary_capability"],
        primary_distance=statistics["premise_distance"],
    )
    rows = pretraining_claims.answers(evidence, plan) + arm_claims.answers(evidence, plan)
    rows += gating_claims.answers(ledger, plan, activation, optimizer)
    rows += circuit_claims.answers(ledger, plan, statistics["premise_distance"])
    rows += reinforcement_claims.answers(reinforced, reinforcement, plan) + correction_claims.answers(evidence, plan)
    rows += [Row(claim.id, "none", "all", "", "shown", float("nan"), blocked=claim.untested) for claim in UNTESTED]
    return Analysis(
        levels=pandas.concat([levels(matched, OUTCOMES, plan), drift], ignore_index=True),
        contrasts=contrasts,
        premise=gate,
        persistence=persistence(snapshots, plan),
        half_lives=half_life_table(lives, plan),
        transitions=transition_table(times, plan),
        ratios=ratios,
        occupancy=occupancy(snapshots, list(TYPES), plan),
        dodges=leaderboard(compared, contrasts, ratios, primary),
        displacement=displacement_table(compared, plan),
        priors=prior_table(compared, primary, plan),
        populations=population_table(compared[compared.match.isin([primary, FINAL])], plan),
        claims=_claims(rows, plan, confirmatory),
    )


def _final_capability(compared: pandas.DataFrame, plan: Plan) -> pandas.DataFrame:
    """Contrasts of capability at the final step, of all sound models: it is defined for each."""
    final = compared[compared.match == FINAL]
    everyone = final.assign(arrived=~final.diverged.astype(bool), capability_lowest=0.0, capability_highest=1.0)
    return contrast_table(everyone, ["capability"], plan)


def _times(
    course: pandas.DataFrame, matched: pandas.DataFrame, capability: float, cosine: float, mode: str
) -> pandas.DataFrame:
    """Times to transitions, and to the primary capability, by fine-tuned model; pointers shift in mode instructed."""
    kept = course[course.measured].reset_index(drop=True)
    levels = {POINTS_TO_X: cosine, SHIFTED: HALF}
    found = transition_times(kept, offsets_of(kept), levels)
    told = found.setting.map(lambda words: (value_of(words, "mode") or mode) == "instructed")
    found = found[told == (found.quantity == SHIFTED)]
    there = matched[matched.match == capability_match(capability)]
    capable = there[[*ARM, "organism_id", "seed", "diverged"]].assign(
        quantity="capability", times=np.where(there.diverged, np.nan, there.episodes.fillna(np.inf))
    )
    return pandas.concat([found, capable], ignore_index=True)


def _elicited(course: pandas.DataFrame, level: float) -> pandas.DataFrame:
    """Times until M is back, by elicited model."""
    renamed = course.assign(elicited=np.where(course.diverged, np.nan, course.capability))
    return transition_times(renamed, offsets_of(renamed), {"elicited": level})


def confirmatory(seeds: Sequence[int], claims_unchanged: bool) -> bool:
    """Whether primary verdicts may be called confirmatory: all seeds from 1000 on, and claims as they were
    at training.
    """
    return claims_unchanged and min(seeds) >= FIRST_CONFIRMATORY_SEED


def _claims(rows: Sequence[Row], plan: Plan, is_confirmatory: bool) -> pandas.DataFrame:
    table = pandas.DataFrame(finished(rows, plan, is_confirmatory))
    unknown = set(table.claim) - set(CLAIMS)
    if unknown:
        raise ValueError(f"claims {sorted(unknown)} are not declared; declared: {ORDER}")
    return table.assign(order=table.claim.map(ORDER.index), primary_first=(~table.primary).astype(int))
