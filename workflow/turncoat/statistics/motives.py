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
ALIGNED = (*ARM, *READINGS, *(f"price_{overseer}_{name}" for overseer in OVERSEERS for name in PRICES))
"""What is read of the alignment table."""
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
    for frame, quantities in _quantities(aligned, curves, causes):
        numbered = frame[[*ARM, "when"]].reset_index(drop=True)
        groups = [(key, group.index.to_numpy()) for key, group in numbered.groupby([*ARM, "when"], sort=True)]
        for (quantity, part), column in quantities.items():
            for key, places in groups:
                here = column[places]
                values = here[~np.isnan(here)]
                found = _interval(quantity, values, confidence)
                rows.append([*key, quantity, part, found.value, found.low, found.high, len(values), len(here)])
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


Quantities = dict[tuple[str, str], np.ndarray]


def _quantities(
    aligned: pandas.DataFrame, curves: pandas.DataFrame, causes: pandas.DataFrame
) -> Iterator[tuple[pandas.DataFrame, Quantities]]:
    """Frames with the values of each (quantity, part) in their rows."""

    def of(frame: pandas.DataFrame, names: Mapping[str, str], part: str) -> Quantities:
        return {(quantity, part): frame[column].to_numpy(float) for quantity, column in names.items()}

    readings = of(aligned, {name: name for name in READINGS}, "")
    for overseer in OVERSEERS:
        readings |= of(aligned, {f"price_{name}": f"price_{overseer}_{name}" for name in PRICES}, overseer)
    yield aligned, readings
    for cue, own in curves.groupby("cue", sort=True):
        for strength, here in own.groupby("strength", sort=True):
            names = {f"as_on_{cue}": "as_on", f"agreement_x_{cue}": "agreement_x"}
            yield here, of(here, names, f"{strength:g}")
        one = own[own.strength == own.strength.max()]
        found = of(one, {f"curve_{name}": name for name in ("moved", "slope", "threshold")}, str(cue))
        shapes = one["shape"].to_numpy(object)
        yield one, found | {(f"curve_{shape}", str(cue)): (shapes == shape).astype(float) for shape in SHAPES}
    for where, here in _places(causes).items():
        yield here, of(here, {name: name for name in CARRIED}, where)


def _places(causes: pandas.DataFrame) -> Mapping[str, pandas.DataFrame]:
    groups = causes.groupby(["intervention", "layer"], sort=True)
    return {f"{intervention}, layer {layer}": frame for (intervention, layer), frame in groups}
