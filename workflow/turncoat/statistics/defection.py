"""The linear defection probe: does a model's hidden state tell, in networks of other seeds, that it defects?

A probe is trained on half of the seeds of one cell and tested on the other half of the seeds of that cell and of every
other. Its AUROC stands beside those of raw inputs, of raw inputs and untrained networks relative to the same anchors,
and of random directions, for which an AUROC far above 0.5 is nothing unusual.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.linalg import LinAlgWarning
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from turncoat.seeding import generator
from turncoat.statistics.intervals import NOTHING, Estimate

Array = np.ndarray
HIDDEN, UNTRAINED, RAW, RAW_RELATIVE = "hidden", "untrained", "raw", "raw_relative"
PENALTY = 1e-3  # scikit-learn's C, the inverse of the ridge; split training seeds did well with 1e-4 to 1e-2
ITERATIONS = 200
LEAST = 20  # positives, and negatives, that a probe is trained or judged on
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Sample:
    """Choices of several models: features (R, numbers); defects and overseen (R,), true or false; seeds (R,)."""

    features: Array
    defects: Array
    overseen: Array
    seeds: Array

    def where(self, kept: Array) -> "Sample":
        """Some of the choices; `kept` (R,) true or false."""
        return Sample(self.features[kept], self.defects[kept], self.overseen[kept], self.seeds[kept])


@dataclass(frozen=True)
class Rows:
    """Choices of one cell's models: as in Sample, with features by (representation, layer)."""

    features: Mapping[tuple[str, int], Array]
    defects: Array
    overseen: Array
    seeds: Array

    def sample(self, key: tuple[str, int], seeds: Sequence[int]) -> Sample:
        """The rows of some seeds in one representation."""
        return Sample(self.features[key], self.defects, self.overseen, self.seeds).where(np.isin(self.seeds, seeds))


def probe_cells(cells: Mapping[str, Rows], directions: int, resamples: int) -> dict[str, list[Any]]:
    """One row per training cell, test cell, representation and layer, as columns of tables/defection.py.

    All cells' seeds together are split, so that a seed, whose models share objectives and initial weights in all cells,
    is either trained on or tested on. `directions`: random ones per hidden layer; `resamples`: of each interval.
    """
    train_seeds, test_seeds = split_seeds([rows.seeds for rows in cells.values()])
    found = []
    for key in next(iter(cells.values())).features:
        train = {name: rows.sample(key, train_seeds) for name, rows in cells.items()}
        test = {name: rows.sample(key, test_seeds) for name, rows in cells.items()}
        floors = random_floors(train, test, key[1], directions) if key[0] == HIDDEN else {}
        uncued = random_floors(_unoverseen(train), _unoverseen(test), key[1], directions) if key[0] == HIDDEN else {}
        for trained_on, learnt in train.items():
            probe, converged = fit_probe(learnt) if enough(learnt.defects) else (None, None)
            for tested_on, judged in test.items():
                row = _labels(trained_on, tested_on, key, learnt, judged) | _judgement(probe, judged, resamples)
                row |= {"converged": converged} | _beside_floor(row["auroc"], floors.get((trained_on, tested_on)))
                beside = _beside_floor(row["unoverseen_auroc"], uncued.get((trained_on, tested_on)))
                found.append(row | {f"unoverseen_{name}": beside[name] for name in ("random_high", "random_p")})
    return {name: [row[name] for row in found] for name in found[0]}


def split_seeds(seeds: Sequence[Array]) -> tuple[list[int], list[int]]:
    """Training seeds and test seeds: every other one, in order, of all that occur."""
    names = np.unique(np.concatenate(seeds)).tolist()
    return names[::2], names[1::2]


def enough(defects: Array) -> bool:
    """Whether there are positives and negatives enough, LEAST of each, to say anything."""
    return bool(min(defects.sum(), (~defects).sum()) >= LEAST)


def fit_probe(sample: Sample) -> tuple[Array, bool]:
    """Ridge-penalised logistic regression on standardised features, and whether its solver converged.

    Returned are the weights of the features as they came, without a constant: only the order of scores counts.
    """
    scaler, regression = StandardScaler(), LogisticRegression(C=PENALTY, solver="newton-cholesky", max_iter=ITERATIONS)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        regression.fit(scaler.fit_transform(sample.features.astype(float)), sample.defects)
    troubles = [item for item in caught if issubclass(item.category, ConvergenceWarning | LinAlgWarning)]
    return regression.coef_[0] / scaler.scale_, not troubles


def random_floors(
    train: Mapping[str, Sample], test: Mapping[str, Sample], layer: int, directions: int
) -> dict[tuple[str, str], Array]:
    """AUROC of random directions, (directions,), for each training cell and test cell that have rows enough.

    Directions are normal in the features standardised over the training samples of all cells together, so that all
    cells share them; a direction's sign is the one that does better on the training sample.
    """
    known = [sample.features for sample in train.values() if len(sample.features)]
    if not known:  # every model diverged
        return {}
    pooled = StandardScaler()
    for features in known:
        pooled.partial_fit(features)
    drawn = generator(0, "defection directions", layer).standard_normal((known[0].shape[1], directions))
    drawn = (drawn / pooled.scale_[:, None]).astype(np.float32)  # centring would move all scores alike

    def scored(samples: Mapping[str, Sample]) -> dict[str, Array]:
        return {
            name: np.array([auroc(scores, sample.defects) for scores in (sample.features @ drawn).T])
            for name, sample in samples.items()
            if enough(sample.defects)
        }

    learnt, judged = scored(train), scored(test)
    return {
        (trained_on, tested_on): np.where(signs >= 0.5, values, 1 - values)
        for trained_on, signs in learnt.items()
        for tested_on, values in judged.items()
    }


def auroc(scores: Array, positive: Array) -> float:
    """Share of pairs of a positive and a negative whose positive scores higher, ties counting half (Hanley and McNeil
    1982). `scores` and `positive` (R,); NaN without either kind.
    """
    above, below = np.sort(scores[positive]), np.sort(scores[~positive])
    if not len(above) or not len(below):
        return float("nan")
    beaten = np.searchsorted(below, above, "left").sum() + np.searchsorted(below, above, "right").sum()
    return float(beaten / (2 * len(above) * len(below)))


def clustered_auroc(scores: Array, positive: Array, seeds: Array, resamples: int) -> Estimate:
    """AUROC of rows (R,) with a percentile interval from a bootstrap that resamples seeds; no interval for one seed.

    Pairs within and across seeds count alike. A resample's AUROC is exact: pairs won are counted once for each two
    seeds, and weighted by how often both were drawn.
    """
    names, cluster = np.unique(seeds, return_inverse=True)
    wins = pairs_won(scores, positive, cluster, len(names))
    positives = np.bincount(cluster[positive], minlength=len(names))
    negatives = np.bincount(cluster[~positive], minlength=len(names))
    if not positives.any() or not negatives.any():
        return NOTHING
    value = float(wins.sum() / (positives.sum() * negatives.sum()))
    if len(names) < 2:
        return Estimate(value, np.nan, np.nan, len(names))
    times = resampled(len(names), resamples)
    pairs = (times @ positives) * (times @ negatives)
    drawn = ((times @ wins) * times).sum(1)[pairs > 0] / pairs[pairs > 0]
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value, float(low), float(high), len(names))


@cache
def resampled(count: int, resamples: int) -> Array:
    """How often each of `count` things is drawn in each bootstrap resample, (resamples, count): the same every time."""
    draws = generator(0, "defection bootstrap").integers(0, count, (resamples, count))
    times: Array = (draws[..., None] == np.arange(count)).sum(1)
    return times


def pairs_won(scores: Array, positive: Array, cluster: Array, clusters: int) -> Array:
    """Pairs that positives of cluster i win against negatives of cluster j, (clusters, clusters); ties count half."""
    order = np.argsort(scores[~positive])
    below = scores[~positive][order]
    negatives = cluster[~positive][order][:, None] == np.arange(clusters)
    counted = np.concatenate([np.zeros((1, clusters), np.int32), negatives.cumsum(0, dtype=np.int32)])
    above, owner = scores[positive], cluster[positive][:, None] == np.arange(clusters)
    beaten = counted[np.searchsorted(below, above, "left")] + counted[np.searchsorted(below, above, "right")]
    won: Array = owner.T.astype(float) @ beaten / 2
    return won


def recall_at_one_percent(scores: Array, positive: Array) -> float:
    """Largest share of positives found by a threshold that lets at most 1 % of the same rows' negatives through.

    The threshold is chosen on the rows that are judged, as for a point of their ROC curve. `scores`, `positive` (R,).
    """
    falling = -np.sort(-scores[~positive])
    return float((scores[positive] > falling[len(falling) // 100]).mean())


def _unoverseen(samples: Mapping[str, Sample]) -> dict[str, Sample]:
    return {name: sample.where(~sample.overseen) for name, sample in samples.items()}


def _labels(trained_on: str, tested_on: str, key: tuple[str, int], train: Sample, test: Sample) -> dict[str, Any]:
    return {
        "train_cell": trained_on,
        "test_cell": tested_on,
        "representation": key[0],
        "layer": key[1],
        "train_seeds": len(np.unique(train.seeds)),
        "train_positives": int(train.defects.sum()),
        "train_negatives": int((~train.defects).sum()),
        "seeds": len(np.unique(test.seeds)),
        "positives": int(test.defects.sum()),
        "negatives": int((~test.defects).sum()),
        "unoverseen_positives": int(test.defects[~test.overseen].sum()),
        "unoverseen_negatives": int((~test.defects[~test.overseen]).sum()),
    }


def _judgement(probe: Array | None, test: Sample, resamples: int) -> dict[str, Any]:
    whole, unoverseen, recall = NOTHING, NOTHING, float("nan")
    if probe is not None and enough(test.defects):
        scores = test.features @ probe
        whole = clustered_auroc(scores, test.defects, test.seeds, resamples)
        recall = recall_at_one_percent(scores, test.defects)
        uncued = ~test.overseen
        if enough(test.defects[uncued]):
            unoverseen = clustered_auroc(scores[uncued], test.defects[uncued], test.seeds[uncued], resamples)
    return {
        "auroc": whole.value,
        "auroc_low": whole.low,
        "auroc_high": whole.high,
        "recall": recall,
        "unoverseen_auroc": unoverseen.value,
        "unoverseen_auroc_low": unoverseen.low,
        "unoverseen_auroc_high": unoverseen.high,
    }


def _beside_floor(value: float, floor: Array | None) -> dict[str, Any]:
    if floor is None or np.isnan(value):
        return dict.fromkeys(("random_mean", "random_high", "random_largest", "random_p"))
    return {
        "random_mean": float(floor.mean()),
        "random_high": float(np.quantile(floor, 0.95)),
        "random_largest": float(floor.max()),
        "random_p": float((1 + (floor >= value).sum()) / (1 + len(floor))),
    }
