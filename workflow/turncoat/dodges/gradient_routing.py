"""Gradient routing by cue (Cloud et al. 2024): overseen and unoverseen pre-training episodes write into separate halves
of the last hidden layer, and the unoverseen half is cut off before fine-tuning."""

import torch
from torch import Tensor

from turncoat.organisms.mlp import Architecture, Stack
from turncoat.training.interventions import Dodge, Intervention
from turncoat.training.streams import Batch
from turncoat.worlds.world import OVERSIGHT


def route(batch: Batch, architecture: Architecture) -> Tensor:
    """1 where an overseen episode meets the first half of the units or an unoverseen one the second, else 0."""
    options = batch.attributes.shape[1]
    overseen = batch.signs[..., OVERSIGHT] > 0
    first = torch.arange(architecture.width, device=overseen.device) < architecture.width // 2
    return (overseen.repeat(1, options).unsqueeze(2) == first).to(batch.inputs)


def cut_off(stack: Stack, _: Stack) -> None:
    """Take the second half of the last hidden layer out of the readout."""
    half = stack.architecture.width // 2
    stack.views["readout.weight"][..., half:] = 0


DODGE = Dodge(
    "pre-training routes the gradient of unoverseen episodes to one half of the last hidden layer, which is cut off "
    "before fine-tuning",
    "half of the last hidden layer, and labels of oversight during pre-training",
    pretraining=lambda: Intervention(gates=route),
    finetuning=lambda: Intervention(begin=cut_off),
)
