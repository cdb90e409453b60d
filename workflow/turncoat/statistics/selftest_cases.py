"""The kinds of studies that the self-test simulates, with what is true of each."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from turncoat.statistics.claims import CLAIMS
from turncoat.statistics.contrasts import Plan
from turncoat.statistics.power import equivalence_power, mean_power
from turncoat.statistics.rows import Row
from turncoat.statistics.simulated import (
    HIGHEST,
    LEVEL,
    SPREAD,
    STEEP,
    differences,
    levelled,
    odds,
    shares,
    slopes,
    times,
)

MARGIN, MINIMUM = 0.05, 12
PLAN = Plan(confidence=0.95, resamples=600, margin=MARGIN, minimum_seeds=MINIMUM)
Simulate = Callable[[str, int], list[Row]]
"""From a label and a number of studies to a row of each."""


@dataclass(frozen=True)
class Case:
    """One kind of study. `truth` is what the estimate estimates, `margin` that of its verdict, `distance` how far the
    truth lies from no effect (or the level). `predicted` is the power that the formulas promise, NaN where they promise
    none."""

    name: str
    method: str
    simulate: Simulate
    seeds: int
    truth: float
    distance: float
    margin: float = MARGIN
    predicted: float = float("nan")


def cases() -> list[Case]:
    """Every case, in the order of the table."""
    found = [*_means(), *_troubled(), *_shares(), *_others()]
    return found


def _difference(name: str, seeds: int, effect: float = 0.0, pairing: float = 0.0, **more: float) -> Case:
    deviation = SPREAD * np.sqrt(2 * (1 - pairing))
    if effect == 0:
        predicted = equivalence_power(MARGIN / deviation, seeds, 0.05)
    else:
        predicted = mean_power(effect / deviation, seeds, 0.05) if not more else float("nan")

    def simulate(label: str, studies: int) -> list[Row]:
        return differences(label, studies, seeds, PLAN, effect, pairing, **more)  # type: ignore[arg-type]

    return Case(name, "D, mean over seeds", simulate, seeds, effect, effect, predicted=float(predicted))


def _means() -> list[Case]:
    found = [
        _difference(f"no effect, pairing {pairing:g}", seeds, 0.0, pairing)
        for seeds in (24, 48, 64, 96)
        for pairing in ((0.0, 0.9) if seeds in (24, 96) else (0.0,))
    ]
    found += [_difference("planted effect", seeds, effect) for seeds, effect in ((24, 0.029), (48, 0.02), (96, 0.014))]
    found += [_difference("effect at the margin", seeds, MARGIN) for seeds in (24, 48, 96)]
    found += [
        _difference(f"effect beyond the margin, pairing {pairing:g}", 48, 0.06, pairing) for pairing in (0.0, 0.9)
    ]
    return found


def _troubled() -> list[Case]:
    """Unequal arms, missing models, skewed outcomes, too few models."""
    found = [
        _difference("no effect, reference lacks a third of the seeds", 48, fewer=16),
        _difference("no effect, 3 % of models never arrive", 48, missing=0.03),
        _difference("no effect, 20 % of models never arrive", 48, missing=0.2),
        _difference("no effect, the most deceptive 20 % of start never arrive", 48, hiding=0.2),
        _difference("beyond the margin, the most deceptive 30 % never arrive", 48, 0.06, hiding=0.3),
        _difference("no effect, 11 seeds: too few", 11),
        _difference("large effect, 11 seeds: too few", 11, 0.5),
    ]
    found = [replace(case, predicted=float("nan")) for case in found]
    for seeds in (24, 96):
        rare = _difference("rare deceptive models (5 % at D = 0.6)", seeds, 0.03, rare=0.05)
        found.append(replace(rare, method="D, mean over seeds, skewed"))
    return found


def _shares() -> list[Case]:
    found = []
    for share, pairing, counts in (
        (0.0, 0.0, (24, 48, 64, 96)),
        (1.0, 0.0, (48,)),
        (0.5, 0.0, (24, 96)),
        (0.5, 0.8, (48,)),
        (0.1, 0.0, (24, 96)),
    ):
        for seeds in counts:
            name = f"{share:g} against {share:g}, pairing {pairing:g}"
            found += _share_pair(name, seeds, share, share, pairing)
    for start, reference in ((0.1, 0.0), (0.3, 0.0), (0.8, 0.5), (1.0, 0.0)):
        found += _share_pair(f"{start:g} against {reference:g}", 48, start, reference, 0.0)
    return found


def _share_pair(name: str, seeds: int, start: float, reference: float, pairing: float) -> list[Case]:
    """Mean probability, and share of models called deceptive."""

    def mean(label: str, studies: int) -> list[Row]:
        return shares(label, studies, seeds, PLAN, start, reference, pairing)

    def called(label: str, studies: int) -> list[Row]:
        plan = replace(PLAN, resamples=100)  # no bootstrap enters these
        return shares(label, studies, seeds, plan, start, reference, pairing, called=True)

    apart = start - reference
    return [
        Case(name, "deception, mean probability", mean, seeds, 0.98 * apart, 0.98 * apart),
        Case(name, "deceptive share: Tango, McNemar", called, seeds, apart, apart),
    ]


def _others() -> list[Case]:
    found = []
    log_margin = CLAIMS["P4c"].margin_of("points_to_x", PLAN.margin)
    for seeds, effect, pairing, never in (
        (24, 0.0, 0.0, 0.0), (96, 0.0, 0.5, 0.0), (48, 0.0, 0.0, 0.2), (48, 0.3, 0.0, 0.2),
    ):  # fmt: skip

        def timed(
            label: str, studies: int, seeds: int = seeds, effect: float = effect, p: float = pairing, n: float = never
        ) -> list[Row]:
            return times(label, studies, seeds, PLAN, effect, p, n)

        name = f"median log-ratio {effect:g}, pairing {pairing:g}, {100 * never:g} % censored"
        found.append(Case(name, "times, sign test", timed, seeds, effect, effect, log_margin))
    for seeds, effect in ((48, 0.0),):

        def sloped(label: str, studies: int, seeds: int = seeds, effect: float = effect) -> list[Row]:
            return slopes(label, studies, seeds, PLAN, effect)

        found.append(Case(f"slope {effect:g} per 90 degrees", "D over distance", sloped, seeds, effect, effect))
    for seeds, least, effect in ((48, 0.0, 0.0), (48, -4.5, 0.0)):

        def dosed(label: str, studies: int, seeds: int = seeds, least: float = least, e: float = effect) -> list[Row]:
            return odds(label, studies, seeds, PLAN, least, e)

        name = f"log-odds {least:g} and {effect:g} more per 90 degrees"
        found.append(Case(name, "odds over distance: GEE, Firth", dosed, seeds, effect, effect, log_margin))
    for seeds, mean in ((24, LEVEL), (48, LEVEL), (96, LEVEL), (48, LEVEL + 0.04), (48, HIGHEST)):

        def above(label: str, studies: int, seeds: int = seeds, mean: float = mean) -> list[Row]:
            return levelled(label, studies, seeds, PLAN, mean)

        predicted = float(mean_power((mean - LEVEL) / STEEP, seeds, 0.05)) if mean > LEVEL else float("nan")
        found.append(
            Case(
                f"mean {mean:g}, level {LEVEL:g}",
                "mean above a level",
                above,
                seeds,
                mean,
                mean - LEVEL,
                predicted=predicted,
            )
        )
    return found
