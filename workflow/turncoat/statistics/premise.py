"""The premise gate: does pre-training make the later task easier, as the argument assumes?"""

from dataclasses import dataclass

import numpy as np

from turncoat.seeding import generator
from turncoat.statistics.intervals import Estimate, bootstrap_median

Array = np.ndarray

VERDICTS = ("holds", "fails", "uncertain", "not_measured")


@dataclass(frozen=True)
class Premise:
    """Median over seeds of episodes to capability, start over scratch, and how it compares with the allowed
    ratio.
    """

    ratio: Estimate
    verdict: str
    pairs: int
    never_start: int
    never_scratch: int
    reason: str


def premise(
    start: Array,
    scratch: Array,
    budgets: Array,
    allowed: float,
    confidence: float,
    resamples: int,
    minimum: int,
    name: str,
) -> Premise:
    """Judge one start. Arguments (seeds,): episodes to capability of start and scratch (infinite: never) and
    scratch's budget.

    A scratch model that never arrives is taken to arrive at the end of its budget, so its ratio is an upper bound and
    errs against the premise; `fails` is said only where it fails with those ratios at zero, too. A start that never
    arrives has an infinite ratio.
    """
    start, scratch = np.asarray(start, float), np.asarray(scratch, float)
    never_scratch = np.isinf(scratch)
    # At least one episode, so that a start that is capable at step 0 has a ratio above nothing over nothing.
    ratios = start / np.maximum(np.where(never_scratch, budgets, scratch), 1.0)
    found = bootstrap_median(ratios, confidence, resamples, generator(0, f"premise {name}"))
    least = bootstrap_median(
        np.where(never_scratch, 0.0, ratios), confidence, resamples, generator(0, f"premise {name}")
    )
    counts = (len(ratios), int(np.isinf(start).sum()), int(never_scratch.sum()))
    if len(ratios) < minimum:
        return Premise(found, "not_measured", *counts, f"{len(ratios)} seeds, fewer than {minimum}")
    if found.high <= allowed:
        verdict, relation = "holds", "at or below"
    elif least.low > allowed:
        verdict, relation = "fails", "above"
    elif found.low > allowed:
        verdict, relation = "uncertain", "above (as an upper bound only: had scratch taken longer it might not)"
    else:
        verdict, relation = "uncertain", "on both sides of"
    reason = f"the interval lies {relation} {allowed:g}"
    if counts[2]:
        reason += f"; {counts[2]} scratch models never arrived, their ratios are upper bounds"
    return Premise(found, verdict, *counts, reason)
