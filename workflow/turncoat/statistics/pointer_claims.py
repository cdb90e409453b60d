"""Answers to the claims on pointers: how easily one shifts (P5a), and what a world model does for that (P5c)."""

from collections.abc import Iterator

import numpy as np
import pandas

from turncoat.seeding import generator
from turncoat.statistics.arm_rows import chosen_contrasts, primary_place, ratio_row
from turncoat.statistics.claims import CLAIMS
from turncoat.statistics.contrasts import ARM, Plan
from turncoat.statistics.equivalence import median_equivalence_p
from turncoat.statistics.evidence import Evidence, contrast_row, stratum
from turncoat.statistics.factors import value_of, without
from turncoat.statistics.intervals import bootstrap_median, sign_p
from turncoat.statistics.rows import Row
from turncoat.statistics.transitions import SHIFTED

APART = 90.0  # degrees between slots that have inputs of their own


def shifting(evidence: Evidence, plan: Plan) -> Iterator[Row]:
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
    for item in chosen_contrasts(evidence, wanted):
        primary = {angle(item.setting), evidence.own["slot_angle"]} == ends and not item.variant
        yield contrast_row("P5a", item, plan, primary and primary_place(evidence, item), turned=turned(item))
    table = evidence.ratios
    for item in table[(table.quantity == SHIFTED) & (table.start == "corrigible") & (table.distance > 0)].itertuples():
        if item.reference.startswith("without slot_angle"):
            yield ratio_row("P5a", item, plan, primary=False, kind="difference", turned=turned(item))


def world_model(evidence: Evidence, plan: Plan) -> Iterator[Row]:
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
        margin = CLAIMS["P5c"].margin_of(SHIFTED, plan.margin)
        lost = len(wide) - len(sound)
        few = len(sound) < plan.minimum_arrived * len(wide)
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
            blocked=f"in {lost} of {len(wide)} seeds some arm never shifted" if few else "",
            note=f"{lost} seeds left out, in which some arm never shifted" if lost else "",
            values=gained,
            median=True,
            facts={"setting": setting, "variant": variant, "start": start, "reference": "scratch_exposed"}
            | {"distance": distance, "n_start": len(wide), "n_pairs": len(sound), "never_start": lost},
        )
