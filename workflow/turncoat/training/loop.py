"""The training loop: a stack of organisms, a stream of batches, one optimizer."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from turncoat.organisms.mlp import Stack, backward, forward
from turncoat.training.losses import loss_and_gradient, readout_columns
from turncoat.training.optimizers import Optimizer, make_optimizer
from turncoat.training.schedules import check_steps, snapshot_steps
from turncoat.training.streams import Batch, Stream


@dataclass(frozen=True)
class Recipe:
    """How to train: steps, optimizer, learning rate, loss weights of the knowledge heads, number of snapshots, and
    the weight of the choices' entropy where they are trained on rewards."""

    steps: int
    optimizer: str
    learning_rate: float
    heads: Mapping[str, float]
    snapshots: int
    entropy_bonus: float = 0.0


@dataclass(frozen=True)
class Trajectory:
    """What training left behind, for E members.

    snapshots: steps (K), each with weights (K, E, parameters). checks: steps (C), each with loss, capability,
    norm of the last update and distance from the start, all (C, E); loss and update are NaN at step 0.
    optimizer_state: the optimizer's tensors after the last step, those per parameter as (E, parameters).
    """

    snapshots: list[int]
    weights: Tensor
    checks: list[int]
    loss: Tensor
    capability: Tensor
    update_norm: Tensor
    displacement: Tensor
    optimizer_state: dict[str, Tensor]


Progress = Callable[[int, Tensor, Tensor, float], None]
"""Told at each check: step, loss (E,), capability (E,), seconds since the start."""


def train(
    stack: Stack,
    stream: Stream,
    recipe: Recipe,
    measure_capability: Callable[[Stack], Tensor],
    progress: Progress | None = None,
) -> Trajectory:
    """Train `stack` in place and return its trajectory. Members never mix: no operation reads across them."""
    flat = stack.flat
    columns = readout_columns(recipe.heads, stack.architecture.attributes)
    optimizer = make_optimizer(recipe.optimizer, flat, recipe.learning_rate)
    gradient = stack.with_flat(torch.zeros_like(flat))  # its padding stays zero
    beginning = flat.clone()
    kept, checks = snapshot_steps(recipe.steps, recipe.snapshots), check_steps(recipe.steps, recipe.snapshots)
    weights: list[Tensor] = [stack.rows()]
    unknown = torch.full((stack.members,), torch.nan, dtype=torch.float64, device=flat.device)
    rows: list[tuple[Tensor, ...]] = [(unknown, measure_capability(stack), unknown, torch.zeros_like(unknown))]
    started = time.monotonic()
    for step, batch in enumerate(_endless(stream), start=1):
        checked = step in checks
        before = flat.clone() if checked else flat
        loss = train_step(stack, batch, recipe, columns, optimizer, gradient)
        if checked:
            capability = measure_capability(stack)
            moved, away = (stack.rows(flat - other).double().norm(dim=1) for other in (before, beginning))
            rows.append((loss.double(), capability, moved, away))
            if progress is not None:
                progress(step, loss, capability, time.monotonic() - started)
        if step in kept:
            weights.append(stack.rows())
        if step == recipe.steps:
            break
    loss, capability, update_norm, displacement = (torch.stack(column) for column in zip(*rows, strict=True))
    return Trajectory(
        kept,
        torch.stack(weights),
        checks,
        loss,
        capability,
        update_norm,
        displacement,
        {key: stack.rows(value) if value.shape == flat.shape else value for key, value in optimizer.state.items()},
    )


def train_step(
    stack: Stack,
    batch: Batch,
    recipe: Recipe,
    columns: int,
    optimizer: Optimizer,
    gradient: Stack,
) -> Tensor:
    """Take one step and return each member's loss before it, (E,); `gradient` is overwritten."""
    trace = forward(stack, batch.inputs.flatten(1, 2), columns)
    loss, output_gradient = loss_and_gradient(trace.output, batch, recipe.heads, recipe.entropy_bonus)
    backward(stack, trace, output_gradient, gradient)
    optimizer.step(stack.flat, gradient.flat)
    return loss


def _endless(stream: Stream) -> Iterator[Batch]:
    window = 0
    while True:
        yield from stream(window)
        window += 1
