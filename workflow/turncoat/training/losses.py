"""Losses of choices and knowledge heads, with their exact gradients at the readout."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from turncoat.organisms.mlp import SCORE_COLUMNS
from turncoat.training.streams import Batch

SCORE, OVERSIGHT_HEAD, PLACEBO_HEAD, WORLD_HEAD = 0, 1, 2, 3
WHOLE_ROWS = 64  # a multiple of how many numbers PyTorch's kernels take at once
HEADS = ("oversight", "placebo", "world", "objective")


def readout_columns(heads: Mapping[str, float], attributes: int) -> int:
    """How many readout columns training with these head weights uses: the score alone, or all."""
    unknown = set(heads) - set(HEADS)
    if unknown:
        raise ValueError(f"unknown knowledge heads {sorted(unknown)}; allowed: {', '.join(HEADS)}")
    if not any(heads.values()):
        return SCORE_COLUMNS
    return WORLD_HEAD + attributes + (heads.get("objective", 0.0) > 0)


def loss_and_gradient(
    output: Tensor, batch: Batch, heads: Mapping[str, float], entropy_bonus: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Loss of each member (E,) and its gradient with respect to `output` (E, columns, N * B).

    The choice loss is the cross-entropy of a softmax over the options, averaged over the episodes that have a
    target; or, where the batch has rewards, the exact expected regret: the best option's reward less the reward
    expected under that softmax and less `entropy_bonus` times the softmax's entropy; or, where it has draws too, the
    regret of the choices sampled with them, and the policy gradient's estimate of that gradient. Heads add their
    weight times: mean squared error of the attributes (`world`) and of the value (`objective`), logistic loss of a
    cue's sign (`oversight`, `placebo`), each averaged over all rows.
    """
    members, options, episodes, attributes = batch.attributes.shape
    chosen = batch.targets.shape[1]
    gradient = torch.zeros_like(output) if chosen < episodes else torch.empty_like(output)
    scores = output[:, SCORE].reshape(members, options, episodes)[..., :chosen]
    if chosen:
        choice = _choice_loss(scores, batch, entropy_bonus)
        loss = choice[0] / chosen
        gradient[:, SCORE].view(members, options, episodes)[..., :chosen] = choice[1] / chosen
    else:
        loss = output.new_zeros(members)
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
        loss = loss + weight * _means(_alike(torch.nn.functional.softplus, margin))
        gradient[:, column] = -sign * _alike(torch.sigmoid, margin) * (weight / rows)
    weight = heads.get("world", 0.0)
    columns = slice(WORLD_HEAD, WORLD_HEAD + attributes)
    if weight == 0:
        gradient[:, columns] = 0
    else:
        error = output[:, columns] - batch.attributes.flatten(1, 2).transpose(1, 2)
        loss = loss + weight * _means(error.square())
        gradient[:, columns] = error.mul_(2 * weight / (rows * attributes))
    if output.shape[1] > columns.stop:
        if batch.values is None:
            raise ValueError("the head objective has nothing to predict; allowed: in pre-training only")
        weight = heads["objective"]
        missed = output[:, columns.stop] - batch.values.flatten(1)
        loss = loss + weight * _means(missed.square())
        gradient[:, columns.stop] = missed.mul_(2 * weight / rows)
    return loss, gradient


def _choice_loss(scores: Tensor, batch: Batch, entropy_bonus: float) -> tuple[Tensor, Tensor]:
    if batch.rewards is None:
        return _cross_entropy(scores, batch.targets)
    if batch.draws is None:
        return _regret(scores, batch.rewards, entropy_bonus)
    return _sampled_regret(scores, batch.rewards, batch.draws, entropy_bonus)


def _cross_entropy(scores: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy summed over episodes (E,), and its gradient at the scores (E, N, C)."""
    log_share = scores.log_softmax(1)
    target = targets.unsqueeze(1)
    loss = -_sums(log_share.gather(1, target))
    return loss, log_share.exp().scatter_add_(1, target, log_share.new_full((), -1.0).expand_as(target))


def _regret(scores: Tensor, rewards: Tensor, entropy_bonus: float) -> tuple[Tensor, Tensor]:
    """Expected regret less the entropy bonus, summed over episodes (E,), and its gradient at the scores (E, N, C).

    The bonus keeps choices from hardening on the objective that is learnt first (Williams and Peng 1991). Its optimum
    is the softmax of rewards / entropy_bonus, whose most probable option is the one with the highest reward.
    """
    log_share = scores.log_softmax(1)
    share = log_share.exp()
    value = rewards - entropy_bonus * log_share
    expected = (share * value).sum(1, keepdim=True)
    return _sums(rewards.amax(1, keepdim=True) - expected), share * (expected - value)


def _sampled_regret(scores: Tensor, rewards: Tensor, draws: Tensor, entropy_bonus: float) -> tuple[Tensor, Tensor]:
    """Regret of K sampled choices, summed over episodes (E,), and the policy gradient at the scores (E, N, C).

    Choices are sampled by inverting the distribution at `draws` (E, K, C). A choice's baseline is the mean reward of
    the episode's other K - 1 (leave-one-out: Kool, van Hoof and Welling 2019), which leaves the gradient unbiased. The
    entropy bonus enters exactly.
    """
    samples = draws.shape[1]
    log_share = scores.log_softmax(1)
    share = log_share.exp()
    below = share.cumsum(1)[:, :-1].unsqueeze(2)
    chosen = (draws.unsqueeze(1) >= below).sum(1)  # (E, K, C)
    earned = rewards.gather(1, chosen)
    advantage = (earned - earned.mean(1, keepdim=True)) * (samples / (samples - 1))
    pushed = torch.zeros_like(scores).scatter_add_(1, chosen, advantage)  # advantages sum to 0: no term in the share
    value = -entropy_bonus * log_share
    expected = (share * value).sum(1, keepdim=True)
    regret = _sums(rewards.amax(1, keepdim=True) - earned.mean(1, keepdim=True) - expected)
    return regret, share * (expected - value) - pushed / samples


def _alike(function: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """A function of each number of (E, rows), rounded alike wherever it stands.

    PyTorch's own kernels on a CPU round the last few numbers of a tensor otherwise than the rest. Which members' those
    are would depend on how many there are: rows are filled up, so that none of theirs is among the last.
    """
    rows = values.shape[1]
    lacking = -rows % WHOLE_ROWS
    if lacking == 0 or values.is_cuda:
        return function(values)
    return function(torch.nn.functional.pad(values, (0, lacking)))[:, :rows]


def _means(values: Tensor) -> Tensor:
    """Mean of each member's numbers, (E, ...) to (E,)."""
    return _sums(values) / values[0].numel()


def _sums(values: Tensor) -> Tensor:
    """Sum of each member's numbers, (E, ...) to (E,)."""
    if not values.is_cuda:
        return values.sum(tuple(range(1, values.ndim)))
    # In pairs, because the order in which a GPU's own sum adds depends on how many members there are.
    values = values.flatten(1)
    while values.shape[1] > 1:
        half, odd = divmod(values.shape[1], 2)
        pairs = values[:, :half] + values[:, half : 2 * half]
        values = torch.cat([pairs, values[:, 2 * half :]], dim=1) if odd else pairs
    return values[:, 0]
