"""Cues and slots as organisms see them."""

import math

import torch
from torch import Tensor

from turncoat.worlds.world import CUES, World


def show_cues(world: World, signs: Tensor, noise: Tensor, bits: Tensor, contexts: Tensor | None) -> Tensor:
    """What shows cues of these signs (or strengths), (..., 2 * bits * contexts).

    signs: (..., 2); noise: (..., 2 * bits), standard normal; bits: (..., 2 * (bits - 1)), the free bits of parity,
    +1 or -1: the first bit shown is the sign times their product. contexts: (...), which set of inputs shows them;
    None for the last.
    """
    free = bits.unflatten(-1, (CUES, world.cue_bits - 1))
    first = (signs * free.prod(-1)).unsqueeze(-1)
    shown = world.cue_amplitude * (torch.cat([first, free], dim=-1).flatten(-2) + world.cue_noise * noise)
    if world.cue_contexts == 1:
        return shown
    if contexts is None:
        contexts = torch.full(shown.shape[:-1], world.cue_contexts - 1, device=shown.device)
    used = torch.nn.functional.one_hot(contexts, world.cue_contexts).to(shown)
    return (used.unsqueeze(-1) * shown.unsqueeze(-2)).flatten(-2)


def show_slots(world: World, slots: Tensor) -> Tensor:
    """What shows two slots, (..., 2, d) to (..., 2 d): slot 2 leans towards slot 1's inputs as its angle says."""
    if world.slot_angle == 90:
        return slots.flatten(-2)
    angle = math.radians(world.slot_angle)
    first, second = slots.unbind(-2)
    return torch.cat([first + math.cos(angle) * second, math.sin(angle) * second], dim=-1)
