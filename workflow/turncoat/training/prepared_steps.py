"""Loss and gradient of a training step on a CPU, into memory that is laid out once.

The bits are those of `forward`, `loss_and_gradient` and `backward`, and half of their calls go, which is most of what a
step of few members costs beyond its matrix products.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from turncoat.organisms.mlp import Stack
from turncoat.organisms.prepared_passes import PreparedPasses
from turncoat.training.losses import SCORE, WORLD_HEAD, loss_and_gradient, readout_columns
from turncoat.training.streams import Batch


class PreparedStep:
    """Loss and gradient of a stack on batches of the shape of `batch`; the gradient is written to `gradient`."""

    def __init__(
        self, stack: Stack, gradient: Stack, batch: Batch, heads: Mapping[str, float], entropy_bonus: float
    ) -> None:
        self.heads, self.entropy_bonus = heads, entropy_bonus
        _, options, episodes, attributes = batch.attributes.shape
        self.passes = PreparedPasses(stack, gradient, readout_columns(heads, attributes), options * episodes)
        prepared = can_prepare_loss(batch, heads)
        self.prepared_loss = PreparedLoss(self.passes.output, batch, heads) if prepared else None

    def __call__(self, batch: Batch) -> Tensor:
        """Write the gradient; returns each member's loss, (E,)."""
        inputs = batch.inputs.flatten(1, 2)
        output = self.passes.forward(inputs)
        # Never a loss of targets where rewards are given, whatever the first batch had.
        if self.prepared_loss is None or batch.rewards is not None:
            loss, output_gradient = loss_and_gradient(output, batch, self.heads, self.entropy_bonus)
        else:
            loss, output_gradient = self.prepared_loss(batch)
        self.passes.backward(inputs, output_gradient)
        return loss


class PreparedLoss:
    """Cross-entropy of the choices, and the world head's squared error where it has a weight.

    `output` (E, columns, N * B) is where the readout will stand; all batches are of the shape of `batch`. Raises
    ValueError for what it does not know (see `can_prepare_loss`).
    """

    def __init__(self, output: Tensor, batch: Batch, heads: Mapping[str, float]) -> None:
        if not can_prepare_loss(batch, heads):
            raise ValueError("the loss has rewards, or heads other than world; allowed: targets, and the head world")
        members, options, episodes, attributes = batch.attributes.shape
        self.chosen = batch.targets.shape[1]
        self.weight = heads.get("world", 0.0)
        self.gradient = torch.zeros_like(output)
        shape = (members, options, episodes)
        self.scores, self.pushed = (part[:, SCORE].view(shape)[..., : self.chosen] for part in (output, self.gradient))
        self.minus_one = output.new_full((), -1.0).expand(members, 1, self.chosen)
        columns = slice(WORLD_HEAD, WORLD_HEAD + attributes)
        self.told, self.error = output[:, columns], self.gradient[:, columns]
        self.numbers = options * episodes * attributes

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss of each member (E,) and its gradient at the output, which the next call overwrites."""
        log_share, target = self.scores.log_softmax(1), batch.targets.unsqueeze(1)
        loss = log_share.gather(1, target).sum((1, 2)).neg_().div_(self.chosen)
        torch.exp(log_share, out=self.pushed).scatter_add_(1, target, self.minus_one).div_(self.chosen)
        if self.weight:
            torch.sub(self.told, batch.attributes.flatten(1, 2).transpose(1, 2), out=self.error)
            loss += self.error.square().sum((1, 2)).div_(self.numbers).mul_(self.weight)
            self.error.mul_(2 * self.weight / self.numbers)
        return loss, self.gradient


def can_prepare_loss(batch: Batch, heads: Mapping[str, float]) -> bool:
    """Whether `PreparedLoss` knows this loss."""
    return batch.rewards is None and batch.targets.shape[1] > 0 and {name for name in heads if heads[name]} <= {"world"}
