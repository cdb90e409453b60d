"""From snapshots and ledger to what the claims are judged on, and to their verdicts.

What is imported here, and in turn, is the code that a study's verdicts are frozen with (`configuration/manifest.py`):
tables that describe and do not judge are made in `descriptions.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas

from turncoat.statistics import (
    arm_claims,
    circuit_claims,
    correction_claims,
    gating_claims,
    pretraining_claims,
    reinforcement_claims,
)
from turncoat.statistics.claims import CLAIMS, ORDER, UNTESTED
from turncoat.statistics.contrasts import ARM, FINAL, Plan, capability_match, contrast_table, cross_entropy_match
from turncoat.statistics.evidence import Evidence
from turncoat.statistics.factors import value_of
from turncoat.statistics.premise_table import premise_table
from turncoat.statistics.rows import Row, finished
from turncoat.statistics.study import OUTCOMES, matched_models, model_half_lives, offsets_of
from turncoat.statistics.transitions import HALF, POINTS_TO_X, SHIFTED, ratio_table, transition_times

FIRST_CONFIRMATORY_SEED = 1000


@dataclass(frozen=True)
class Analysis:
    """The claims table, and what it was judged on; `matched` are all models at every level that they are read at."""

    claims: pandas.DataFrame
    evidence: Evidence
    matched: pandas.DataFrame
    premise: pandas.DataFrame


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
    plan: Plan,
    exploratory: str,
) -> Analysis:
    """Analyse fine-tuned models.

    `course` (see `study.matched_models`) and `ledger` (the gating table) hold fine-tuned models only; `elicited` is how
    elicitation went, `knowledge` and `reinforced` are those tables; `statistics` and `reinforcement` are those sections
    of the configuration; `own` the study's own values, in words, of the factors `mode`, `slot_angle` and
    `heads.objective`; `exploratory` why no verdict is confirmatory (see `exploratory_because`).
    """
    capabilities, surprises = list(statistics["capabilities"]), list(statistics["cross_entropies"])
    matched = matched_models(course, capabilities, surprises)
    # Below the compared capabilities outcomes are for the figure's curve only.
    named = [*map(capability_match, capabilities), *map(cross_entropy_match, surprises), FINAL]
    compared = matched[matched.match.isin(named)]
    level = statistics["primary_capability"]
    turned = [_times(course, matched, level, cosine, own["mode"]), _elicited(elicited, level)]
    times = pandas.concat(turned, ignore_index=True)
    gate = premise_table(matched, statistics, plan)
    evidence = Evidence(
        contrasts=pandas.concat([contrast_table(compared, OUTCOMES, plan), _final_capability(compared, plan)]),
        ratios=ratio_table(times, plan),
        times=times,
        knowledge=knowledge,
        own=own,
        matched=compared,
        half_lives=model_half_lives(course[course.measured]),
        premises={(row.setting, row.variant, row.start): row.verdict for row in gate.itertuples()},
        capabilities=capabilities,
        cross_entropy_matches=[*map(cross_entropy_match, surprises)],
        primary_capability=level,
        primary_distance=statistics["premise_distance"],
    )
    rows = pretraining_claims.answers(evidence, plan) + arm_claims.answers(evidence, plan)
    rows += gating_claims.answers(ledger, plan, activation, optimizer)
    rows += circuit_claims.answers(ledger, plan, statistics["premise_distance"])
    rows += reinforcement_claims.answers(
        reinforced, reinforcement, statistics["premise_distance"], plan
    ) + correction_claims.answers(evidence, plan)
    rows += [Row(claim.id, "none", "all", "", "shown", float("nan"), blocked=claim.untested) for claim in UNTESTED]
    return Analysis(_claims(rows, plan, exploratory), evidence, matched, gate)


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


def exploratory_because(seeds: Sequence[int], changed: str) -> str:
    """Why primary verdicts are exploratory, empty where they are confirmatory: all seeds from 1000 on, and nothing
    `changed` since training.
    """
    if changed:
        return changed
    return f"seeds below {FIRST_CONFIRMATORY_SEED}" if min(seeds) < FIRST_CONFIRMATORY_SEED else ""


def _claims(rows: Sequence[Row], plan: Plan, exploratory: str) -> pandas.DataFrame:
    unknown = {row.claim for row in rows} - set(CLAIMS)
    if unknown:
        raise ValueError(f"claims {sorted(unknown)} are not declared; declared: {ORDER}")
    table = pandas.DataFrame(finished(rows, plan, exploratory))
    return table.assign(order=table.claim.map(ORDER.index), primary_first=(~table.primary).astype(int))
