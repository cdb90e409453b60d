"""Training that is cut off and goes on ends with every bit of training that was not."""

import argparse
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas
import pytest
import torch
from core import CPU, make_architecture, make_recipe, make_world
from running import FINETUNE, PRETRAIN, train
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

import turncoat.stages.training as training_stage
import turncoat.training.block as block
import turncoat.training.devices as devices
import turncoat.training.loop as loop
from turncoat.dodges import early_stopping
from turncoat.organisms.gates import MODES, GateControl
from turncoat.organisms.mlp import initialise
from turncoat.stages.training import find_dodge
from turncoat.tables.checkpoints import CheckpointFile, checkpoint_seconds
from turncoat.training.block import Origin, Trained
from turncoat.training.checkpoints import BlockKeeper
from turncoat.training.devices import describe_device
from turncoat.training.interventions import Intervention
from turncoat.training.loop import Progress
from turncoat.training.optimizers import OPTIMIZERS
from turncoat.training.schedules import SCHEDULES
from turncoat.training.starts import Lesson, find_start
from turncoat.training.streams import WINDOW, Task
from turncoat.training.trajectories import COURSES, Trajectory

SEEDS, STEPS, BATCH = range(5), 40, 8
WORLD = make_world("plain")
ARCHITECTURE = make_architecture(WORLD, width=8)
DODGES = sorted(
    path.stem for path in Path(find_dodge.__globals__["__file__"]).parents[1].glob("dodges/[a-z]*.py")
)  # every one there is
Train = Callable[[BlockKeeper | None, Callable[[int, int, int], Progress]], Trained]
ALL_STEPS = 3 * STEPS  # of three chunks


class CutOff(BaseException):
    """What a kill is to a test."""


class Cutting(CheckpointFile):
    """A file that ends training after it was written so many times."""

    def __init__(self, folder: Path, writings: int) -> None:
        super().__init__(folder, {"job": 1}, 0.0)
        self.writings = writings

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        super().save(tensors, facts)
        self.writings -= 1
        if self.writings == 0:
            raise CutOff


@pytest.fixture(autouse=True)
def two_members_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block, "chunk_size", lambda device: 2)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each step that is taken."""
    taken: list[int] = []
    step = loop.train_step

    def counted(*arguments: Any, **more: Any) -> Tensor:
        taken.append(1)
        return step(*arguments, **more)

    monkeypatch.setattr(loop, "train_step", counted)
    return taken


def quiet(*_: int) -> Progress:
    return lambda *told: None


def tuning(
    origin: Origin | None = None,
    make: Callable[[], Intervention] = Intervention,
    task: Task | None = None,
    **recipe: Any,
) -> Train:
    def run(keeper: BlockKeeper | None, progress: Callable[[int, int, int], Progress]) -> Trained:
        return block.finetune_block(
            WORLD, ARCHITECTURE, 60, task or Task(), make_recipe(STEPS, snapshots=3, **recipe), BATCH, SEEDS,
            origin or Origin(), CPU, progress, make, keeper=keeper,
        )  # fmt: skip

    return run


def pretraining(make: Callable[[], Intervention] = Intervention, start: str = "conditional", **recipe: Any) -> Train:
    def run(keeper: BlockKeeper | None, progress: Callable[[int, int, int], Progress]) -> Trained:
        return block.pretrain_block(
            WORLD, ARCHITECTURE, Lesson(find_start(start)), make_recipe(STEPS, **recipe), BATCH, 0.5, 60, SEEDS, CPU,
            progress, make, keeper=keeper,
        )  # fmt: skip

    return run


def bits(trained: Trained) -> dict[str, Any]:
    """All that a job writes of a trained block but its time, NaN equal to NaN."""
    found: dict[str, Any] = {"before": trained.initial_fingerprints, "after": trained.final_fingerprints}
    for name in Trajectory.__dataclass_fields__:
        value = getattr(trained.trajectory, name)
        found[name] = (value.shape, value.numpy().tobytes()) if isinstance(value, Tensor) else value
    state = found.pop("optimizer_state")
    return found | {f"state {name}": value.numpy().tobytes() for name, value in state.items()}


def cut_and_go_on(run: Train, folder: Path, writings: int) -> Trained:
    with pytest.raises(CutOff):
        run(BlockKeeper(Cutting(folder, writings), CPU), quiet)
    assert (folder / "checkpoint.safetensors").is_file()
    return run(BlockKeeper(CheckpointFile(folder, {"job": 1}, 1e9), CPU), quiet)


def assert_goes_on(run: Train, folder: Path, steps: list[int], writings: int = 4, more: int = 0) -> None:
    """Cut off by default inside the second chunk, at step 32; `more` steps warm each chunk's optimizer."""
    unbroken = run(None, quiet)
    assert len(steps) == ALL_STEPS + 3 * more
    steps.clear()
    resumed = cut_and_go_on(run, folder, writings)
    chunk, window = divmod(writings - 1, 2)
    done = chunk * STEPS + (window + 1) * WINDOW
    warmed = more * (chunk + 1)
    assert len(steps) == done + warmed + (ALL_STEPS - done) + 3 * more - warmed  # none was taken twice
    assert bits(resumed) == bits(unbroken)


@pytest.mark.parametrize("writings", range(1, 7))
def test_wherever_it_is_cut_off(writings: int, tmp_path: Path, steps: list[int]) -> None:
    """At steps 16 and 32 of each of three chunks, the last of a lone member."""
    assert_goes_on(tuning(heads={"world": 1.0}), tmp_path, steps, writings)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_with_every_optimizer_and_schedule(optimizer: str, schedule: str, tmp_path: Path, steps: list[int]) -> None:
    assert_goes_on(tuning(optimizer=optimizer, schedule=schedule, rate=0.02, beta2=0.9), tmp_path, steps)


@pytest.mark.parametrize("mode", MODES)
def test_with_every_gate(mode: str, tmp_path: Path, steps: list[int]) -> None:
    assert_goes_on(tuning(gate=GateControl(mode)), tmp_path, steps)


@pytest.mark.parametrize("dodge", DODGES)
def test_with_every_dodge(dodge: str, tmp_path: Path, steps: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module(f"turncoat.dodges.{dodge}")
    if dodge == "early_stopping":
        monkeypatch.setattr(module, "CAPABILITY", 0.62)  # some members reach it, some do not
    heads = {"world": 1.0, "oversight": 1.0}
    parents = Origin(pretraining(module.DODGE.pretraining, heads=heads)(None, quiet).trajectory.weights[-1])
    steps.clear()
    assert_goes_on(pretraining(module.DODGE.pretraining, heads=heads), tmp_path / "before", steps)
    steps.clear()
    assert_goes_on(tuning(parents, module.DODGE.finetuning, rate=0.02), tmp_path / "after", steps)


def test_a_dodge_with_memory_goes_on_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members that rest when training is cut off rest when it goes on, though they are not at the level any more."""
    monkeypatch.setattr(early_stopping, "CAPABILITY", 0.818)  # three of five reach it before the last check
    run = tuning(make=early_stopping.DODGE.finetuning, rate=0.02)
    unbroken = run(None, quiet)
    assert (unbroken.trajectory.update_norm[-1] == 0).tolist() == [True, False, False, True, True]
    assert bits(cut_and_go_on(run, tmp_path / "remembering", 4)) == bits(unbroken)

    def forgetful() -> Intervention:
        return replace(early_stopping.DODGE.finetuning(), memory=dict, recall=lambda kept: None)

    assert bits(cut_and_go_on(tuning(make=forgetful, rate=0.02), tmp_path / "forgetful", 4)) != bits(unbroken)


@pytest.mark.parametrize("kind", ["carried", "warmed", "warmed within a budget"])
@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_with_an_optimizer_that_does_not_start_fresh(
    kind: str, optimizer: str, tmp_path: Path, steps: list[int]
) -> None:
    parents = pretraining(optimizer=optimizer)(None, quiet).trajectory
    steps.clear()
    state, warm = (parents.optimizer_state, 0) if kind == "carried" else (None, 10)
    task = Task(budget=WINDOW * BATCH) if "budget" in kind else Task()
    run = tuning(Origin(parents.weights[-1], state, warm), task=task, optimizer=optimizer)
    assert_goes_on(run, tmp_path, steps, more=warm)


@pytest.mark.parametrize(
    "task",
    [
        Task(samples=4),
        Task(instructed=True, overseen=0.5, label_noise=0.2),
        Task(budget=2 * WINDOW * BATCH),
        Task(exposure=0.5),
    ],
)
def test_with_every_kind_of_task(task: Task, tmp_path: Path, steps: list[int]) -> None:
    heads = {"world": 1.0, "oversight": 1.0, "placebo": 1.0} if task.exposure else {}
    assert_goes_on(tuning(task=task, heads=heads, entropy_bonus=0.01), tmp_path, steps)


def test_pretraining_whose_choices_are_not_rewarded(tmp_path: Path, steps: list[int]) -> None:
    assert_goes_on(pretraining(start="knowledge_only", heads={"oversight": 1.0}), tmp_path, steps)


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_with_episodes_drawn_on_the_device(optimizer: str, tmp_path: Path) -> None:
    def run(keeper: BlockKeeper | None, progress: Callable[[int, int, int], Progress]) -> Trained:
        recipe = make_recipe(STEPS, snapshots=3, optimizer=optimizer, schedule="cosine")
        return block.finetune_block(
            WORLD, ARCHITECTURE, 60, Task(budget=2 * WINDOW * BATCH), recipe, BATCH, SEEDS, Origin(), CPU, progress,
            draws="device", keeper=keeper,
        )  # fmt: skip

    unbroken = run(None, quiet)
    assert bits(cut_and_go_on(run, tmp_path, 4)) == bits(unbroken)
    assert bits(run(BlockKeeper(Cutting(tmp_path / "whole", 99), CPU), quiet)) == bits(unbroken)


@pytest.mark.parametrize("writings", [3, 4])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
def test_with_a_member_that_diverges_on_episodes_drawn_on_the_device(
    optimizer: str, writings: int, tmp_path: Path
) -> None:
    """Member 2 is found at step 3 and frozen; cut off at step 16 or 32 of its chunk, its mate's bits are those of a
    chunk in which nobody diverges."""
    sound = initialise(ARCHITECTURE, SEEDS, WORLD.input_power, CPU).rows()
    exploding = sound.clone()
    exploding[2] *= 8

    def run(parents: Tensor, keeper: BlockKeeper | None = None) -> Trained:
        recipe = make_recipe(STEPS, snapshots=3, optimizer=optimizer, schedule="cosine", heads={"world": 1.0})
        return block.finetune_block(
            WORLD, ARCHITECTURE, 60, Task(), recipe, BATCH, SEEDS, Origin(parents), CPU, quiet, draws="device",
            keeper=keeper,
        )  # fmt: skip

    unbroken, healthy = run(exploding), run(sound)
    course = unbroken.trajectory
    assert course.diverged_step.tolist() == [-1, -1, 3, -1, -1] and not healthy.diverged.any()
    found = course.checks.index(3)
    assert (course.displacement[found:, 2] > 0).all() and len(set(course.displacement[found:, 2].tolist())) == 1
    assert (course.update_norm[found + 1 :, 2] == 0).all()
    mates = [0, 1, 3, 4]
    for name in (*COURSES, "weights"):
        ours, theirs = (getattr(trained.trajectory, name)[:, mates] for trained in (unbroken, healthy))
        assert ours.numpy().tobytes() == theirs.numpy().tobytes(), name
    assert bits(unbroken) != bits(healthy)
    resumed = cut_and_go_on(lambda keeper, _: run(exploding, keeper), tmp_path, writings)
    assert bits(resumed) == bits(unbroken)


def test_a_chunk_that_no_longer_fits_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state of two members is of no use where one fits at a time: they are trained anew, one by one."""
    run = tuning()
    unbroken = run(None, quiet)
    with pytest.raises(CutOff):
        run(BlockKeeper(Cutting(tmp_path, 3), CPU), quiet)
    whole = block.train

    def small(stack: Any, *rest: Any) -> Trajectory:
        if stack.members > 1:
            raise torch.OutOfMemoryError("too many")
        return whole(stack, *rest)

    monkeypatch.setattr(block, "train", small)
    keeper = BlockKeeper(CheckpointFile(tmp_path, {"job": 1}, 1e9), CPU)
    assert keeper.going is not None and keeper.going[:2] == (2, 4)
    assert bits(run(keeper, quiet)) == bits(unbroken)


def test_a_member_that_diverged_stays_so(tmp_path: Path, steps: list[int]) -> None:
    parents = pretraining()(None, quiet).trajectory.weights[-1].clone()
    steps.clear()
    parents[2] = torch.nan
    run = tuning(Origin(parents))
    assert_goes_on(run, tmp_path, steps)
    assert run(None, quiet).diverged.tolist() == [False, False, True, False, False]


def test_it_is_cut_off_within_a_window(tmp_path: Path, steps: list[int]) -> None:
    """At the check of step 40, the last: what came after step 32 is done again."""
    run = tuning(heads={"world": 1.0})
    unbroken = run(None, quiet)
    steps.clear()

    def cutting(first: int, members: int, _: int) -> Progress:
        def tell(step: int, *told: Any) -> None:
            if first == 2 and step == STEPS:
                raise CutOff

        return tell

    with pytest.raises(CutOff):
        run(BlockKeeper(CheckpointFile(tmp_path, {"job": 1}, 0.0), CPU), cutting)
    resumed = run(BlockKeeper(CheckpointFile(tmp_path, {"job": 1}, 0.0), CPU), quiet)
    assert len(steps) == ALL_STEPS + STEPS % WINDOW
    assert bits(resumed) == bits(unbroken)


def test_it_is_cut_off_again_and_again(tmp_path: Path, steps: list[int]) -> None:
    run = tuning()
    unbroken = run(None, quiet)
    for _ in range(6):
        with pytest.raises(CutOff):
            run(BlockKeeper(Cutting(tmp_path, 1), CPU), quiet)
    assert bits(run(BlockKeeper(CheckpointFile(tmp_path, {"job": 1}, 0.0), CPU), quiet)) == bits(unbroken)


def test_chunks_are_those_of_the_run_that_was_cut_off(
    tmp_path: Path, steps: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine with less memory, or code that halves chunks: what is left takes the new size."""
    run = tuning()
    unbroken = run(None, quiet)
    steps.clear()
    with pytest.raises(CutOff):
        run(BlockKeeper(Cutting(tmp_path, 3), CPU), quiet)
    monkeypatch.setattr(block, "chunk_size", lambda device: 1)
    assert bits(run(BlockKeeper(CheckpointFile(tmp_path, {"job": 1}, 1e9), CPU), quiet)) == bits(unbroken)
    assert len(steps) == ALL_STEPS


def test_an_intervention_that_hides_its_memory_is_not_gone_on_with(tmp_path: Path, steps: list[int]) -> None:
    count = [0]

    def make() -> Intervention:
        count[0] = 0

        def grow(stack: Any, before: Any) -> None:
            count[0] += 1
            stack.flat.mul_(1 + 1e-4 * (count[0] % 7))

        return Intervention(after_step=grow)

    assert not make().resumable
    run = tuning(make=make)
    unbroken = run(None, quiet)
    keeper = CheckpointFile(tmp_path, {"job": 1}, 0.0)
    assert bits(run(BlockKeeper(keeper, CPU), quiet)) == bits(unbroken)
    assert not (tmp_path / "checkpoint.safetensors").exists()
    for hook in ("episodes", "begin", "routes", "gradient", "after_step", "after_check"):
        assert not Intervention(**{hook: make}).resumable
        assert Intervention(**{hook: quiet}).resumable
    assert Intervention(after_step=make, memory=dict, recall=print).resumable


# What a file may be instead of this job's own, whole.


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(bytes(content))


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    with safe_open(path, framework="pt") as file:
        told = json.loads(file.metadata()["turncoat"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(told)
    save_file(tensors, path, metadata={"turncoat": json.dumps(told)})


def other_step(path: Path) -> None:
    rewrite(path, lambda told: told["facts"].update(step=told["facts"]["step"] - 1))


def foreign(path: Path) -> None:
    save_file({"weights": torch.ones(3)}, path, metadata={"else": "1"})


def bare(path: Path) -> None:
    save_file({"weights": torch.ones(3)}, path)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncate, "cannot be read"),
        (empty, "cannot be read"),
        (flip, "its content is not what was written"),
        (other_step, "its content is not what was written"),
        (foreign, "cannot be read"),
        (bare, "cannot be read"),
    ],
)
def test_a_damaged_file_is_told_of_and_not_used(
    damage: Callable[[Path], None], reason: str, tmp_path: Path, steps: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run = tuning()
    unbroken = run(None, quiet)
    with pytest.raises(CutOff):
        run(BlockKeeper(Cutting(tmp_path, 4), CPU), quiet)
    damage(tmp_path / "checkpoint.safetensors")
    steps.clear()
    again = CheckpointFile(tmp_path, {"job": 1}, 1e9)
    assert bits(run(BlockKeeper(again, CPU), quiet)) == bits(unbroken)
    assert len(steps) == ALL_STEPS and again.seconds_before == 0
    assert f"not going on from {tmp_path / 'checkpoint.safetensors'}" in caplog.text and reason in caplog.text


def test_another_jobs_file_is_told_of_and_not_used(
    tmp_path: Path, steps: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run = tuning()
    with pytest.raises(CutOff):
        run(BlockKeeper(Cutting(tmp_path / "0-4-aaaa", 4), CPU), quiet)
    other = CheckpointFile(tmp_path / "0-4-aaaa", {"job": 2}, 0.0)
    assert other.load() is None
    assert "it is of another job (job differs)" in caplog.text
    moved = CheckpointFile(tmp_path / "0-4-bbbb", {"job": 1}, 0.0)
    assert moved.load() is None
    assert "0-4-aaaa/checkpoint.safetensors: it is of other settings or other code" in caplog.text
    assert CheckpointFile(tmp_path / "0-4-aaaa", {"job": 1}, 0.0).load() is not None
    moved.discard()
    assert not list(tmp_path.rglob("*.safetensors"))


def described(monkeypatch: pytest.MonkeyPatch, name: str, **packages: str) -> dict[str, str]:
    """A GPU of that name beside packages of those versions, as a training job describes it."""

    def version(package: str) -> str:
        if package not in packages:
            raise PackageNotFoundError(package)
        return packages[package]

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(name=name))
    monkeypatch.setattr(devices, "version", version)
    return describe_device(torch.device("cuda"))


def test_a_device_is_described_by_what_bits_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    found = described(monkeypatch, "NVIDIA H200", triton="3.6.0")
    assert found == {"device": "cuda", "processor": "NVIDIA H200", "cuda": "13.0", "triton": "3.6.0"}
    assert described(monkeypatch, "NVIDIA H200")["triton"] == ""
    assert described(monkeypatch, "NVIDIA H200", **{"pytorch-triton": "3.7"})["triton"] == "3.7"
    here = describe_device(CPU)
    assert here == {"device": "cpu", "processor": torch.backends.cpu.get_cpu_capability(), "cuda": "", "triton": ""}


def test_what_another_device_left_is_not_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TURNCOAT_CHECKPOINT_SECONDS", "0")
    options = argparse.Namespace(checkpoints=tmp_path / "0-4", settings="{}", first_seed=0, seed_count=5)
    gpu = described(monkeypatch, "NVIDIA H200", triton="3.6.0")

    def opened(**other: str) -> CheckpointFile:
        monkeypatch.setattr(training_stage, "describe_device", lambda device: gpu | other)
        return training_stage.open_checkpoints(options, "pretrain", torch.device("cuda"), Intervention)

    opened().save({"flat": torch.ones(2)}, {"first": 0, "stop": 5, "step": 16})
    assert opened().load() is not None
    for key, value in {"processor": "NVIDIA H100", "triton": "3.7.0", "cuda": "12.6", "device": "cpu"}.items():
        assert opened(**{key: value}).load() is None
        assert f"it is of another job ({key} differs)" in caplog.text
    assert opened().load() is not None


def test_how_often_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    file = CheckpointFile(tmp_path, {}, 60.0)
    now[0] += 59.9
    assert not file.due()
    now[0] += 0.2
    assert file.due()
    monkeypatch.setattr(
        "turncoat.tables.checkpoints.write_file", lambda path, writer: now.__setitem__(0, now[0] + 5)
    )  # five seconds to write it
    file.save({}, {})
    now[0] += 499
    assert not file.due()  # a hundred times as long
    now[0] += 2
    assert file.due()
    assert not CheckpointFile(None).due()


def test_a_file_that_cannot_be_written_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    run = tuning()
    keeper = BlockKeeper(CheckpointFile(tmp_path / "file" / "folder", {}, 0.0), CPU)
    assert bits(run(keeper, quiet)) == bits(run(None, quiet))
    assert "cannot be written" in caplog.text and "training goes on" in caplog.text


@pytest.mark.parametrize("given", ["-1", "soon", "nan", ""])
def test_seconds_that_are_none(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNCOAT_CHECKPOINT_SECONDS", given)
    with pytest.raises(
        ValueError, match=r"TURNCOAT_CHECKPOINT_SECONDS is '.*'; allowed: a number of seconds, 0 or more"
    ):
        checkpoint_seconds()


# The stages, killed for real.


def stage(name: str, settings: dict[str, Any], folder: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"turncoat.stages.{name}", "--threads", "1", "--cell", "aaaaaaaaaa"]
    command += ["--settings", json.dumps(settings), "--first-seed", "7", "--seed-count", "3"]
    command += ["--output", str(folder), "--checkpoints", str(folder.parent / "checkpoints" / folder.name), *more]
    environment = {**os.environ, "TURNCOAT_CHECKPOINT_SECONDS": "0"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def assert_same_files(first: Path, second: Path) -> None:
    for name in ("weights.safetensors", "optimizer.safetensors", "trajectories.parquet"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    rows = [
        pandas.read_parquet(folder / "organisms.parquet").drop(columns="train_seconds") for folder in (first, second)
    ]
    pandas.testing.assert_frame_equal(*rows, check_exact=True)


@pytest.mark.parametrize("name", ["pretrain", "finetune"])
def test_a_stage_that_was_killed_goes_on(name: str, trained: Path, tmp_path: Path) -> None:
    base = PRETRAIN if name == "pretrain" else FINETUNE
    settings = base | {"training": base["training"] | {"steps": 1600}}
    more = [] if name == "pretrain" else ["--parent", str(trained / "parent")]
    train(name, "aaaaaaaaaa", settings, tmp_path / "unbroken", *more)
    checkpoints = tmp_path / "checkpoints"
    times = []
    for _ in range(3):
        process = stage(name, settings, tmp_path / "cut", *more)
        before = set(checkpoints.rglob("*.safetensors"))
        since = max((path.stat().st_mtime_ns for path in before), default=0)
        while process.poll() is None:
            written = [path.stat().st_mtime_ns for path in checkpoints.glob("cut-*/checkpoint.safetensors")]
            if written and max(written) > since:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.002)
        assert process.wait() == -signal.SIGKILL
        assert not (tmp_path / "cut").exists()  # nothing that looks finished
        (file,) = checkpoints.glob("cut-*/checkpoint.safetensors")
        with safe_open(file, framework="pt") as content:
            told = json.loads(content.metadata()["turncoat"])
        times.append((told["facts"]["step"], told["seconds"]))
    assert times == sorted(times) and len(set(times)) == 3  # each went on, and its time was added
    process = stage(name, settings, tmp_path / "cut", *more)
    log = process.communicate()[0].decode()
    assert process.returncode == 0 and "going on from" in log, log
    assert f"at step {times[-1][0]}, after" in log
    assert_same_files(tmp_path / "unbroken", tmp_path / "cut")
    rows = pandas.read_parquet(tmp_path / "cut" / "organisms.parquet")
    assert rows.train_seconds.sum() > times[-1][1]
    assert not checkpoints.exists()


def test_a_short_job_writes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even the folder, which would be there had one been written and removed meanwhile."""
    monkeypatch.setenv("TURNCOAT_CHECKPOINT_SECONDS", "60")
    (tmp_path / "checkpoints").write_text("a file, so that a folder of that name would be an error")
    log = train(
        "pretrain", "aaaaaaaaaa", PRETRAIN, tmp_path / "out", "--checkpoints", str(tmp_path / "checkpoints/out")
    )
    assert "checkpoint" not in log.replace(str(tmp_path), "")


def test_a_stage_names_bad_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNCOAT_CHECKPOINT_SECONDS", "often")
    more = ("--checkpoints", str(tmp_path / "checkpoints/out"))
    log = train("pretrain", "aaaaaaaaaa", PRETRAIN, tmp_path / "out", *more, code=1)
    assert "TURNCOAT_CHECKPOINT_SECONDS is 'often'" in log
