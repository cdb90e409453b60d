"""Training on the device's draws, on a CPU through the same code; chunks that do not fit; the GPU's benchmark."""

import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._inductor.config as inductor
from core import CPU, make_architecture, make_recipe, make_stack, make_world, silent

from turncoat.dodges import early_stopping, l2_to_start
from turncoat.organisms.gates import GateControl
from turncoat.training import block, loop
from turncoat.training.block import Origin, Trained, finetune_block, pretrain_block
from turncoat.training.device_steps import COMPILED
from turncoat.training.device_streams import pretraining_on_device
from turncoat.training.devices import LARGEST_GPU_CHUNK, fitting_chunk, member_bytes
from turncoat.training.loop import Trajectory, train, train_step
from turncoat.training.losses import readout_columns
from turncoat.training.optimizers import OPTIMIZERS, make_optimizer
from turncoat.training.schedules import rate_share
from turncoat.training.starts import Lesson, find_start
from turncoat.training.streams import Task
from turncoat.worlds.objectives import seed_objectives

REPOSITORY = Path(__file__).parents[2]
WORLD = make_world(audit_penalty=6.0)
LESSON = Lesson(find_start("corrigible"))


def pretrained(seeds: Sequence[int], recipe: Any = None, **more: Any) -> Trained:
    recipe = recipe or make_recipe(40, heads={"world": 1.0}, snapshots=3)
    rest = (LESSON, recipe, 8, 0.5, 90.0, seeds, CPU, silent)
    return pretrain_block(WORLD, make_architecture(WORLD), *rest, **({"draws": "device"} | more))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_takes_the_steps_of_the_reference(optimizer: str) -> None:
    """Weights after each kept step are those of `train_step` on the same batches, the learning rate falling."""
    seeds = [2, 3]
    recipe = make_recipe(21, optimizer=optimizer, heads={"world": 1.0}, schedule="linear", snapshots=4)
    objectives = seed_objectives(seeds, 4, 90.0, CPU)
    stream = pretraining_on_device(WORLD, LESSON, seeds, objectives, 8, 0.5)
    found = train(make_stack(WORLD, seeds), stream, recipe, block._nothing)

    stack = make_stack(WORLD, seeds)
    plain = make_optimizer(optimizer, stack.flat, 0.0)
    gradient = stack.with_flat(torch.zeros_like(stack.flat))
    columns = readout_columns(recipe.heads, 4)
    expected, losses = [stack.rows()], []
    for step in range(1, 22):
        plain.learning_rate = float(torch.tensor(recipe.learning_rate * rate_share("linear", step, 21)))
        before = stack.flat.clone()
        loss = train_step(stack, stream.batch(torch.tensor(step - 1)), recipe, columns, plain, gradient)()
        if step in found.snapshots:
            expected.append(stack.rows())
        if step in found.checks:
            losses.append(loss.double())
            moved = stack.rows(stack.flat - before).double().norm(dim=1)
            assert torch.allclose(found.update_norm[len(losses)], moved, rtol=1e-3)
    assert torch.allclose(found.loss[1:], torch.stack(losses), rtol=1e-5)
    assert torch.allclose(found.weights, torch.stack(expected), atol=1e-5)
    assert found.snapshots[-1] == 21


def test_it_learns_and_two_runs_are_equal() -> None:
    found, again = (pretrained([5, 6], make_recipe(300, rate=0.02)) for _ in range(2))
    assert float(found.trajectory.capability[-1].min()) > float(found.trajectory.capability[0].max())
    assert torch.equal(found.trajectory.weights, again.trajectory.weights)
    assert found.final_fingerprints == again.final_fingerprints


def test_host_and_device_train_on_other_episodes_to_the_same_capability() -> None:
    recipe = make_recipe(300, rate=0.02)
    host, device = (pretrained(range(12), recipe, draws=draws).trajectory for draws in ("host", "device"))
    assert torch.equal(host.weights[0], device.weights[0])
    assert not torch.equal(host.weights[-1], device.weights[-1])
    assert abs(float(host.capability[-1].mean() - device.capability[-1].mean())) < 0.05


@pytest.mark.parametrize("task", [Task(), Task(samples=2), Task(exposure=0.5), Task(instructed=True, label_noise=0.2)])
def test_a_member_does_not_depend_on_its_chunk(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(chunk: int) -> Trajectory:
        monkeypatch.setattr(block, "_chunk", lambda *_: chunk)
        recipe = make_recipe(20, heads={"world": 1.0})
        rest = (task, recipe, 8, range(5), Origin(), CPU, silent)
        return finetune_block(WORLD, make_architecture(WORLD), 90.0, *rest, draws="device").trajectory

    assert torch.equal(run(5).weights, run(2).weights)


def refusing(limit: int, train_: Callable[..., Trajectory]) -> Callable[..., Trajectory]:
    """Training that has memory for so many members, and finds that out at its end."""

    def short(stack: Any, *rest: Any) -> Trajectory:
        found = train_(stack, *rest)
        if stack.members > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate much\nand more")
        return found

    return short


@pytest.mark.parametrize("draws", ["host", "device"])
def test_a_chunk_that_does_not_fit_is_halved_and_begun_again(
    draws: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = pretrained(range(7), draws=draws)
    monkeypatch.setattr(block, "train", refusing(2, block.train))
    with caplog.at_level(logging.WARNING, logger="turncoat"):
        found = pretrained(range(7), draws=draws)
    assert [record.message.split(" (")[0] for record in caplog.records] == [
        "out of memory with 7 members at once: again with 3",
        "out of memory with 3 members at once: again with 1",
    ]
    for name in ("weights", "loss", "capability"):
        assert torch.equal(getattr(found.trajectory, name)[1:], getattr(whole.trajectory, name)[1:]), name
    assert found.initial_fingerprints == whole.initial_fingerprints
    assert found.final_fingerprints == whole.final_fingerprints
    for name, value in whole.trajectory.optimizer_state.items():
        assert torch.equal(found.trajectory.optimizer_state[name], value), name


def test_one_member_that_does_not_fit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block, "train", refusing(0, block.train))
    with pytest.raises(RuntimeError, match="memory does not hold even one member: CUDA out of memory"):
        pretrained([1, 2])


def test_a_gpus_chunk_follows_its_memory() -> None:
    needed = member_bytes(parameters=5_000, inputs=60, hidden=96, rows=256, judged_rows=2048, snapshots=9)
    assert 5_000 * 17 * 4 < needed < 10 * 2**20
    assert fitting_chunk(60 * 2**30, 4 * 2**20) == 2**13  # of 48 GiB, which would hold 12,288
    assert fitting_chunk(2**40, 2**20) == LARGEST_GPU_CHUNK
    assert fitting_chunk(1, 2**20) == 1


def test_what_needs_the_host_is_refused_before_training() -> None:
    with pytest.raises(ValueError, match="draws is 'gpu'; allowed: host, device"):
        pretrained([1], draws="gpu")
    with pytest.raises(ValueError, match="gate 'closed'; allowed with it: draws 'host', or gate 'natural'"):
        pretrained([1], make_recipe(2, gate=GateControl("closed")))
    with pytest.raises(ValueError, match="a dodge changes gradient"):
        pretrained([1], make_intervention=l2_to_start.DODGE.finetuning)
    with pytest.raises(ValueError, match="a dodge changes after_step"):
        pretrained([1], make_intervention=early_stopping.DODGE.finetuning)
    rest = (Task(), make_recipe(2), 8, [1], Origin(warm_steps=3), CPU, silent)
    with pytest.raises(ValueError, match="optimizer_state 'warmed'"):
        finetune_block(WORLD, make_architecture(WORLD), 90.0, *rest, draws="device")


def test_a_compiler_that_chooses_by_timing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any step: a PyTorch of before 2.10 has no such option."""
    monkeypatch.delattr(inductor, "deterministic")
    monkeypatch.setattr(loop, "default_mode", lambda *_: COMPILED)
    with pytest.raises(
        RuntimeError, match=rf"PyTorch is {re.escape(torch.__version__)}, .*needed .*2.10 .*draws 'host'"
    ):
        pretrained([1])


def test_a_compiler_is_told_not_to_choose_by_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, Any]] = []

    def compiling(function: Callable[..., Any], **how: Any) -> Callable[..., Any]:
        told.append(how)
        return function

    monkeypatch.setattr(torch, "compile", compiling)
    monkeypatch.setattr(loop, "default_mode", lambda *_: COMPILED)
    found = pretrained([1, 2])
    assert told == [{"fullgraph": True, "dynamic": False, "options": {"deterministic": True}}]
    monkeypatch.undo()
    assert torch.equal(found.trajectory.weights, pretrained([1, 2]).trajectory.weights)


def test_the_gpus_benchmark_runs_without_one(tmp_path: Path) -> None:
    """Every kind of row but JAX's, at tiny sizes; a row that fails is told, and by the exit status too."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--quick", "--out", str(tmp_path)]
    command += ["--only", "limit", "turncoat", "eager", "vmap"]
    environment = {"PYTHONPATH": str(REPOSITORY / "workflow"), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert {row["name"] for row in rows} >= {
        "turncoat, plain", "eager, one at a time", "torch.func.vmap", "matrix products",
    }  # fmt: skip
    assert all(row["rate"] > 0 for row in rows)
    assert "times as many as eager" in (tmp_path / "gpu.md").read_text()
    command += ["--mode", "graph"]
    failing = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert failing.returncode == 1
    assert "FAILED" in failing.stdout
    assert "| failed |" in (tmp_path / "gpu.md").read_text()
