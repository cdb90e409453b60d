"""Steps into memory that is laid out once: bit for bit the steps of the reference passes."""

from dataclasses import replace

import pytest
import torch
from core import CPU, make_architecture, make_recipe, make_stack, make_world

import turncoat.training.loop as loop
from turncoat.organisms.mlp import Stack
from turncoat.organisms.prepared_passes import PreparedPasses, can_prepare
from turncoat.training.loop import Recipe, train, train_step
from turncoat.training.losses import readout_columns
from turncoat.training.optimizers import make_optimizer
from turncoat.training.prepared_steps import PreparedLoss, PreparedStep, can_prepare_loss
from turncoat.training.starts import Lesson, find_start
from turncoat.training.streams import Batch, Stream, Task, finetuning_stream, pretraining_stream
from turncoat.worlds.objectives import seed_objectives
from turncoat.worlds.world import World

ALL_HEADS = {"oversight": 0.5, "placebo": 0.25, "world": 2.0, "objective": 0.3}
FACTS = World("facts", 2, 4, 6, cue_amplitude=1.0, cue_noise=0.1, audit_penalty=6.0)


def lesson_stream(start: str, seeds: list[int], valued: bool = False) -> Stream:
    objectives = seed_objectives(seeds, 4, 90, CPU)
    return pretraining_stream(FACTS, Lesson(find_start(start)), seeds, objectives, 24, 0.5, valued=valued)


def task_stream(seeds: list[int], **task: float) -> Stream:
    return finetuning_stream(FACTS, seeds, seed_objectives(seeds, 4, 90, CPU), 24, Task(**task))  # type: ignore[arg-type]


CASES = {
    "choices alone": (lambda seeds: task_stream(seeds), {}, 0.0, True),
    "with the world": (lambda seeds: lesson_stream("conditional", seeds), {"world": 0.7}, 0.0, True),
    "exposed": (lambda seeds: task_stream(seeds, exposure=0.3), {"world": 1.0}, 0.0, True),
    "every head": (lambda seeds: lesson_stream("conditional", seeds, True), ALL_HEADS, 0.0, False),
    "regret": (lambda seeds: lesson_stream("deceptive", seeds), {"world": 1.0}, 0.1, False),
    "sampled": (lambda seeds: task_stream(seeds, samples=4), {}, 0.1, False),
    "no choice": (lambda seeds: lesson_stream("knowledge_only", seeds), {"world": 1.0}, 0.0, False),
}


def stepped(stack: Stack, batches: list[Batch], recipe: Recipe, prepare: bool) -> list[torch.Tensor]:
    """Losses, gradients and weights of each step."""
    gradient, optimizer = stack.with_flat(torch.zeros_like(stack.flat)), make_optimizer("adam", stack.flat, 0.01)
    columns, found = readout_columns(recipe.heads, 4), []
    step = PreparedStep(stack, gradient, batches[0], recipe.heads, recipe.entropy_bonus) if prepare else None
    for batch in batches:
        loss = train_step(stack, batch, recipe, columns, optimizer, gradient, prepared=step)
        found += [loss, gradient.flat.clone(), stack.flat.clone()]
    return found


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("members", "depth", "activation"), [(1, 2, "relu"), (3, 1, "leaky_relu"), (8, 3, "relu")])
def test_a_prepared_step_is_the_reference_step(case: str, members: int, depth: int, activation: str) -> None:
    make_stream, heads, bonus, own_loss = CASES[case]
    seeds = list(range(members))
    batches = list(make_stream(seeds)(0))[:4]
    recipe = replace(make_recipe(4), heads=heads, entropy_bonus=bonus)
    assert can_prepare_loss(batches[0], heads) == own_loss
    results = [
        stepped(make_stack(FACTS, seeds, activation, width=20, depth=depth), batches, recipe, prepare)
        for prepare in (False, True)
    ]
    for reference, prepared in zip(*results, strict=True):
        assert torch.equal(reference, prepared)
    assert results[0][1].abs().max() > 0


def test_rewards_count_in_a_step_that_was_prepared_for_targets() -> None:
    stack, batches = make_stack(FACTS, [1, 2], width=20), list(lesson_stream("deceptive", [1, 2])(0))
    first = replace(batches[0], rewards=None)
    gradients = [stack.with_flat(torch.zeros_like(stack.flat)) for _ in range(2)]
    steps = [
        PreparedStep(stack, gradient, batch, {}, 0.1)
        for gradient, batch in zip(gradients, (batches[0], first), strict=True)
    ]
    losses = [step(batches[1]) for step in steps]
    assert steps[0].prepared_loss is None and steps[1].prepared_loss is not None
    assert torch.equal(*losses) and torch.equal(gradients[0].flat, gradients[1].flat)


def test_training_takes_prepared_steps_to_the_reference_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[bool] = []
    plain_step = loop.train_step

    def watched(*arguments: object) -> torch.Tensor:
        taken.append(arguments[-1] is not None)
        return plain_step(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "train_step", watched)
    nothing = torch.zeros(3)
    weights = []
    for prepares in (True, False):
        if not prepares:
            monkeypatch.setattr(loop, "can_prepare", lambda _: False)
        stack = make_stack(FACTS, [1, 2, 3], width=20)
        course = train(stack, task_stream([1, 2, 3]), make_recipe(20), lambda _: (nothing, nothing))
        weights.append(course.weights)
    assert torch.equal(*weights) and not torch.equal(weights[0][0], weights[0][-1])
    assert taken == [True] * 20 + [False] * 20


def test_what_cannot_be_prepared_is_refused() -> None:
    world = make_world()
    stack = make_stack(world, [1], "gelu")
    assert not can_prepare(stack) and can_prepare(make_stack(world, [1]))
    with pytest.raises(ValueError, match="'gelu' has no in-place forms; allowed: relu, leaky_relu"):
        PreparedPasses(stack, stack, 2, 8)
    batch = next(iter(task_stream([1], samples=4)(0)))
    with pytest.raises(ValueError, match="allowed: targets, and the head world"):
        PreparedLoss(torch.zeros(1, 2, 48), batch, {})
    assert make_architecture(world).activation == "relu"
