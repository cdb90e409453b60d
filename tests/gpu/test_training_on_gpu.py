"""Training on a GPU: right gradients, the CPU's course, the same bits each time and in any company, short memory."""

import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from common import BATCH, CPU, CUDA, HEADS, make_stack, make_steps, make_stream, make_world, trained

from turncoat.organisms.choices import option_scores
from turncoat.organisms.mlp import backward, forward
from turncoat.organisms.scoring import context_scorer
from turncoat.training import block, device_steps, loop
from turncoat.training.block import Trained, pretrain_block
from turncoat.training.loop import Recipe, train
from turncoat.training.losses import loss_and_gradient, readout_columns
from turncoat.training.optimizers import make_optimizer
from turncoat.training.starts import Lesson, find_start
from turncoat.training.streams import Batch, pretraining_stream
from turncoat.worlds.objectives import seed_objectives

MODES = ["plain", "graph", "compiled", "compiled graph"]


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
    """100 steps on the host's draws: losses agree, and weights to a small part of how far they moved."""
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
    print(f"loss apart by {float(loss):.2e}, weights by {float((apart / moved).max()):.2e} of their way")
    assert float(loss) < 2e-3
    assert float((apart / moved).max()) < 0.02


@pytest.mark.parametrize("mode", MODES)
def test_modes_take_the_steps_of_the_plain_one(mode: str) -> None:
    found, plain = (make_steps(range(8), name) for name in (mode, "plain"))
    for steps in (1, 20):  # single steps, and a window of them and more
        found.run(steps)
        plain.run(steps)
    assert int(found.number) == 21
    assert float((found.loss - plain.loss).abs().max()) < 5e-3 * float(plain.loss.max())
    if mode == "graph":  # the same kernels, replayed
        assert torch.equal(found.stack.flat, plain.stack.flat)


@pytest.mark.parametrize("mode", ["graph", "compiled graph"])
def test_two_trainings_are_equal_to_the_bit(mode: str) -> None:
    assert torch.equal(trained(range(40), mode, 50), trained(range(40), mode, 50))


SCRIPT = """
import hashlib, sys, torch
sys.path[:0] = sys.argv[1:]
torch.set_grad_enabled(False)
from common import trained
print(hashlib.sha256(trained(range(40), "compiled graph", 50).cpu().numpy().tobytes()).hexdigest())
"""


def test_two_processes_are_equal_to_the_bit() -> None:
    """Nothing compiled is kept between them: a compiler that chooses by timing would show."""
    here = Path(__file__).parent
    command = [sys.executable, "-c", SCRIPT, str(here), str(here.parents[1] / "workflow")]
    environment = {"TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
    found = set()
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ) | environment, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        found.add(done.stdout.split()[-1])
    assert len(found) == 1


@pytest.mark.parametrize("mode", ["graph", "compiled graph"])
@pytest.mark.parametrize("sizes", [(1, 95), (32, 64)])
def test_a_member_does_not_depend_on_its_chunk(mode: str, sizes: tuple[int, int]) -> None:
    whole = trained(range(96), mode, 50)
    parts = torch.cat([trained(range(sizes[0]), mode, 50), trained(range(sizes[0], 96), mode, 50)])
    differing = (whole != parts).any(1)
    apart = float((whole - parts).abs().max())
    assert not differing.any(), f"{int(differing.sum())} of 96 members differ, by {apart:.1e}"


SHAPES = [(256, 60, 64), (60, 256, 64), (256, 64, 64), (7, 64, 256), (7, 256, 64), (256, 7, 64)]


@pytest.mark.parametrize("shape", SHAPES)
def test_batched_products_do_not_depend_on_their_number(shape: tuple[int, int, int]) -> None:
    rows, inner, columns = shape
    generator = torch.Generator(CUDA).manual_seed(1)
    left = torch.randn(4096, rows, inner, device=CUDA, generator=generator)
    right = torch.randn(4096, inner, columns, device=CUDA, generator=generator)
    alone = torch.bmm(left[:1], right[:1])
    counts = (2, 3, 8, 48, 256, 1024, 4096)
    differing = [count for count in counts if not torch.equal(torch.bmm(left[:count], right[:count])[:1], alone)]
    assert not differing, f"the first product is another among {differing} of them"


@pytest.mark.parametrize("count", [2, 8, 48, 256, 4096])
def test_sums_do_not_depend_on_their_number(count: int) -> None:
    values = torch.randn(4096, 256, 64, device=CUDA, generator=torch.Generator(CUDA).manual_seed(2))
    assert torch.equal(values[:count].sum(1)[:1], values[:1].sum(1))


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


@pytest.mark.parametrize("draws", ["host", "device"])
def test_short_memory_ends_in_a_smaller_chunk(
    draws: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A limit that 256 members do not fit and 64 do: the block is trained in chunks, to the bits of such chunks."""
    monkeypatch.setattr(loop, "default_mode", lambda device: device_steps.GRAPH)
    free = torch.cuda.get_device_properties(0).total_memory

    def run(chunk: int) -> Trained:
        monkeypatch.setattr(block, "memory_chunk", lambda *_: chunk)
        world = make_world()
        stack = make_stack(world, [0], CPU)
        recipe = Recipe(20, "adam", 0.01, HEADS, 2)
        tell = lambda *_: lambda *_: None  # noqa: E731
        lesson = Lesson(find_start("corrigible"))
        rest = (lesson, recipe, BATCH, 0.5, 90.0, range(256), CUDA, tell)
        return pretrain_block(world, stack.architecture, *rest, draws=draws)

    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    run(64)
    small = torch.cuda.max_memory_reserved()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1.6 * small / free)
    try:
        with caplog.at_level(logging.WARNING, logger="turncoat"):
            found = run(256)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    told = [record.message for record in caplog.records if "out of memory with" in record.message]
    assert told, "the limit was never met"
    last = int(told[-1].split("again with ")[1].split()[0])
    assert last < 256
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
