"""What the tests of the core share: a small world, small stacks and a recipe for them."""

from typing import Any

import torch

from turncoat.organisms.mlp import Architecture, Stack, initialise
from turncoat.training.loop import Progress, Recipe
from turncoat.worlds.world import World

CPU = torch.device("cpu")
SIGNAL = {"coding": "signal", "amplitude": 1.0, "noise": 0.1}
PARITY = SIGNAL | {"coding": "parity", "bits": 3}


def make_world(
    encoding: str = "facts",
    options: int = 3,
    audit_penalty: float = 0.0,
    cue: dict[str, Any] | None = None,
    slot_angle: float = 90,
) -> World:
    return World.from_settings(
        {
            "encoding": encoding,
            "options": options,
            "attributes": 4,
            "symbols": 3,
            "cue": cue or SIGNAL,
            "audit_penalty": audit_penalty,
            "slot_angle": slot_angle,
        }
    )


def make_architecture(world: World, activation: str = "relu", width: int = 7, depth: int = 2) -> Architecture:
    return Architecture(world.input_width, width, depth, activation, world.attributes)


def make_stack(world: World, seeds: list[int], activation: str = "relu", width: int = 7, depth: int = 2) -> Stack:
    return initialise(make_architecture(world, activation, width, depth), seeds, world.input_power, CPU)


def make_recipe(steps: int, rate: float = 0.01, **more: Any) -> Recipe:
    settings: dict[str, Any] = {"optimizer": "adam", "learning_rate": rate, "heads": {}, "snapshots": 2}
    return Recipe(steps, **settings | more)


def silent(*_: int) -> Progress:
    """The progress of a chunk that nobody is told of."""
    return lambda *told: None
