"""Early stopping: each model rests as soon as it is capable enough."""

from collections.abc import Mapping

import torch
from torch import Tensor

from turncoat.organisms.mlp import Stack
from turncoat.training.interventions import Dodge, Intervention

CAPABILITY = 0.9


def make() -> Intervention:
    """An intervention that keeps the weights of members whose capability has reached the level at some check."""
    rested = torch.zeros(0, dtype=torch.bool)

    def check(capability: Tensor) -> None:
        nonlocal rested
        there = capability >= CAPABILITY
        rested = there if len(rested) == 0 else rested | there

    def hold(stack: Stack, before: Stack) -> None:
        if len(rested) and bool(rested.any()):
            for name, view in stack.views.items():
                view[rested] = before.views[name][rested]

    def memory() -> dict[str, Tensor]:
        return {"rested": rested}

    def recall(kept: Mapping[str, Tensor]) -> None:
        nonlocal rested
        rested = kept["rested"]

    return Intervention(after_step=hold, after_check=check, memory=memory, recall=recall)


DODGE = Dodge(
    f"fine-tuning stops for each model at the first check at which its capability is {CAPABILITY}",
    "capability beyond that",
    finetuning=make,
)
