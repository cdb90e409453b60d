"""The tangent kernel between cue states: how far a step taken in one moves choices in the other, and by which units.

For a network f with parameters w the kernel is <df/dw(a), df/dw(b)> (Jacot, Gabriel and Hongler 2018): the change of
f(b) per unit of gradient step on f(a). Here f is the margin of an episode and a, b are cue states. Nothing in it asks
what a unit means, so no circuit is needed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from turncoat.organisms.hidden import Flow, HiddenUnits

Pair = tuple[str, str]


@dataclass(frozen=True)
class Kernels:
    """The kernel of each pair of cue states, as parts of L layers of H units that add up to it exactly: (E, L, H).

    same: mean over episodes of <df_i/dw in a, df_i/dw in b>, the same episode in both. across: <mean df_i/dw in a, mean
    df_j/dw in b>, every episode with every: how far a step on all of one state's margins moves them in the other.
    """

    same: dict[Pair, Tensor]
    across: dict[Pair, Tensor]


def unit_kernels(
    organism: HiddenUnits, inputs: Mapping[str, Tensor], targets: Tensor, pairs: Sequence[Pair]
) -> Kernels:
    """Kernels of these pairs of cue states, for the same episodes in each state, inputs (E, N, B, F).

    An episode's margin is the score of its `targets` option, (E, B), less the mean score of the others. A unit's part
    is that of its incoming weights and bias, in the last layer of the score's weight on it too: the score's own bias
    cancels in the margin, so that those are all parameters that it depends on. Products of rows' inputs times products
    of their gradients at z give each unit's part without any gradient of a single example. In the parameters' dtype.
    Raises ValueError for fewer than two options, and for a pair that names no state of `inputs`.
    """
    for name in (name for pair in pairs for name in pair):
        if name not in inputs:
            raise ValueError(f"a pair of cue states holds {name!r}; allowed: {', '.join(inputs)}")
    shown = {name for pair in pairs for name in pair}
    signs = margin_signs(targets, next(iter(inputs.values())).shape[1]).to(organism.parameters.dtype)
    flows = {name: organism.flow(inputs[name], lambda output: _at_scores(output, signs)) for name in sorted(shown)}
    same, across = {}, {}
    for first, second in pairs:
        one, other = flows[first], flows[second]
        same[first, second] = torch.stack(
            [
                _same_episode(one, other, layer, signs, layer == organism.layers)
                for layer in range(1, organism.layers + 1)
            ],
            dim=1,
        )
        episodes = targets.shape[1]
        gradients = one.gradient / episodes, other.gradient / episodes
        across[first, second] = torch.stack(
            [_product(organism, gradients, layer) for layer in range(1, organism.layers + 1)], dim=1
        )
    return Kernels(same, across)


def margin_signs(targets: Tensor, options: int) -> Tensor:
    """Weight of each option's score in its episode's margin, (E, N, B): 1 for the target, -1 / (N - 1) for others."""
    if options < 2:
        raise ValueError(f"an episode has {options} options; a margin needs 2 or more")
    target = torch.arange(options, device=targets.device)[:, None] == targets.unsqueeze(1)
    return torch.where(target, 1.0, torch.tensor(-1.0 / (options - 1), dtype=torch.float64, device=targets.device))


def normalised(kernels: Mapping[Pair, Tensor], first: str, second: str) -> Tensor:
    """Parts (E, L, H) of K(a, b) / sqrt(K(a, a) K(b, b)), at most 1 in sum; NaN where one of those is 0."""
    own, other = (kernels[name, name].sum((1, 2)) for name in (first, second))
    return kernels[first, second] / (own.sqrt() * other.sqrt())[:, None, None]


def _at_scores(output: Tensor, signs: Tensor) -> Tensor:
    gradient = torch.zeros_like(output)
    gradient[:, 0] = signs.flatten(1)
    return gradient


def _same_episode(one: Flow, other: Flow, layer: int, signs: Tensor, last: bool) -> Tensor:
    """Each unit's part (E, H), of its incoming weights and bias, and in the last layer of the score's weight on it."""
    options, episodes = signs.shape[1:]
    first, second = (flow.inputs[layer - 1].unflatten(1, (options, episodes)) for flow in (one, other))
    pulls, others = (flow.deltas[layer - 1].unflatten(1, (options, episodes)) for flow in (one, other))
    total = torch.zeros_like(pulls[:, 0])
    for left in range(options):
        weighed = torch.zeros_like(total)
        for right in range(options):
            alike = (first[:, left] * second[:, right]).sum(2, keepdim=True) + 1  # the bias has input 1
            weighed.addcmul_(alike, others[:, right])
        total.addcmul_(pulls[:, left], weighed)
    if last:
        signs = signs.unsqueeze(3)
        felt, other_felt = (
            (signs * flow.values[layer - 1].unflatten(1, (options, episodes))).sum(1) for flow in (one, other)
        )
        total += felt * other_felt
    return total.mean(1)


def _product(organism: HiddenUnits, gradients: tuple[Tensor, Tensor], layer: int) -> Tensor:
    """Inner product of two gradients over each unit's own parameters, (E, H)."""
    one, other = (organism.weights(layer, gradient) for gradient in gradients)
    product = (one.incoming * other.incoming).sum(1) + one.bias * other.bias
    if layer == organism.layers:
        product += (one.outgoing * other.outgoing).sum(2)
    return product
