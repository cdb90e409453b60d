"""What the tests on a GPU share: a small default world and trainings in it."""

from collections.abc import Sequence

import torch

from turncoat.organisms.mlp import Architecture, Stack, initialise
from turncoat.training.device_steps import MODES, DeviceSteps
from turncoat.training.device_streams import DeviceStream, pretraining_on_device
from turncoat.training.losses import readout_columns
from turncoat.training.optimizers import make_optimizer
from turncoat.training.starts import Lesson, find_start
from turncoat.worlds.objectives import seed_objectives
from turncoat.worlds.world import World

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
BATCH = 128
HEADS = {"world": 1.0}


def make_world(encoding: str = "facts", **more: object) -> World:
    cue = {"coding": "signal", "amplitude": 1.0, "noise": 0.1}
    shape = {"options": 2, "attributes": 4, "symbols": 6, "audit_penalty": 6.0}
    return World.from_settings({"encoding": encoding, "cue": cue} | shape | more)


def make_stack(world: World, seeds: Sequence[int], device: torch.device, width: int = 64) -> Stack:
    architecture = Architecture(world.input_width, width, 2, "relu", world.attributes)
    return initialise(architecture, seeds, world.input_power, device)


def make_stream(world: World, seeds: Sequence[int], device: torch.device, start: str = "corrigible") -> DeviceStream:
    objectives = seed_objectives(seeds, world.attributes, 90.0, device)
    return pretraining_on_device(world, Lesson(find_start(start)), seeds, objectives, BATCH, 0.5)


def make_steps(seeds: Sequence[int], mode: str, device: torch.device = CUDA, width: int = 64) -> DeviceSteps:
    world = make_world()
    stack = make_stack(world, seeds, device, width)
    optimizer = make_optimizer("adam", stack.flat, 0.01)
    rates = torch.full((1000,), 0.01, device=device)
    stream = make_stream(world, seeds, device)
    return DeviceSteps(stack, stream, HEADS, 0.0, readout_columns(HEADS, 4), optimizer, rates, MODES[mode])


def trained(seeds: Sequence[int], mode: str, steps: int, width: int = 64) -> torch.Tensor:
    """Weights (E, parameters) after so many steps."""
    found = make_steps(seeds, mode, CUDA, width)
    found.run(steps)
    return found.stack.rows()
