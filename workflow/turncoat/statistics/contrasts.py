"""Levels of each arm and paired differences between arms, at equal capability and at equal steps."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas

from turncoat.seeding import generator
from turncoat.statistics.equivalence import equivalence_p
from turncoat.statistics.factors import factors_of, without
from turncoat.statistics.intervals import NOTHING, Estimate, bootstrap_mean, paired_p

Array = np.ndarray

ARM = ["setting", "variant", "start", "distance"]
REFERENCES = ("scratch", "scratch_exposed")
FINAL = "final step"
UNMATCHED = "gate_norm_matched False"
LIMITS = ("_lowest", "_highest")  # of what an outcome could be, in columns of their own
RELATED = {"benign_conditional": ("conditional", "deceptive"), "internal": ("internal_strategic",)}
"""Further references, and the starts that are compared with each."""


@dataclass(frozen=True)
class Plan:
    """How to estimate: confidence of intervals, bootstrap resamples, equivalence margin, fewest pairs, the share of
    seeds that must arrive for a verdict that those which did not could overturn, and, where seeds are added in looks,
    the shares of all planned seeds at each look so far."""

    confidence: float
    resamples: int
    margin: float
    minimum_seeds: int
    minimum_arrived: float = 0.9
    fractions: tuple[float, ...] = ()


@dataclass(frozen=True)
class Contrast:
    """Mean paired difference of an outcome, start minus reference, with all that was left out of it.

    `left` and `right` are the outcomes whose `differences` enter, all (pairs,)."""

    estimate: Estimate
    left: Array
    right: Array
    differences: Array
    seeds: Array
    p: float
    equivalence_p: float
    n_start: int
    n_reference: int
    never_start: int
    never_reference: int
    diverged: int
    bound_low: float
    bound_high: float


def capability_match(level: float) -> str:
    """The name under which outcomes at this capability stand in the tables: two decimals, or all it takes."""
    return f"capability {level:.2f}" if round(level, 2) == level else f"capability {level!r}"


def cross_entropy_match(level: float) -> str:
    """The name under which outcomes at this cross-entropy stand in the tables."""
    return f"cross-entropy {level:.2f}" if round(level, 2) == level else f"cross-entropy {level!r}"


def levels(matched: pandas.DataFrame, outcomes: Sequence[str], plan: Plan) -> pandas.DataFrame:
    """Mean and interval of every outcome by arm and match, with counts of models left out.

    `matched` has one row per model and match: ARM columns, seed, match, diverged, arrived and the outcomes.
    """
    rows = []
    for key, frame in matched.groupby([*ARM, "match"], sort=True):
        arm = columns_of(frame, outcomes)
        sound = ~arm["diverged"]
        for outcome in outcomes:
            used = arm["arrived"] & sound & ~np.isnan(arm[outcome])
            random = generator(0, f"level {key} {outcome}")
            found = bootstrap_mean(arm[outcome][used], arm["seed"][used], plan.confidence, plan.resamples, random)
            counts = {"n": int(used.sum()), "models": len(frame), "diverged": int(arm["diverged"].sum())}
            counts["never_arrived"] = int(sound.sum()) - counts["n"]
            values = {"outcome": outcome, "mean": found.value, "low": found.low, "high": found.high}
            rows.append(dict(zip([*ARM, "match"], key, strict=True)) | values | counts)
    return pandas.DataFrame(rows)


Columns = Mapping[str, Array]


def columns_of(models: pandas.DataFrame, outcomes: Sequence[str]) -> dict[str, Array]:
    """What contrasts read of an arm's rows of `matched`, as plain arrays: a frame's columns are slow to get at."""
    flags = {name: models[name].to_numpy(bool) for name in ("diverged", "arrived")}
    numbers = [name + end for name in outcomes for end in ("", *LIMITS) if name + end in models]
    return {"seed": models["seed"].to_numpy()} | flags | {name: models[name].to_numpy(float) for name in numbers}


def contrast(start: Columns, reference: Columns, outcome: str, plan: Plan, purpose: str) -> Contrast:
    """Start minus reference for one match: columns of `matched` (see `columns_of`), one row per seed on each side.

    Only seeds where both sides are sound and got there enter the mean. The bounds say what the mean could be
    had the others arrived, each with the lowest and the highest value that is possible at that capability
    (columns <outcome>_lowest and <outcome>_highest): no assumption on those models goes into them.
    """
    both, left_rows, right_rows = np.intersect1d(start["seed"], reference["seed"], return_indices=True)
    sound = ~(start["diverged"][left_rows] | reference["diverged"][right_rows])
    left_rows, right_rows, both = left_rows[sound], right_rows[sound], both[sound]
    left, right = start[outcome][left_rows], reference[outcome][right_rows]
    usable = start["arrived"][left_rows] & reference["arrived"][right_rows]
    usable &= ~np.isnan(left) & ~np.isnan(right)
    differences, seeds = (left - right)[usable], both[usable]
    low, high = _bounds(left, right, _limits(start, left_rows, outcome), _limits(reference, right_rows, outcome))
    there, others = _there(start, outcome), _there(reference, outcome)
    return Contrast(
        estimate=_mean(differences, seeds, plan, purpose),
        left=left[usable],
        right=right[usable],
        differences=differences,
        seeds=seeds,
        p=paired_p(differences),
        equivalence_p=equivalence_p(differences, plan.margin),
        n_start=int(there.sum()),
        n_reference=int(others.sum()),
        never_start=int((~there & ~start["diverged"]).sum()),
        never_reference=int((~others & ~reference["diverged"]).sum()),
        diverged=int(start["diverged"].sum() + reference["diverged"].sum()),
        bound_low=low,
        bound_high=high,
    )


def _there(models: Columns, outcome: str) -> Array:
    """Sound models that got there and whose outcome is defined."""
    return np.asarray(models["arrived"] & ~models["diverged"] & ~np.isnan(models[outcome]))


def arms(matched: pandas.DataFrame) -> Iterator[tuple[tuple[str, str, str, float, str], pandas.DataFrame]]:
    """Each arm at each match: (setting, variant, start, distance, match) and its rows."""
    for key, rows in matched.groupby([*ARM, "match"], sort=True):
        setting, variant, start, distance, match = key
        yield (str(setting), str(variant), str(start), float(distance), str(match)), rows


def contrast_table(matched: pandas.DataFrame, outcomes: Sequence[str], plan: Plan) -> pandas.DataFrame:
    """All contrasts: every start minus every reference of its setting; conditional and deceptive minus
    benign_conditional, internal_strategic minus internal, every start minus unrelated; every arm minus the one without
    one of its factors (reference `without <factor>`); at the final step minus scratch trained for another number of
    steps (reference `scratch, <n> steps`).

    Columns COLUMNS, and PAIRS: the outcomes of the pairs behind each row, which no file holds.
    """
    found = {place: columns_of(rows, outcomes) for place, rows in arms(matched)}
    rows = []
    for (setting, variant, start, distance, match), arm in found.items():
        references = references_of(setting, variant, start, match, found)
        for name, (reference_setting, reference_variant, reference_start) in references.items():
            reference = found.get((reference_setting, reference_variant, reference_start, distance, match))
            if reference is None:
                continue
            for outcome in outcomes:
                purpose = f"contrast {setting} {variant} {start} {name} {distance} {match} {outcome}"
                result = contrast(arm, reference, outcome, plan, purpose)
                rows.append(_row(result, setting, variant, start, name, distance, match, outcome))
    return pandas.DataFrame(rows, columns=[*COLUMNS, *PAIRS])


Place = tuple[str, str, str]


def references_of(
    setting: str, variant: str, start: str, match: str, found: Collection[tuple[Any, ...]]
) -> dict[str, Place]:
    """What an arm is compared with, by the name that the table gives it: its setting, variant and start.

    `found` holds what there is: tuples that begin with setting, variant and start.
    """
    references: dict[str, Place] = {}
    for name in REFERENCES:
        if name != start:  # with the same variant where there is such a reference: the one with the same heads
            own = any(key[:3] == (setting, variant, name) for key in found)
            references[name] = (setting, variant if own else "", name)
    for name, starts in RELATED.items():
        if start in starts:
            references[name] = (setting, variant, name)
    if start not in (*REFERENCES, "unrelated"):
        references.setdefault("unrelated", (setting, variant, "unrelated"))
    for factor in factors_of(setting):
        rest = without(setting, factor)
        if factor.startswith("gate "):
            rest = without(rest, UNMATCHED)  # the natural gate has no norms to match
        references[f"without {factor}"] = (rest, variant, start)
    for factor in factors_of(variant):
        references[f"without {factor}"] = (setting, without(variant, factor), start)
    if match == FINAL and not setting:
        lengths = {key[0] for key in found if key[2] == "scratch" and re.fullmatch(r"steps \d+", key[0])}
        references |= {f"scratch, {length.split()[1]} steps": (length, "", "scratch") for length in sorted(lengths)}
    return references


def with_variant(models: pandas.DataFrame, variant: str) -> pandas.DataFrame:
    """Those of a reference's models that have this variant; where none has it, those with the study's own."""
    same = models[models.variant == variant]
    return models[models.variant == ""] if same.empty else same


COLUMNS = [
    *ARM,
    "reference",
    "match",
    "outcome",
    "estimate",
    "low",
    "high",
    "p",
    "equivalence_p",
    "n_pairs",
    "n_start",
    "n_reference",
    "never_start",
    "never_reference",
    "diverged",
    "bound_low",
    "bound_high",
]
PAIRS = ["left", "right"]


def _row(
    found: Contrast,
    setting: str,
    variant: str,
    start: str,
    reference: str,
    distance: float,
    match: str,
    outcome: str,
) -> dict[str, object]:
    values = [
        setting,
        variant,
        start,
        distance,
        reference,
        match,
        outcome,
        found.estimate.value,
        found.estimate.low,
        found.estimate.high,
        found.p,
        found.equivalence_p,
        len(found.differences),
        found.n_start,
        found.n_reference,
        found.never_start,
        found.never_reference,
        found.diverged,
        found.bound_low,
        found.bound_high,
        found.left,
        found.right,
    ]
    return dict(zip([*COLUMNS, *PAIRS], values, strict=True))


def _mean(differences: Array, seeds: Array, plan: Plan, purpose: str) -> Estimate:
    if len(differences) == 0:
        return NOTHING
    return bootstrap_mean(differences, seeds, plan.confidence, plan.resamples, generator(0, purpose))


def _limits(models: Columns, rows: Array, outcome: str) -> tuple[Array, Array]:
    lowest, highest = (models[outcome + end][rows] for end in LIMITS)
    return lowest, highest


def _bounds(
    left: Array, right: Array, left_limits: tuple[Array, Array], right_limits: tuple[Array, Array]
) -> tuple[float, float]:
    if len(left) == 0:
        return float("nan"), float("nan")
    lowest = np.where(np.isnan(left), left_limits[0], left) - np.where(np.isnan(right), right_limits[1], right)
    highest = np.where(np.isnan(left), left_limits[1], left) - np.where(np.isnan(right), right_limits[0], right)
    return float(lowest.mean()), float(highest.mean())
