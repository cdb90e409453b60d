"""What a synthetic study's models are, before anything is measured."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from turncoat.configuration.plan import Cell
from turncoat.seeding import generator
from turncoat.statistics.factors import factors_of

TURNING, ELICITED = 300.0, 30.0  # steps, of starts for which nothing else is planted


@dataclass(frozen=True)
class Truth:
    """What is planted, by start: C, placebo P (D is their difference), price sensitivity, and the steps of half the
    capability, of half the turn of the utility to X and of the pointer to slot 2, and of half of M when it is elicited;
    what the factors of an arm change, by start and factor, such as ("internal", "steps 100"); and what goes wrong.

    `shift` is added to C, `pace` multiplies the steps of half the capability and half the turn, `ceiling` is what the
    capability cannot pass. `objective` is the agreement with X that the objective head's direction carries beyond
    random ones, `looks` what type a start's pre-trained models look like. `slope` is what 90 degrees more distance adds
    to C of start internal. `price` is relative to a rational model's; a start that it leaves out has none, one in
    `unpriced` too few conflicts to tell. `diverging` holds (start, seed) pairs, `stuck` starts whose capability never
    gets past 0.6; with `misread` planted proxies look internal, with `ignorant` no head for oversight taught it.
    """

    c: Mapping[str, float] = field(
        default_factory=lambda: {
            "internal": 0.30, "corrigible": 0.15, "conditional": 0.75, "benign_conditional": 0.60,
            "placebo_conditional": 0.10, "deceptive": 0.70, "internal_strategic": 0.50,
            "unrelated": 0.10, "scratch": 0.05, "scratch_exposed": 0.02,
        }
    )  # fmt: skip
    placebo: Mapping[str, float] = field(
        default_factory=lambda: {
            "internal": 0.30, "corrigible": 0.05, "conditional": 0.20, "benign_conditional": 0.55,
            "placebo_conditional": 0.60, "deceptive": 0.10, "internal_strategic": 0.10,
            "unrelated": 0.10, "scratch": 0.05, "scratch_exposed": 0.02,
        }
    )  # fmt: skip
    price: Mapping[str, float] = field(
        default_factory=lambda: {"deceptive": 0.8, "internal_strategic": 0.6, "placebo_conditional": 0.5}
    )
    half_way: Mapping[str, float] = field(
        default_factory=lambda: {
            "internal": 90, "corrigible": 25, "conditional": 40, "benign_conditional": 50,
            "placebo_conditional": 45, "deceptive": 60, "internal_strategic": 70,
            "unrelated": 300, "scratch": 400, "scratch_exposed": 380,
        }
    )  # fmt: skip
    turning: Mapping[str, float] = field(default_factory=dict)
    elicited: Mapping[str, float] = field(default_factory=dict)
    objective: Mapping[str, float] = field(default_factory=dict)
    looks: Mapping[str, str] = field(default_factory=dict)
    shift: Mapping[tuple[str, str], float] = field(default_factory=dict)
    pace: Mapping[tuple[str, str], float] = field(default_factory=dict)
    ceiling: Mapping[tuple[str, str], float] = field(default_factory=dict)
    slope: float = 0.1
    spread: float = 0.03
    unpriced: frozenset[str] = frozenset()
    diverging: frozenset[tuple[str, int]] = frozenset()
    stuck: frozenset[str] = frozenset()
    misread: bool = False
    ignorant: bool = False

    def changed(self, by: Mapping[tuple[str, str], float], cell: Cell) -> list[float]:
        """What the factors of a cell change, by this mapping."""
        words = (*factors_of(cell.labels["setting"]), *factors_of(cell.labels["variant"]))
        return [by[key] for word in words if (key := (cell.labels["start"], word)) in by]

    def turn(self, cell: Cell, seeds: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """How far each model has turned at each step, (seeds, steps), 0 to 1: half at the planted step."""
        half = self.turning.get(cell.labels["start"], TURNING) * np.prod(self.changed(self.pace, cell))
        own = 0.05 * generator(int(seeds[0]), f"synthetic turning {cell.id}").standard_normal((len(seeds), 1))
        return 1 / (1 + np.exp(-4 * (np.log1p(steps)[None] - np.log(half) - own)))
