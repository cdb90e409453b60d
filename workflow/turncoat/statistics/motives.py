"""What each arm's models want before and after fine-tuning: means over models of what classification read."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas

from turncoat.statistics.contrasts import ARM
from turncoat.statistics.intervals import Estimate, t_interval, wilson

BEFORE, AFTER = "before", "after"
COLUMNS = [*ARM, "when", "quantity", "part", "mean", "low", "high", "n", "models"]
READINGS = ("gap", "price_sensitivity", "probability_conditional", "probability_deceptive")
OVERSEERS = ("slot1", "x")
PRICES = ("low", "high", "effect", "accuracy", "slope", "threshold")
SHAPES = ("rising", "flat", "non_monotone", "unknown")
SHARES = (
    "probability_",
    "as_on_",
    "agreement_x_",
    "price_low",
    "price_high",
    "price_accuracy",
    "curve_moved",
    "random_p",
)
"""How quantities begin whose mean lies between 0 and 1."""
CARRIED = ("carried", "placebo_carried", "random_mean", "random_high", "random_largest", "random_p")


def motive_table(
    aligned: pandas.DataFrame, curves: pandas.DataFrame, causes: pandas.DataFrame, confidence: float
) -> pandas.DataFrame:
    """One row per arm, time and quantity: mean over models, one for each seed, with its interval.

    Intervals are Student's; of a share that each model either has or lacks, such as the shape of its curve, Wilson's;
    of a mean that must lie between 0 and 1 no limit lies beyond.

    Arguments are the tables of those names, fine-tuned sound models at their first and last snapshot, with a column
    `when`. `n` counts the models on which the quantity is defined, of all `models`.
    """
    rows = []
    for (quantity, part), frame in _quantities(aligned, curves, causes):
        for key, group in frame.groupby([*ARM, "when"], sort=True):
            values = group.value.dropna().to_numpy(float)
            found = _interval(quantity, values, confidence)
            rows.append([*key, quantity, part, found.value, found.low, found.high, len(values), len(group)])
    return pandas.DataFrame(rows, columns=COLUMNS)


def _interval(quantity: str, values: np.ndarray, confidence: float) -> Estimate:
    if quantity.removeprefix("curve_") in SHAPES:
        return wilson(int(values.sum()), len(values), confidence)
    found = t_interval(values, confidence)
    if not quantity.startswith(SHARES):
        return found
    low, high = np.clip([found.low, found.high], 0.0, 1.0)
    return Estimate(found.value, float(low), float(high), found.count)


def planted_rows(causes: pandas.DataFrame, distance: float) -> pandas.DataFrame:
    """Causal tests of planted networks as rows of an arm of their own, beside the `causes` of trained models."""
    return causes.assign(setting="", variant="", start="planted: " + causes.kind, distance=distance, when=AFTER)


def ends(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Rows at each model's first and last step, with `when` saying which; a lone step is the last."""
    steps = frame.groupby("organism_id").step
    first, last = steps.transform("min"), steps.transform("max")
    at_end = (frame.step == last).to_numpy()
    kept = at_end | (frame.step == first).to_numpy()
    return frame[kept].assign(when=np.where(at_end, AFTER, BEFORE)[kept])


def _quantities(
    aligned: pandas.DataFrame, curves: pandas.DataFrame, causes: pandas.DataFrame
) -> Iterator[tuple[tuple[str, str], pandas.DataFrame]]:
    """Each (quantity, part) with a value for every model."""
    keys = [*ARM, "when", "seed"]

    def of(frame: pandas.DataFrame, column: str) -> pandas.DataFrame:
        return frame[keys].assign(value=frame[column].astype(float))

    for name in READINGS:
        yield (name, ""), of(aligned, name)
    for overseer in OVERSEERS:
        for name in PRICES:
            yield (f"price_{name}", overseer), of(aligned, f"price_{overseer}_{name}")
    for cue, own in curves.groupby("cue", sort=True):
        for strength, here in own.groupby("strength", sort=True):
            yield (f"as_on_{cue}", f"{strength:g}"), of(here, "as_on")
            yield (f"agreement_x_{cue}", f"{strength:g}"), of(here, "agreement_x")
        one = own[own.strength == own.strength.max()]
        for name in ("moved", "slope", "threshold"):
            yield (f"curve_{name}", str(cue)), of(one, name)
        for shape in SHAPES:
            yield (f"curve_{shape}", str(cue)), of(one.assign(shown=one["shape"] == shape), "shown")
    for where, here in _places(causes).items():
        for name in CARRIED:
            yield (name, where), of(here, name)


def _places(causes: pandas.DataFrame) -> Mapping[str, pandas.DataFrame]:
    groups = causes.groupby(["intervention", "layer"], sort=True)
    return {f"{intervention}, layer {layer}": frame for (intervention, layer), frame in groups}
