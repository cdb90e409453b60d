"""From snapshots of fine-tuned models to what is compared: each model at equal capability and at its last
step.
"""

from collections.abc import Sequence

import numpy as np
import pandas

from turncoat.seeding import generator
from turncoat.statistics.contrasts import ARM, FINAL, Plan, capability_match, cross_entropy_match
from turncoat.statistics.intervals import bootstrap_mean, bootstrap_median, wilson
from turncoat.statistics.matching import match
from turncoat.statistics.outcomes import kappa, limits
from turncoat.statistics.times import half_lives

Array = np.ndarray

OUTCOMES = ("c", "d", "placebo", "deception", "m")
ERRORS = ("d_error",)  # of a model's own outcome over its episodes
DRIFT = ("capability", "displacement")
LOWER_LEVELS = (0.6, 0.7, 0.8)  # for the figure's curve; verdicts rest on the configured capabilities


def offsets_of(snapshots: pandas.DataFrame) -> Array:
    """Where each model's rows begin, and the end; rows must be sorted by organism_id and step."""
    ids = snapshots.organism_id.to_numpy()
    starts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]])) if len(ids) else np.zeros(0, int)
    return np.append(starts, len(ids))


def matched_models(
    course: pandas.DataFrame, capabilities: Sequence[float], cross_entropies: Sequence[float] = ()
) -> pandas.DataFrame:
    """One row per model and match: at every level of capability and of cross-entropy, and at the final step.

    `course` is sorted by organism_id and step and holds ARM columns, organism_id, seed, step, episodes,
    capability, displacement, diverged (of the model), options, attainable and the outcomes, the last three missing
    where no weights were kept. A
    diverged model arrives nowhere.
    """
    offsets = offsets_of(course)
    first, last = offsets[:-1], offsets[1:] - 1
    base = course.iloc[first][[*ARM, "organism_id", "seed", "diverged"]].reset_index(drop=True)
    for name in ("options", "attainable"):
        base[name] = course[name].to_numpy(float)[first]  # known at step 0, where weights are always kept
    base["parent_type"] = course.parent_type.to_numpy()[first]
    base["budget"] = course.episodes.to_numpy()[last]
    steps, episodes = course.step.to_numpy(float), course.episodes.to_numpy(float)
    capability = np.where(course.diverged, np.nan, course.capability.to_numpy(float))
    values = {name: course[name].to_numpy(float) for name in (*OUTCOMES, *ERRORS)}
    levels = sorted({*LOWER_LEVELS, *capabilities})
    parts = []
    for level, found in match(offsets, steps, episodes, capability, values, levels).items():
        part = base.assign(match=capability_match(level), capability=level, arrived=found.arrived)
        part = part.assign(**_limit_columns(np.full(len(base), level), base))
        part = part.assign(steps=found.steps, episodes=found.episodes, displacement=np.nan, **found.values)
        parts.append(part)
    surprise = np.where(course.diverged, np.nan, -course.cross_entropy.to_numpy(float))
    values["reached"] = capability
    for level, found in match(
        offsets, steps, episodes, surprise, values, [-level for level in cross_entropies]
    ).items():
        # What a model that never got there was capable of at its end bounds what it could have shown there.
        reached = np.where(found.arrived, found.values.pop("reached"), capability[last])
        part = base.assign(match=cross_entropy_match(-level), capability=reached, arrived=found.arrived)
        part = part.assign(**_limit_columns(reached, base))
        parts.append(part.assign(steps=found.steps, episodes=found.episodes, displacement=np.nan, **found.values))
    final = course.iloc[last].reset_index(drop=True)
    # A model whose outcome is not defined at the end never came to comply: it is counted as not arrived.
    sound = ~base.diverged.to_numpy() & final.d.notna().to_numpy()
    end = base.assign(
        match=FINAL, capability=final.capability, arrived=sound, steps=final.step, episodes=final.episodes
    )
    end = end.assign(**_limit_columns(final.capability.to_numpy(float), base))
    parts.append(end.assign(displacement=final.displacement, **{name: final[name] for name in (*OUTCOMES, *ERRORS)}))
    table = pandas.concat(parts, ignore_index=True)
    if table.duplicated(["organism_id", "match"]).any():
        raise ValueError(f"statistics.capabilities {list(capabilities)}: two of them have one name in the tables")
    return table


def _limit_columns(capability: Array, models: pandas.DataFrame) -> dict[str, Array]:
    possible = limits(capability, models.attainable.to_numpy(), models.options.to_numpy())
    columns = {f"{name}_lowest": possible[name][0] for name in OUTCOMES}
    return columns | {f"{name}_highest": possible[name][1] for name in OUTCOMES}


def retained(snapshots: pandas.DataFrame) -> Array:
    """Chance-corrected agreement of unoverseen choices with the same model's own at step 0, (rows,)."""
    return kappa(snapshots.agreement_initial_unoverseen.to_numpy(float), snapshots.options.to_numpy(float))


def model_half_lives(snapshots: pandas.DataFrame) -> pandas.DataFrame:
    """Per model, the episodes until its unoverseen choices fall to half; infinite if not in its budget."""
    offsets = offsets_of(snapshots)
    models = snapshots.iloc[offsets[:-1]][[*ARM, "organism_id", "seed", "diverged"]].reset_index(drop=True)
    kept = np.where(snapshots.diverged, np.nan, retained(snapshots))
    lives = half_lives(offsets, snapshots.step.to_numpy(float), snapshots.episodes.to_numpy(float), kept)
    return models.assign(half_life=lives)


def half_life_table(lives: pandas.DataFrame, plan: Plan) -> pandas.DataFrame:
    """Per arm: the median half-life over models with its interval, and how many never fell to half.

    `lives` is what `model_half_lives` returns. Pre-trained starts only: a model from scratch has no choices to keep.
    """
    rows = []
    for key, group in lives[~lives.start.str.startswith("scratch")].groupby(ARM, sort=True):
        values = group.half_life[~group.diverged & group.half_life.notna()].to_numpy(float)
        found = bootstrap_median(values, plan.confidence, plan.resamples, generator(0, f"half-life {key}"))
        rows.append(
            dict(zip(ARM, key, strict=True))
            | {"half_life": found.value, "low": found.low, "high": found.high}
            | {"never": int(np.isinf(values).sum()), "n": len(values), "diverged": int(group.diverged.sum())}
        )
    return pandas.DataFrame(rows, columns=[*ARM, "half_life", "low", "high", "never", "n", "diverged"])


PERSISTENCE_COLUMNS = [
    *ARM,
    "step",
    "episodes",
    "retained",
    "low",
    "high",
    "kept_share",
    "kept_low",
    "kept_high",
    "n",
    "capability",
    "c",
    "d",
    "n_defined",
]


def persistence(snapshots: pandas.DataFrame, plan: Plan) -> pandas.DataFrame:
    """Per arm and step: the retained share with its interval, and how many models keep at least half."""
    sound = snapshots[~snapshots.diverged].assign(retained=lambda frame: retained(frame))
    rows = []
    for key, group in sound.groupby([*ARM, "step"], sort=True):
        used = group[group.retained.notna()]
        random = generator(0, f"persistence {key}")
        found = bootstrap_mean(used.retained.to_numpy(), used.seed.to_numpy(), plan.confidence, plan.resamples, random)
        kept = wilson(int((used.retained >= 0.5).sum()), len(used), plan.confidence)
        rows.append(
            dict(zip([*ARM, "step"], key, strict=True))
            | {
                "episodes": int(group.episodes.iloc[0]),
                "retained": found.value,
                "low": found.low,
                "high": found.high,
            }
            | {"kept_share": kept.value, "kept_low": kept.low, "kept_high": kept.high, "n": len(used)}
            | {"capability": group.capability.mean(), "c": group.c.mean(), "d": group.d.mean()}
            | {"n_defined": int(group.d.notna().sum())}
        )
    return pandas.DataFrame(rows, columns=PERSISTENCE_COLUMNS)
