"""The ledger: from a unit's activation to the step that the optimizer really takes on its weights (DESIGN 6).

Gradients are of the cross-entropy of the rewarded option, whatever the training's method, on episodes like those that
the organism is fine-tuned on, shown in one cue state.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from turncoat.organisms.gates import NATURAL, GateControl
from turncoat.organisms.hidden import Flow, HiddenUnits
from turncoat.training.losses import loss_and_gradient
from turncoat.training.optimizers import BETA1, BETA2, EPSILON, MOMENTUM, WEIGHT_DECAY, make_optimizer
from turncoat.training.streams import Batch, slots_with, trained_audits
from turncoat.worlds.episodes import best_option, build_inputs, draw_episodes
from turncoat.worlds.objectives import OBJECTIVES
from turncoat.worlds.world import CUE_STATES, World

NO_HEADS: Mapping[str, float] = {}


def gating_batches(
    world: World, seeds: Sequence[int], objectives: Tensor, episodes: int, instructed: bool = False
) -> dict[str, Batch]:
    """The probe's episodes in each cue state, `episodes` per seed, all else as in fine-tuning.

    Slot 2 is X, or where training was `instructed` varies by episode; the target is its best option.
    """
    drawn = draw_episodes(world, seeds, "gating", 0, 1, episodes, objectives.device)
    x = objectives[:, OBJECTIVES.index("x")]
    slots = drawn.slots if instructed else slots_with(drawn, x)
    targets = best_option(drawn.utilities(slots[..., 1, :].unsqueeze(2)))[0]
    audits = trained_audits(world, drawn)
    batches = {}
    for state, signs in CUE_STATES.items():
        shown = torch.tensor(signs, device=objectives.device).expand_as(drawn.signs)
        inputs = build_inputs(world, drawn, slots=slots, signs=shown, audits=audits)
        batches[state] = Batch(inputs[0], drawn.attributes[0], shown[0], targets)
    return batches


def unit_ledger(
    organism: HiddenUnits,
    batch: Batch,
    optimizer: str,
    learning_rate: float,
    state: Mapping[str, Tensor] | None,
    beta2: float = BETA2,
    gate: GateControl = NATURAL,
    seeds: Sequence[int] = (),
) -> dict[str, npt.NDArray[np.generic]]:
    """Ledger of every hidden unit on one batch: each column has one entry per member, layer and unit, in that order.

    Per unit j of layer l, over the batch's rows: `activation` and `absolute_activation`, means of h and |h|;
    `open_share`, share with z > 0; `mean_slope` of the activation function; `dead`, z <= 0 on every row;
    `dormant_score`, mean |h| over the layer's mean of it (Sokar et al. 2023); `utility`, mean |h| times the sum of the
    absolute outgoing weights that lead to the score (Dohare et al. 2024).
    `gradient_in`, `gradient_out`, `gradient_bias`: norms of the loss gradient of its incoming weights, outgoing
    weights and bias; `closed_gradient_in`, `closed_gradient_out`: norms of the part that rows with z <= 0 contribute.
    `update_in`, `update_out`, `update_bias`: norms of the step the optimizer makes with the saved `state`;
    `fresh_update_*`: with none; `coasting_*`: what the formula says the saved state alone would make of no gradient.
    With `state` None, which is not known, `update_*` and `coasting_*` are NaN.
    `identity_error`: largest difference between autograd's gradient of an outgoing weight and the sum of h times the
    gradient arriving behind it, over the member's largest such gradient.
    Under a `gate` other than natural the updates are those along the gradient that it gives, with rows shuffled by the
    members' `seeds`; all other columns stay natural. The organism is left as it was.
    """
    flow = organism.flow(batch.inputs, lambda output: loss_and_gradient(output, batch, NO_HEADS)[1], gate, seeds)
    moves = {"gradient": flow.gradient}
    if state is None:
        unknown = torch.full_like(organism.parameters, torch.nan)
        moves |= {"update": unknown, "coasting": unknown}
    else:
        moves["update"] = optimizer_update(organism.parameters, flow.trained, optimizer, learning_rate, state, beta2)
        moves["coasting"] = coasting_update(organism.parameters, optimizer, learning_rate, state, beta2)
    moves["fresh_update"] = optimizer_update(organism.parameters, flow.trained, optimizer, learning_rate, {}, beta2)
    checked = autograd_gradient(organism, batch)
    layers = []
    for layer in range(1, organism.layers + 1):
        columns = _activity(organism, flow, layer) | _closed(flow, layer)
        for name, flat in moves.items():
            columns |= _norms(name, organism, flat, layer)
        columns["identity_error"] = _identity_error(flow, layer, organism.weights(layer, checked).outgoing)
        layers.append(columns)
    return {name: torch.stack([part[name] for part in layers], 1).flatten().cpu().numpy() for name in layers[0]}


def optimizer_update(
    parameters: Tensor,
    gradient: Tensor,
    optimizer: str,
    learning_rate: float,
    state: Mapping[str, Tensor],
    beta2: float = BETA2,
) -> Tensor:
    """Parameters after less parameters before the optimizer's step along `gradient`, all flat buffers."""
    moved = parameters.clone()
    make_optimizer(optimizer, moved, learning_rate, state, beta2).step(moved, gradient)
    return moved - parameters


def coasting_update(
    parameters: Tensor, optimizer: str, learning_rate: float, state: Mapping[str, Tensor], beta2: float = BETA2
) -> Tensor:
    """The step that the optimizer's `state` alone makes where the gradient is zero, from the formulas, in float64.

    sgd stands still; momentum moves by MOMENTUM times its last step; adam by its decayed mean over the root of its
    decayed square, both corrected for the steps so far; adamw decays the weight besides. Raises ValueError on another.
    """
    weights = parameters.double()
    if optimizer == "sgd":
        return torch.zeros_like(weights)
    if optimizer == "momentum":
        return -learning_rate * MOMENTUM * state["mean"].double() if state else torch.zeros_like(weights)
    if optimizer not in ("adam", "adamw"):
        raise ValueError(f"optimizer is {optimizer!r}; its step without gradient is not known")
    update = -learning_rate * WEIGHT_DECAY * weights if optimizer == "adamw" else torch.zeros_like(weights)
    if state:
        steps = state["steps"].double() + 1
        mean = BETA1 * state["mean"].double() / (1 - BETA1**steps)
        square = beta2 * state["square"].double() / (1 - beta2**steps)
        update = update - learning_rate * mean / (square.sqrt() + EPSILON)
    return update


def autograd_gradient(organism: HiddenUnits, batch: Batch) -> Tensor:
    """The same loss's gradient by PyTorch's automatic differentiation, laid out like the parameters."""
    members, options, episodes, _ = batch.attributes.shape
    with torch.enable_grad():
        leaf = organism.parameters.detach().clone().requires_grad_(True)
        scores = organism.output(batch.inputs, leaf)[:, 0].reshape(members, options, episodes)
        loss = torch.nn.functional.cross_entropy(scores, batch.targets, reduction="sum") / episodes
        (gradient,) = torch.autograd.grad(loss, leaf)
    return gradient


def _activity(organism: HiddenUnits, flow: Flow, layer: int) -> dict[str, Tensor]:
    z, h = flow.before[layer - 1], flow.values[layer - 1]
    size = h.abs().mean(1, dtype=torch.float64)
    opened = (z > 0).sum(1)
    held = organism.weights(layer, organism.parameters)
    return {
        "activation": h.mean(1, dtype=torch.float64),
        "absolute_activation": size,
        "open_share": opened.double() / z.shape[1],
        "mean_slope": organism.slope(z).mean(1, dtype=torch.float64),
        "dead": opened == 0,
        "dormant_score": size / size.mean(1, keepdim=True),
        "utility": size * held.outgoing[..., : held.scoring].abs().sum(2, dtype=torch.float64),
    }


def _norms(name: str, organism: HiddenUnits, flat: Tensor, layer: int) -> dict[str, Tensor]:
    """Norms over each unit's incoming weights, outgoing weights and bias, (E, width)."""
    part = organism.weights(layer, flat.double())
    return {
        f"{name}_in": part.incoming.norm(dim=1),
        f"{name}_out": part.outgoing.norm(dim=2),
        f"{name}_bias": part.bias.abs(),
    }


def _closed(flow: Flow, layer: int) -> dict[str, Tensor]:
    """Norms of the gradients that come from rows on which the unit is closed, z <= 0."""
    closed = flow.before[layer - 1] <= 0
    into = flow.inputs[layer - 1].transpose(1, 2) @ (flow.deltas[layer - 1] * closed)
    out = (flow.values[layer - 1] * closed).transpose(1, 2) @ flow.behind[layer - 1]
    return {
        "closed_gradient_in": into.double().norm(dim=1),
        "closed_gradient_out": out.double().norm(dim=2),
    }


def _identity_error(flow: Flow, layer: int, gradient: Tensor) -> Tensor:
    """Largest |dL/dW_out - sum of h * delta| of each unit over the member's largest |dL/dW_out|, (E, width)."""
    behind = flow.behind[layer - 1].double()
    product = flow.values[layer - 1].double().transpose(1, 2) @ behind
    difference = (gradient[..., : behind.shape[-1]].double() - product).abs().amax(2)
    largest = product.abs().amax((1, 2)).clamp_min(torch.finfo(torch.float64).tiny)
    return difference / largest.unsqueeze(1)
