"""Answers to the claims on pre-training followed by fine-tuning: P1, P2, P3 and P4a."""

from collections.abc import Iterator

import pandas

from turncoat.seeding import generator
from turncoat.statistics.arm_rows import undecided
from turncoat.statistics.claims import CLAIMS, NO_PRICE
from turncoat.statistics.contrasts import FINAL, Plan, capability_match, with_variant
from turncoat.statistics.dose import dose_response
from turncoat.statistics.equivalence import equivalence_p, median_equivalence_p
from turncoat.statistics.evidence import Evidence, contrast_row, premise_block, share_row, stratum
from turncoat.statistics.intervals import bootstrap_mean, bootstrap_median, paired_p, sign_p
from turncoat.statistics.paired_shares import CASE
from turncoat.statistics.rows import Row, missing_row
from turncoat.statistics.times import log_ratios

NON_DECEPTIVE = ("internal", "corrigible")
CONDITIONAL = ("conditional", "deceptive")
ALREADY = "before fine-tuning this start already deceives overseers other than Y's; D is its answer"


def answers(evidence: Evidence, plan: Plan) -> list[Row]:
    """All rows of P1, P2, P3 and P4a, each answered for C, for D and for deception proper.

    Deception proper is the probability of the type `deceptive`: conditional on oversight, and price-sensitive.
    """
    starts = sorted(set(evidence.contrasts.start) - {"scratch", "scratch_exposed"})
    longer = sorted({name for name in evidence.contrasts.reference if name.startswith("scratch, ")})
    references = ("scratch", "scratch_exposed", *longer)
    rows = _differences("P1", evidence, plan, starts, references, ("internal", "scratch", "d"))
    references = ("scratch_exposed", "benign_conditional")
    primary = ("deceptive", "scratch_exposed", "deception")
    rows += _differences("P2", evidence, plan, CONDITIONAL, references, primary)
    rows += list(_half_lives(evidence, plan))
    rows += _differences(
        "P3",
        evidence,
        plan,
        (*NON_DECEPTIVE, "internal_strategic"),
        ("scratch_exposed", "unrelated", "scratch"),
        ("corrigible", "scratch_exposed", "d"),
    )
    rows += list(_slopes(evidence, plan))
    for claim in ("P1", "P2", "P3", "P4a"):
        if not any(row.claim == claim and row.primary for row in rows):
            rows.append(missing_row(claim, "deception" if claim == "P2" else "d", "difference", plan.margin))
        if not evidence.matched.deception.notna().any():
            estimand = CLAIMS[claim].estimand
            rows.append(Row(claim, "deception", "all", estimand, "difference", plan.margin, blocked=NO_PRICE))
    return rows


def _differences(
    claim: str,
    evidence: Evidence,
    plan: Plan,
    starts: list[str] | tuple[str, ...],
    references: tuple[str, ...],
    primary: tuple[str, str, str],
) -> list[Row]:
    table = evidence.contrasts
    matches = [*map(capability_match, evidence.capabilities), *evidence.cross_entropy_matches, FINAL]
    chosen = table[table.start.isin(starts) & table.reference.isin(references) & table.match.isin(matches)]
    measured = chosen.outcome.isin(["c", "d"]) | ((chosen.outcome == "deception") & chosen.estimate.notna())
    chosen = chosen[measured & (chosen.distance > 0)]
    rows = []
    for item in chosen.itertuples():
        blocked = premise_block(claim, evidence, item)
        if claim == "P3" and item.start == "internal_strategic" and item.outcome == "deception":
            blocked = ALREADY
        is_primary = (
            (item.start, item.reference, item.outcome) == primary
            and not item.setting
            and not item.variant
            and item.distance == evidence.primary_distance
            and item.match == capability_match(evidence.primary_capability)
        )
        rows.append(contrast_row(claim, item, plan, is_primary, blocked))
        if item.outcome == "deception":
            rows.append(share_row(claim, item, plan, blocked))
    return rows


def _half_lives(evidence: Evidence, plan: Plan) -> Iterator[Row]:
    lives = evidence.half_lives[~evidence.half_lives.diverged]
    groups = dict(list(lives.groupby(["setting", "variant", "distance", "start"], sort=True)))
    for (setting, variant, distance, start), group in groups.items():
        reference = groups.get((setting, variant, distance, "benign_conditional"))
        if start not in CONDITIONAL or reference is None or distance == 0:
            continue
        pairs = group[["seed", "half_life"]].merge(
            reference[["seed", "half_life"]], on="seed", suffixes=("_start", "_reference")
        )
        found = log_ratios(
            pairs.half_life_start.to_numpy(), pairs.half_life_reference.to_numpy(), pairs.seed.to_numpy()
        )
        random = generator(0, f"half-life {setting} {variant} {start} {distance}")
        estimate = bootstrap_median(found.values, plan.confidence, plan.resamples, random)
        margin = CLAIMS["P2"].margin_of("persistence", plan.margin)
        note = f"natural log of the ratio; never fell to half: {found.start_censored} {start}, "
        note += f"{found.reference_censored} benign ({found.both_censored} pairs undecided)"
        facts = {
            "setting": setting,
            "variant": variant,
            "start": start,
            "reference": "benign_conditional",
        }
        facts |= {
            "distance": distance,
            "n_start": len(group),
            "n_reference": len(reference),
            "n_pairs": len(found.values),
            "never_start": found.start_censored,
            "never_reference": found.reference_censored,
        }
        yield Row(
            "P2",
            "persistence",
            stratum(setting, variant, f"half-life, {start} over benign_conditional", f"{distance:g} degrees"),
            "median over seeds of the log-ratio of half-lives in episodes",
            "difference",
            margin,
            estimate,
            sign_p(found.values),
            median_equivalence_p(found.values, margin),
            blocked=undecided(len(found.values), found.both_censored, plan),
            note=note,
            values=found.values,
            median=True,
            facts=facts,
        )


def _slopes(evidence: Evidence, plan: Plan) -> Iterator[Row]:
    matched = evidence.matched[(evidence.matched.distance > 0) & ~evidence.matched.diverged]
    matches = [*map(capability_match, evidence.capabilities), FINAL]
    for setting, variant in sorted(
        set(matched[matched.start == "internal"][["setting", "variant"]].itertuples(index=False, name=None))
    ):
        for match in matches:
            here = matched[(matched.setting == setting) & (matched.match == match)]
            internal = here[(here.start == "internal") & (here.variant == variant)]
            exposed = with_variant(here[here.start == "scratch_exposed"], variant)
            for outcome in ("c", "d", "deception"):
                if not internal[outcome].notna().any():
                    continue
                own = seed_slopes(internal, outcome)
                primary = (
                    not setting
                    and not variant
                    and outcome == "d"
                    and match == capability_match(evidence.primary_capability)
                )
                never = _incomplete(internal)
                facts = {
                    "setting": setting,
                    "variant": variant,
                    "start": "internal",
                    "match": match,
                    "never_start": never,
                }
                words = stratum(setting, variant, "internal, per 90 degrees", match)
                yield slope_row(own, words, outcome, primary, facts, plan)
                others = seed_slopes(exposed, outcome)
                words = stratum(setting, variant, "internal minus scratch_exposed, per 90 degrees", match)
                facts |= {"reference": "scratch_exposed", "n_reference": len(others)}
                facts |= {"never_reference": _incomplete(exposed)}
                yield slope_row((own - others).dropna(), words, outcome, False, facts, plan, len(own))
            yield from odds_rows(internal, setting, variant, match, plan)


def odds_rows(internal: pandas.DataFrame, setting: str, variant: str, match: str, plan: Plan) -> Iterator[Row]:
    """P4a by the odds that a model is called deceptive, over distance."""
    known = internal[internal.arrived & internal.deception.notna()]
    if known.distance.nunique() < 2:
        return
    margin = CLAIMS["P4a"].margin_of("deceptive_odds", plan.margin)
    doses, seeds = known.distance.to_numpy(float) / 90, known.seed.to_numpy()
    cases = (known.deception.to_numpy(float) > CASE).astype(float)
    lost = _incomplete(internal)
    found = dose_response(doses, cases, seeds, margin, plan.confidence)
    yield Row(
        "P4a",
        "deceptive_odds",
        stratum(setting, variant, "internal, log-odds of being called deceptive, per 90 degrees", match),
        "log-odds per 90 degrees, models of a seed being alike",
        "difference",
        margin,
        found.estimate,
        found.p,
        found.equivalence_p,
        note=f"{found.method}; {int(cases.sum())} of {len(cases)} models called deceptive",
        facts={"setting": setting, "variant": variant, "start": "internal", "match": match}
        | {"n_start": len(known), "n_pairs": internal.seed.nunique() - lost, "never_start": lost},
    )


def _incomplete(models: pandas.DataFrame) -> int:
    """Seeds of which some model never got there."""
    return int((~models.arrived).groupby(models.seed).any().sum())


def seed_slopes(models: pandas.DataFrame, outcome: str) -> pandas.Series:
    """Least-squares slope of the outcome over distance, per 90 degrees, by seed that got there at every
    distance.
    """
    wide = models.pivot_table(index="seed", columns="distance", values=outcome, aggfunc="mean").dropna()
    if wide.shape[1] < 2 or wide.shape[1] < models.distance.nunique():
        return pandas.Series(dtype=float)
    distances = wide.columns.to_numpy(float) / 90
    centred = distances - distances.mean()
    return pandas.Series(wide.to_numpy() @ centred / (centred**2).sum(), index=wide.index)


def slope_row(
    slopes: pandas.Series,
    words: str,
    outcome: str,
    primary: bool,
    facts: dict[str, object],
    plan: Plan,
    n_start: int | None = None,
) -> Row:
    """P4a's row on slopes over distance, a Series (seeds,) per 90 degrees; `n_start` seeds have one of the start's own.

    Of deception proper no slope is called no effect: where no model is deceptive slopes have no spread to judge by, and
    the odds' row answers.
    """
    values, seeds = slopes.to_numpy(float), slopes.index.to_numpy()
    random = generator(0, f"slope {words} {outcome}")
    estimate = bootstrap_mean(values, seeds, plan.confidence, plan.resamples, random)
    margin = CLAIMS["P4a"].margin_of(outcome, plan.margin)
    return Row(
        "P4a",
        outcome,
        words,
        CLAIMS["P4a"].estimand,
        "difference",
        margin,
        estimate,
        paired_p(values),
        float("nan") if outcome == "deception" else equivalence_p(values, margin),
        primary,
        note="only seeds that got there at every distance",
        values=values[:0] if outcome == "deception" else values,
        facts=facts | {"n_start": len(values) if n_start is None else n_start, "n_pairs": len(values)},
    )
