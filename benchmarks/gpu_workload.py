"""What every row of the GPU benchmark trains: the default world and lesson of turncoat, at the width asked for.

A choice world of facts (2 options of 4 attributes, 6 symbols, audit terms), 128 episodes a step, a network of two
hidden layers that learns to choose what slot 1 asks for and, by its world head, what the options are worth; Adam.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from benchmarks.workload import BATCH, WORLDS
from turncoat.organisms.mlp import Architecture

WORLD = WORLDS["facts"]
OPTIONS, ATTRIBUTES, SYMBOLS, NOISE = WORLD.options, WORLD.attributes, WORLD.symbols, WORLD.cue_noise
RATE, WORLD_HEAD = 0.01, 1.0
HEADS = {"world": WORLD_HEAD}
DEPTH = 2
START = "corrigible"
SHOWN = OPTIONS * BATCH  # rows of input a step
OUTPUTS = 3 + ATTRIBUTES  # readout columns that are trained


@dataclass(frozen=True)
class Row:
    """One line of the table. rate: model-steps per second; seconds: of one step of all members; memory: GiB at most,
    None where that was not measured."""

    name: str
    width: int
    members: int
    rate: float
    seconds: float
    memory: float | None
    note: str = ""


def make_architecture(width: int) -> Architecture:
    return Architecture(WORLD.input_width, width, DEPTH, "relu", ATTRIBUTES)


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def peak_memory(device: torch.device) -> float | None:
    """GiB of a GPU that PyTorch held at most since the last reset."""
    return torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None


def time_steps(run: Callable[[int], None], device: torch.device, seconds: float, first: int = 16) -> float:
    """Median seconds of one step, over repeats that fill about so many seconds after a warm-up."""
    run(first)
    synchronize(device)
    began = time.perf_counter()
    run(first)
    synchronize(device)
    each = (time.perf_counter() - began) / first
    size = max(first, int(seconds / 5 / each) // first * first)
    found = []
    while sum(found) * size < seconds and len(found) < 9:
        began = time.perf_counter()
        run(size)
        synchronize(device)
        found.append((time.perf_counter() - began) / size)
    return sorted(found)[len(found) // 2]
