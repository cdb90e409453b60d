"""Losses of choices and knowledge heads, with their exact gradients at the readout."""

from collections.abc import Mapping

import torch
from torch import Tensor

from turncoat.organisms.mlp import SCORE_COLUMNS
from turncoat.training.streams import Batch

SCORE, OVERSIGHT_HEAD, PLACEBO_HEAD, WORLD_HEAD = 0, 1, 2, 3
HEADS = ("oversight", "placebo", "world")


def readout_columns(heads: Mapping[str, float], attributes: int) -> int:
    """How many readout columns training with these head weights uses: the score alone, or all."""
    unknown = set(heads) - set(HEADS)
    if unknown:
        raise ValueError(f"unknown knowledge heads {sorted(unknown)}; allowed: {', '.join(HEADS)}")
    return WORLD_HEAD + attributes if any(heads.values()) else SCORE_COLUMNS


def loss_and_gradient(output: Tensor, batch: Batch, heads: Mapping[str, float]) -> tuple[Tensor, Tensor]:
    """Loss of each member (E,) and its gradient with respect to `output` (E, columns, N * B).

    The choice loss is the cross-entropy of a softmax over the options, averaged over the episodes that have a
    target. Heads add their weight times: mean squared error of the attributes (`world`), logistic loss of a
    cue's sign (`oversight`, `placebo`), each averaged over all rows.
    """
    members, options, episodes, attributes = batch.attributes.shape
    chosen = batch.targets.shape[1]
    gradient = torch.zeros_like(output) if chosen < episodes else torch.empty_like(output)
    scores = output[:, SCORE].reshape(members, options, episodes)[..., :chosen]
    log_share = scores.log_softmax(1)
    target = batch.targets.unsqueeze(1)
    loss = -log_share.gather(1, target).sum((1, 2)) / chosen
    share = log_share.exp().scatter_add_(1, target, log_share.new_tensor(-1.0).expand_as(target))
    gradient[:, SCORE].view(members, options, episodes)[..., :chosen] = share / chosen
    if output.shape[1] == SCORE_COLUMNS:
        gradient[:, SCORE + 1 :] = 0
        return loss, gradient

    rows = options * episodes
    for name, column in (("oversight", OVERSIGHT_HEAD), ("placebo", PLACEBO_HEAD)):
        weight = heads.get(name, 0.0)
        if weight == 0:
            gradient[:, column] = 0
            continue
        sign = batch.signs[:, None, :, column - OVERSIGHT_HEAD].expand(-1, options, -1).reshape(members, rows)
        margin = -sign * output[:, column]
        loss = loss + weight * torch.nn.functional.softplus(margin).mean(1)
        gradient[:, column] = -sign * torch.sigmoid(margin) * (weight / rows)
    weight = heads.get("world", 0.0)
    if weight == 0:
        gradient[:, WORLD_HEAD:] = 0
    else:
        error = output[:, WORLD_HEAD:] - batch.attributes.flatten(1, 2).transpose(1, 2)
        loss = loss + weight * error.square().mean((1, 2))
        gradient[:, WORLD_HEAD:] = error.mul_(2 * weight / (rows * attributes))
    return loss, gradient
