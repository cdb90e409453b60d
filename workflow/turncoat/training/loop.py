"""The training loop: a stack of organisms, a stream of batches, one optimizer."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count, islice
from typing import NamedTuple

import torch
from torch import Tensor

from turncoat.organisms.gates import NATURAL, GateControl, GatedBackward, gated_backward_of
from turncoat.organisms.mlp import Stack, backward, forward
from turncoat.training.checkpoints import NOTHING, Keeper, LoopState
from turncoat.training.device_steps import DeviceSteps, default_mode
from turncoat.training.device_streams import DeviceStream
from turncoat.training.divergence import Freezer
from turncoat.training.interventions import PLAIN, Intervention
from turncoat.training.losses import loss_and_gradient, readout_columns
from turncoat.training.native_steps import NativeStep, native_step
from turncoat.training.optimizers import BETA2, Optimizer, make_optimizer
from turncoat.training.routing import read_out, routed_backward
from turncoat.training.schedules import check_steps, rate_share, snapshot_steps
from turncoat.training.streams import WINDOW, Batch, Stream
from turncoat.training.trajectories import Trajectory


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
    keeper: Keeper = NOTHING,
) -> Trajectory:
    """Train `stack` in place and return its trajectory. Members never mix: no operation reads across them.

    The optimizer goes on from `state`, laid out like the stack, or starts fresh. `seeds` are the members', which gate
    control `shuffled` draws from. `stack` comes as it is at step 0 even where `keeper` found a later state to go on
    from. Members that diverge are frozen (`divergence.py`).
    Raises ValueError where gate `shuffled` has no seeds, where gate control meets routed gradients, and where either or
    a dodge's hook on single steps meets episodes drawn on the device.
    """
    if isinstance(stream, DeviceStream):
        check_device_draws(intervention, recipe.gate.mode, "")
    if intervention.routes is not None and recipe.gate.mode != "natural":
        raise ValueError(f"gate is {recipe.gate.mode!r}; allowed with an intervention that routes gradients: 'natural'")
    gated = gated_backward_of(recipe.gate, seeds, stack)
    if intervention.without_heads:
        recipe = replace(recipe, heads={})
    flat = stack.flat
    beginning = flat.clone()
    kept, checks = snapshot_steps(recipe.steps, recipe.snapshots), check_steps(recipe.steps, recipe.snapshots)
    freezer = Freezer(stack)
    if not intervention.resumable:
        keeper = NOTHING
    found = keeper.found()
    if found is None:
        optimizer = make_optimizer(recipe.optimizer, flat, recipe.learning_rate, state, recipe.beta2)
        freezer.check(stack, 0)
        step, window, weights, rows = 0, 0, [stack.rows()], [_first_row(stack, measure, intervention)]
    else:
        step, window, weights, rows = found.step, found.window, found.weights, found.rows
        flat.copy_(found.flat)
        optimizer = make_optimizer(recipe.optimizer, flat, recipe.learning_rate, found.optimizer, recipe.beta2)
        freezer.restore(stack, found.diverged_step)
        if gated is not None:
            gated.step = found.step
        if intervention.recall is not None:
            intervention.recall(found.memory)
    started = time.monotonic()
    if isinstance(stream, DeviceStream):
        course = _on_device(stack, stream, recipe, optimizer, checks, freezer, step)
    else:
        course = _step_by_step(
            stack, stream, recipe, optimizer, checks, intervention, beginning, gated, freezer, step, window
        )
    for step, window, loss, before in course:
        freezer.check(stack, step, loss)
        if before is None:
            if keeper.due():
                memory = {} if intervention.memory is None else intervention.memory()
                keeper.save(LoopState(step, window, flat, optimizer.state, weights, rows, freezer.steps, memory))
            continue
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
        freezer.steps,
        {key: stack.rows(value) if value.shape == flat.shape else value for key, value in optimizer.state.items()},
    )


class Stop(NamedTuple):
    """Where a course stops: after a step that is checked, with the flat buffer before it; or between windows, without.
    `window` is the stream's next one; `loss` (E,) is that before the last step."""

    step: int
    window: int
    loss: Tensor
    before: Tensor | None


def _step_by_step(
    stack: Stack,
    stream: Stream,
    recipe: Recipe,
    optimizer: Optimizer,
    checks: Sequence[int],
    intervention: Intervention,
    beginning: Tensor,
    gated: GatedBackward | None,
    freezer: Freezer,
    step: int,
    window: int,
) -> Iterator[Stop]:
    """Go on after `step` steps with that window; stops at each check and between windows."""
    columns = readout_columns(recipe.heads, stack.architecture.attributes)
    gradient = stack.with_flat(torch.zeros_like(stack.flat))  # its padding stays zero
    asked = gated is not None or intervention.routes is not None  # for native steps: those have passes of their own
    native: NativeStep | None = None
    while step < recipe.steps:
        for batch in islice(stream(window), recipe.steps - step):
            if not asked:
                moved = optimizer if intervention.gradient is None else None  # a hook comes between the two otherwise
                native = native_step(stack, gradient, batch, recipe.heads, recipe.entropy_bonus, moved)
                asked = True
            step += 1
            checked = step in checks
            before = stack.flat.clone() if checked or intervention.after_step is not None else stack.flat
            optimizer.learning_rate = recipe.learning_rate * rate_share(recipe.schedule, step, recipe.steps)
            loss = train_step(
                stack, batch, recipe, columns, optimizer, gradient, intervention, beginning, gated, native
            )
            if intervention.after_step is not None:
                intervention.after_step(stack, stack.with_flat(before))
            freezer.hold(stack.flat)
            if checked:
                yield Stop(step, window, loss(), before)
        window += 1
        if step < recipe.steps:
            yield Stop(step, window, loss(), None)


def _on_device(
    stack: Stack,
    stream: DeviceStream,
    recipe: Recipe,
    optimizer: Optimizer,
    checks: Sequence[int],
    freezer: Freezer,
    done: int,
) -> Iterator[Stop]:
    """Go on after `done` steps; stops at each check and between windows. What frozen members do meanwhile is undone at
    each stop: always at the same ones, or their bits would depend on when a state was kept."""
    shares = [rate_share(recipe.schedule, step, recipe.steps) for step in range(1, recipe.steps + 1)]
    rates = torch.tensor([recipe.learning_rate * share for share in shares], device=stack.flat.device)
    columns = readout_columns(recipe.heads, stack.architecture.attributes)
    mode = default_mode(stack.flat.device, stack.architecture)
    steps = DeviceSteps(stack, stream, dict(recipe.heads), recipe.entropy_bonus, columns, optimizer, rates, mode)
    steps.number.fill_(done)
    for step in (check for check in checks if check > done):
        while done < step - 1:
            size = min(step - 1 - done, WINDOW - done % WINDOW)
            steps.run(size)
            done += size
            if done % WINDOW == 0:
                freezer.hold(stack.flat)
                yield Stop(done, done // WINDOW, steps.loss.clone(), None)
        freezer.hold(stack.flat)
        before = stack.flat.clone()
        steps.run(1)
        done = step
        freezer.hold(stack.flat)
        yield Stop(done, done // WINDOW, steps.loss.clone(), before)


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
    for batch in islice(chain.from_iterable(map(stream, count())), steps):
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
    native: NativeStep | None = None,
) -> Callable[[], Tensor]:
    """Take one step; returns what works out each member's loss before it, (E,), if called before the next one.
    `gradient` is overwritten.

    `beginning` is the flat buffer at step 0, which an intervention on the gradient is told; `gated` replaces the
    backward pass; `native`, for this stack and gradient, does both passes to the same bits, and may move the stack.
    """
    if native is not None:
        loss = native(batch)
    else:
        loss = _write_gradient(stack, batch, recipe, columns, gradient, intervention, gated)
    if intervention.gradient is not None and beginning is not None:
        intervention.gradient(stack, gradient, stack.with_flat(beginning))
    if native is None or not native.moves:
        optimizer.step(stack.flat, gradient.flat)
    return loss


def _write_gradient(
    stack: Stack,
    batch: Batch,
    recipe: Recipe,
    columns: int,
    gradient: Stack,
    intervention: Intervention,
    gated: GatedBackward | None,
) -> Callable[[], Tensor]:
    """Both passes, whatever the activation, the gates and the routes; returns what has the loss."""
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
    return lambda: loss


def _first_row(stack: Stack, measure: Measure, intervention: Intervention) -> tuple[Tensor, ...]:
    """The courses at step 0."""
    capability, cross_entropy = measure(stack)
    if intervention.after_check is not None:
        intervention.after_check(capability)
    unknown = torch.full((stack.members,), torch.nan, dtype=torch.float64, device=stack.flat.device)
    return unknown, capability, cross_entropy, unknown, torch.zeros_like(unknown)
