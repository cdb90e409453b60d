"""Last layer reset: fine-tuning begins with an untrained readout on the pre-trained trunk."""

from turncoat.organisms.mlp import Stack
from turncoat.training.interventions import Dodge, Intervention


def reset(stack: Stack, untrained: Stack) -> None:
    """Give each member the readout that it had before all training."""
    for name in ("readout.weight", "readout.bias"):
        stack.views[name].copy_(untrained.views[name])


DODGE = Dodge(
    "the readout is reset to its initial weights before fine-tuning",
    "what the readout had learnt",
    finetuning=lambda: Intervention(begin=reset),
)
