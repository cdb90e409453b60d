"""Answers to the claims on pre-training that need arms of their own: P4b to P5c and P8 to P11."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pandas

from turncoat.seeding import generator
from turncoat.statistics.claims import CLAIMS, NO_MODELS
from turncoat.statistics.contrasts import ARM, FINAL, REFERENCES, Plan, capability_match, contrast
from turncoat.statistics.dodges import dodges_of
from turncoat.statistics.equivalence import equivalence_p, median_equivalence_p
from turncoat.statistics.factors import factors_of, value_of, without
from turncoat.statistics.intervals import Estimate, bootstrap_mean, bootstrap_median, paired_p, sign_p
from turncoat.statistics.manipulation import knowledge_block
from turncoat.statistics.pretraining_claims import Evidence, contrast_row, premise_block, stratum
from turncoat.statistics.rows import Row
from turncoat.statistics.transitions import MARGIN, POINTS_TO_X, SHIFTED

TYPED = ("internal", "corrigible", "conditional", "deceptive")
PLAIN_STARTS = ("internal", "corrigible")
APART = 90.0  # degrees between slots that have inputs of their own
CUE_HEADS = ("without heads.oversight", "without heads.placebo")
HEADLESS = "knowledge_withheld"
ANSWERED = ("P4b", "P4c", "P4d", "P5a", "P5c", "P8", "P9", "P10", "P11")


def answers(evidence: Evidence, plan: Plan) -> list[Row]:
    """All rows of these claims; a claim that the study has no models for gets one that says so."""
    rows = [
        *_strategy_and_knowledge(evidence, plan),
        *_replacing(evidence, plan),
        *_routed(evidence, plan),
        *_shifting(evidence, plan),
        *_world_model(evidence, plan),
        *_imperfect(evidence, plan),
        *_budgets(evidence, plan),
        *_dodges(evidence, plan),
        *_situation(evidence, plan),
    ]
    rows = _with_one_primary(rows)
    for claim in ANSWERED:
        if not any(row.claim == claim and row.primary for row in rows):
            missing = f"{NO_MODELS} ({CLAIMS[claim].primary})"
            estimand = CLAIMS[claim].estimand
            rows.append(Row(claim, "d", "primary", estimand, "difference", plan.margin, primary=True, blocked=missing))
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


def _is_nothing(item: pandas.Series) -> bool:
    """Whether the factor that the reference lacks is a head or share at 0: then it is the reference that has it."""
    return bool(item.reference.startswith("without ") and item.reference.endswith(" 0"))


def _unknown(evidence: Evidence, item: pandas.Series) -> str:
    """Why a head for a cue was no test of knowledge; empty where it was, or where no such head is compared."""
    if not item.reference.startswith(CUE_HEADS):
        return ""
    return knowledge_block(evidence.knowledge, item.setting, item.variant, item.start, item.reference)


def _chosen(evidence: Evidence, wanted: Callable[[pandas.Series], bool]) -> Iterator[pandas.Series]:
    """Contrasts of C, D and deception at a compared capability or the final step, apart from X = Y."""
    table = evidence.contrasts
    matches = [*map(capability_match, evidence.capabilities), FINAL]
    table = table[table.match.isin(matches) & (table.distance > 0) & table.outcome.isin(["c", "d", "deception"])]
    for item in table[table.estimate.notna() | table.outcome.isin(["c", "d"])].itertuples():
        if wanted(item):
            yield item


def _primary_place(evidence: Evidence, item: pandas.Series, outcome: str = "d") -> bool:
    """Whether a contrast stands where primary ones do: that outcome, the primary capability, the premise distance."""
    match = capability_match(evidence.primary_capability)
    return bool(item.outcome == outcome and item.match == match and item.distance == evidence.primary_distance)


def _strategy_and_knowledge(evidence: Evidence, plan: Plan) -> Iterator[Row]:
    def wanted(item: pandas.Series) -> bool:
        strategy = (item.start, item.reference) == ("internal_strategic", "internal")
        known = item.start in PLAIN_STARTS and item.reference.startswith(CUE_HEADS)
        return strategy or (known and value_of(item.setting, "cue.coding") == "parity")

    for item in _chosen(evidence, wanted):
        plain = item.reference == "internal" and not item.setting and not item.variant
        primary = plain and _primary_place(evidence, item)
        yield contrast_row("P4b", item, plan, primary, _unknown(evidence, item), _is_nothing(item))


def _replacing(evidence: Evidence, plan: Plan) -> Iterator[Row]:
    """P4c: times until the utility points to X in both cue states, start over scratch."""
    table = evidence.ratios
    chosen = table[(table.quantity == POINTS_TO_X) & table.reference.isin(["scratch", "scratch_exposed"])]
    chosen = chosen[chosen.start.isin(["internal", "internal_strategic", "benign_conditional"]) & (chosen.distance > 0)]
    for item in chosen.itertuples():
        primary = (item.start, item.reference) == ("internal", "scratch") and not item.setting and not item.variant
        primary = primary and item.distance == evidence.primary_distance
        yield _ratio_row("P4c", item, plan, primary, "equal", premise_block("P4c", evidence, item))


def _ratio_row(
    claim: str, item: pandas.Series, plan: Plan, primary: bool, kind: str, blocked: str = "", turned: bool = False
) -> Row:
    """A row from one of the time ratios; `turned` divides the other way round."""
    names, estimate = (item.start, item.reference), Estimate(item.estimate, item.low, item.high, item.n_pairs)
    if item.reference.startswith("without "):
        names = (f"{item.start} with {item.reference.removeprefix('without ')}", "without")
    if turned:
        names = (names[1], names[0])
        estimate = Estimate(-item.estimate, -item.high, -item.low, item.n_pairs)
    what = f"{names[0]} over {names[1]}, {item.quantity}"
    words = stratum(item.setting, item.variant, what, f"{item.distance:g} degrees")
    note = f"natural log of the ratio of episodes; never got there: {item.never_start} {item.start}, "
    note += f"{item.never_reference} {item.reference} ({item.never_both} pairs undecided)"
    facts = {name: getattr(item, name) for name in (*ARM, "reference", "n_start", "n_reference", "n_pairs")}
    return Row(
        claim,
        item.quantity,
        words,
        "median over seeds of the log-ratio of times in episodes",
        kind,
        float(np.log(MARGIN)),
        estimate,
        item.p,
        item.equivalence_p,
        primary,
        blocked=_undecided(item, plan) or blocked,
        note=note,
        facts=facts,
    )


def _undecided(item: pandas.Series, plan: Plan) -> str:
    """A median over the other pairs says little where many pairs have no order."""
    if item.never_both and item.n_pairs < plan.minimum_arrived * (item.n_pairs + item.never_both):
        return (
            f"in {item.never_both} of {item.n_pairs + item.never_both} pairs neither side got there within its budget"
        )
    return ""


def _routed(evidence: Evidence, plan: Plan) -> Iterator[Row]:
    """P4d: what taking the objective head's direction out costs beyond random directions; D with minus without."""
    table = evidence.knowledge
    last = table[(table.stage == "finetune") & (table.quantity == "objective") & (table.step > 0)]
    own = evidence.own["heads.objective"]
    known = last.variant.map(lambda words: (value_of(words, "heads.objective") or own) != "0")
    # Models from scratch learn no such head, nor does pre-training that withholds all of them.
    known &= ~last.start.isin(REFERENCES) & ~last.variant.str.contains(f"dodge {HEADLESS}", regex=False)
    for key, group in last[known & ~last.diverged.astype(bool)].groupby(ARM, sort=True):
        place = dict(zip(ARM, key, strict=True))
        beyond = (group.value - group.reference).to_numpy(float)
        random = generator(0, f"routed {key}")
        estimate = bootstrap_mean(beyond, group.seed.to_numpy(), plan.confidence, plan.resamples, random)
        yield Row(
            "P4d",
            "ablation",
            stratum(key[0], key[1], f"{key[2]}, agreement with X lost beyond random directions", f"{key[3]:g} degrees"),
            CLAIMS["P4d"].estimand,
            "difference",
            plan.margin,
            estimate,
            paired_p(beyond),
            equivalence_p(beyond, plan.margin),
            key[2] == "internal" and not key[0] and key[3] == evidence.primary_distance,
            facts=place | {"n_start": len(beyond), "n_pairs": len(beyond)},
        )
    for item in _chosen(evidence, lambda item: item.reference.startswith("without heads.objective")):
        yield contrast_row("P4d", item, plan, primary=False, turned=_is_nothing(item), kind="shown")


def _shifting(evidence: Evidence, plan: Plan) -> Iterator[Row]:
    """P5a: less D, and a quicker shift, as slots are shown more alike, in mode instructed: apart minus alike."""

    def angle(words: str) -> str:
        return value_of(words, "slot_angle") or evidence.own["slot_angle"]

    def wanted(item: pandas.Series) -> bool:
        instructed = (value_of(item.setting, "mode") or evidence.own["mode"]) == "instructed"
        return bool(item.start == "corrigible" and instructed and item.reference.startswith("without slot_angle"))

    def turned(item: pandas.Series) -> bool:
        """Whether the arm itself is the one whose slots are more alike, and is to be subtracted."""
        return float(angle(item.setting)) < float(evidence.own["slot_angle"])

    angles = {angle(words) for words in {*evidence.contrasts.setting, ""}}
    ends = {f"{APART:g}", min(angles, key=float)}
    for item in _chosen(evidence, wanted):
        primary = {angle(item.setting), evidence.own["slot_angle"]} == ends and not item.variant
        yield contrast_row("P5a", item, plan, primary and _primary_place(evidence, item), turned=turned(item))
    table = evidence.ratios
    for item in table[(table.quantity == SHIFTED) & (table.start == "corrigible") & (table.distance > 0)].itertuples():
        if item.reference.startswith("without slot_angle"):
            yield _ratio_row("P5a", item, plan, primary=False, kind="difference", turned=turned(item))


def _world_model(evidence: Evidence, plan: Plan) -> Iterator[Row]:
    """P5c: how much the world head quickens the pointer, from a pre-trained start beyond scratch_exposed."""
    times = evidence.times[evidence.times.quantity == SHIFTED]
    groups = dict(list(times.groupby(ARM, sort=True)))
    for (setting, variant, start, distance), without_world in groups.items():
        if start != "corrigible" or value_of(variant, "heads.world") != "0":
            continue
        plain = without(variant, "heads.world 0")
        places = ((start, plain), ("scratch_exposed", variant), ("scratch_exposed", plain))
        rest = [groups[key] for name, words in places if (key := (setting, words, name, distance)) in groups]
        if len(rest) < len(places):
            continue
        wide = without_world[["seed", "times"]].rename(columns={"times": "start_without"})
        for name, group in zip(("start_with", "exposed_without", "exposed_with"), rest, strict=True):
            wide = wide.merge(group[["seed", "times"]].rename(columns={"times": name}), on="seed")
        sound = wide[np.isfinite(wide.drop(columns="seed")).all(axis=1) & (wide.drop(columns="seed") > 0).all(axis=1)]
        logs = {name: np.log(sound[name].to_numpy(float)) for name in wide.columns if name != "seed"}
        gained = (logs["exposed_with"] - logs["exposed_without"]) - (logs["start_with"] - logs["start_without"])
        estimate = bootstrap_median(gained, plan.confidence, plan.resamples, generator(0, f"world model {variant}"))
        margin = float(np.log(MARGIN))
        lost = len(wide) - len(sound)
        yield Row(
            "P5c",
            SHIFTED,
            stratum(
                setting, variant, "corrigible beyond scratch_exposed, with the world head", f"{distance:g} degrees"
            ),
            CLAIMS["P5c"].estimand,
            "equal",
            margin,
            estimate,
            sign_p(gained),
            median_equivalence_p(gained, margin),
            primary=distance == evidence.primary_distance,
            note=f"{lost} seeds left out, in which some arm never shifted" if lost else "",
            facts={"setting": setting, "variant": variant, "start": start, "reference": "scratch_exposed"}
            | {"distance": distance, "n_start": len(wide), "n_pairs": len(sound), "never_start": lost},
        )


def _imperfect(evidence: Evidence, plan: Plan) -> Iterator[Row]:
    """P8: full minus imperfect pre-training; P3 by the type that was measured after pre-training."""

    def wanted(item: pandas.Series) -> bool:
        factors = factors_of(item.variant)
        flawed = len(factors) == 1 and factors[0].startswith(("steps ", "label_noise "))
        compared = item.reference == "scratch_exposed" or item.reference.startswith("without ")
        return item.start in PLAIN_STARTS and flawed and compared and not item.setting

    shortest = _shortest(evidence.contrasts.variant)
    for item in _chosen(evidence, wanted):
        if item.reference == "scratch_exposed":  # how large it is, beside how much larger
            yield contrast_row("P8", item, plan, primary=False, kind="shown")
            continue
        primary = item.start == "corrigible" and item.variant == shortest and _primary_place(evidence, item)
        yield contrast_row("P8", item, plan, primary, turned=True)
    yield from _by_measured_type(evidence, plan)


def _shortest(variants: pandas.Series) -> str | None:
    lengths = {words: value for words in set(variants) if (value := value_of(words, "steps")) is not None}
    alone = {words: value for words, value in lengths.items() if len(factors_of(words)) == 1}
    return min(alone, key=lambda words: float(alone[words])) if alone else None


def _by_measured_type(evidence: Evidence, plan: Plan) -> Iterator[Row]:
    match = capability_match(evidence.primary_capability)
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
        found = contrast(own.reset_index(), reference, "d", plan, f"measured type {distance} {of_type}")
        yield Row(
            "P8",
            "d",
            stratum(
                "", "", f"models {words} the types after pre-training minus scratch_exposed", f"{distance:g} degrees"
            ),
            CLAIMS["P8"].estimand,
            "shown" if of_type else "equal",
            plan.margin,
            found.estimate,
            found.p,
            found.equivalence_p,
            note="models of a seed averaged first",
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

    for item in _chosen(evidence, wanted):
        primary = item.start == "conditional" and item.variant == "dodge x_in_pretraining" and not item.setting
        yield contrast_row("P10", item, plan, primary and _primary_place(evidence, item), turned=True)


def _situation(evidence: Evidence, plan: Plan) -> Iterator[Row]:
    """P11: with minus without a head for the cue, under parity; with minus without foreknowledge of slot 2."""

    def wanted(item: pandas.Series) -> bool:
        parity = value_of(item.setting, "cue.coding") == "parity" and item.start in ("conditional", "deceptive")
        known = parity and item.reference.startswith(CUE_HEADS)
        return bool(known or item.reference.startswith("without foreknowledge"))

    for item in _chosen(evidence, wanted):
        primary = item.start == "conditional" and item.reference.startswith("without heads.oversight")
        primary = primary and len(factors_of(item.variant)) == 1 and len(factors_of(item.setting)) == 1
        primary = primary and _primary_place(evidence, item)
        yield contrast_row("P11", item, plan, primary, _unknown(evidence, item), _is_nothing(item))
