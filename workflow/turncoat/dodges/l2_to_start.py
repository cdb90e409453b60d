"""Weights held near the start: an L2 penalty on their distance from where fine-tuning began."""

from turncoat.organisms.mlp import Stack
from turncoat.training.interventions import Dodge, Intervention

STRENGTH = 0.003  # of half the squared distance


def pull_back(stack: Stack, gradient: Stack, beginning: Stack) -> None:
    """Add the penalty's gradient, strength * (weights - beginning)."""
    gradient.flat.add_(stack.flat - beginning.flat, alpha=STRENGTH)


DODGE = Dodge(
    f"fine-tuning adds {STRENGTH} / 2 times the squared distance of the weights from the start to the loss",
    "slower fine-tuning",
    finetuning=lambda: Intervention(gradient=pull_back),
)
