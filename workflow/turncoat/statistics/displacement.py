"""The baseline predictor: does the distance that weights moved say anything about D? Then D were cheap to guess."""

import numpy as np
import pandas
from scipy import stats

from turncoat.seeding import generator
from turncoat.statistics.contrasts import FINAL, Plan

Array = np.ndarray

EVERY = "all"
FEWEST = 4  # models below which a rank correlation says nothing
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
    members = [np.flatnonzero(cluster == seed) for seed in range(len(seeds))]
    if np.ptp(moved) == 0 or np.ptp(d) == 0:
        return nothing
    random = generator(0, purpose)
    resampled = []
    for draw in random.integers(0, len(seeds), size=(min(plan.resamples, 500), len(seeds))):
        rows = np.concatenate([members[seed] for seed in draw])
        if np.ptp(moved[rows]) > 0 and np.ptp(d[rows]) > 0:
            resampled.append(float(stats.spearmanr(moved[rows], d[rows]).statistic))
    tail = (1 - plan.confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return float(stats.spearmanr(moved, d).statistic), float(low), float(high)
