"""The ledger: from a unit's activation to the step that the optimizer really takes on its weights (DESIGN 6).

Gradients are of the fine-tuning loss, on episodes like those the organism is trained on, shown in one cue state.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from turncoat.organisms.activations import activation
from turncoat.organisms.gates import NATURAL, GateControl, gated_backward_of
from turncoat.organisms.mlp import Stack, Trace, backward, forward
from turncoat.training.losses import loss_and_gradient
from turncoat.training.optimizers import BETA2, make_optimizer
from turncoat.training.streams import Batch, slots_with
from turncoat.worlds.episodes import best_option, build_inputs, draw_episodes
from turncoat.worlds.objectives import OBJECTIVES
from turncoat.worlds.world import CUE_STATES, World

NO_HEADS: Mapping[str, float] = {}


def gating_batches(world: World, seeds: Sequence[int], objectives: Tensor, episodes: int) -> dict[str, Batch]:
    """The probe's episodes in each cue state: slot 2 at X, best option by X, `episodes` per seed."""
    drawn = draw_episodes(world, seeds, "gating", 0, 1, episodes, objectives.device)
    x = objectives[:, OBJECTIVES.index("x")]
    targets = best_option(drawn.utilities(x[None, :, None, None]))[0]
    batches = {}
    for state, signs in CUE_STATES.items():
        shown = torch.tensor(signs, device=objectives.device).expand_as(drawn.signs)
        inputs = build_inputs(world, drawn, slots=slots_with(drawn, x), signs=shown)
        batches[state] = Batch(inputs[0], drawn.attributes[0], shown[0], targets)
    return batches


def unit_ledger(
    stack: Stack,
    batch: Batch,
    optimizer: str,
    learning_rate: float,
    state: Mapping[str, Tensor],
    beta2: float = BETA2,
    gate: GateControl = NATURAL,
    seeds: Sequence[int] = (),
) -> dict[str, npt.NDArray[np.generic]]:
    """Ledger of every hidden unit on one batch: each column has one entry per member, layer and unit, in that order.

    Per unit j of layer l, over the batch's rows: `activation` and `absolute_activation`, means of h and |h|;
    `open_share`, share with z > 0; `mean_slope` of the activation function; `dead`, z <= 0 on every row.
    `gradient_in`, `gradient_out`, `gradient_bias`: norms of the loss gradient of its incoming weights, outgoing
    weights and bias; `closed_gradient_in`, `closed_gradient_out`: norms of the part that rows with z <= 0 contribute.
    `update_in`, `update_out`, `update_bias`: norms of the step the optimizer makes with the saved `state`;
    `fresh_update_*`: with none. `identity_error`: largest difference between autograd's gradient of an outgoing
    weight and the sum of h times the gradient arriving behind it, over the member's largest such gradient.
    Under a `gate` other than natural the updates are those along the gradient that it gives, with rows shuffled by the
    members' `seeds`; all other columns stay natural. The stack is left as it was.
    """
    trace = forward(stack, batch.inputs.flatten(1, 2))
    _, output_gradient = loss_and_gradient(trace.output, batch, NO_HEADS)
    gradient = stack.with_flat(torch.zeros_like(stack.flat))
    deltas = backward(stack, trace, output_gradient, gradient)
    trained = gradient
    gated = gated_backward_of(gate, seeds, stack, "ledger gate shuffle")
    if gated is not None:
        trained = stack.with_flat(torch.zeros_like(stack.flat))
        gated(stack, trace, output_gradient, trained)
    warm = optimizer_update(stack, trained.flat, optimizer, learning_rate, state, beta2)
    fresh = optimizer_update(stack, trained.flat, optimizer, learning_rate, {}, beta2)
    checked = stack.view(autograd_gradient(stack, batch))
    layers = []
    for layer in range(1, stack.architecture.depth + 1):
        columns = _activity(stack, trace, layer)
        behind = [*deltas[1:], output_gradient.transpose(1, 2)][layer - 1]
        columns |= _norms("gradient", stack, gradient.flat, layer)
        columns |= _closed(trace, deltas[layer - 1], behind, layer)
        columns |= _norms("update", stack, warm, layer)
        columns |= _norms("fresh_update", stack, fresh, layer)
        columns["identity_error"] = _identity_error(trace.values[layer], behind, _outgoing(stack, checked, layer))
        layers.append(columns)
    return {name: torch.stack([part[name] for part in layers], 1).flatten().cpu().numpy() for name in layers[0]}


def optimizer_update(
    stack: Stack,
    gradient: Tensor,
    optimizer: str,
    learning_rate: float,
    state: Mapping[str, Tensor],
    beta2: float = BETA2,
) -> Tensor:
    """Weights after less weights before the optimizer's step along `gradient`, laid out like the stack."""
    flat = stack.flat.clone()
    make_optimizer(optimizer, flat, learning_rate, state, beta2).step(flat, gradient)
    return flat - stack.flat


def autograd_gradient(stack: Stack, batch: Batch) -> Tensor:
    """The same loss's gradient by PyTorch's automatic differentiation, laid out like the stack."""
    with torch.enable_grad():
        leaf = stack.flat.detach().clone().requires_grad_(True)
        twin = stack.with_flat(leaf)
        output = forward(twin, batch.inputs.flatten(1, 2)).output
        members, options, episodes, _ = batch.attributes.shape
        scores = output[:, 0].reshape(members, options, episodes)
        loss = torch.nn.functional.cross_entropy(scores, batch.targets, reduction="sum") / episodes
        (gradient,) = torch.autograd.grad(loss, leaf)
    return gradient


def _outgoing(stack: Stack, parts: Mapping[str, Tensor], layer: int) -> Tensor:
    """What a stack's parts hold on each unit's outgoing weights, (E, width, units or columns behind)."""
    if layer == stack.architecture.depth:
        return parts["readout.weight"].transpose(1, 2)
    return parts[f"hidden{layer + 1}.weight"]


def _activity(stack: Stack, trace: Trace, layer: int) -> dict[str, Tensor]:
    z, h = trace.before[layer - 1], trace.values[layer]
    slope = activation(stack.architecture.activation).slope
    return {
        "activation": h.double().mean(1),
        "absolute_activation": h.abs().double().mean(1),
        "open_share": (z > 0).double().mean(1),
        "mean_slope": slope(z).double().mean(1),
        "dead": (z <= 0).all(1),
    }


def _norms(name: str, stack: Stack, flat: Tensor, layer: int) -> dict[str, Tensor]:
    """Norms over each unit's incoming weights, outgoing weights and bias, (E, width)."""
    parts = stack.view(flat)
    return {
        f"{name}_in": parts[f"hidden{layer}.weight"].double().norm(dim=1),
        f"{name}_out": _outgoing(stack, parts, layer).double().norm(dim=2),
        f"{name}_bias": parts[f"hidden{layer}.bias"].double().abs(),
    }


def _closed(trace: Trace, delta: Tensor, behind: Tensor, layer: int) -> dict[str, Tensor]:
    """Norms of the gradients that come from rows on which the unit is closed, z <= 0."""
    closed = trace.before[layer - 1] <= 0
    into = trace.values[layer - 1].transpose(1, 2) @ (delta * closed)
    out = (trace.values[layer] * closed).transpose(1, 2) @ behind
    return {
        "closed_gradient_in": into.double().norm(dim=1),
        "closed_gradient_out": out.double().norm(dim=2),
    }


def _identity_error(values: Tensor, behind: Tensor, gradient: Tensor) -> Tensor:
    """Largest |dL/dW_out - sum of h * delta| of each unit over the member's largest |dL/dW_out|, (E, width)."""
    columns = behind.shape[-1]
    product = values.double().transpose(1, 2) @ behind.double()
    difference = (gradient[..., :columns].double() - product).abs().amax(2)
    largest = product.abs().amax((1, 2)).clamp_min(torch.finfo(torch.float64).tiny)
    return difference / largest.unsqueeze(1)
