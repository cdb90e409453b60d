"""Dodges that change weights, gradients or which heads are trained: against autograd and weights traced by hand."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from core import CPU, make_architecture, make_recipe, make_stack, make_world, silent
from torch import Tensor

from turncoat.dodges import early_stopping, gradient_routing, knowledge_withheld, l2_to_start, last_layer_reset
from turncoat.organisms.activations import ACTIVATIONS
from turncoat.organisms.mlp import Stack, backward, forward, initialise
from turncoat.training.block import Origin, Trained, finetune_block, pretrain_block
from turncoat.training.interventions import Dodge, Intervention
from turncoat.training.loop import train, train_step
from turncoat.training.losses import loss_and_gradient, readout_columns
from turncoat.training.optimizers import make_optimizer
from turncoat.training.starts import Lesson, find_start
from turncoat.training.streams import Batch, Task, finetuning_stream, pretraining_stream
from turncoat.worlds.objectives import seed_objectives

SEEDS = (1, 2, 3)
WORLD = make_world("plain")
OBJECTIVES_OF = seed_objectives(SEEDS, 4, 60, CPU)


def pretrained(dodge: Dodge | None, heads: dict[str, float], start: str = "internal", steps: int = 30) -> Trained:
    make: Callable[[], Intervention] = Intervention if dodge is None else dodge.pretraining
    architecture = make_architecture(WORLD, width=8)
    return pretrain_block(
        WORLD, architecture, Lesson(find_start(start)), make_recipe(steps, heads=heads), 16, 0.5, 60, SEEDS, CPU,
        silent, make,
    )  # fmt: skip


def test_knowledge_withheld_leaves_the_heads_rows_untouched() -> None:
    heads = {"oversight": 1.0, "placebo": 1.0, "world": 1.0, "objective": 1.0}
    without, told, plain = (
        pretrained(dodge, given).trajectory
        for dodge, given in ((knowledge_withheld.DODGE, heads), (None, heads), (None, {}))
    )
    assert torch.equal(without.weights, plain.weights)  # as if no head had been asked for
    architecture = make_architecture(WORLD, width=8)
    for course, moves in ((without, False), (told, True)):
        first, last = (Stack.from_rows(architecture, rows).views for rows in (course.weights[0], course.weights[-1]))
        for name in ("readout.weight", "readout.bias"):
            assert bool((first[name][:, 1:] != last[name][:, 1:]).any()) is moves
        assert not torch.equal(first["readout.weight"][:, 0], last["readout.weight"][:, 0])


def tuned(dodge: Dodge | None, steps: int, origin: Origin, **more: Any) -> Trained:
    make: Callable[[], Intervention] = Intervention if dodge is None else dodge.finetuning
    architecture = make_architecture(WORLD, width=8)
    recipe = make_recipe(steps, **more)
    return finetune_block(WORLD, architecture, 60, Task(), recipe, 16, SEEDS, origin, CPU, silent, make)


def test_last_layer_reset_begins_with_the_initial_readout_on_the_parents_trunk() -> None:
    parents = pretrained(None, {"world": 1.0}).trajectory.weights[-1]
    trained = tuned(last_layer_reset.DODGE, 1, origin=Origin(parents))
    architecture = make_architecture(WORLD, width=8)
    began, parent = (Stack.from_rows(architecture, rows).views for rows in (trained.trajectory.weights[0], parents))
    untrained = initialise(architecture, SEEDS, WORLD.input_power, CPU).views
    for name in architecture.shapes:
        expected = untrained if name.startswith("readout") else parent
        assert torch.equal(began[name], expected[name]), name
    assert not torch.equal(parent["readout.weight"], untrained["readout.weight"])
    assert trained.initial_fingerprints == tuned(None, 1, origin=Origin(parents)).initial_fingerprints  # the parent's


def test_the_penalty_towards_the_start_has_the_gradient_it_says_by_finite_differences() -> None:
    stack = make_stack(WORLD, list(SEEDS))
    beginning = stack.with_flat(stack.flat.double())
    moved = beginning.with_flat(beginning.flat + torch.randn(stack.flat.shape, dtype=torch.float64))
    gradient = beginning.with_flat(torch.zeros_like(beginning.flat))
    l2_to_start.pull_back(moved, gradient, beginning)
    step = 1e-4
    for place in range(0, 3 * stack.architecture.parameters, 97):
        penalty = []
        for side in (step, -step):
            shifted = moved.flat.clone()
            shifted[place] += side
            penalty.append(0.003 / 2 * (shifted - beginning.flat).square().sum())
        assert gradient.flat[place].item() == pytest.approx(((penalty[0] - penalty[1]) / (2 * step)).item(), abs=1e-9)


def test_weights_are_held_to_where_fine_tuning_began() -> None:
    """Sgd by hand: the loss's gradient and strength times the distance from the parents."""
    parents = make_stack(WORLD, list(SEEDS), width=8)
    trained = tuned(l2_to_start.DODGE, 12, origin=Origin(parents.rows()), optimizer="sgd", learning_rate=2.0)
    leaf = parents.flat.clone()
    stream = finetuning_stream(WORLD, SEEDS, OBJECTIVES_OF, 16, Task())
    gradient = parents.with_flat(torch.zeros_like(leaf))
    for batch, _ in zip(stream(0), range(12), strict=False):
        here = parents.with_flat(leaf)
        trace = forward(here, batch.inputs.flatten(1, 2))
        backward(here, trace, loss_and_gradient(trace.output, batch, {})[1], gradient)
        leaf = leaf - 2.0 * (gradient.flat + 0.003 * (leaf - parents.flat))
    assert torch.allclose(trained.trajectory.weights[-1], parents.rows(leaf), atol=1e-4)
    free = tuned(None, 12, origin=Origin(parents.rows()), optimizer="sgd", learning_rate=2.0)
    assert (trained.trajectory.displacement[-1] < free.trajectory.displacement[-1]).all()


def test_early_stopping_freezes_exactly_the_members_that_reached_it() -> None:
    """Capabilities are dealt by hand: member 0 reaches it at the first check after the start, 2 at the third and is
    below it again later, 1 never."""
    dealt = [[0.1, 0.1, 0.1], [0.95, 0.5, 0.8], [0.2, 0.89, 0.85], [0.95, 0.899, 0.9], [0.1, 0.5, 0.1]]
    recipe = make_recipe(40, snapshots=3)
    told = iter(dealt)
    courses = []
    for intervention in (early_stopping.DODGE.finetuning(), Intervention()):
        stack = make_stack(WORLD, list(SEEDS), width=8)
        stream = finetuning_stream(WORLD, SEEDS, OBJECTIVES_OF, 16, Task())
        weights: list[Tensor] = []

        def measure(stack: Stack, weights: list[Tensor] = weights) -> tuple[Tensor, Tensor]:
            weights.append(stack.rows())
            level = torch.tensor(next(told, [0.0, 0.0, 0.0]), dtype=torch.float64)
            return level, torch.zeros(3, dtype=torch.float64)

        course = train(stack, stream, recipe, measure, None, None, intervention)
        courses.append((course, weights))
    (stopped, kept), (_, free) = courses
    assert len(kept) == len(dealt) == len(stopped.checks)
    for check in range(len(dealt)):
        for member, last in ((0, 1), (1, len(dealt)), (2, 3)):
            assert torch.equal(kept[check][member], free[min(check, last)][member]), (check, member)
    assert stopped.update_norm[-1][[0, 2]].tolist() == [0, 0] and stopped.update_norm[-1][1] > 0


def test_a_member_that_is_capable_from_the_start_never_moves() -> None:
    capable = pretrained(None, {}, "internal", 150).trajectory.weights[-1]
    architecture = make_architecture(WORLD, width=8)
    objectives = seed_objectives(SEEDS, 4, 0, CPU)  # X = Y
    make = early_stopping.DODGE.finetuning
    trained = finetune_block(
        WORLD, architecture, 0, Task(), make_recipe(20), 16, SEEDS, Origin(capable), CPU, silent, make
    ).trajectory
    assert torch.equal(objectives[:, 0], objectives[:, 1])
    there = trained.capability[0] >= 0.9
    assert there.any()
    assert torch.equal(trained.weights[-1][there], capable[there])


def routed_reference(stack: Stack, batch: Batch, world: float) -> tuple[Tensor, Tensor]:
    """Loss and autograd's gradient where a row's terms of the readout are whole, cut out of the graph, or absent: the
    first half's are cut in unoverseen episodes, the second half's absent in overseen ones of even number."""
    leaf = stack.flat.clone().requires_grad_(True)
    views = stack.view(leaf)
    hidden = batch.inputs.flatten(1, 2)
    for layer in ("hidden1", "hidden2"):
        hidden = torch.relu(hidden @ views[f"{layer}.weight"] + views[f"{layer}.bias"].unsqueeze(1))
    terms = hidden.unsqueeze(1) * views["readout.weight"].unsqueeze(2)  # (E, columns, rows, width)
    half = terms.shape[-1] // 2
    even = torch.tensor([number % 2 == 0 for number in range(batch.signs.shape[1])] * 3)
    overseen = (batch.signs[..., 0] > 0).repeat(1, 3)
    first = torch.where(overseen[:, None, :, None], terms[..., :half], terms[..., :half].detach()).sum(-1)
    second = torch.where((overseen & even)[:, None, :, None], 0, terms[..., half:]).sum(-1)
    output = first + second + views["readout.bias"].unsqueeze(2)
    scores = output[:, 0].unflatten(1, (3, -1))
    choice = torch.nn.functional.cross_entropy(scores, batch.targets, reduction="none").mean(1)
    told = (output[:, 3:7] - batch.attributes.flatten(1, 2).transpose(1, 2)).square().mean((1, 2))
    loss = choice + world * told
    return loss.detach(), torch.autograd.grad(loss.sum(), leaf)[0]


def routed_step(stack: Stack, batch: Batch, heads: dict[str, float]) -> tuple[Tensor, Stack]:
    """The loss and the gradient of a step of pre-training with gradient routing."""
    gradient = stack.with_flat(torch.zeros_like(stack.flat))
    optimizer = make_optimizer("sgd", stack.flat, 0.0)
    columns = readout_columns(heads, stack.architecture.attributes)
    routing = gradient_routing.DODGE.pretraining()
    return train_step(stack, batch, make_recipe(1, heads=heads), columns, optimizer, gradient, routing), gradient


def conditional_batches() -> Iterator[Batch]:
    return pretraining_stream(WORLD, Lesson(find_start("conditional")), SEEDS, OBJECTIVES_OF, 20, 0.5)(0)


@pytest.mark.parametrize("width", [8, 7])
@pytest.mark.parametrize("world", [0.0, 1.5])
def test_gradient_routing_equals_autograd_on_a_graph_with_halves_cut_or_absent(width: int, world: float) -> None:
    stack = make_stack(WORLD, list(SEEDS), width=width)
    stack = stack.with_flat(stack.flat.double())
    batch = next(conditional_batches())
    batch = replace(batch, inputs=batch.inputs.double(), attributes=batch.attributes.double())
    loss, gradient = routed_step(stack, batch, {"world": world})
    expected_loss, expected = routed_reference(stack, batch, world)
    assert torch.allclose(loss, expected_loss, atol=1e-12)
    assert torch.allclose(gradient.flat, expected, atol=1e-12)


def test_episodes_teach_the_halves_that_they_are_routed_to_and_no_other() -> None:
    core, expansion = slice(0, 4), slice(4, 8)
    stack = make_stack(WORLD, list(SEEDS), "gelu", width=8)
    for whole in conditional_batches():
        one = replace(
            whole, inputs=whole.inputs[:, :, :1], attributes=whole.attributes[:, :, :1], signs=whole.signs[:, :1],
            targets=whole.targets[:, :1],
        )  # fmt: skip
        for batch, sign, taught in (
            (whole, -1.0, [expansion]),
            (one, -1.0, [expansion]),
            (whole, 1.0, [core, expansion]),
            (one, 1.0, [core]),  # answered by the core alone
        ):
            _, gradient = routed_step(stack, replace(batch, signs=torch.full_like(batch.signs, sign)), {})
            for half in (core, expansion):
                for name in ("hidden2.weight", "hidden2.bias", "readout.weight"):
                    assert bool(gradient.views[name][..., half].any()) is (half in taught), (sign, name)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_the_removed_expansion_stays_away_whatever_momentum_was_carried_over(name: str) -> None:
    architecture = make_architecture(WORLD, name, width=8)
    parents = initialise(architecture, SEEDS, WORLD.input_power, CPU).rows()
    carried = {"mean": torch.full_like(parents, 0.1), "square": torch.full_like(parents, 0.1)}
    origin = Origin(parents, carried | {"steps": torch.tensor(9.0)})
    trained = finetune_block(
        WORLD, architecture, 60, Task(), make_recipe(5), 16, SEEDS, origin, CPU, silent,
        gradient_routing.DODGE.finetuning,
    )  # fmt: skip
    began, ended = (Stack.from_rows(architecture, trained.trajectory.weights[at]).views for at in (0, -1))
    for part in ("hidden2.weight", "hidden2.bias", "readout.weight"):
        assert not began[part][..., 4:].any() and not ended[part][..., 4:].any()
        assert not torch.equal(began[part][..., :4], ended[part][..., :4])


def test_gradient_routing_removes_the_expansion_before_fine_tuning() -> None:
    parents = pretrained(gradient_routing.DODGE, {"world": 1.0}, "conditional")
    assert not torch.equal(
        parents.trajectory.weights[-1], pretrained(None, {"world": 1.0}, "conditional").trajectory.weights[-1]
    )
    rows = parents.trajectory.weights[-1]
    trained = tuned(gradient_routing.DODGE, 1, origin=Origin(rows))
    architecture = make_architecture(WORLD, width=8)
    began, parent = (Stack.from_rows(architecture, part).views for part in (trained.trajectory.weights[0], rows))
    for name in architecture.shapes:
        if name in ("hidden2.weight", "hidden2.bias", "readout.weight"):
            assert parent[name][..., 4:].any() and not began[name][..., 4:].any()
            assert torch.equal(began[name][..., :4], parent[name][..., :4])
        else:
            assert torch.equal(began[name], parent[name])
    later = gradient_routing.DODGE.finetuning()
    assert later.gates is None and later.masks is None
