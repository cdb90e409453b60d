"""Training on a GPU: right gradients, the CPU's course, the same bits each time and in any company, short memory."""

import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from common import BATCH, CPU, CUDA, HEADS, make_stack, make_steps, make_stream, make_world, trained

from turncoat.organisms.choices import option_scores
from turncoat.organisms.mlp import backward, forward
from turncoat.organisms.scoring import context_scorer
from turncoat.training import block
from turncoat.training.block import Trained, pretrain_block
from turncoat.training.loop import Recipe, train
from turncoat.training.losses import loss_and_gradient, readout_columns
from turncoat.training.optimizers import make_optimizer
from turncoat.training.starts import Lesson, find_start
from turncoat.training.streams import Batch, pretraining_stream
from turncoat.worlds.objectives import seed_objectives

MODES = ["graph", "compiled graph", "kernels"]
MEMBERS = 40  # in most tests, so that what is compiled is compiled once


def as_double(batch: Batch) -> Batch:
    values = {name: value for name, value in vars(batch).items() if isinstance(value, torch.Tensor)}
    return replace(batch, **{name: value.double() for name, value in values.items() if value.is_floating_point()})


def test_gradients_are_those_of_autograd() -> None:
    world, seeds = make_world(), range(6)
    stack = make_stack(world, seeds, CUDA)
    stack = stack.with_flat(stack.flat.double())
    batch = as_double(make_stream(world, seeds, CUDA).batch(torch.tensor(0, device=CUDA)))
    gradient = stack.with_flat(torch.zeros_like(stack.flat))
    trace = forward(stack, batch.inputs.flatten(1, 2), readout_columns(HEADS, 4), keep_before=False)
    _, at_output = loss_and_gradient(trace.output, batch, HEADS)
    backward(stack, trace, at_output, gradient)

    with torch.enable_grad():
        weights = {name: view.clone().requires_grad_() for name, view in stack.views.items()}
        hidden = batch.inputs.flatten(1, 2)
        for layer in (1, 2):
            hidden = (hidden @ weights[f"hidden{layer}.weight"] + weights[f"hidden{layer}.bias"].unsqueeze(1)).relu()
        output = hidden @ weights["readout.weight"].transpose(1, 2) + weights["readout.bias"].unsqueeze(1)
        scores = output[..., 0].view(len(seeds), 2, BATCH)
        choice = torch.nn.functional.cross_entropy(scores.transpose(1, 2).flatten(0, 1), batch.targets.flatten())
        error = (output[..., 3:7] - batch.attributes.flatten(1, 2)).square().mean((1, 2)).sum()
        (choice * len(seeds) + error).backward()
    for name, view in gradient.views.items():
        found = weights[name].grad
        assert found is not None
        assert float((view - found).abs().max()) < 1e-12, name


def test_course_is_that_of_the_cpu() -> None:
    """100 steps on the host's draws: losses agree, and weights to a small part of how far they moved.

    A change of the initial weights by 1e-7 of themselves, the rounding, moves the last ones by 0.1% of their way in
    half of the members, and by 3% in one of 8, where a unit goes out a step earlier or later.
    """
    world, seeds = make_world(), range(8)
    recipe = Recipe(100, "adam", 0.003, HEADS, 2)
    found = {}
    for device in (CPU, CUDA):
        objectives = seed_objectives(seeds, 4, 90.0, device)
        stack = make_stack(world, seeds, device)
        stream = pretraining_stream(world, Lesson(find_start("corrigible")), seeds, objectives, BATCH, 0.5)
        found[device.type] = train(stack, stream, recipe, block._nothing)
    here, there = found["cpu"], found["cuda"]
    loss = (here.loss[1:] - there.loss[1:].cpu()).abs().max()
    moved = (here.weights[-1] - here.weights[0]).norm(dim=1)
    apart = (here.weights[-1] - there.weights[-1].cpu()).norm(dim=1)
    assert float(loss) < 5e-3
    assert float((apart / moved).median()) < 0.03  # 0.011 on an H200
    assert float((apart / moved).max()) < 0.15  # 0.021


@pytest.mark.parametrize("mode", MODES)
def test_modes_take_the_steps_of_the_plain_one(mode: str) -> None:
    found, plain = (make_steps(range(MEMBERS), name) for name in (mode, "plain"))
    before = plain.stack.rows()
    for steps in (1, 20):  # single steps, and a window of them and more
        found.run(steps)
        plain.run(steps)
    assert int(found.number) == 21
    moved = (plain.stack.rows() - before).norm(dim=1)
    apart = (plain.stack.rows() - found.stack.rows()).norm(dim=1)
    assert float((apart / moved).median()) < 0.01
    assert float((found.loss - plain.loss).abs().max()) < 5e-3 * float(plain.loss.max())
    if mode == "graph":  # the same kernels, replayed
        assert torch.equal(found.stack.flat, plain.stack.flat)


@pytest.mark.parametrize("mode", ["graph", "kernels"])
def test_two_trainings_are_equal_to_the_bit(mode: str) -> None:
    assert torch.equal(trained(range(MEMBERS), mode, 50), trained(range(MEMBERS), mode, 50))


SCRIPT = """
import hashlib, sys, torch
sys.path[:0] = sys.argv[1:3]
torch.set_grad_enabled(False)
from common import trained
print(hashlib.sha256(trained(range(40), sys.argv[3], 50).cpu().numpy().tobytes()).hexdigest())
"""


@pytest.mark.parametrize("mode", ["kernels"])
def test_two_processes_are_equal_to_the_bit(mode: str) -> None:
    """Nothing compiled is kept between them: a compiler that chooses by timing would show."""
    here = Path(__file__).parent
    command = [sys.executable, "-c", SCRIPT, str(here), str(here.parents[1] / "workflow"), mode]
    environment = dict(os.environ) | {"TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, env=environment, **pipes) for _ in range(2)]
    told = [process.communicate() for process in running]
    for process, (_, errors) in zip(running, told, strict=True):
        assert process.returncode == 0, errors[-2000:]
    assert told[0][0].split()[-1] == told[1][0].split()[-1]


@pytest.mark.parametrize("first", [1, 8])
def test_a_member_does_not_depend_on_its_chunk(first: int) -> None:
    """With the kernels. PyTorch's own products and sums round by how many there are: docs/gpu.md."""

    def run(seeds: range) -> tuple[torch.Tensor, torch.Tensor]:
        steps = make_steps(seeds, "kernels")
        steps.run(50)
        return steps.stack.rows(), steps.loss

    whole, parts = run(range(MEMBERS)), (run(range(first)), run(range(first, MEMBERS)))
    for name, together, apart in zip(("weights", "loss"), whole, map(torch.cat, zip(*parts, strict=True)), strict=True):
        differing = (together != apart).view(MEMBERS, -1).any(1)
        by = float((together - apart).abs().max())
        assert not differing.any(), f"{name} of {int(differing.sum())} of {MEMBERS} members differ, by {by:.1e}"


MANY = 2048


def test_scores_are_those_of_the_cpu() -> None:
    world, seeds = make_world(), range(8)
    batch = make_stream(world, seeds, CPU).batch(torch.tensor(0))
    found = []
    for device in (CPU, CUDA):
        stack = make_stack(world, seeds, device)
        inputs = batch.inputs.to(device)
        options, contexts = inputs[..., : world.option_width], inputs[:, 0, :, world.option_width :]
        found.append([option_scores(stack, inputs).cpu(), context_scorer(stack)(options, [contexts])[0].cpu()])
    for here, there in zip(*found, strict=True):
        assert float((here - there).abs().max()) < 2e-5


def test_short_memory_ends_in_a_smaller_chunk(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A limit that 2048 members do not fit and 64 do: the block is trained in chunks, to the bits of such chunks."""
    free = torch.cuda.get_device_properties(0).total_memory

    def run(chunk: int) -> Trained:
        monkeypatch.setattr(block, "memory_chunk", lambda *_: chunk)
        world = make_world()
        stack = make_stack(world, [0], CPU)
        recipe = Recipe(20, "adam", 0.01, HEADS, 2)
        tell = lambda *_: lambda *_: None  # noqa: E731
        lesson = Lesson(find_start("corrigible"))
        rest = (lesson, recipe, BATCH, 0.5, 90.0, range(MANY), CUDA, tell)
        return pretrain_block(world, stack.architecture, *rest)

    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    run(64)
    small = torch.cuda.max_memory_reserved()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(2 * small / free)
    try:
        with caplog.at_level(logging.WARNING, logger="turncoat"):
            found = run(MANY)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    told = [record.message for record in caplog.records if "out of memory with" in record.message]
    assert told, "the limit was never met"
    last = int(told[-1].split("again with ")[1].split()[0])
    assert last < MANY
    assert torch.equal(found.trajectory.weights, run(last).trajectory.weights)


def test_no_memory_at_all_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*_: object) -> None:
        return torch.empty(2**50, device=CUDA)

    monkeypatch.setattr(block, "train", short)
    stack = make_stack(make_world(), [0], CPU)
    recipe = Recipe(2, "adam", 0.01, HEADS, 2)
    tell = lambda *_: lambda *_: None  # noqa: E731
    rest = (Lesson(find_start("corrigible")), recipe, BATCH, 0.5, 90.0, range(2), CUDA, tell)
    with pytest.raises(RuntimeError, match="does not hold even one member"):
        pretrain_block(make_world(), stack.architecture, *rest)


def test_a_rate_on_the_device_moves_as_a_number_does() -> None:
    """Adam with a learning rate that lies on the device moves as with a number."""
    stack = make_stack(make_world(), range(3), CUDA)
    moved = []
    for rate in (0.01, torch.tensor(0.01, device=CUDA)):
        flat = stack.flat.clone()
        optimizer = make_optimizer("adam", flat, 0.0)
        optimizer.learning_rate = rate
        for _ in range(3):
            optimizer.step(flat, stack.flat)
        moved.append(flat)
    assert float((moved[0] - moved[1]).abs().max()) < 1e-8
