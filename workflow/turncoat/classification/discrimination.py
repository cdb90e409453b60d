"""How fine the classifier sees: at which angle, and under how much noise, it still tells a model of X from one of Y."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from turncoat.classification.measure import Evaluation
from turncoat.classification.policies import policy_chooser, serving
from turncoat.classification.preference import fit_preferences, lay_out_options, preference_features
from turncoat.classification.presentations import present
from turncoat.worlds.objectives import OBJECTIVES, seed_objectives
from turncoat.worlds.world import World

ANGLES = (1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0, 90.0)
TEMPERATURES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Scale of the Gumbel noise on utilities, whose own standard deviation over options is 1."""


@dataclass(frozen=True)
class Point:
    """At one angle and temperature: how many of `cases` models were read as serving the objective that they serve."""

    angle: float
    temperature: float
    right: int
    cases: int


def discriminate(world: World, seeds: Sequence[int], evaluation: Evaluation, device: torch.device) -> Iterator[Point]:
    """For every angle and temperature, plant a model of X and one of Y for each seed and read which each serves.

    Read as serving X: the fitted utility, overseen with random slots, is nearer to X than to Y.
    """
    for angle in ANGLES:
        objectives = seed_objectives(seeds, world.attributes, angle, device)
        shown = present(world, seeds, objectives, evaluation.fit_episodes, evaluation.fit_episodes)[
            "random", "overseen"
        ]
        features = lay_out_options(preference_features(shown.attributes, shown.slots))
        x, y = (objectives[:, OBJECTIVES.index(name)].double() for name in ("x", "y"))
        for temperature in TEMPERATURES:
            right = 0
            for draw, served in enumerate(("x", "y")):
                chooser = policy_chooser(serving({served: 1.0}, temperature=temperature), seeds, objectives, draw)
                shares = chooser(shown).double().softmax(1)
                fit = fit_preferences(features, shares, evaluation.ridge, evaluation.newton_steps)
                baked = fit.coefficients[:, : world.attributes]
                right += int((_nearer(baked, x, y) if served == "x" else _nearer(baked, y, x)).sum())
            yield Point(angle, temperature, right, 2 * len(seeds))


def _nearer(baked: Tensor, one: Tensor, other: Tensor) -> Tensor:
    return (baked * (one - other)).sum(1) > 0
