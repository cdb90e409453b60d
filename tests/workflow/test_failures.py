"""What a disk or a clock can do to a study: a clear message, earlier results as they were, a cure that completes."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pandas
import pytest
from runs import snakemake

from turncoat.configuration.disk import clock_warning

TINY = """
study: tiny
seeds: {first: 7, count: 4, block: 4}
world: {symbols: 3}
organism: {width: 256}
pretraining: {steps: 20, batch: 8}
finetuning: {steps: 20, batch: 8, snapshots: 8}
arms: {main: {starts: [internal], distances: [90]}, control: null, drift: null, gates: null, strategic: null}
"""
LEFT_FREE = 1_500_000  # bytes: enough to begin with, too few for the fine-tuned weights
DAY = 86_400


class Tiny:
    """A study of two jobs, one of which starts from what the other made."""

    def __init__(self, folder: Path, overlay: Path) -> None:
        self.folder, self.overlay = folder, overlay
        self.results = folder / "results" / "tiny"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return snakemake(
            "models", "--cores", "1", "--directory", str(self.folder), *arguments, "--configfile", str(self.overlay),
            environment={"OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def begin(self) -> dict[str, bytes]:
        """Pre-train, and return the files that this makes."""
        run = self.run("--until", "pretrain")
        assert run.returncode == 0, run.stdout
        files = self.files()
        assert {Path(name).parts[0] for name in files} == {"pretrain"} and len(files) == 4
        return files

    def files(self) -> dict[str, bytes]:
        """Everything under its final name that is data."""
        found = [path for path in self.results.rglob("*") if path.suffix in (".parquet", ".safetensors")]
        return {str(path.relative_to(self.results)): path.read_bytes() for path in sorted(found)}

    def half_written(self) -> list[Path]:
        return [path for path in self.results.rglob(".*") if path.is_file() and path.name.endswith(".tmp")]


def assert_same(study: Tiny, unbroken: Tiny) -> None:
    """Equal bit for bit, but for wall times."""
    files, others = study.files(), unbroken.files()
    assert set(files) == set(others) and len(files) == 8
    for name in files:
        if name.endswith("organisms.parquet"):
            rows = [pandas.read_parquet(one.results / name).drop(columns="train_seconds") for one in (study, unbroken)]
            pandas.testing.assert_frame_equal(*rows, check_exact=True)
        else:
            assert files[name] == others[name], name


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    folder = tmp_path_factory.mktemp("unbroken")
    (folder / "tiny.yaml").write_text(TINY)
    (folder / "study").mkdir()
    study = Tiny(folder / "study", folder / "tiny.yaml")
    run = study.run()
    assert run.returncode == 0, run.stdout
    return study


@pytest.fixture
def copy(unbroken: Tiny, tmp_path: Path) -> Tiny:
    """A finished study, with its times, to be spoilt."""
    shutil.copytree(unbroken.folder, tmp_path / "study", symlinks=True)
    return Tiny(tmp_path / "study", unbroken.overlay)


class Disk:
    """A small disk of the test's own."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def mount(self, options: str) -> None:
        self.place.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.place)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no disk of its own can be mounted here: {done.stderr.strip()}")

    def remount(self, option: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{option}", str(self.place)], check=True)

    def fill(self, but: int) -> None:
        """Leave `but` bytes free."""
        filler = self.place / "filler"
        filler.unlink(missing_ok=True)
        free = shutil.disk_usage(self.place).free
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free - but)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    found = Disk(tmp_path / "disk")
    yield found
    subprocess.run(["umount", str(found.place)], check=False, capture_output=True)


def test_a_full_disk(disk: Disk, unbroken: Tiny) -> None:
    disk.mount("size=24m")
    study = Tiny(disk.place, unbroken.overlay)
    earlier = study.begin()
    disk.fill(LEFT_FREE)
    run = study.run()
    assert run.returncode == 1
    ending = run.stdout[run.stdout.index("finetune failed; its log is results/tiny/logs/finetune/") :]
    assert re.search(r"No space left on device|os error 28", ending)
    assert f"THE DISK IS FULL at {disk.place}" in ending and "run the same command again" in ending
    assert study.files() == earlier and study.half_written() == []
    disk.fill(0)
    run = study.run()
    assert run.returncode == 1
    assert f"the disk of {disk.place} is full (0.0 MB are free); free some space" in run.stdout
    assert "rule finetune" not in run.stdout
    (disk.place / "filler").unlink()
    run = study.run()
    assert run.returncode == 0, run.stdout
    assert "rule finetune" in run.stdout and "rule pretrain" not in run.stdout
    assert_same(study, unbroken)


def test_a_results_folder_that_is_read_only(disk: Disk, unbroken: Tiny, tmp_path: Path) -> None:
    study = Tiny(tmp_path / "study", unbroken.overlay)
    disk.place = study.folder / "results"
    disk.mount("size=24m")
    earlier = study.begin()
    disk.remount("ro")
    run = study.run()
    assert run.returncode == 1
    assert f"{study.results} cannot be written: Read-only file system" in run.stdout and "nothing was run" in run.stdout
    assert study.files() == earlier
    disk.remount("rw")
    run = study.run()
    assert run.returncode == 0, run.stdout
    assert_same(study, unbroken)


def set_times(folder: Path, ago: float) -> None:
    then = time.time() - ago  # the same for all: parents must not be younger than what was made from them
    for path in folder.rglob("*"):
        os.utime(path, times=(then, then))


def test_a_clock_that_was_put_back(copy: Tiny, unbroken: Tiny) -> None:
    """The parents' files lie in the future: Snakemake may refuse what is made from them; the cure completes."""
    set_times(copy.results / "pretrain", -DAY)
    text = clock_warning(copy.results)
    assert text.startswith(f"4 files in {copy.results} have times in the future, such as {copy.results}/pretrain/")
    run = copy.run()
    assert "rule pretrain" not in run.stdout
    if run.returncode:
        assert "WARNING: 4 files in results/tiny have times in the future" in run.stdout
    told = re.search(r"again: (find .*? \+)$", text)
    assert told
    subprocess.run(told[1], shell=True, check=True, cwd=copy.folder)
    assert clock_warning(copy.results) == ""
    run = copy.run()
    assert run.returncode == 0, run.stdout
    assert_same(copy, unbroken)


def test_times_long_past(copy: Tiny, unbroken: Tiny) -> None:
    set_times(copy.results, 20_000 * DAY)
    run = copy.run()
    assert run.returncode == 0 and "Nothing to be done" in run.stdout, run.stdout
    assert_same(copy, unbroken)


def test_a_parent_that_is_missing(copy: Tiny, unbroken: Tiny) -> None:
    """It is made again where something is to be made of it; where all of that is there, nothing is missing."""
    (weights,) = copy.results.glob("pretrain/*/*/weights.safetensors")
    weights.unlink()
    assert "Nothing to be done" in copy.run().stdout
    shutil.rmtree(copy.results / "finetune")
    run = copy.run()
    assert run.returncode == 0, run.stdout
    assert "rule pretrain" in run.stdout
    assert_same(copy, unbroken)


def test_a_parent_that_was_cut_short(copy: Tiny, unbroken: Tiny) -> None:
    """It is there when the run is planned; only the job that reads it can tell."""
    (parent,) = copy.results.glob("pretrain/*/*/organisms.parquet")
    kept = parent.read_bytes()
    shutil.rmtree(copy.results / "finetune")
    parent.write_bytes(kept[:-8])
    run = copy.run()
    assert run.returncode == 1
    ending = run.stdout[run.stdout.index("finetune failed; its log is results/tiny/logs/finetune/") :]
    name = str(parent.relative_to(copy.folder))
    assert name in ending and "run the study again" in ending
    parent.unlink()
    run = copy.run()
    assert run.returncode == 0, run.stdout
    assert_same(copy, unbroken)
