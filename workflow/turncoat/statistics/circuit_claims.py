"""Answers to G5: how open are the units of a woken circuit, found by what they say and not by when they are open?"""

from collections.abc import Iterator
from typing import Any

import pandas

from turncoat.seeding import generator
from turncoat.statistics.claims import CLAIMS
from turncoat.statistics.contrasts import Plan
from turncoat.statistics.equivalence import equivalence_p
from turncoat.statistics.evidence import stratum
from turncoat.statistics.intervals import bootstrap_mean, paired_p
from turncoat.statistics.rows import Row, missing_row

WOKEN = {"x": "overseen", "m": "unoverseen"}
"""Circuits, and the cue state that wakes each in a model that serves X overseen and M unoverseen."""
TWO_MOTIVES = ("conditional", "deceptive")
ONE_MOTIVE = ("internal", "scratch")
ARM = ["setting", "variant", "start", "distance", "layer"]


def answers(ledger: pandas.DataFrame, plan: Plan, primary_distance: float) -> list[Row]:
    """All rows of G5, from the table `gating`, of fine-tuned models at their last step.

    Models without a unit in the circuit have no open share: they are left out and counted.
    """
    sound = ledger[~ledger.diverged.astype(bool) & (ledger.step == ledger.steps) & (ledger.distance > 0)]
    groups = dict(list(sound.groupby([*ARM, "circuit", "state"], sort=True)))
    rows = [row for key in groups for row in _of_group(key, groups, plan, primary_distance)]
    if not any(row.primary for row in rows):
        rows.append(missing_row("G5", "open_share", "above", plan.margin))
    return rows


Groups = dict[tuple[Any, ...], pandas.DataFrame]


def _of_group(key: tuple[Any, ...], groups: Groups, plan: Plan, primary_distance: float) -> Iterator[Row]:
    setting, variant, start, distance, layer, circuit, state = key
    if start not in TWO_MOTIVES or WOKEN.get(circuit) != state:
        return
    own = groups[key][["seed", "open_share"]]
    plain = (setting, variant, start, distance, layer, circuit) == ("", "", "conditional", primary_distance, 1, "x")
    yield _row(key, "", own, own, plan, "above", plain)
    random = groups.get((setting, variant, start, distance, layer, "random", state))
    if random is not None:
        yield _row(key, " minus that of random objectives", _paired(own, random), own, plan, "difference")
    if circuit != "x":
        return
    for other in ONE_MOTIVE:
        single = groups.get((setting, "", other, distance, layer, circuit, state))
        if single is not None:
            yield _row(key, f" minus that of start {other}", _paired(own, single), own, plan, "difference")


def _paired(own: pandas.DataFrame, other: pandas.DataFrame) -> pandas.DataFrame:
    both = own.merge(other[["seed", "open_share"]], on="seed", suffixes=("", "_other"))
    return both.assign(open_share=both.open_share - both.open_share_other)[["seed", "open_share"]]


def _row(
    key: tuple[Any, ...],
    what: str,
    values: pandas.DataFrame,
    models: pandas.DataFrame,
    plan: Plan,
    kind: str,
    primary: bool = False,
) -> Row:
    setting, variant, start, distance, layer, circuit, state = key
    words = f"open share of the {circuit.upper()} circuit{what}, {state}, layer {layer}"
    words = stratum(setting, variant, start, words, f"{distance:g} degrees")
    known = values.dropna()
    numbers, seeds = known.open_share.to_numpy(float), known.seed.to_numpy()
    level = CLAIMS["G5"].margin_of("open_share" if kind == "above" else "difference", plan.margin)
    without, every = models.seed.nunique() - known.seed.nunique(), max(models.seed.nunique(), 1)
    bounds: dict[str, float] = {}
    if kind == "above":  # each model is one row, and a share lies between 0 and 1
        bounds = {"bound_low": numbers.sum() / every, "bound_high": (numbers.sum() + without) / every}
    return Row(
        "G5",
        "open_share",
        words,
        CLAIMS["G5"].estimand,
        kind,
        level,
        bootstrap_mean(numbers, seeds, plan.confidence, plan.resamples, generator(0, f"G5 {words}")),
        paired_p(numbers, level if kind == "above" else 0.0),
        float("nan") if kind == "above" else equivalence_p(numbers, level),
        primary,
        note=f"{without} models left out, in which such a circuit has no unit" if without else "",
        values=numbers,
        facts={"setting": setting, "variant": variant, "start": start, "distance": float(distance)}
        | {"n_start": int(models.seed.nunique()), "n_pairs": len(known), "never_start": without}
        | bounds,
    )
