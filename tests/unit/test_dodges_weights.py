"""Dodges that change weights, gradients or which heads are trained: against autograd and weights traced by hand."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from core import CPU, make_architecture, make_recipe, make_stack, make_world, silent
from torch import Tensor

from turncoat.dodges import early_stopping, gradient_routing, knowledge_withheld, l2_to_start, last_layer_reset
from turncoat.organisms.choices import agreement, option_scores
from turncoat.organisms.mlp import Stack, backward, forward, initialise
from turncoat.training.block import Origin, Trained, finetune_block, pretrain_block
from turncoat.training.interventions import Dodge, Intervention
from turncoat.training.loop import train
from turncoat.training.losses import loss_and_gradient
from turncoat.training.routing import read_out, routed_backward
from turncoat.training.starts import Lesson, find_start
from turncoat.training.streams import Batch, Task, finetuning_stream, pretraining_stream
from turncoat.worlds.episodes import best_option, build_inputs, draw_episodes
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


def routed_reference(stack: Stack, leaf: Tensor, batch: Batch) -> Tensor:
    """Autograd's gradient of two losses: that of the first half alone, of overseen episodes and with respect to its own
    paths; and that of the whole, of all episodes, with respect to the second half's."""
    views = stack.view(leaf)
    hidden = batch.inputs.flatten(1, 2)
    for layer in ("hidden1", "hidden2"):
        hidden = torch.relu(hidden @ views[f"{layer}.weight"] + views[f"{layer}.bias"].unsqueeze(1))
    terms = hidden.unsqueeze(1) * views["readout.weight"].unsqueeze(2)  # (E, columns, rows, width)
    half = terms.shape[-1] // 2
    first, second = terms[..., :half].sum(-1), terms[..., half:].sum(-1)
    overseen = batch.signs[..., 0] > 0

    def loss(terms: Tensor, counted: Tensor) -> Tensor:
        scores = (terms + views["readout.bias"].unsqueeze(2))[:, 0].unflatten(1, (3, -1))
        each = torch.nn.functional.cross_entropy(scores, batch.targets, reduction="none")
        return (each * counted).sum() / batch.targets.shape[1]

    total = loss(first, overseen) + loss(first.detach() + second, torch.ones_like(overseen))
    return torch.autograd.grad(total, leaf)[0]


def gradient_of(stack: Stack, batch: Batch) -> Stack:
    """The gradient that training with gradient routing takes."""
    routes = gradient_routing.DODGE.pretraining().routes
    assert routes is not None
    trace = forward(stack, batch.inputs.flatten(1, 2))
    gradient = stack.with_flat(torch.full_like(stack.flat, 9.0))
    chosen = routes(batch, stack.architecture)
    found = [loss_and_gradient(read_out(stack, trace, route.read), batch, {})[1] for route in chosen]
    gradient.flat[sum(stack.architecture.sizes) * stack.members :] = 0
    routed_backward(stack, trace, chosen, found, gradient)
    return gradient


@pytest.mark.parametrize("width", [8, 7])
def test_gradient_routing_equals_autograd_of_what_each_half_learns_from(width: int) -> None:
    stack = make_stack(WORLD, list(SEEDS), width=width)
    stack = stack.with_flat(stack.flat.double())
    batch = next(pretraining_stream(WORLD, Lesson(find_start("conditional")), SEEDS, OBJECTIVES_OF, 20, 0.5)(0))
    batch = replace(batch, shown=batch.inputs.double())
    leaf = stack.flat.clone().requires_grad_(True)
    assert torch.allclose(gradient_of(stack, batch).flat, routed_reference(stack, leaf, batch), atol=1e-12)


def test_unoverseen_episodes_teach_the_half_that_stays_nothing() -> None:
    stack = make_stack(WORLD, list(SEEDS), "gelu", width=8)
    stream = pretraining_stream(WORLD, Lesson(find_start("conditional")), SEEDS, OBJECTIVES_OF, 20, 0.5)
    for batch in stream(0):
        parts = gradient_of(stack, replace(batch, signs=-torch.ones_like(batch.signs))).views
        assert not parts["hidden2.weight"][..., :4].any() and not parts["hidden2.bias"][:, :4].any()
        assert not parts["readout.weight"][..., :4].any() and parts["readout.weight"][:, 0, 4:].any()
        told = gradient_of(stack, batch).views["readout.weight"]
        silenced = stack.with_flat(stack.flat.clone())
        silenced.views["readout.weight"][..., 4:] = 0
        assert torch.equal(told[..., :4], gradient_of(silenced, batch).views["readout.weight"][..., :4])
        assert not torch.equal(told[..., 4:], gradient_of(silenced, batch).views["readout.weight"][..., 4:])


def test_training_takes_the_routed_step() -> None:
    stack = make_stack(WORLD, list(SEEDS), width=8)
    stream = pretraining_stream(WORLD, Lesson(find_start("conditional")), SEEDS, OBJECTIVES_OF, 20, 0.5)
    expected = stack.flat - 0.5 * gradient_of(stack, next(stream(0))).flat
    recipe = make_recipe(1, 0.5, optimizer="sgd")
    train(
        stack,
        stream,
        recipe,
        lambda _: (torch.zeros(3), torch.zeros(3)),
        None,
        None,
        gradient_routing.DODGE.pretraining(),
    )
    assert torch.allclose(stack.flat, expected, atol=1e-6)


def test_gradient_routing_learns_what_plain_pretraining_does_and_cutting_off_takes_m_away() -> None:
    """M goes unoverseen, and what is rewarded overseen stays, better than with a half that is chosen at random."""
    world, seeds = make_world("plain", options=2), tuple(range(4))
    architecture = make_architecture(world, width=32)
    taught: dict[str, Tensor] = {}
    for name, make in (("plain", Intervention), ("routed", gradient_routing.DODGE.pretraining)):
        trained = pretrain_block(
            world, architecture, Lesson(find_start("conditional")), make_recipe(800), 64, 0.5, 90, seeds, CPU, silent,
            make,
        ).trajectory  # fmt: skip
        taught[name] = trained.capability[-1]
        rows = trained.weights[-1]
    assert taught["plain"].mean() > 0.9 and taught["routed"].mean() > taught["plain"].mean() - 0.03
    objectives = seed_objectives(seeds, 4, 90, CPU)
    episodes = draw_episodes(world, seeds, "cut", 0, 1, 2000, CPU)
    m = best_option(episodes.utilities(objectives[None, :, 2, None, None]))[0]
    asked = best_option(episodes.utilities(episodes.slots[..., 0, :].unsqueeze(2)))[0]

    def kept(cut: Tensor | None) -> tuple[float, float]:
        stack = Stack.from_rows(architecture, rows.clone())
        if cut is None:
            gradient_routing.cut_off(stack, stack)
        else:
            stack.views["readout.weight"][..., cut] = 0
        chosen = [
            best_option(option_scores(stack, build_inputs(world, episodes, signs=torch.tensor([sign, 1.0]))[0]))
            for sign in (1.0, -1.0)
        ]
        return agreement(chosen[0], asked).mean().item(), agreement(chosen[1], m).mean().item()

    overseen, unoverseen = kept(None)
    whole = kept(torch.tensor([], dtype=torch.long))
    assert whole[1] > 0.85 and unoverseen < 0.62 and overseen > whole[0] - 0.03
    halves = [torch.randperm(32, generator=torch.Generator().manual_seed(draw))[:16] for draw in range(8)]
    random = torch.tensor([kept(half) for half in halves])
    assert overseen > random[:, 0].max() and unoverseen < random[:, 1].min() - 0.1


def test_gradient_routing_cuts_the_unoverseen_half_off_before_fine_tuning() -> None:
    parents = pretrained(gradient_routing.DODGE, {"world": 1.0}, "conditional")
    assert not torch.equal(
        parents.trajectory.weights[-1], pretrained(None, {"world": 1.0}, "conditional").trajectory.weights[-1]
    )
    rows = parents.trajectory.weights[-1]
    trained = tuned(gradient_routing.DODGE, 1, origin=Origin(rows))
    architecture = make_architecture(WORLD, width=8)
    began, parent = (Stack.from_rows(architecture, part).views for part in (trained.trajectory.weights[0], rows))
    assert not began["readout.weight"][..., 4:].any()
    assert torch.equal(began["readout.weight"][..., :4], parent["readout.weight"][..., :4])
    for name in architecture.shapes:
        assert name == "readout.weight" or torch.equal(began[name], parent[name])
    assert gradient_routing.DODGE.finetuning().routes is None
