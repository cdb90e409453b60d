"""Steps by the kernels in C: bit for bit the steps of the reference passes and of PyTorch's Adam."""

import logging
import weakref
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from core import CPU, make_recipe, make_stack, make_world, silent

import turncoat.training.block as block
import turncoat.training.loop as loop
import turncoat.training.native_steps as native_steps
from turncoat.native.library import native_library, without_kernels
from turncoat.organisms.mlp import Architecture, Stack, initialise
from turncoat.organisms.native_passes import NativePasses, can_pass_natively
from turncoat.training.block import Origin, Trained, finetune_block, pretrain_block
from turncoat.training.interventions import Intervention
from turncoat.training.loop import Recipe, train, train_step
from turncoat.training.losses import readout_columns
from turncoat.training.native_steps import NativeAdam, NativeLearning, NativeStep, can_learn, native_step
from turncoat.training.optimizers import Momentum, make_optimizer
from turncoat.training.starts import Lesson, find_start
from turncoat.training.streams import Batch, Stream, Task, finetuning_stream, pretraining_stream
from turncoat.worlds.objectives import seed_objectives
from turncoat.worlds.world import World

pytestmark = pytest.mark.skipif(native_library() is None, reason="no C compiler, or PyTorch without MKL")

ALL_HEADS = {"oversight": 0.5, "placebo": 0.25, "world": 2.0, "objective": 0.3}
FACTS = World("facts", 2, 4, 6, cue_amplitude=1.0, cue_noise=0.1, audit_penalty=6.0)
FOUR = replace(FACTS, options=4)
SEEDS = [3, 4, 5]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def lesson_stream(start: str, seeds: list[int], valued: bool = False, world: World = FACTS, count: int = 24) -> Stream:
    objectives = seed_objectives(seeds, 4, 90, CPU)
    return pretraining_stream(world, Lesson(find_start(start)), seeds, objectives, count, 0.5, valued=valued)


def task_stream(seeds: list[int], count: int = 24, **task: float) -> Stream:
    objectives = seed_objectives(seeds, 4, 90, CPU)
    return finetuning_stream(FACTS, seeds, objectives, count, Task(**task))  # type: ignore[arg-type]


CASES: dict[str, Any] = {
    "choices alone": (lambda seeds: task_stream(seeds), {}, 0.0, True),
    "many rows": (lambda seeds: task_stream(seeds, 300), {}, 0.0, True),
    "odd rows": (lambda seeds: lesson_stream("conditional", seeds, count=77), {"world": 1.0}, 0.0, True),
    "with the world": (lambda seeds: lesson_stream("conditional", seeds), {"world": 0.7}, 0.0, True),
    "exposed": (lambda seeds: task_stream(seeds, exposure=0.3), {"world": 1.0}, 0.0, True),
    "regret": (lambda seeds: lesson_stream("deceptive", seeds), {"world": 1.0}, 0.1, True),
    "regret of four": (lambda seeds: lesson_stream("deceptive", seeds, world=FOUR, count=45), {}, 0.1, True),
    "every head": (lambda seeds: lesson_stream("conditional", seeds, True), ALL_HEADS, 0.0, False),
    "sampled": (lambda seeds: task_stream(seeds, samples=4), {}, 0.1, False),
    "no choice": (lambda seeds: lesson_stream("knowledge_only", seeds), {"world": 1.0}, 0.0, False),
}


def stepped(
    stack: Stack, batches: list[Batch], recipe: Recipe, native: bool, moved: bool = True, optimizer: str = "adam"
) -> list[torch.Tensor]:
    """Losses, gradients, weights and optimizer state of each step."""
    gradient, mover = stack.with_flat(torch.zeros_like(stack.flat)), make_optimizer(optimizer, stack.flat, 0.01)
    columns, found = readout_columns(recipe.heads, 4), []
    step = None
    if native:
        own = mover if moved else None
        step = native_step(stack, gradient, batches[0], recipe.heads, recipe.entropy_bonus, own)
        assert step is not None
        assert step.moves == (moved and optimizer == "adam" and can_learn(batches[0], recipe.heads))
    for number, batch in enumerate(batches):
        mover.learning_rate = 0.01 / (1 + number)
        loss = train_step(stack, batch, recipe, columns, mover, gradient, native=step)
        found += [loss(), gradient.flat.clone(), stack.flat.clone(), *(value.clone() for value in mover.state.values())]
    return found


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.equal(one.view(torch.int32), other.view(torch.int32))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("members", "depth", "width"), [(1, 2, 64), (3, 1, 128), (8, 3, 48), (2, 2, 75), (2, 2, 20)])
def test_a_native_step_is_the_reference_step(case: str, members: int, depth: int, width: int) -> None:
    make_stream, heads, bonus, learnt = CASES[case]
    seeds = list(range(members))
    batches = list(make_stream(seeds)(0))[:4]
    recipe = replace(make_recipe(4), heads=heads, entropy_bonus=bonus)
    world = FOUR if case == "regret of four" else FACTS
    assert can_learn(batches[0], heads) == learnt
    results = [
        stepped(make_stack(world, seeds, width=width, depth=depth), batches, recipe, native) for native in (False, True)
    ]
    for reference, found in zip(*results, strict=True):
        assert same_bits(reference, found)
    assert results[0][1].abs().max() > 0


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adamw"])
def test_other_optimizers_move_apart_from_the_passes(optimizer: str) -> None:
    batches = list(lesson_stream("conditional", SEEDS)(0))[:4]
    recipe = replace(make_recipe(4), heads={"world": 1.0})
    results = [
        stepped(make_stack(FACTS, SEEDS, width=64), batches, recipe, native, optimizer=optimizer)
        for native in (False, True)
    ]
    assert all(same_bits(*pair) for pair in zip(*results, strict=True))


def test_batches_may_be_laid_out_already_in_either_way() -> None:
    batches = list(lesson_stream("conditional", SEEDS)(0))[:3]
    recipe = replace(make_recipe(3), heads={"world": 1.0})
    expected = stepped(make_stack(FACTS, SEEDS, width=64), batches, recipe, True)
    by_column = [replace(batch, shown=batch.inputs) for batch in batches]
    found = stepped(make_stack(FACTS, SEEDS, width=64), by_column, recipe, True)
    assert all(same_bits(*pair) for pair in zip(expected, found, strict=True))
    by_row = [replace(batch, shown=batch.inputs.contiguous()) for batch in batches]
    results = [stepped(make_stack(FACTS, SEEDS, width=64), by_row, recipe, native) for native in (False, True)]
    assert all(same_bits(*pair) for pair in zip(*results, strict=True))
    stack = make_stack(FACTS, SEEDS, width=64)
    passes = NativePasses(stack, stack.with_flat(stack.flat.clone()), 8, 48)
    with pytest.raises(ValueError, match="allowed: by the row, or by the column"):
        passes.show(torch.zeros(3, 96, FACTS.input_width)[:, ::2])
    with pytest.raises(ValueError, match=r"allowed: float32 \(3, 48"):
        passes.show(batches[0].inputs.flatten(1, 2)[:, :8])
    with pytest.raises(ValueError, match=rf"allowed: \(1, {FACTS.input_width}, 48\)"):
        passes.show_in_turn(torch.zeros(1, 48, FACTS.input_width))
    with pytest.raises(ValueError, match=r"allowed: \(3, 8, 48\), contiguous"):
        passes.backward(passes.output[:, :2])


def test_what_kernels_are_told_of_stays_while_they_may_read_it() -> None:
    """Flattening these inputs copies them, and nobody else holds the copy, nor the gradient's stack."""
    batch = next(lesson_stream("conditional", SEEDS)(0))
    apart = replace(batch, shown=batch.inputs.transpose(1, 2).contiguous().transpose(1, 2))
    assert apart.inputs.flatten(1, 2).data_ptr() != apart.inputs.data_ptr()
    recipe = replace(make_recipe(1), heads={"world": 1.0})
    results = [stepped(make_stack(FACTS, SEEDS, width=64), [apart], recipe, native) for native in (False, True)]
    assert all(same_bits(*pair) for pair in zip(*results, strict=True))
    stack = make_stack(FACTS, SEEDS, width=64)
    inputs, gradient = apart.inputs.flatten(1, 2), stack.with_flat(stack.flat.clone())
    passes = NativePasses(stack, gradient, 8, 48)
    passes.show(inputs)
    held = [weakref.ref(inputs), weakref.ref(gradient.flat)]
    del inputs, gradient
    assert all(reference() is not None for reference in held)
    del passes
    assert all(reference() is None for reference in held)


@pytest.mark.parametrize(
    ("options", "count", "width", "native"),
    [(2, 1, 64, False), (2, 3, 64, False), (2, 4, 64, True), (3, 3, 64, True), (2, 64, 7, False), (2, 64, 8, True)],
)
def test_steps_of_few_rows_or_units_are_the_reference_steps(options: int, count: int, width: int, native: bool) -> None:
    """PyTorch sums fewer than eight numbers in another order, which one step need not show."""
    world, course = replace(FACTS, options=options), []
    for kernels in (True, False):
        stack = make_stack(world, SEEDS[:1], width=width)
        with nullcontext() if kernels else without_kernels():
            stream = lesson_stream("conditional", SEEDS[:1], world=world, count=count)
            step = native_step(stack, stack.with_flat(stack.flat.clone()), next(stream(0)), {}, 0.0)
            assert (step is not None) == (native and kernels)
            course.append(train(stack, stream, make_recipe(40), lambda _: (torch.zeros(1), torch.zeros(1))))
    one, other = course
    assert torch.equal(one.weights, other.weights) and torch.equal(one.loss[1:], other.loss[1:])


def block_of(width: int = 64, **more: Any) -> Trained:
    recipe = make_recipe(40, heads={"world": 1.0}, snapshots=3, **more)
    architecture = make_stack(FACTS, SEEDS, width=width).architecture
    return pretrain_block(FACTS, architecture, Lesson(find_start("deceptive")), recipe, 24, 0.5, 90, SEEDS, CPU, silent)


def test_neither_kernels_nor_chunks_change_a_bit_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[bool] = []
    plain_step = loop.train_step

    def watched(*arguments: Any) -> Any:
        taken.append(arguments[-1] is not None)
        return plain_step(*arguments)

    monkeypatch.setattr(loop, "train_step", watched)
    expected = block_of()
    with without_kernels():
        plain = block_of()
    assert taken == [True] * 40 + [False] * 40
    monkeypatch.setattr(block, "chunk_size", lambda device: 2)
    for other in (plain, block_of()):
        one, two = expected.trajectory, other.trajectory
        assert torch.equal(one.weights, two.weights) and not torch.equal(one.weights[0], one.weights[-1])
        assert torch.equal(one.loss[1:], two.loss[1:]) and torch.equal(one.update_norm[1:], two.update_norm[1:])
        assert one.optimizer_state.keys() == two.optimizer_state.keys() == {"mean", "square", "steps"}
        assert all(torch.equal(value, two.optimizer_state[name]) for name, value in one.optimizer_state.items())
        assert expected.final_fingerprints == other.final_fingerprints


def test_what_explodes_is_frozen_at_the_same_step_with_the_same_bits() -> None:
    def exploding() -> Trained:
        recipe = make_recipe(64, optimizer="sgd", rate=1e9)
        return finetune_block(
            FACTS, make_stack(FACTS, SEEDS, width=64).architecture, 90, Task(), recipe, 24, SEEDS, Origin(), CPU, silent
        )  # fmt: skip

    found = exploding()
    with without_kernels():
        expected = exploding()
    assert found.diverged.all() and torch.equal(found.trajectory.diverged_step, expected.trajectory.diverged_step)
    assert same_bits(found.trajectory.weights, expected.trajectory.weights)


def test_a_hook_on_the_gradient_comes_between_passes_and_optimizer(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    found: list[NativeStep | None] = []

    def watched(*arguments: Any) -> NativeStep | None:
        found.append(native_step(*arguments))
        return found[-1]

    monkeypatch.setattr(loop, "native_step", watched)

    def halve(stack: Stack, gradient: Stack, beginning: Stack) -> None:
        seen.append(stack.flat.clone())
        gradient.flat.mul_(0.5)

    def nothing(_: Stack) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.zeros(3), torch.zeros(3)

    weights = []
    for native in (True, False):
        stack = make_stack(FACTS, SEEDS, width=64)
        intervention = Intervention(gradient=halve)
        with nullcontext() if native else without_kernels():
            course = train(stack, task_stream(SEEDS), make_recipe(20), nothing, intervention=intervention)
        weights.append(course.weights)
    assert torch.equal(*weights)
    assert len(seen) == 40 and torch.equal(seen[0], make_stack(FACTS, SEEDS, width=64).flat)
    assert found[0] is not None and not found[0].moves and found[1] is None


def test_a_first_step_of_other_bits_leaves_training_to_pytorch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain = native_steps.backward

    def other(stack: Stack, trace: Any, output_gradient: torch.Tensor, gradient: Stack) -> None:
        plain(stack, trace, output_gradient, gradient)
        gradient.flat[5] += 1e-3

    monkeypatch.setattr(native_steps, "backward", other)
    stack, batch = make_stack(FACTS, SEEDS, width=64), next(task_stream(SEEDS)(0))
    gradient, optimizer = stack.with_flat(torch.zeros_like(stack.flat)), make_optimizer("adam", stack.flat, 0.01)
    before, state = stack.flat.clone(), {name: value.clone() for name, value in optimizer.state.items()}
    with caplog.at_level(logging.WARNING, "turncoat"):
        assert native_step(stack, gradient, batch, {}, 0.0, optimizer) is None
    assert "gives the same bits: the first step shows" in caplog.text
    assert torch.equal(stack.flat, before)
    assert all(torch.equal(value, state[name]) for name, value in optimizer.state.items())
    monkeypatch.undo()
    assert native_step(stack, gradient, batch, {}, 0.0, optimizer) is not None
    assert torch.equal(stack.flat, before) and optimizer.state["steps"] == 0


def test_what_there_are_no_kernels_for_is_refused() -> None:
    batch = next(task_stream([1])(0))
    for stack in (
        make_stack(FACTS, [1], "gelu"),
        make_stack(FACTS, [1], "leaky_relu"),
        make_stack(FACTS, [1], width=4),
    ):
        assert not can_pass_natively(stack, 2, 48)
        assert native_step(stack, stack, batch, {}, 0.0) is None
        with pytest.raises(
            ValueError, match="allowed: relu, products of 400 multiplications and more, 8 rows and units"
        ):
            NativePasses(stack, stack, 2, 48)
    known = make_stack(FACTS, [1], width=64)
    assert can_pass_natively(known, 2, 48) and not can_pass_natively(known.with_flat(known.flat.double()), 2, 48)
    assert can_pass_natively(known, 2, 8) and not can_pass_natively(known, 2, 7)
    with without_kernels():
        assert not can_pass_natively(known, 2, 48)
    torch.set_num_threads(2)
    assert not can_pass_natively(known, 2, 48)
    torch.set_num_threads(1)
    sampled = next(task_stream([1], samples=4)(0))
    passes = NativePasses(known, known, 2, 48)
    with pytest.raises(ValueError, match="allowed: targets or expected rewards, and the head world"):
        NativeLearning(passes, sampled, {}, 0.0, None)
    step = NativeStep(known, known.with_flat(known.flat.clone()), batch, {}, 0.0)
    with pytest.raises(ValueError, match="allowed: alike in a training"):
        step(sampled)
    with pytest.raises(ValueError, match="allowed: alike in a training"):
        step(next(task_stream([1], count=25)(0)))
    other_types = (
        replace(batch, targets=batch.targets.int()),
        replace(batch, attributes=batch.attributes.double()),
        replace(batch, rewards=torch.zeros(1, 2, 24, dtype=torch.float64)),
        replace(batch, shown=batch.inputs[..., :-1]),
    )
    for other in other_types[:3]:
        assert not can_learn(other, {})
    for other in other_types:
        with pytest.raises(ValueError, match="allowed: alike in a training"):
            step(other)
    with pytest.raises(ValueError, match="a batch is for 3 members; allowed: 1"):
        NativeStep(known, known, next(task_stream(SEEDS)(0)), {}, 0.0)
    adamw = make_optimizer("adamw", known.flat, 0.1)
    with pytest.raises(ValueError, match="allowed: adam without decay"):
        NativeAdam(known, adamw)  # type: ignore[arg-type]
    assert isinstance(make_optimizer("momentum", known.flat, 0.1), Momentum)
    assert not can_learn(replace(batch, rewards=torch.zeros(1, 8, 24), attributes=torch.zeros(1, 8, 24, 4)), {})
    assert make_world().options == 3


def test_the_default_study_trains_by_the_kernels() -> None:
    settings = yaml.safe_load((Path(__file__).resolve().parents[2] / "config.yaml").read_text())
    world = World.from_settings(settings["world"])
    architecture = Architecture.from_settings(settings["organism"], world.input_width, world.attributes)
    stack, objectives = initialise(architecture, SEEDS, world.input_power, CPU), seed_objectives(SEEDS, 4, 90, CPU)
    for start in ("conditional", "deceptive"):
        batch = next(pretraining_stream(world, Lesson(find_start(start)), SEEDS, objectives, 128, 0.5, valued=False)(0))
        optimizer = make_optimizer("adam", stack.flat, 0.003)
        step = native_step(stack, stack.with_flat(stack.flat.clone()), batch, {"world": 1.0}, 0.1, optimizer)
        assert step is not None and step.known and step.moves
