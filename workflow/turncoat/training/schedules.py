"""At which steps weights are kept and capability is measured, and how the learning rate falls."""

import math

import numpy as np

CHECKS_PER_SNAPSHOT = 3
FIRST_SHARE = 80
SCHEDULES = ("constant", "linear", "cosine")


def snapshot_steps(steps: int, count: int) -> list[int]:
    """Steps at which weights are kept: 0, then `count` - 1 log-spaced ones ending at `steps`.

    The first comes after 1/80 of the training. Short trainings may round to fewer. Raises ValueError when
    `count` < 2 or `steps` < 1.
    """
    if count < 2 or steps < 1:
        raise ValueError(f"snapshots is {count} and steps {steps}; allowed: at least 2 snapshots and 1 step")
    return sorted({0, steps} | {round(step) for step in _spaced(steps, count - 1)})


def check_steps(steps: int, count: int) -> list[int]:
    """Steps at which capability is measured: the snapshots and, log-spaced, two more between each pair."""
    between = _spaced(steps, (count - 2) * CHECKS_PER_SNAPSHOT + 1)
    return sorted({round(step) for step in between} | set(snapshot_steps(steps, count)))


def rate_share(schedule: str, step: int, steps: int) -> float:
    """Share of the learning rate that step 1 ... `steps` is taken with; the last step of a falling one is the
    smallest, and above 0. Raises ValueError for an unknown schedule.
    """
    if schedule == "constant":
        return 1.0
    done = (step - 1) / steps
    if schedule == "linear":
        return 1 - done
    if schedule == "cosine":
        return (1 + math.cos(math.pi * done)) / 2
    raise ValueError(f"schedule is {schedule!r}; allowed: {', '.join(SCHEDULES)}")


def _spaced(steps: int, count: int) -> list[float]:
    if count == 1:
        return [float(steps)]
    return [float(step) for step in np.geomspace(max(1.0, steps / FIRST_SHARE), steps, count)]
