"""The baseline predictor: does the distance that weights moved say anything about D? Then D were cheap to guess."""

import numpy as np
import pandas

from turncoat.seeding import generator
from turncoat.statistics.contrasts import FINAL, Plan

Array = np.ndarray

EVERY = "all"
FEWEST = 4  # models below which a rank correlation says nothing
DRAWS = 500  # at most
PIECE = 2**18  # numbers that are ranked at once
COLUMNS = ["setting", "distance", "start", "displacement", "d", "correlation", "low", "high", "n"]


def displacement_table(matched: pandas.DataFrame, plan: Plan) -> pandas.DataFrame:
    """Spearman's correlation over models of D with the weights' distance from the start of fine-tuning, final step.

    One row per setting, distance and start, plain variants only, and one over all starts (`all`), with an interval from
    a bootstrap over seeds; mean displacement and D stand beside it. NaN with fewer than 4 models or no spread.
    """
    final = matched[
        (matched.match == FINAL) & matched.arrived & ~matched.diverged.astype(bool) & (matched.variant == "")
    ]
    final = final[final.d.notna() & (final.distance > 0)]
    rows = []
    for (setting, distance), group in final.groupby(["setting", "distance"], sort=True):
        parts = [*group.groupby("start", sort=True), (EVERY, group)]
        for start, models in parts:
            found = _correlation(models, plan, f"displacement {setting} {distance} {start}")
            means = (float(models.displacement.mean()), float(models.d.mean()))
            rows.append(dict(zip(COLUMNS, [setting, distance, start, *means, *found, len(models)], strict=True)))
    return pandas.DataFrame(rows, columns=COLUMNS)


def _correlation(models: pandas.DataFrame, plan: Plan, purpose: str) -> tuple[float, float, float]:
    """Spearman's correlation and its percentile interval over resampled seeds."""
    nothing = (float("nan"),) * 3
    if len(models) < FEWEST:
        return nothing
    moved, d = models.displacement.to_numpy(float), models.d.to_numpy(float)
    seeds, cluster = np.unique(models.seed.to_numpy(), return_inverse=True)
    if np.ptp(moved) == 0 or np.ptp(d) == 0:
        return nothing
    draws = generator(0, purpose).integers(0, len(seeds), size=(min(plan.resamples, DRAWS), len(seeds)))
    size = max(1, PIECE // len(models))
    pieces = [_times_drawn(draws[first : first + size])[:, cluster] for first in range(0, len(draws), size)]
    resampled = np.concatenate([spearman(moved, d, times) for times in pieces])
    tail = (1 - plan.confidence) / 2
    low, high = np.quantile(resampled[~np.isnan(resampled)], [tail, 1 - tail])
    return float(spearman(moved, d, np.ones((1, len(models)), int))[0]), float(low), float(high)


def spearman(left: Array, right: Array, times: Array) -> Array:
    """Spearman's correlations (draws,) of `left` and `right` (n,) where model i counts `times` (draws, n) times.

    NaN without spread. Ranks are halves of whole numbers and their sums therefore exact, so that these are the bits of
    `scipy.stats.spearmanr` of each draw by itself.
    """
    count = times.sum(1)
    first, second = (_ranks(values, times) - (count[:, None] + 1) / 2 for values in (left, right))
    products = [(times * one * other).sum(1) for one, other in ((second, first), (second, second), (first, first))]
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 1 / (count - 1)
        across, *squares = (product * scale for product in products)
        return np.clip(across / np.sqrt(squares[0]) / np.sqrt(squares[1]), -1, 1)


def _ranks(values: Array, times: Array) -> Array:
    """Rank of each of `values` (n,) among all that are drawn, ties averaged, (draws, n)."""
    order = np.argsort(values, kind="stable")
    last = np.flatnonzero(np.append(np.diff(values[order]) > 0, True))  # of those that tie
    group = np.empty(len(values), int)
    group[order] = np.repeat(np.arange(len(last)), np.diff(last, prepend=-1))
    below = times[:, order].cumsum(1)[:, last]
    return np.asarray((below - (np.diff(below, axis=1, prepend=0) - 1) / 2)[:, group])


def _times_drawn(draws: Array) -> Array:
    """How often each seed is among `draws` (draws, seeds), likewise (draws, seeds)."""
    number, seeds = draws.shape
    places = draws + seeds * np.arange(number)[:, None]
    return np.bincount(places.ravel(), minlength=draws.size).reshape(draws.shape)
