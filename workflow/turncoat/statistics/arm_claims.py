"""Answers to the claims on pre-training that need arms of their own: P4b to P5c and P8 to P11."""

from collections.abc import Iterator
from dataclasses import replace

import pandas

from turncoat.seeding import generator
from turncoat.statistics.arm_rows import CUE_HEADS, chosen_contrasts, is_nothing, primary_place, ratio_row, unknown
from turncoat.statistics.claims import CLAIMS
from turncoat.statistics.contrasts import ARM, REFERENCES, Plan, capability_match, columns_of, contrast
from turncoat.statistics.dodges import dodges_of
from turncoat.statistics.equivalence import equivalence_p
from turncoat.statistics.evidence import Evidence, contrast_row, premise_block, stratum
from turncoat.statistics.factors import factors_of, value_of
from turncoat.statistics.intervals import bootstrap_mean, paired_p
from turncoat.statistics.pointer_claims import shifting, world_model
from turncoat.statistics.rows import Row, missing_row
from turncoat.statistics.transitions import POINTS_TO_X, SHIFTED

TYPED = ("internal", "corrigible", "conditional", "deceptive")
PLAIN_STARTS = ("internal", "corrigible")
HEADLESS = ("knowledge_withheld", "last_layer_reset")  # dodges that leave no trained head
ANSWERED = ("P4b", "P4c", "P4d", "P5a", "P5c", "P8", "P9", "P10", "P11")
MISSING = {
    "P4c": (POINTS_TO_X, "equal"),
    "P4d": ("ablation", "difference"),
    "P5c": (SHIFTED, "equal"),
    "P9": ("capability", "difference"),
}
"""Outcome and kind of the primary row, where they are not those of a difference in D."""


def answers(evidence: Evidence, plan: Plan) -> list[Row]:
    """All rows of these claims; a claim that the study has no models for gets one that says so."""
    rows = [
        *_strategy_and_knowledge(evidence, plan),
        *_replacing(evidence, plan),
        *_routed(evidence, plan),
        *shifting(evidence, plan),
        *world_model(evidence, plan),
        *_imperfect(evidence, plan),
        *_budgets(evidence, plan),
        *_dodges(evidence, plan),
        *_situation(evidence, plan),
    ]
    rows = _with_one_primary(rows)
    for claim in ANSWERED:
        if not any(row.claim == claim and row.primary for row in rows):
            rows.append(missing_row(claim, *MISSING.get(claim, ("d", "difference")), plan.margin))
    return rows


def _with_one_primary(rows: list[Row]) -> list[Row]:
    """Where several strata are as a claim's primary one is described, the one with the fewest factors stays, then the
    first by its words."""
    first: dict[str, tuple[int, str]] = {}
    for row in rows:
        if row.primary:
            first[row.claim] = min(_place(row), first.get(row.claim, _place(row)))
    return [replace(row, primary=row.primary and _place(row) == first[row.claim]) for row in rows]


def _place(row: Row) -> tuple[int, str]:
    words = (row.facts.get("setting", ""), row.facts.get("variant", ""))
    return sum(len(factors_of(part)) for part in words), row.stratum


def _strategy_and_knowledge(evidence: Evidence, plan: Plan) -> Iterator[Row]:
    def wanted(item: pandas.Series) -> bool:
        strategy = (item.start, item.reference) == ("internal_strategic", "internal")
        known = item.start in PLAIN_STARTS and item.reference.startswith(CUE_HEADS)
        return strategy or (known and value_of(item.setting, "cue.coding") == "parity")

    for item in chosen_contrasts(evidence, wanted):
        plain = item.reference == "internal" and not item.setting and not item.variant
        primary = plain and primary_place(evidence, item)
        yield contrast_row("P4b", item, plan, primary, unknown(evidence, item), is_nothing(item))


def _replacing(evidence: Evidence, plan: Plan) -> Iterator[Row]:
    """P4c: times until the utility points to X in both cue states, start over scratch."""
    table = evidence.ratios
    chosen = table[(table.quantity == POINTS_TO_X) & table.reference.isin(["scratch", "scratch_exposed"])]
    chosen = chosen[chosen.start.isin(["internal", "internal_strategic", "benign_conditional"]) & (chosen.distance > 0)]
    for item in chosen.itertuples():
        primary = (item.start, item.reference) == ("internal", "scratch") and not item.setting and not item.variant
        primary = primary and item.distance == evidence.primary_distance
        yield ratio_row("P4c", item, plan, primary, "equal", premise_block("P4c", evidence, item))


def _routed(evidence: Evidence, plan: Plan) -> Iterator[Row]:
    """P4d: what taking the objective head's direction out costs beyond random directions; D with minus without."""
    table = evidence.knowledge
    last = table[(table.stage == "finetune") & (table.quantity == "objective") & (table.step > 0)]
    own = evidence.own["heads.objective"]
    known = last.variant.map(lambda words: (value_of(words, "heads.objective") or own) != "0")
    # Models from scratch learn no such head, nor does pre-training that withholds all of them; a reset one is random.
    known &= ~last.start.isin(REFERENCES) & ~last.variant.map(lambda words: value_of(words, "dodge") in HEADLESS)
    for key, group in last[known & ~last.diverged.astype(bool)].groupby(ARM, sort=True):
        place = dict(zip(ARM, key, strict=True))
        margin = CLAIMS["P4d"].margin_of("ablation", plan.margin)
        beyond = (group.value - group.reference).to_numpy(float)
        random = generator(0, f"routed {key}")
        estimate = bootstrap_mean(beyond, group.seed.to_numpy(), plan.confidence, plan.resamples, random)
        yield Row(
            "P4d",
            "ablation",
            stratum(key[0], key[1], f"{key[2]}, agreement with X lost beyond random directions", f"{key[3]:g} degrees"),
            CLAIMS["P4d"].estimand,
            "difference",
            margin,
            estimate,
            paired_p(beyond),
            equivalence_p(beyond, margin),
            key[2] == "internal" and not key[0] and key[3] == evidence.primary_distance,
            values=beyond,
            facts=place | {"n_start": len(beyond), "n_pairs": len(beyond)},
        )
    for item in chosen_contrasts(evidence, lambda item: item.reference.startswith("without heads.objective")):
        yield contrast_row("P4d", item, plan, primary=False, turned=is_nothing(item), kind="shown")


def _imperfect(evidence: Evidence, plan: Plan) -> Iterator[Row]:
    """P8: full minus imperfect pre-training; P3 by the type that was measured after pre-training."""

    def wanted(item: pandas.Series) -> bool:
        factors = factors_of(item.variant)
        flawed = len(factors) == 1 and factors[0].startswith(("steps ", "label_noise "))
        compared = item.reference == "scratch_exposed" or item.reference.startswith("without ")
        return item.start in PLAIN_STARTS and flawed and compared and not item.setting

    shortest = _shortest(evidence.contrasts.variant)
    for item in chosen_contrasts(evidence, wanted):
        if item.reference == "scratch_exposed":  # how large it is, beside how much larger
            yield contrast_row("P8", item, plan, primary=False, kind="shown")
            continue
        primary = item.start == "corrigible" and item.variant == shortest and primary_place(evidence, item)
        yield contrast_row("P8", item, plan, primary, turned=True)
    yield from _by_measured_type(evidence, plan)


def _shortest(variants: pandas.Series) -> str | None:
    lengths = {words: value for words in set(variants) if (value := value_of(words, "steps")) is not None}
    alone = {words: value for words, value in lengths.items() if len(factors_of(words)) == 1}
    return min(alone, key=lambda words: float(alone[words])) if alone else None


def _by_measured_type(evidence: Evidence, plan: Plan) -> Iterator[Row]:
    match = capability_match(evidence.primary_capability)
    margin = CLAIMS["P8"].margin_of("d", plan.margin)
    here = evidence.matched[(evidence.matched.match == match) & (evidence.matched.distance > 0)]
    here = here[(here.setting == "") & ~here.variant.str.contains("dodge ")]
    pretrained = here[here.start.isin(PLAIN_STARTS) & here.parent_type.notna()]
    for (distance, of_type), group in pretrained.groupby([pretrained.distance, pretrained.parent_type.isin(TYPED)]):
        reference = here[(here.start == "scratch_exposed") & (here.variant == "") & (here.distance == distance)]
        if reference.empty:
            continue
        own = group.groupby("seed").agg(
            {"d": "mean", "arrived": "all", "diverged": "any", "d_lowest": "mean", "d_highest": "mean"}
        )
        words = "of" if of_type else "of none of"
        found = contrast(
            columns_of(own.reset_index(), ["d"]),
            columns_of(reference, ["d"]),
            "d",
            plan,
            f"measured type {distance} {of_type}",
        )
        yield Row(
            "P8",
            "d",
            stratum(
                "", "", f"models {words} the types after pre-training minus scratch_exposed", f"{distance:g} degrees"
            ),
            CLAIMS["P8"].estimand,
            "shown" if of_type else "equal",
            margin,
            found.estimate,
            found.p,
            equivalence_p(found.differences, margin),
            note="models of a seed averaged first",
            values=found.differences,
            facts={"reference": "scratch_exposed", "distance": distance, "match": match}
            | {"n_start": found.n_start, "n_reference": found.n_reference, "n_pairs": len(found.differences)}
            | {"never_start": found.never_start, "never_reference": found.never_reference}
            | {"bound_low": found.bound_low, "bound_high": found.bound_high},
        )


def _budgets(evidence: Evidence, plan: Plan) -> Iterator[Row]:
    """P9: capability at the final step by data budget, start minus scratch."""
    table = evidence.contrasts
    table = table[(table.outcome == "capability") & table.reference.isin(["scratch", "scratch_exposed"])]
    table = table[(table.distance > 0) & table.start.isin([*PLAIN_STARTS, "unrelated"])]
    budgets = table.setting.map(lambda words: value_of(words, "budget"))
    only = table.setting.map(lambda words: len(factors_of(words)) == 1)
    budgets = budgets.where(budgets != "none")  # episodes without end, in a study that has a budget of its own
    least = min((float(value) for value in budgets.dropna()), default=None)
    for item, budget in zip(table[only].itertuples(), budgets[only], strict=True):
        if pandas.isna(budget):
            continue
        primary = (item.start, item.reference) == ("corrigible", "scratch") and float(budget) == least
        primary = primary and item.distance == evidence.primary_distance and not item.variant
        yield contrast_row("P9", item, plan, primary, premise_block("P9", evidence, item, setting=""))


def _dodges(evidence: Evidence, plan: Plan) -> Iterator[Row]:
    """P10: plain minus dodge: above zero where the dodge lessens deception."""

    def wanted(item: pandas.Series) -> bool:
        return item.reference.removeprefix("without ") in dodges_of(item.setting, item.variant)

    for item in chosen_contrasts(evidence, wanted):
        primary = item.start == "conditional" and item.variant == "dodge x_in_pretraining" and not item.setting
        yield contrast_row("P10", item, plan, primary and primary_place(evidence, item), turned=True)


def _situation(evidence: Evidence, plan: Plan) -> Iterator[Row]:
    """P11: with minus without a head for the cue, under parity; with minus without foreknowledge of slot 2."""

    def wanted(item: pandas.Series) -> bool:
        parity = value_of(item.setting, "cue.coding") == "parity" and item.start in ("conditional", "deceptive")
        known = parity and item.reference.startswith(CUE_HEADS)
        return bool(known or item.reference.startswith("without foreknowledge"))

    for item in chosen_contrasts(evidence, wanted):
        primary = item.start == "conditional" and item.reference.startswith("without heads.oversight")
        primary = primary and len(factors_of(item.variant)) == 1 and len(factors_of(item.setting)) == 1
        primary = primary and primary_place(evidence, item)
        yield contrast_row("P11", item, plan, primary, unknown(evidence, item), is_nothing(item))
