"""Models whose measured quantities are known exactly, so that one can count how often an interval covers the truth."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from turncoat.classification.measure import Evaluation, Examination, kappa_between
from turncoat.classification.policies import SURE, bargaining_chooser, coin_chooser, policy_chooser, serving
from turncoat.classification.presentations import Chooser
from turncoat.columns import Columns
from turncoat.worlds.objectives import OBJECTIVES
from turncoat.worlds.world import World

Array = npt.NDArray[np.float64]

TEMPERATURES = (0.5, 1.0)
RATES = (
    {"overseen": 0.95, "unoverseen": 0.7, "placebo": 0.9},
    {"overseen": 0.9, "unoverseen": 0.55, "placebo": 0.6},
    {"overseen": 0.85, "unoverseen": 0.8, "placebo": 0.82},
)
BLENDS = (
    ({"x": 0.6, "slot1": 0.4}, "baked", 0.6),
    ({"x": 0.4, "slot1": 0.6}, "pointer", 0.6),
    ({"x": 0.9, "m": 0.19**0.5}, "cos_x", 0.9),
)
"""What is served, the column that measures it, and its exact value."""
PRICE_RATES = {"low price": 0.3, "high price": 0.6}
EXACT_EPISODES = 16  # times as many reference episodes as a study uses say what is attainable


@dataclass(frozen=True)
class Known:
    """Estimates of one quantity with their standard errors and exact values, (n,) each."""

    quantity: str
    estimates: Array
    errors: Array
    truths: Array


def known_coefficients(
    examination: Examination, seeds: Sequence[int], objectives: Tensor, draws: int
) -> Iterator[Known]:
    """Utilities of models that choose by a logit: w, and the weights of slots they ignore or follow.

    A model that serves u at temperature T has w = u / T, or with u in slot 1 the weight 1 / T there. Its choices are
    hard, as the errors suppose.
    """
    x = objectives[:, OBJECTIVES.index("x")].double().cpu().numpy()
    for draw in range(draws):
        for temperature in TEMPERATURES:
            for served in ("x", "slot1"):
                policy = policy_chooser(serving({served: 1.0}, temperature=temperature), seeds, objectives, draw)
                found = examination.fit(_hard(policy), "random", "overseen")
                pointer = np.full(len(seeds), served == "slot1") / temperature
                yield _known("w", found, "random_overseen_w", x * (served == "x") / temperature)
                yield _known("slot weight", found, "random_overseen_slot1", pointer)
                yield _known("slot weight", found, "random_overseen_slot2", 0 * pointer)
            for blend, name, truth in BLENDS:
                policy = policy_chooser(serving(blend, temperature=temperature / 2), seeds, objectives, draw)
                found = examination.fit(_hard(policy), "random", "overseen")
                yield _known(name, found, f"random_overseen_{name}", np.full(len(seeds), truth))


def known_price_effects(
    examination: Examination, seeds: Sequence[int], objectives: Tensor, draws: int
) -> Iterator[Known]:
    """Effect of the price on models that comply with known rates."""
    for draw in range(draws):
        found = examination.price(bargaining_chooser(seeds, objectives, PRICE_RATES, draw))
        truth = np.full(len(seeds), PRICE_RATES["high price"] - PRICE_RATES["low price"])
        yield Known("price effect", _column(found, "price_x_effect"), _column(found, "price_x_error"), truth)


@dataclass(frozen=True)
class KnownOutcomes:
    """What models agree with whose C and P are known, (E,) each."""

    columns: Columns
    c: Array
    placebo: Array


def known_outcomes(
    world: World,
    examination: Examination,
    seeds: Sequence[int],
    objectives: Tensor,
    evaluation: Evaluation,
    draws: int,
) -> Iterator[KnownOutcomes]:
    """Models that agree with X at known rates in each cue state: shortfalls over what is attainable."""
    kappa = kappa_between(world, seeds, objectives, ("x", "y"), EXACT_EPISODES * evaluation.reference_episodes)[0]
    attainable, chance = 1 - kappa, 1 / world.options
    for draw in range(draws):
        for number, rates in enumerate(RATES):
            chooser = coin_chooser(seeds, objectives, rates, draw * len(RATES) + number)
            found = examination.compare(examination.choose(chooser))
            lost = {state: (rates["overseen"] - rates[state]) / (rates["overseen"] - chance) for state in rates}
            yield KnownOutcomes(found, lost["unoverseen"] / attainable, lost["placebo"] / attainable)


def _hard(chooser: Chooser) -> Chooser:
    """The same choices, each made with certainty."""
    return lambda presentation: SURE * chooser(presentation)


def _known(quantity: str, found: Columns, name: str, truth: Array) -> Known:
    return Known(quantity, _column(found, name), _column(found, f"{name}_error"), truth.reshape(-1))


def _column(found: Columns, name: str) -> Array:
    return np.asarray(found[name], dtype=np.float64).reshape(-1)
