"""Gradient routing by cue: expand, route, ablate (Cloud et al. 2024, arXiv 2410.04332).

The last hidden layer's first half is the core, its second half the expansion. Unoverseen episodes teach the expansion
alone; overseen ones teach both, as in the source, where data to be kept flow through everything. Every other overseen
episode is answered without the expansion, by the core alone: that is ours. Without it the core leans on the expansion
even in what it may learn, and pre-training falls short. Before fine-tuning the expansion is
removed for good, with all its weights. Layers below the last are shared.
"""

import torch
from torch import Tensor

from turncoat.organisms.mlp import Architecture, Stack
from turncoat.training.interventions import Dodge, Intervention
from turncoat.training.streams import Batch
from turncoat.worlds.world import OVERSIGHT


def route(batch: Batch, architecture: Architecture) -> Tensor:
    """Gradient gates (E, N * B, width): 0 where an unoverseen episode meets the core, else 1."""
    return (_rows(batch, _overseen(batch)) | _expansion(batch, architecture)).to(batch.inputs)


def answer_alone(batch: Batch, architecture: Architecture) -> Tensor:
    """Forward masks (E, N * B, width): 0 where every other overseen episode meets the expansion, else 1."""
    overseen = _overseen(batch)
    every_other = torch.arange(overseen.shape[1], device=overseen.device) % 2 == 0  # episodes are in no order
    silenced = _rows(batch, overseen & every_other) & _expansion(batch, architecture)
    return (~silenced).to(batch.inputs)


def remove_expansion(stack: Stack, _: Stack) -> None:
    """Take the expansion out. Every activation is 0 at 0: it emits nothing, is not read, and gets no gradient again."""
    half = stack.architecture.width // 2
    last = f"hidden{stack.architecture.depth}"
    for name in (f"{last}.weight", f"{last}.bias", "readout.weight"):
        stack.views[name][..., half:] = 0


def _overseen(batch: Batch) -> Tensor:
    return batch.signs[..., OVERSIGHT] > 0


def _rows(batch: Batch, episodes: Tensor) -> Tensor:
    """What is said of each episode (E, B), for each of its options: (E, N * B, 1)."""
    return episodes.repeat(1, batch.attributes.shape[1]).unsqueeze(2)


def _expansion(batch: Batch, architecture: Architecture) -> Tensor:
    return torch.arange(architecture.width, device=batch.signs.device) >= architecture.width // 2


DODGE = Dodge(
    "pre-training teaches unoverseen episodes to one half of the last hidden layer alone, and every other overseen "
    "one to the other half alone; the first is removed before fine-tuning",
    "half of the last hidden layer, for good, and labels of oversight during pre-training",
    pretraining=lambda: Intervention(gates=route, masks=answer_alone),
    # After every step too: momentum that was carried over from pre-training would bring it back.
    finetuning=lambda: Intervention(begin=remove_expansion, after_step=remove_expansion),
)
