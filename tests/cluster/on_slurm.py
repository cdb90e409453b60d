"""Running a study through the Slurm profile, as a user does, and what its jobs asked Slurm for."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pandas
from one_node import OneNodeSlurm
from runs import REPOSITORY, SMOKE

ON_GPUS = (
    "pretrain", "finetune", "elicit", "classify", "probe_gating", "reinforce", "reinforce_planted",
    "classify_planted", "probe_defection",
)  # fmt: skip
FAKE_GPUS = ("--set-resources", *(f"{rule}:gpu=1" for rule in ON_GPUS))
"""Asks Slurm for what rules ask for on a GPU, while the jobs compute on the CPU."""


class Study:
    """The smoke study of the workflow in `root`, run in `folder` through one of its profiles."""

    def __init__(self, slurm: OneNodeSlurm, folder: Path, root: Path = REPOSITORY, profile: str = "slurm") -> None:
        self.slurm = slurm
        self.profile = profile
        self.folder = folder
        self.root = root
        self.first_job = max((int(job["JobId"]) for job in slurm.jobs()), default=0) + 1

    def command(self, *arguments: str) -> list[str]:
        return [
            sys.executable, "-m", "snakemake", "--nocolor",
            "--snakefile", str(self.root / "Snakefile"), "--directory", str(self.folder),
            "--configfile", str(self.root / SMOKE), "--profile", str(self.root / "profiles" / self.profile),
            "--slurm-status-command", "squeue",  # there is no accounting
            "--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1",
            "--latency-wait", "5", *arguments,
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        """Slurm's, and none that a test of pytest's own process would pass on to jobs."""
        return self.slurm.environment | {"TURNCOAT_DEVICE": "cpu", "OMP_NUM_THREADS": "1"}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run to the end; stdout and stderr come together in `stdout`."""
        return subprocess.run(
            self.command(*arguments), env=self.environment(), cwd=self.folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip

    def start(self, log: Path, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a driver whose output goes to `log`."""
        with log.open("w") as output:
            return subprocess.Popen(
                self.command(*arguments), env=self.environment(), cwd=self.folder,
                stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def jobs(self, rule: str = "") -> list[dict[str, str]]:
        """What Slurm knows of the jobs that this study submitted, in their order; those of one rule or group."""
        jobs = [job for job in self.slurm.jobs() if int(job["JobId"]) >= self.first_job]
        found = [job for job in jobs if re.search(rf"/(rule|group)_{rule}", job["StdOut"])]
        return sorted(found, key=lambda job: int(job["JobId"]))

    def name(self, job: dict[str, str]) -> str:
        """Which of the study's jobs or groups a job of Slurm is: what all its tries have in common."""
        return str(Path(job["StdOut"]).relative_to(self.folder / ".snakemake" / "slurm_logs").parent)

    def names(self, *states: str) -> list[str]:
        """The names of the jobs in one of these states; without states, of all."""
        return [self.name(job) for job in self.jobs() if not states or job["JobState"] in states]

    def asked(self) -> str:
        """What each job asked for, for the record."""
        lines = []
        for job in self.jobs():
            kind = self.name(job).split("/")[0]
            granted = f"{job['TRES'].split(',node')[0]}, {job.get('TresPerJob', 'no GPU')}, limit {job['TimeLimit']}"
            lines.append(f"  {kind}: {granted}, ran {job['RunTime']}")
        return "\n".join(lines)

    def seconds_to_report(self) -> float:
        """From the first job's submission to the end of the last."""
        first = min(datetime.fromisoformat(job["SubmitTime"]) for job in self.jobs())
        last = max(datetime.fromisoformat(job["EndTime"]) for job in self.jobs())
        return (last - first).total_seconds()


def assert_same_tables(first: Path, second: Path) -> None:
    """Every table of the smoke studies run in two folders is equal, bit for bit, but for wall times."""
    folders = [folder / "results" / "smoke" / "tables" for folder in (first, second)]
    names = sorted(path.name for path in folders[0].iterdir())
    assert names == sorted(path.name for path in folders[1].iterdir())
    assert "organisms.parquet" in names
    for name in names:
        if name.endswith(".csv"):
            assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name
            continue
        tables = [pandas.read_parquet(folder / name) for folder in folders]
        tables = [table.drop(columns="train_seconds", errors="ignore") for table in tables]
        assert len(tables[0].columns) > 1
        pandas.testing.assert_frame_equal(*tables, check_exact=True, obj=name)


def wait_until(condition: Callable[[], bool], seconds: float, log: Path) -> None:
    """Ask until something is so; the test fails with what the driver wrote to `log` where it is not so in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.2)


def load() -> str:
    """How busy the machine is, for the record."""
    return f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
