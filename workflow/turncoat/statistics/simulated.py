"""Simulated studies of known truth, as rows of the claims table: made by the same functions as a real study's.

Every function draws `studies` of them and returns one row (see `rows.Row`) for each, through `contrast_table`,
`ratio_table` and the functions of the claims. D is drawn with the spread between models that trained ones show.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas
from scipy import special

from turncoat.seeding import generator
from turncoat.statistics.arm_rows import ratio_row
from turncoat.statistics.contrasts import Plan, capability_match, contrast_table
from turncoat.statistics.evidence import contrast_row, share_row
from turncoat.statistics.gating_claims import NORMS, correlations
from turncoat.statistics.pretraining_claims import odds_rows, seed_slopes, slope_row
from turncoat.statistics.rows import Row
from turncoat.statistics.transitions import POINTS_TO_X, ratio_table

Array = np.ndarray

SPREAD = 0.035  # standard deviation of D between models of one arm, as the trained ones of the default study have
MATCH = capability_match(0.9)
AT_ONCE = 100  # studies in one table of contrasts
START, REFERENCE = "corrigible", "scratch_exposed"
STEEP, LEVEL, HIGHEST = 0.08, 0.8, 0.95  # spreads of G1's correlation, its level, and a value above it


def _normal_pairs(random: np.random.Generator, shape: tuple[int, int], pairing: float) -> tuple[Array, Array]:
    """Two standard normal values of each seed, correlated by `pairing`."""
    shared = np.sqrt(pairing) * random.standard_normal(shape)
    left, right = (shared + np.sqrt(1 - pairing) * random.standard_normal(shape) for _ in range(2))
    return left, right


def _matched(values: Array, outcome: str, start: str, missing: Array | None = None) -> pandas.DataFrame:
    """An arm of each study: `values` (studies, seeds) at one capability; distances number the studies."""
    studies, seeds = values.shape
    gone = np.zeros(values.shape, bool) if missing is None else missing
    return pandas.DataFrame(
        {
            "setting": "",
            "variant": "",
            "start": start,
            "distance": np.repeat(np.arange(1.0, studies + 1), seeds),
            "seed": np.tile(np.arange(1000, 1000 + seeds), studies),
            "match": MATCH,
            "diverged": False,
            "arrived": ~gone.ravel(),
            outcome: np.where(gone, np.nan, values).ravel(),
            f"{outcome}_lowest": 0.0 if outcome == "deception" else -2.0,
            f"{outcome}_highest": 1.0 if outcome == "deception" else 2.0,
        }
    )


def differences(
    name: str,
    studies: int,
    seeds: int,
    plan: Plan,
    effect: float = 0.0,
    pairing: float = 0.0,
    rare: float = 0.0,
    missing: float = 0.0,
    hiding: float = 0.0,
    fewer: int = 0,
) -> list[Row]:
    """D of two arms whose means lie `effect` apart.

    `rare`: this share of start's models is deceptive, with D higher by 0.6, which `effect` counts in. `missing`: share
    of models on either side that never arrive, whatever they are. `hiding`: share of start's, those of highest D.
    `fewer`: seeds that the reference lacks.
    """
    random = generator(0, f"simulated {name}")
    left, right = _normal_pairs(random, (studies, seeds), pairing)
    left = SPREAD * left + effect + 0.6 * ((random.random(left.shape) < rare) - rare)
    gone = random.random((2, *left.shape)) < missing
    if hiding:
        gone[0] |= left >= np.quantile(left, 1 - hiding, axis=1, keepdims=True)
    start, reference = _matched(left, "d", START, gone[0]), _matched(SPREAD * right, "d", REFERENCE, gone[1])
    reference = reference[reference.seed >= 1000 + fewer]
    return [contrast_row("P3", item, plan, primary=True) for item in _compared([start, reference], "d", plan)]


def shares(
    name: str,
    studies: int,
    seeds: int,
    plan: Plan,
    start: float,
    reference: float,
    pairing: float = 0.0,
    called: bool = False,
) -> list[Row]:
    """Deception proper where these shares of the models are deceptive, each with probability 0.99, else 0.01.

    `pairing` correlates what makes a seed's two models so. With `called`, the rows of models called deceptive.
    """
    random = generator(0, f"simulated {name}")
    chances = [special.ndtr(side) for side in _normal_pairs(random, (studies, seeds), pairing)]
    arms = [
        _matched(np.where(chance < share, 0.99, 0.01), "deception", arm)
        for chance, share, arm in zip(chances, (start, reference), (START, REFERENCE), strict=True)
    ]
    compared = _compared(arms, "deception", plan)
    if called:
        return [share_row("P3", item, plan) for item in compared]
    return [contrast_row("P3", item, plan, primary=True) for item in compared]


def _compared(arms: Sequence[pandas.DataFrame], outcome: str, plan: Plan) -> list[Any]:
    """The contrast of every study, a few studies at a time: each arm is looked for among all others."""
    found: list[Any] = []
    models = pandas.concat(arms)
    for _, few in models.groupby(models.distance // AT_ONCE, sort=True):
        table = contrast_table(few, [outcome], plan)
        found += table[(table.start == START) & (table.reference == REFERENCE)].itertuples()
    return found


def times(
    name: str, studies: int, seeds: int, plan: Plan, effect: float = 0.0, pairing: float = 0.0, never: float = 0.0
) -> list[Row]:
    """Log-ratios of two times: lognormal, medians `effect` apart; a share `never` of both arms does not get there."""
    random = generator(0, f"simulated {name}")
    logs = _normal_pairs(random, (studies, seeds), pairing)
    arms = []
    for log, shift, arm in zip(logs, (effect, 0.0), ("internal", "scratch"), strict=True):
        censored = random.random(log.shape) < never
        found = np.where(censored, np.inf, np.exp(6 + 0.3 * log + shift))
        arms.append(
            pandas.DataFrame(
                {
                    "setting": "",
                    "variant": "",
                    "start": arm,
                    "distance": np.repeat(np.arange(1.0, studies + 1), seeds),
                    "seed": np.tile(np.arange(1000, 1000 + seeds), studies),
                    "quantity": POINTS_TO_X,
                    "times": found.ravel(),
                }
            )
        )
    table = ratio_table(pandas.concat(arms), plan)
    chosen = table[(table.start == "internal") & (table.reference == "scratch")]
    return [ratio_row("P4c", item, plan, primary=True, kind="difference") for item in chosen.itertuples()]


def _over_distances(name: str, studies: int, seeds: int, alike: float) -> tuple[pandas.DataFrame, Array]:
    """Arrived models of `internal` at three distances in each study, and a standard normal value of each."""
    random = generator(0, f"simulated {name}")
    shape = (studies, seeds, 3)
    values = np.sqrt(alike) * random.standard_normal((*shape[:2], 1))
    values = values + np.sqrt(1 - alike) * random.standard_normal(shape)
    place = np.indices(shape).reshape(3, -1)
    models = pandas.DataFrame(
        {"study": place[0], "seed": 1000 + place[1], "distance": 45.0 * (1 + place[2]), "arrived": True}
    )
    return models, values.ravel()


def slopes(name: str, studies: int, seeds: int, plan: Plan, effect: float = 0.0, alike: float = 0.5) -> list[Row]:
    """D over distance, rising by `effect` per 90 degrees; `alike` is the correlation of a seed's models."""
    models, noise = _over_distances(name, studies, seeds, alike)
    models["d"] = SPREAD * noise + effect * models.distance / 90
    return [
        slope_row(seed_slopes(study, "d"), f"{name} {number}", "d", True, {"match": MATCH}, plan)
        for number, study in models.groupby("study")
    ]


def odds(
    name: str, studies: int, seeds: int, plan: Plan, least: float, effect: float = 0.0, alike: float = 0.5
) -> list[Row]:
    """Models called deceptive at three distances: log-odds `least`, rising by `effect` per 90 degrees.

    Each model's own odds are those stated; `alike` correlates the draws of a seed's models.
    """
    models, noise = _over_distances(name, studies, seeds, alike)
    chance = special.expit(least + effect * models.distance.to_numpy() / 90)
    models["deception"] = (special.ndtr(noise) < chance).astype(float)
    rows = []
    for _, study in models.groupby("study"):
        rows += list(odds_rows(study, "", "", MATCH, plan))
    return rows


def levelled(name: str, studies: int, seeds: int, plan: Plan, mean: float) -> list[Row]:
    """G1's correlations over models with this mean, against the claim's level; skewed, because none is above 1."""
    random = generator(0, f"simulated {name}")
    layers = -(-studies // len(NORMS))
    fade = random.gamma(((1 - mean) / STEEP) ** 2, STEEP**2 / (1 - mean), (len(NORMS), layers * seeds))
    ledger = pandas.DataFrame(
        {
            "activation_function": "relu",
            "optimizer": "sgd",
            "layer": np.repeat(np.arange(1, layers + 1), seeds),
            "seed": np.tile(np.arange(1000, 1000 + seeds), layers),
            "organism_id": np.tile(np.arange(seeds).astype(str), layers),
            "start": "scratch",
            "distance": 90.0,
            "last_layer": False,
        }
        | {f"rank_{column}": 1 - values for column, values in zip(NORMS, fade, strict=True)}
    )
    return list(correlations(ledger, plan, "relu", "sgd"))[:studies]
