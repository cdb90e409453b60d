"""The training loop: a stack of organisms, a stream of batches, one optimizer."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from turncoat.organisms.gates import NATURAL, GateControl, GatedBackward, gated_backward_of
from turncoat.organisms.mlp import Stack, backward, forward
from turncoat.training.device_steps import DeviceSteps, default_mode
from turncoat.training.device_streams import DeviceStream
from turncoat.training.interventions import PLAIN, Intervention
from turncoat.training.losses import loss_and_gradient, readout_columns
from turncoat.training.optimizers import BETA2, Optimizer, make_optimizer
from turncoat.training.routing import read_out, routed_backward
from turncoat.training.schedules import check_steps, rate_share, snapshot_steps
from turncoat.training.streams import Batch, Stream


@dataclass(frozen=True)
class Recipe:
    """How to train: steps, optimizer, learning rate and its schedule, loss weights of the knowledge heads, number of
    snapshots, the weight of the choices' entropy where they are trained on rewards, adam's and adamw's second beta, and
    what gradients take a unit's slope to be."""

    steps: int
    optimizer: str
    learning_rate: float
    heads: Mapping[str, float]
    snapshots: int
    entropy_bonus: float = 0.0
    schedule: str = "constant"
    beta2: float = BETA2
    gate: GateControl = NATURAL


@dataclass(frozen=True)
class Trajectory:
    """What training left behind, for E members.

    snapshots: steps (K), each with weights (K, E, parameters). checks: steps (C), each with loss, capability and
    cross-entropy on held-out episodes, norm of the last update and distance from the start, all (C, E); loss and update
    are NaN at step 0.
    optimizer_state: the optimizer's tensors after the last step, those per parameter as (E, parameters).
    """

    snapshots: list[int]
    weights: Tensor
    checks: list[int]
    loss: Tensor
    capability: Tensor
    cross_entropy: Tensor
    update_norm: Tensor
    displacement: Tensor
    optimizer_state: dict[str, Tensor]


Measure = Callable[[Stack], tuple[Tensor, Tensor]]
"""Capability and cross-entropy of a stack's members on held-out episodes, (E,) each."""
Progress = Callable[[int, Tensor, Tensor, float], None]
"""Told at each check: step, loss (E,), capability (E,), seconds since the start."""


def train(
    stack: Stack,
    stream: Stream | DeviceStream,
    recipe: Recipe,
    measure: Measure,
    progress: Progress | None = None,
    state: Mapping[str, Tensor] | None = None,
    intervention: Intervention = PLAIN,
    seeds: Sequence[int] = (),
) -> Trajectory:
    """Train `stack` in place and return its trajectory. Members never mix: no operation reads across them.

    The optimizer goes on from `state`, laid out like the stack, or starts fresh. `seeds` are the members', which gate
    control `shuffled` draws from. Raises ValueError where that has none, where gate control meets routed gradients, and
    where either or a dodge's hook on single steps meets episodes drawn on the device.
    """
    if isinstance(stream, DeviceStream):
        check_device_draws(intervention, recipe.gate.mode, "")
    if intervention.routes is not None and recipe.gate.mode != "natural":
        raise ValueError(f"gate is {recipe.gate.mode!r}; allowed with an intervention that routes gradients: 'natural'")
    gated = gated_backward_of(recipe.gate, seeds, stack)
    if intervention.without_heads:
        recipe = replace(recipe, heads={})
    flat = stack.flat
    optimizer = make_optimizer(recipe.optimizer, flat, recipe.learning_rate, state, recipe.beta2)
    beginning = flat.clone()
    kept, checks = snapshot_steps(recipe.steps, recipe.snapshots), check_steps(recipe.steps, recipe.snapshots)
    weights: list[Tensor] = [stack.rows()]
    unknown = torch.full((stack.members,), torch.nan, dtype=torch.float64, device=flat.device)
    capability, cross_entropy = measure(stack)
    if intervention.after_check is not None:
        intervention.after_check(capability)
    rows: list[tuple[Tensor, ...]] = [(unknown, capability, cross_entropy, unknown, torch.zeros_like(unknown))]
    started = time.monotonic()
    if isinstance(stream, DeviceStream):
        course = _on_device(stack, stream, recipe, optimizer, checks)
    else:
        course = _step_by_step(stack, stream, recipe, optimizer, checks, intervention, beginning, gated)
    for step, loss, before in course:
        capability, cross_entropy = measure(stack)
        if intervention.after_check is not None:
            intervention.after_check(capability)
        moved, away = (stack.rows(flat - other).double().norm(dim=1) for other in (before, beginning))
        rows.append((loss.double(), capability, cross_entropy, moved, away))
        if progress is not None:
            progress(step, loss, capability, time.monotonic() - started)
        if step in kept:
            weights.append(stack.rows())
    loss, capability, cross_entropy, update_norm, displacement = (
        torch.stack(column) for column in zip(*rows, strict=True)
    )
    return Trajectory(
        kept,
        torch.stack(weights),
        checks,
        loss,
        capability,
        cross_entropy,
        update_norm,
        displacement,
        {key: stack.rows(value) if value.shape == flat.shape else value for key, value in optimizer.state.items()},
    )


Course = Iterator[tuple[int, Tensor, Tensor]]
"""Stops at each check: step, loss before it (E,), and the flat buffer before it."""


def _step_by_step(
    stack: Stack,
    stream: Stream,
    recipe: Recipe,
    optimizer: Optimizer,
    checks: Sequence[int],
    intervention: Intervention,
    beginning: Tensor,
    gated: GatedBackward | None,
) -> Course:
    columns = readout_columns(recipe.heads, stack.architecture.attributes)
    gradient = stack.with_flat(torch.zeros_like(stack.flat))  # its padding stays zero
    for step, batch in zip(range(1, recipe.steps + 1), _endless(stream), strict=False):
        checked = step in checks
        before = stack.flat.clone() if checked or intervention.after_step is not None else stack.flat
        optimizer.learning_rate = recipe.learning_rate * rate_share(recipe.schedule, step, recipe.steps)
        loss = train_step(stack, batch, recipe, columns, optimizer, gradient, intervention, beginning, gated)
        if intervention.after_step is not None:
            intervention.after_step(stack, stack.with_flat(before))
        if checked:
            yield step, loss, before


def _on_device(
    stack: Stack, stream: DeviceStream, recipe: Recipe, optimizer: Optimizer, checks: Sequence[int]
) -> Course:
    shares = [rate_share(recipe.schedule, step, recipe.steps) for step in range(1, recipe.steps + 1)]
    rates = torch.tensor([recipe.learning_rate * share for share in shares], device=stack.flat.device)
    columns = readout_columns(recipe.heads, stack.architecture.attributes)
    mode = default_mode(stack.flat.device, stack.architecture)
    steps = DeviceSteps(stack, stream, dict(recipe.heads), recipe.entropy_bonus, columns, optimizer, rates, mode)
    done = 0
    for step in checks[1:]:
        steps.run(step - 1 - done)
        before = stack.flat.clone()
        steps.run(1)
        done = step
        yield step, steps.loss.clone(), before


def check_device_draws(intervention: Intervention, gate: str, state: str) -> None:
    """Raise ValueError for what training on episodes drawn on the device cannot do."""
    hooks = ("episodes", "routes", "gradient", "after_step")
    used = [hook for hook in hooks if getattr(intervention, hook) is not None]
    if used:
        raise ValueError(f"draws is 'device', and a dodge changes {', '.join(used)}; allowed with it: draws 'host'")
    if gate != NATURAL.mode:
        raise ValueError(f"draws is 'device' and gate {gate!r}; allowed with it: draws 'host', or gate 'natural'")
    if state == "warmed":
        raise ValueError(
            "draws is 'device' and optimizer_state 'warmed'; allowed with it: draws 'host', or fresh, carried"
        )


def warmed_state(
    stack: Stack, stream: Stream, recipe: Recipe, steps: int, seeds: Sequence[int] = ()
) -> dict[str, Tensor]:
    """The optimizer's state after `steps` steps on which its learning rate was 0: the weights stay as they are.

    Gradients pass the same gates as in training, shuffled by draws of their own.
    """
    gated = gated_backward_of(recipe.gate, seeds, stack, "warming gate shuffle")
    columns = readout_columns(recipe.heads, stack.architecture.attributes)
    optimizer = make_optimizer(recipe.optimizer, stack.flat, 0.0, beta2=recipe.beta2)
    gradient = stack.with_flat(torch.zeros_like(stack.flat))
    for _, batch in zip(range(steps), _endless(stream), strict=False):
        train_step(stack, batch, recipe, columns, optimizer, gradient, gated=gated)
    return optimizer.state


def train_step(
    stack: Stack,
    batch: Batch,
    recipe: Recipe,
    columns: int,
    optimizer: Optimizer,
    gradient: Stack,
    intervention: Intervention = PLAIN,
    beginning: Tensor | None = None,
    gated: GatedBackward | None = None,
) -> Tensor:
    """Take one step and return each member's loss before it, (E,); `gradient` is overwritten.

    `beginning` is the flat buffer at step 0, which an intervention on the gradient is told; `gated` replaces the
    backward pass.
    """
    trace = forward(stack, batch.inputs.flatten(1, 2), columns, keep_before=gated is not None)
    loss, output_gradient = loss_and_gradient(trace.output, batch, recipe.heads, recipe.entropy_bonus)
    if intervention.routes is not None:
        routes = intervention.routes(batch, stack.architecture)
        outputs = [read_out(stack, trace, route.read) for route in routes]
        found = [loss_and_gradient(output, batch, recipe.heads, recipe.entropy_bonus)[1] for output in outputs]
        routed_backward(stack, trace, routes, found, gradient)
    elif gated is None:
        backward(stack, trace, output_gradient, gradient)
    else:
        gated(stack, trace, output_gradient, gradient)
    if intervention.gradient is not None and beginning is not None:
        intervention.gradient(stack, gradient, stack.with_flat(beginning))
    optimizer.step(stack.flat, gradient.flat)
    return loss


def _endless(stream: Stream) -> Iterator[Batch]:
    window = 0
    while True:
        yield from stream(window)
        window += 1
