"""Interleaved timing: every contender in turn, several rounds, so that a busy machine slows all of them alike.

By default in CPU seconds of this process, which others on the machine touch least.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Run = Callable[[int], None]
"""Takes a number of steps."""


@dataclass(frozen=True)
class Timing:
    """Seconds per step in each round of so many steps."""

    seconds: list[float]
    steps: int

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))

    @property
    def spread(self) -> tuple[float, float]:
        """The quartiles."""
        low, high = np.quantile(self.seconds, [0.25, 0.75])
        return float(low), float(high)


def measure(
    runs: Mapping[str, Run], steps: Mapping[str, int], rounds: int, now: Callable[[], float] = time.process_time
) -> dict[str, Timing]:
    """Time each run of its number of steps, once a round, in turn. One untimed run of each goes first."""
    for name, run in runs.items():
        run(steps[name])
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            started = now()
            run(steps[name])
            seconds[name].append((now() - started) / steps[name])
    return {name: Timing(found, steps[name] * rounds) for name, found in seconds.items()}


def steps_for(run: Run, target: float, now: Callable[[], float], unit: int, most: int = 1024) -> int:
    """How many steps take about `target` seconds, a multiple of `unit`, the steps whose data are drawn at once."""
    run(unit)
    started = now()
    run(unit)
    return unit * int(np.clip(target / max(now() - started, 1e-9), 1, most // unit))
