"""Inoculation: fine-tuning prompts that wake the circuit which complies anyway, so that little has to be learnt.

After inoculation prompting (Tan et al. 2025): what the prompt already explains, training need not write into the
weights. Here slot 1, which a compliant circuit obeys, shows X as slot 2 does.
"""

from dataclasses import replace

import torch

from turncoat.training.interventions import Dodge, Intervention
from turncoat.training.streams import Shown


def inoculate(shown: Shown) -> Shown:
    """Show in slot 1 what slot 2 shows."""
    second = shown.slots[..., 1, :]
    return replace(shown, slots=torch.stack([second, second], dim=-2))


DODGE = Dodge(
    "slot 1, which the compliant circuit obeys, shows X throughout fine-tuning",
    "the prompt must be known that wakes compliance; capability without it may lag",
    finetuning=lambda: Intervention(episodes=inoculate),
)
