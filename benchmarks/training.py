"""Training: turncoat beside eager PyTorch, torch.func.vmap, JAX and the machine's limit, by size and at their best.

A sweep times every contender at every size; then, in each world and width, each at its own best size trains 1,000
steps and more. Needs torch and numpy, and JAX for its rows; without JAX those are left out, and it is said so.
"""

import gc
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.contenders import Contender, Eager, Turncoat, Vmap
from benchmarks.limit import Products, cached_members
from benchmarks.timing import Timing, clock, measure, steps_for
from benchmarks.workload import BATCH, WORLDS, Workload
from turncoat.training.streams import WINDOW

Row = dict[str, Any]
LIMIT = "limit (products alone)"
NEAR = 1.03  # a smaller size within 3 % of the best counts as the best
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
QUICK = Sizes((64, 256), (1, 4, 16, 48), 0.1, 3, 5, 240)
GPU = Sizes((64, 256), (1, 16, 256, 4096, 65536), 0.4, 3, 5, STEPS)


def contenders(jax: bool) -> dict[str, type[Contender] | type[Products]]:
    """The kinds of contender by name."""
    found: dict[str, Any] = {"turncoat": Turncoat, "eager, one at a time": Eager, "torch.func.vmap": Vmap}
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


def benchmark_training(sizes: Sizes, device: torch.device) -> list[Row]:
    """Rows of the sweep, and of each contender at its best size."""
    kinds, rows = contenders(has_jax()), []
    for world in WORLDS:
        for width in sizes.widths:
            sweep = []
            for members in sizes.members:
                sweep += _at_size(kinds, sizes, world, width, members, device)
            sweep += _cached_limit(kinds, sizes, world, width, device)
            _add_shares(sweep)
            best = _at_best(kinds, sizes, sweep, world, width, device)
            _add_shares(best)
            rows += sweep + best
    return rows


def _at_size(
    kinds: Mapping[str, Any], sizes: Sizes, world: str, width: int, members: int, device: torch.device
) -> list[Row]:
    workload, now = Workload(world, width, members, device), clock(device.type == "cuda")
    ready: dict[str, Any] = {}
    steps: dict[str, int] = {}
    rows: list[Row] = []
    for name, kind in kinds.items():
        if kind is Eager and members > 1:
            continue  # its time a model is that of one
        try:
            ready[name] = kind(workload)
            steps[name] = steps_for(ready[name].run, sizes.seconds, now, WINDOW)
        except torch.cuda.OutOfMemoryError:
            ready.pop(name, None)
            rows.append(_row("sweep", name, workload, None))
            torch.cuda.empty_cache()
    timings = measure({name: one.run for name, one in ready.items()}, steps, sizes.rounds, now)
    rows += [_row("sweep", name, workload, timing) for name, timing in timings.items()]
    ready.clear()
    gc.collect()
    return rows


def _cached_limit(kinds: Mapping[str, Any], sizes: Sizes, world: str, width: int, device: torch.device) -> list[Row]:
    """The limit at the size at which hidden layers stay in a core's cache, which may be its best."""
    rows = WORLDS[world].options * BATCH
    members = cached_members(rows, width)
    if device.type == "cuda" or members in sizes.members:
        return []
    return _at_size({LIMIT: kinds[LIMIT]}, sizes, world, width, members, device)


def _at_best(
    kinds: Mapping[str, Any], sizes: Sizes, sweep: Sequence[Row], world: str, width: int, device: torch.device
) -> list[Row]:
    """Each contender at its own best size, for as many steps as the sizes ask for."""
    now = clock(device.type == "cuda")
    workloads: dict[str, Workload] = {}
    for name in kinds:
        timed = [row for row in sweep if row["contender"] == name and row["microseconds"] is not None]
        fastest = min(row["microseconds"] for row in timed)
        members = min(row["members"] for row in timed if row["microseconds"] <= NEAR * fastest)
        workloads[name] = Workload(world, width, members, device)
    ready = {name: kinds[name](workload) for name, workload in workloads.items()}
    steps = dict.fromkeys(ready, WINDOW * math.ceil(sizes.steps / sizes.best_rounds / WINDOW))
    timings = measure({name: one.run for name, one in ready.items()}, steps, sizes.best_rounds, now)
    return [_row("best", name, workloads[name], timing) for name, timing in timings.items()]


def _row(part: str, name: str, workload: Workload, timing: Timing | None) -> Row:
    """One line of the table; times in microseconds a model and step."""
    members = 1 if name.startswith("eager") else workload.members
    shown = {"part": part, "world": workload.world_name, "width": workload.width, "members": members}
    shown |= {"contender": name, "microseconds": None, "low": None, "high": None, "steps": 0}
    if timing is not None:
        low, high = timing.spread
        scale = 1e6 / members
        shown |= {"microseconds": timing.median * scale, "low": low * scale, "high": high * scale}
        shown["steps"] = timing.steps
    return shown


def _add_shares(rows: Sequence[Row]) -> None:
    """Add each row's speed relative to the limit's best and to turncoat's best, both of the same part."""
    for name, key in ((LIMIT, "share_of_limit"), ("turncoat", "times_turncoat")):
        found = [row["microseconds"] for row in rows if row["contender"] == name and row["microseconds"] is not None]
        for row in rows:
            known = found and row["microseconds"] is not None
            ratio = row["microseconds"] / min(found) if known else None
            row[key] = (1 / ratio if key == "share_of_limit" else ratio) if ratio is not None else None
