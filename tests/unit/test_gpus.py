"""One GPU for a process alone: lists of devices that are not there, and real processes that hold and lose them."""

import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from turncoat import gpus
from turncoat.configuration.machine import free_memory, limits
from turncoat.gpus import VISIBLE, take_gpu, visible_gpus
from turncoat.stages import common

HOLD = """
import sys, time
from pathlib import Path
from turncoat.gpus import take_gpu

environment = {"CUDA_VISIBLE_DEVICES": sys.argv[1]}
take_gpu(environment, folder=Path(sys.argv[2]), pause=0.05)
print(environment["CUDA_VISIBLE_DEVICES"], flush=True)
time.sleep(60)
"""


DRIVER = """
import subprocess, sys

job = '''
import sys, time
from pathlib import Path
from turncoat.gpus import take_gpu

gpu = take_gpu({"CUDA_VISIBLE_DEVICES": sys.argv[1]}, folder=Path(sys.argv[2]), pause=0.02)
began = time.monotonic_ns()
time.sleep(0.3)
print(sys.argv[3], gpu, began, time.monotonic_ns(), flush=True)
'''
jobs = [subprocess.Popen([sys.executable, "-c", job, *sys.argv[1:]]) for _ in range(3)]
sys.exit(max(started.wait() for started in jobs))
"""


class Holder:
    """A process that takes one of the GPUs `names` and keeps it."""

    def __init__(self, names: str, folder: Path) -> None:
        command = [sys.executable, "-c", HOLD, names, str(folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def gpu(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def devices(tmp_path: Path) -> Path:
    """Three NVIDIA devices, numbered as a container may show them, and what lies beside them."""
    folder = tmp_path / "dev"
    folder.mkdir()
    for name in ("nvidia0", "nvidia2", "nvidia5", "nvidiactl", "nvidia-uvm"):
        (folder / name).touch()
    return folder


@pytest.fixture(autouse=True)
def nothing_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "_held", [])


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (None, ["0", "1", "2"]),
        ("1", ["1"]),
        ("2, 0", ["2", "0"]),
        ("GPU-3a,MIG-GPU-3a/1/0", ["GPU-3a", "MIG-GPU-3a/1/0"]),
        ("1,-1,0", ["1"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
    ],
)
def test_visible_are_those_that_cuda_would_see(given: str | None, names: list[str], devices: Path) -> None:
    assert visible_gpus({} if given is None else {VISIBLE: given}, devices) == names


def test_processes_hold_different_gpus_and_a_killed_one_gives_its_own_back(tmp_path: Path) -> None:
    holders = [Holder("4,MIG-7/1/0", tmp_path) for _ in range(2)]
    held = [holder.gpu() for holder in holders]
    assert sorted(held) == ["4", "MIG-7/1/0"]
    waiting = Holder("4,MIG-7/1/0", tmp_path)
    time.sleep(1)
    assert waiting.process.poll() is None
    holders[0].kill()
    assert waiting.gpu() == held[0]
    for holder in (*holders, waiting):
        holder.kill()


def test_jobs_of_two_drivers_never_share_a_gpu(tmp_path: Path) -> None:
    """One may use two GPUs, the other one of these; three jobs each, all at once."""
    mine, both = "GPU-2b41c7", "GPU-1a06d9,GPU-2b41c7"
    drivers = [
        subprocess.Popen([sys.executable, "-c", DRIVER, names, str(tmp_path), who], stdout=subprocess.PIPE, text=True)
        for who, names in (("first", both), ("second", mine))
    ]
    lines = [line.split() for driver in drivers for line in driver.communicate(timeout=120)[0].splitlines()]
    assert [driver.returncode for driver in drivers] == [0, 0]
    assert sorted(who for who, *_ in lines) == ["first"] * 3 + ["second"] * 3
    assert {gpu for who, gpu, *_ in lines if who == "second"} == {mine}
    assert {gpu for _, gpu, *_ in lines} == set(both.split(","))
    held = [(gpu, int(began), int(ended)) for _, gpu, began, ended in lines]
    for gpu in both.split(","):
        times = sorted((began, ended) for name, began, ended in held if name == gpu)
        assert all(ended <= began for (_, ended), (began, _) in pairwise(times))


def test_a_given_choice_is_respected_and_a_taken_gpu_passed_over(tmp_path: Path) -> None:
    holder = Holder("3", tmp_path)
    assert holder.gpu() == "3"
    environment = {VISIBLE: "3,1"}
    assert take_gpu(environment, folder=tmp_path) == "1"
    assert environment == {VISIBLE: "1"}
    assert take_gpu(environment, folder=tmp_path) is None  # this process has its own already
    holder.kill()


def test_of_all_gpus_the_first_free_one_is_taken(devices: Path, tmp_path: Path) -> None:
    environment: dict[str, str] = {}
    assert take_gpu(environment, devices, tmp_path) == "0"
    assert environment == {VISIBLE: "0"}


@pytest.mark.parametrize("environment", [{"SLURM_JOB_ID": "7", VISIBLE: "0,1"}, {VISIBLE: ""}, {VISIBLE: "-1"}])
def test_under_slurm_and_without_gpus_nothing_is_done(environment: dict[str, str], tmp_path: Path) -> None:
    before = dict(environment)
    assert take_gpu(environment, tmp_path, tmp_path) is None
    assert environment == before
    assert list(tmp_path.iterdir()) == []


def test_the_locks_of_all_studies_lie_in_one_folder_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    first = gpus.slot_folder()
    monkeypatch.setenv("TMPDIR", "/var/tmp")
    assert gpus.slot_folder() == first
    assert first.name.endswith(str(os.getuid()))
    monkeypatch.setattr(os, "getuid", lambda: first.stat().st_uid + 1)
    Path(f"/tmp/turncoat-gpus-{os.getuid()}").mkdir(exist_ok=True)
    with pytest.raises(PermissionError, match="belongs to another user"):
        gpus.slot_folder()
    Path(f"/tmp/turncoat-gpus-{os.getuid()}").rmdir()


def test_a_promised_gpu_that_is_not_there_ends_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNCOAT_DEVICE", "cuda")
    monkeypatch.setenv(VISIBLE, "")
    with pytest.raises(SystemExit, match=r"promised a GPU .*PyTorch sees none on .*CUDA_VISIBLE_DEVICES=''"):
        common.device_name()


def test_a_job_on_a_gpu_takes_one_and_others_leave_them_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(common, "_sees_gpu", lambda: True)
    monkeypatch.setattr(gpus, "slot_folder", lambda: tmp_path)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv(VISIBLE, "6,7")
    monkeypatch.setenv("TURNCOAT_DEVICE", "cpu")
    assert common.device_name() == "cpu"
    assert os.environ[VISIBLE] == "6,7"
    monkeypatch.setenv("TURNCOAT_DEVICE", "cuda")
    assert common.device_name() == "cuda"
    assert os.environ[VISIBLE] == "6"


def test_choosing_a_gpu_does_not_load_torch() -> None:
    code = "import sys, turncoat.gpus, turncoat.stages.common; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_jobs_together_use_what_is_free(tmp_path: Path) -> None:
    assert limits(10_000_000_000, 0) == "mem_mb=9000"
    assert limits(10_000_000_000, 2) == "mem_mb=9000 gpu=2"
    everything = free_memory(tmp_path)
    assert 1e8 < everything < 1e14
    (tmp_path / "memory.max").write_text("500000000\n")
    (tmp_path / "memory.current").write_text("400000000\n")
    assert free_memory(tmp_path) == 100_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert abs(free_memory(tmp_path) - everything) < everything / 2
