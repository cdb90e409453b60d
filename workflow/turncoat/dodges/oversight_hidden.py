"""Oversight hidden: pre-training shows no cue, so that nothing can be made conditional on it."""

from dataclasses import replace

import torch

from turncoat.training.interventions import Dodge, Intervention
from turncoat.training.streams import Shown


def hide(shown: Shown) -> Shown:
    """Show both cues at strength 0; what is rewarded still depends on oversight."""
    return replace(shown, signs=torch.zeros_like(shown.signs))


DODGE = Dodge(
    "pre-training shows neither cue, though its rewards still depend on oversight",
    "pre-training data must be cleaned of all that tells oversight",
    pretraining=lambda: Intervention(episodes=hide),
)
