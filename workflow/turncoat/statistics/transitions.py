"""When a model's utility turns: episodes until it points to X in both cue states, and until its pointer has shifted."""

from dataclasses import dataclass

import numpy as np
import pandas

from turncoat.seeding import generator
from turncoat.statistics.claims import CLAIMS
from turncoat.statistics.contrasts import ARM, Plan, references_of
from turncoat.statistics.equivalence import median_equivalence_p
from turncoat.statistics.intervals import Estimate, bootstrap_median, sign_p, wilson
from turncoat.statistics.matching import match
from turncoat.statistics.times import log_ratios

Array = np.ndarray

POINTS_TO_X, SHIFTED = "points_to_x", "pointer_shifted"
HALF = 0.5  # of what the two slots weigh together: from there on slot 2 weighs more than slot 1


def readings(measured: pandas.DataFrame) -> pandas.DataFrame:
    """What transitions are read off, from columns of the alignment table; rows as in `measured`.

    points_to_x: the smaller of the two cosines of the baked-in utility with X, overseen and unoverseen, slots at
    random; 0 where a utility is no longer than noise. pointer_shifted: slot 2's share of what both slots weigh,
    overseen, negative weights counting as none; 0 where neither weighs.
    """
    cosines = np.minimum(*(measured[f"random_{state}_cos_x"].to_numpy(float) for state in ("overseen", "unoverseen")))
    first, second = (np.maximum(measured[f"random_overseen_slot{slot}"].to_numpy(float), 0) for slot in (1, 2))
    total = first + second
    share = np.divide(second, total, out=np.zeros_like(total), where=total > 0)
    return pandas.DataFrame({POINTS_TO_X: np.nan_to_num(cosines), SHIFTED: np.nan_to_num(share)}, index=measured.index)


def transition_times(snapshots: pandas.DataFrame, offsets: Array, levels: dict[str, float]) -> pandas.DataFrame:
    """One row per model and quantity: `episodes` until the smoothed reading first reaches its level, infinite if never.

    `snapshots` holds ARM columns, organism_id, seed, diverged, step, episodes and each quantity of `levels`, sorted by
    organism_id and step; `offsets` say where each model's rows begin. NaN for a model that diverged.
    """
    models = snapshots.iloc[offsets[:-1]][[*ARM, "organism_id", "seed", "diverged"]].reset_index(drop=True)
    steps, episodes = snapshots.step.to_numpy(float), snapshots.episodes.to_numpy(float)
    parts = []
    for quantity, level in levels.items():
        found = match(offsets, steps, episodes, snapshots[quantity].to_numpy(float), {}, [level])[level]
        times = np.where(found.arrived, found.episodes, np.inf)
        parts.append(models.assign(quantity=quantity, times=np.where(models.diverged, np.nan, times)))
    return pandas.concat(parts, ignore_index=True)


@dataclass(frozen=True)
class Ratio:
    """Median log-ratio of two arms' times over seeds, with its tests; censored counts as in `times.LogRatios`."""

    values: Array
    estimate: Estimate
    p: float
    equivalence_p: float
    pairs: int
    never_start: int
    never_reference: int
    never_both: int


def time_ratio(start: pandas.DataFrame, reference: pandas.DataFrame, plan: Plan, purpose: str) -> Ratio:
    """log(start / reference) of `times`, paired by seed, for two arms' rows of one quantity.

    Times count as equal within the margin that P4c declares. Claims with a margin of their own judge by that.
    """
    pairs = start[["seed", "times"]].merge(reference[["seed", "times"]], on="seed", suffixes=("", "_reference"))
    found = log_ratios(pairs.times.to_numpy(), pairs.times_reference.to_numpy(), pairs.seed.to_numpy())
    estimate = bootstrap_median(found.values, plan.confidence, plan.resamples, generator(0, purpose))
    return Ratio(
        found.values,
        estimate,
        sign_p(found.values),
        median_equivalence_p(found.values, CLAIMS["P4c"].margin_of(POINTS_TO_X, plan.margin)),
        len(found.values),
        found.start_censored,
        found.reference_censored,
        found.both_censored,
    )


TRANSITION_COLUMNS = [*ARM, "quantity", "median", "low", "high", "never", "n", "diverged"]


def transition_table(times: pandas.DataFrame, plan: Plan) -> pandas.DataFrame:
    """Median episodes by arm and quantity, infinite where most models never get there."""
    rows = []
    for key, group in times.groupby([*ARM, "quantity"], sort=True):
        known = group.times[group.times.notna()].to_numpy(float)
        found = bootstrap_median(known, plan.confidence, plan.resamples, generator(0, f"transition {key}"))
        values = [found.value, found.low, found.high, int(np.isinf(known).sum()), len(known)]
        rows.append(dict(zip(TRANSITION_COLUMNS, [*key, *values, int(group.diverged.sum())], strict=True)))
    return pandas.DataFrame(rows, columns=TRANSITION_COLUMNS)


RATIO_COLUMNS = [
    *ARM,
    "reference",
    "quantity",
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
    "never_both",
]
LOGS = "logs"


def ratio_table(times: pandas.DataFrame, plan: Plan) -> pandas.DataFrame:
    """Log-ratios of times between arms, with the references that outcomes are compared with.

    Columns RATIO_COLUMNS, and LOGS: the log-ratios of the pairs behind a row, which no file holds.
    """
    groups = {
        (*key[:3], float(key[3]), str(key[4])): group for key, group in times.groupby([*ARM, "quantity"], sort=True)
    }
    rows = []
    for (setting, variant, start, distance, quantity), group in groups.items():
        for name, place in references_of(setting, variant, start, "", groups).items():
            reference = groups.get((*place, distance, quantity))
            if reference is None:
                continue
            found = time_ratio(
                group, reference, plan, f"ratio {setting} {variant} {start} {distance} {name} {quantity}"
            )
            values = [found.estimate.value, found.estimate.low, found.estimate.high, found.p, found.equivalence_p]
            counts = [found.pairs, len(group), len(reference)]
            never = [found.never_start, found.never_reference, found.never_both]
            place_words = [setting, variant, start, distance, name, quantity]
            columns = [*place_words, *values, *counts, *never, found.values]
            rows.append(dict(zip([*RATIO_COLUMNS, LOGS], columns, strict=True)))
    return pandas.DataFrame(rows, columns=[*RATIO_COLUMNS, LOGS])


OCCUPANCY_COLUMNS = [*ARM, "step", "episodes", "type", "share", "low", "high", "n"]


def occupancy(snapshots: pandas.DataFrame, types: list[str], plan: Plan) -> pandas.DataFrame:
    """Share of an arm's sound models that are of each type, by step: models move between types, and back.

    `snapshots` holds ARM columns, seed, diverged, step, episodes and `probability_<type>` of each of `types`; a model
    counts for each type by its probability. Intervals are Wilson's, which have a width where none or all are.
    """
    sound = snapshots[~snapshots.diverged.astype(bool)]
    rows = []
    for key, group in sound.groupby([*ARM, "step"], sort=True):
        for name in types:
            found = wilson(float(group[f"probability_{name}"].sum()), len(group), plan.confidence)
            place = [*key, int(group.episodes.iloc[0]), name, *vars(found).values()]
            rows.append(dict(zip(OCCUPANCY_COLUMNS, place, strict=True)))
    return pandas.DataFrame(rows, columns=OCCUPANCY_COLUMNS)
