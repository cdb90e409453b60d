"""Training: turncoat beside eager PyTorch, torch.func.vmap, JAX and the machine's limit, by size and at their best.

A sweep times every contender at every size; then, in each world and width, each at its own best size trains 1,000
steps and more. Needs torch and numpy, and JAX for its rows; without JAX those are left out, and it is said so.
"""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.contenders import Contender, Eager, Turncoat, TurncoatWithoutKernels, Vmap
from benchmarks.limit import Products, cached_members
from benchmarks.timing import Timing, measure, steps_for
from benchmarks.workload import BATCH, WORLDS, Workload
from turncoat.native.library import native_library
from turncoat.training.streams import WINDOW

Row = dict[str, Any]
CPU = torch.device("cpu")
LIMIT = "limit (products alone)"
STEPS = 1000  # organisms saturate by then, and saturated softmaxes are where denormal numbers come from


@dataclass(frozen=True)
class Sizes:
    """What to time: widths, numbers of members, seconds of a timed run, rounds of the sweep and at the best sizes."""

    widths: Sequence[int]
    members: Sequence[int]
    seconds: float
    rounds: int
    best_rounds: int
    steps: int


FULL = Sizes((64, 256), (1, 4, 16, 64, 256), 0.4, 3, 5, STEPS)
QUICK = Sizes((64, 256), (1, 4, 16, 48), 0.1, 3, 5, 480)


def contenders(jax: bool) -> dict[str, type[Contender] | type[Products]]:
    """The kinds of contender by name."""
    found: dict[str, Any] = {"turncoat": Turncoat, "turncoat, no C compiler": TurncoatWithoutKernels}
    found |= {"eager, one at a time": Eager, "torch.func.vmap": Vmap}
    if jax:
        from benchmarks.jaxed import Jax

        found["JAX jit(vmap(scan))"] = Jax
    return found | {LIMIT: Products}


def has_jax() -> bool:
    """Whether JAX can be imported; says so on standard error where it cannot."""
    try:
        import jax  # noqa: F401
    except ImportError:
        print("JAX is not installed (pip install -e '.[jax]'): its rows are left out", file=sys.stderr)
        return False
    return True


def benchmark_training(sizes: Sizes) -> list[Row]:
    """Rows of the sweep, and of each contender at its best size. Raises RuntimeError without turncoat's own kernels."""
    if native_library() is None:
        raise RuntimeError("turncoat's kernels cannot be had here: no C compiler (cc), or a PyTorch without MKL")
    kinds, rows = contenders(has_jax()), []
    for world in WORLDS:
        for width in sizes.widths:
            sweep = []
            for members in sizes.members:
                sweep += _at_size(kinds, sizes, world, width, members)
            sweep += _cached_limit(kinds, sizes, world, width)
            _add_shares(sweep)
            best = _at_best(kinds, sizes, sweep, world, width)
            _add_shares(best)
            rows += sweep + best
    return rows


def _at_size(kinds: Mapping[str, Any], sizes: Sizes, world: str, width: int, members: int) -> list[Row]:
    workload, now = Workload(world, width, members, CPU), time.process_time
    ready: dict[str, Any] = {}
    steps: dict[str, int] = {}
    for name, kind in kinds.items():
        if kind is Eager and members > 1:
            continue  # its time a model is that of one
        ready[name] = kind(workload)
        steps[name] = steps_for(ready[name].run, sizes.seconds, now, WINDOW)
    timings = measure({name: one.run for name, one in ready.items()}, steps, sizes.rounds, now)
    return [_row("sweep", name, workload, timing) for name, timing in timings.items()]


def _cached_limit(kinds: Mapping[str, Any], sizes: Sizes, world: str, width: int) -> list[Row]:
    """The limit at the size at which hidden layers stay in a core's cache, which may be its best."""
    rows = WORLDS[world].options * BATCH
    members = cached_members(rows, width)
    if members in sizes.members:
        return []
    return _at_size({LIMIT: kinds[LIMIT]}, sizes, world, width, members)


def _at_best(kinds: Mapping[str, Any], sizes: Sizes, sweep: Sequence[Row], world: str, width: int) -> list[Row]:
    """Each contender at its own best size, for as many steps as the sizes ask for."""
    now = time.process_time
    workloads: dict[str, Workload] = {}
    for name in kinds:
        timed = [row for row in sweep if row["contender"] == name]
        members = min(timed, key=lambda row: row["microseconds"])["members"]
        workloads[name] = Workload(world, width, members, CPU)
    ready = {name: kinds[name](workload) for name, workload in workloads.items()}
    steps = dict.fromkeys(ready, WINDOW * math.ceil(sizes.steps / sizes.best_rounds / WINDOW))
    timings = measure({name: one.run for name, one in ready.items()}, steps, sizes.best_rounds, now)
    return [_row("best", name, workloads[name], timing) for name, timing in timings.items()]


def _row(part: str, name: str, workload: Workload, timing: Timing) -> Row:
    """One line of the table; times in microseconds a model and step."""
    members = 1 if name.startswith("eager") else workload.members
    shown = {"part": part, "world": workload.world_name, "width": workload.width, "members": members}
    low, high = timing.spread
    scale = 1e6 / members
    shown |= {"contender": name, "microseconds": timing.median * scale, "low": low * scale, "high": high * scale}
    return shown | {"steps": timing.steps}


def _add_shares(rows: Sequence[Row]) -> None:
    """Add each row's speed relative to the limit's best and to turncoat's best, both of the same part."""
    limit, ours = (min(row["microseconds"] for row in rows if row["contender"] == name) for name in (LIMIT, "turncoat"))
    for row in rows:
        row |= {"share_of_limit": limit / row["microseconds"], "times_turncoat": row["microseconds"] / ours}
