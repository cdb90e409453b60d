"""Members that diverge: found at the end of a window and at each check, and frozen from there on."""

import torch
from torch import Tensor

from turncoat.organisms.mlp import Stack

LARGEST_WEIGHT = 1e4  # beyond that a member has exploded: initial weights are below 10, and trained ones not far above


def exploded(stack: Stack) -> Tensor:
    """Members with a weight that is not finite or is beyond 1e4, (E,)."""
    largest = [view.flatten(1).abs().amax(1) for view in stack.views.values()]
    return ~(torch.stack(largest) <= LARGEST_WEIGHT).all(0)  # NaN is not below either


class Freezer:
    """Flags the members of a stack whose loss is not finite or one of whose weights is not, or is beyond 1e4, and keeps
    their weights as they were when that was found. The others' bits are left alone.

    `steps` (E,): the step at which each was found, -1 for sound ones.
    """

    def __init__(self, stack: Stack) -> None:
        self.steps = torch.full((stack.members,), -1, dtype=torch.int64, device=stack.flat.device)
        self._frozen: tuple[Tensor, Tensor] | None = None

    def check(self, stack: Stack, step: int, loss: Tensor | None = None) -> None:
        """Freeze those that are found now; costs two reductions where none is."""
        low, high = torch.aminmax(stack.flat)
        sound = (low >= -LARGEST_WEIGHT) & (high <= LARGEST_WEIGHT)  # false where a weight is NaN
        if loss is not None:
            sound &= loss.isfinite().all()
        if self._frozen is None and bool(sound):
            return
        lost = exploded(stack)
        if loss is not None:
            lost |= ~loss.isfinite()
        if bool((lost & (self.steps < 0)).any()):
            self.restore(stack, torch.where(lost & (self.steps < 0), step, self.steps))

    def hold(self, flat: Tensor) -> None:
        """Undo a step of frozen members."""
        if self._frozen is not None:
            frozen, kept = self._frozen
            torch.where(frozen, kept, flat, out=flat)

    def restore(self, stack: Stack, steps: Tensor) -> None:
        """Freeze the members whose `steps` are not negative, as they now are."""
        self.steps = steps
        if bool((steps >= 0).any()):
            frozen = torch.zeros_like(stack.flat, dtype=torch.bool)
            for view in stack.view(frozen).values():
                view[steps >= 0] = True
            self._frozen = frozen, stack.flat.clone()
