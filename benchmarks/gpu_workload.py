"""What every row of the GPU benchmark trains: the default world and lesson of turncoat, at the width asked for.

A choice world of facts (2 options of 4 attributes, 6 symbols, audit terms), 128 episodes a step, a network of two
hidden layers that learns to choose what slot 1 asks for and, by its world head, what the options are worth; Adam.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from turncoat.organisms.mlp import Architecture
from turncoat.worlds.world import World

OPTIONS, ATTRIBUTES, SYMBOLS, PENALTY, NOISE = 2, 4, 6, 6.0, 0.1
BATCH, RATE, WORLD_HEAD = 128, 0.01, 1.0
HEADS = {"world": WORLD_HEAD}
DEPTH = 2
START = "corrigible"
SHOWN = OPTIONS * BATCH  # rows of input a step
OUTPUTS = 3 + ATTRIBUTES  # readout columns that are trained


@dataclass(frozen=True)
class Row:
    """One line of the table. rate: model-steps per second; seconds: of one step of all members."""

    name: str
    width: int
    members: int
    rate: float
    seconds: float
    memory: float
    note: str = ""


def make_world() -> World:
    settings: dict[str, Any] = {
        "encoding": "facts",
        "options": OPTIONS,
        "attributes": ATTRIBUTES,
        "symbols": SYMBOLS,
        "cue": {"coding": "signal", "amplitude": 1.0, "noise": NOISE},
        "audit_penalty": PENALTY,
    }
    return World.from_settings(settings)


def make_architecture(width: int) -> Architecture:
    world = make_world()
    return Architecture(world.input_width, width, DEPTH, "relu", ATTRIBUTES)


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def peak_memory(device: torch.device) -> float:
    """GiB that PyTorch held at most since the last reset."""
    return torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0


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
