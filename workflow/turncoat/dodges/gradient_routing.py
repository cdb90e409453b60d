"""Gradient routing by cue: what unoverseen pre-training episodes teach is kept in one half of the last hidden layer,
which is cut off before fine-tuning.

Expand, route, ablate (Cloud et al. 2024): unoverseen episodes update the half that is to go alone, overseen ones both
halves. Masking gradients is not enough in so small a network: the half that stays then learns to share its work with
the one that goes, and pre-training fails. So the half that stays learns from what it would say alone, as retained
parameters do in selective gradient masking (Shilov et al. 2025); the other learns from the whole.
"""

from collections.abc import Sequence

import torch

from turncoat.organisms.mlp import Architecture, Stack
from turncoat.training.interventions import Dodge, Intervention
from turncoat.training.routing import Route
from turncoat.training.streams import Batch
from turncoat.worlds.world import OVERSIGHT


def routes(batch: Batch, architecture: Architecture) -> Sequence[Route]:
    """The first half of the units, read alone, learns from overseen episodes; the second, read with it, from all."""
    options = batch.attributes.shape[1]
    overseen = (batch.signs[..., OVERSIGHT] > 0).repeat(1, options).unsqueeze(2).to(batch.inputs)
    stays = (torch.arange(architecture.width, device=overseen.device) < architecture.width // 2).to(batch.inputs)
    return Route(stays, stays * overseen), Route(torch.ones_like(stays), 1 - stays)


def cut_off(stack: Stack, _: Stack) -> None:
    """Take the second half of the last hidden layer out of the readout."""
    half = stack.architecture.width // 2
    stack.views["readout.weight"][..., half:] = 0


DODGE = Dodge(
    "pre-training lets unoverseen episodes teach one half of the last hidden layer alone, which is cut off before "
    "fine-tuning",
    "half of the last hidden layer, labels of oversight during pre-training, and a second backward pass",
    pretraining=lambda: Intervention(routes=routes),
    finetuning=lambda: Intervention(begin=cut_off),
)
