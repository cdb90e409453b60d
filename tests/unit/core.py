"""What the tests of the core share: a small world and small stacks."""

import torch

from turncoat.organisms.mlp import Architecture, Stack, initialise
from turncoat.worlds.world import World

CPU = torch.device("cpu")


def make_world(encoding: str = "facts", options: int = 3, audit_penalty: float = 0.0) -> World:
    return World.from_settings(
        {
            "encoding": encoding,
            "options": options,
            "attributes": 4,
            "symbols": 3,
            "cue": {"coding": "signal", "amplitude": 1.0, "noise": 0.1},
            "audit_penalty": audit_penalty,
        }
    )


def make_stack(world: World, seeds: list[int], activation: str = "relu", width: int = 7, depth: int = 2) -> Stack:
    architecture = Architecture(world.input_width, width, depth, activation, world.attributes)
    return initialise(architecture, seeds, world.input_power, CPU)
