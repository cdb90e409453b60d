"""Kill -9 at random instants of the smoke study, run it again, and compare every table with those of an unbroken run.

    python tests/workflow/chaos.py --instants 20 --seed 1 --folder /tmp/chaos --markdown chaos.md

A driver, a job, or the driver and all jobs die; three in five instants lie within training, two of them within its
loop. Each is followed by a rerun at once, beside what the dead driver's jobs still do. Files under their final names
must be the unbroken run's at each instant, and all of them in the end. Ends with status 1 unless every instant passes.
`--each 5` kills five times in one run of the study, which costs a fifth. `make chaos` is 20 instants.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

import pandas
import psutil
from runs import REPOSITORY, SMOKE, SOURCES

EXCEPTED = ("train_seconds",)
"""Columns that hold wall time. A table's metadata (provenance) is not compared; all else is, bit for bit."""
VICTIMS = ("driver", "job", "both")
PATIENCE = 900  # seconds for a run, on a busy machine
STAGES_DONE = ("pretrain", "finetune", "elicit", "classify", "gating", "gating_sums", "planted", "defection", "tables")


@dataclass
class Outcome:
    """What one instant did."""

    instant: int
    killed: str
    phase: str
    running: str  # stages whose processes were killed or orphaned
    struck: int  # processes that were there to be killed
    after_seconds: float
    files: int  # under their final names then
    half_written: int  # of those, the ones that differ from the unbroken run's
    checkpoints: int  # to go on from
    unlocked: bool  # whether Snakemake's lock had been left by the one before
    wrong_in_the_end: str = ""
    went_on: int = 0  # jobs of this run of the study whose last try went on from a checkpoint

    @property
    def passed(self) -> bool:
        return self.struck > 0 and not self.half_written and self.wrong_in_the_end == "nothing"


class Job(NamedTuple):
    """The process of a stage."""

    pid: int
    words: list[str]

    @property
    def stage(self) -> str:
        return next(word for word in self.words if word.startswith("turncoat.stages.")).rpartition(".")[2]


class SmokeStudy:
    """The smoke study of the workflow in `root`, run in `folder`."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.folder = root, folder
        self.results = folder / "results" / "smoke"
        self.orphans: set[int] = set()
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a driver in a session of its own; its output is added to driver.log."""
        command = [
            sys.executable, "-m", "snakemake", "--nocolor", "--cores", "2", "--snakefile", str(self.root / "Snakefile"),
            "--directory", str(self.folder), "--configfile", str(self.root / SMOKE), *arguments,
        ]  # fmt: skip
        self.orphans = {job.pid for job in self.jobs()}
        variables = {"TURNCOAT_DEVICE": "cpu", "OMP_NUM_THREADS": "1", "TURNCOAT_CHECKPOINT_SECONDS": "0"}
        with (self.folder / "driver.log").open("a") as output:
            return subprocess.Popen(
                command, cwd=self.folder, env={**os.environ, **variables}, stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip

    def run(self, *arguments: str) -> int:
        return self.start(*arguments).wait(PATIENCE)

    def unlock(self) -> bool:
        """Remove the lock of a driver that was killed; whether there was one."""
        locked = any((self.folder / ".snakemake" / "locks").glob("*"))
        if locked:
            self.run("--unlock")
        return locked

    def jobs(self) -> list[Job]:
        """Processes of stages that work in the folder, whoever started them."""
        found = []
        for process in psutil.process_iter():
            try:
                words = process.cmdline()
                if any(word.startswith("turncoat.stages.") for word in words[:4]) and self.owns(process):
                    found.append(Job(process.pid, words))
            except psutil.Error:
                continue
        return found

    def own_jobs(self) -> list[Job]:
        """Jobs that the last driver started: were an orphan of the one before killed, this driver would just go on."""
        return [job for job in self.jobs() if job.pid not in self.orphans]

    def owns(self, process: psutil.Process) -> bool:
        return process.cwd() == str(self.folder)

    def files(self) -> list[Path]:
        """Data files under their final names, relative to the results."""
        found = (path for stage in STAGES_DONE for path in (self.results / stage).rglob("*"))
        kept = (path for path in found if path.suffix in (".parquet", ".safetensors", ".csv"))
        return sorted(path.relative_to(self.results) for path in kept if not path.name.startswith("."))

    def last_words(self) -> str:
        return "\n".join((self.folder / "driver.log").read_text(errors="replace").splitlines()[-30:])


def same(first: Path, second: Path) -> bool:
    """Whether two files hold the same, but for wall times."""
    if first.suffix != ".parquet":
        return first.read_bytes() == second.read_bytes()
    try:
        tables = [pandas.read_parquet(path).drop(columns=list(EXCEPTED), errors="ignore") for path in (first, second)]
        pandas.testing.assert_frame_equal(*tables, check_exact=True)
    except (AssertionError, OSError, ValueError):
        return False
    return True


def differing(study: SmokeStudy, unbroken: SmokeStudy, names: Sequence[Path]) -> list[Path]:
    """The files among `names` that are missing in one of the studies, or differ."""
    pairs = ((name, study.results / name, unbroken.results / name) for name in names)
    return [name for name, a, b in pairs if not (a.is_file() and b.is_file() and same(a, b))]


def wait_for(ready: Callable[[], bool], driver: subprocess.Popen[bytes], pause: float) -> None:
    """Wait until `ready`, or until the driver ends."""
    deadline = time.monotonic() + PATIENCE
    while not ready() and driver.poll() is None and time.monotonic() < deadline:
        time.sleep(pause)


def training(study: SmokeStudy) -> list[Job]:
    return [job for job in study.own_jobs() if job.stage in ("pretrain", "finetune")]


def _trained(study: SmokeStudy) -> list[Path]:
    return list(study.results.glob("*/*/*/organisms.parquet"))


def _checkpoints(study: SmokeStudy) -> list[Path]:
    return list((study.results / "checkpoints").glob("*/*/*/checkpoint.safetensors"))


def instant(
    study: SmokeStudy, driver: subprocess.Popen[bytes], phase: str, total: int, chance: random.Random
) -> list[Job]:
    """Wait for a random instant of that phase and return the jobs that it is about, the first one most of all.

    Instants are counted in files that are there, of `total` in the end, and not in seconds, so that they lie where they
    should on a busy machine as on an idle one.
    """
    pause = 2 * chance.random()
    found: list[Job] = []
    if phase == "any":
        there = len(study.files())
        most = chance.randrange(there, max(there + 1, total))
        wait_for(lambda: len(study.files()) >= most, driver, 0.1)
        time.sleep(pause)
        wait_for(lambda: bool(found.extend(study.own_jobs()) or found), driver, 0.1)
        return found
    there = len(_trained(study))
    most = chance.randrange(there, 1 + max(there, 2))  # of the six blocks that the smoke study trains
    wait_for(lambda: len(_trained(study)) >= most, driver, 0.02)
    wait_for(lambda: bool(found.extend(training(study)) or found), driver, 0.02)
    if phase == "training":
        time.sleep(pause)
        found.clear()  # what ran before the pause may have ended
        wait_for(lambda: bool(found.extend(training(study)) or found), driver, 0.02)
        return found
    written: list[Path] = []
    wait_for(lambda: bool(written.extend(_checkpoints(study)) or written), driver, 0.001)
    own = [job for job in found if written and written[0].parent.parent.name in job.words]
    return own or training(study) or found


def kill(driver: subprocess.Popen[bytes], victim: str, jobs: Sequence[Job]) -> int:
    """Kill -9 the driver, the first job, or the driver and every job; returns how many of them were still there."""
    victims = [driver.pid] if victim != "job" and driver.poll() is None else []
    if victim != "driver":
        victims += [job.pid for job in (jobs if victim == "both" else jobs[:1])]
    struck = 0
    for pid in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            struck += 1
    return struck


def strike(study: SmokeStudy, unbroken: SmokeStudy, number: int, victim: str, phase: str, seed: int) -> Outcome:
    """Start or go on, kill at an instant of that phase, and look at what is there."""
    unlocked = study.unlock()
    began = time.monotonic()
    driver = study.start()
    jobs = instant(study, driver, phase, len(unbroken.files()), random.Random(f"{seed} {number}"))
    struck = kill(driver, victim, jobs)
    after = time.monotonic() - began
    driver.wait(PATIENCE)  # where a job alone died, its driver ends the others first
    found = study.files()
    half_written = differing(study, unbroken, found)
    kept = len(_checkpoints(study))
    stages = ", ".join(job.stage for job in (jobs[:1] if victim == "job" else jobs))
    return Outcome(number, victim, phase, stages, struck, after, len(found), len(half_written), kept, unlocked)


def finish(study: SmokeStudy, unbroken: SmokeStudy) -> str:
    """Run the study again at once, orphans of the dead driver beside it; what is wrong in the end, empty if nothing."""
    study.unlock()
    status = study.run()
    if status:
        return f"the rerun ended with {status}: {study.last_words()}"
    deadline = time.monotonic() + PATIENCE
    while study.jobs() and time.monotonic() < deadline:  # what orphans write last counts too
        time.sleep(0.1)
    wrong = [str(name) for name in differing(study, unbroken, unbroken.files())]
    left = [str(path.relative_to(study.folder)) for path in (study.results / "checkpoints").rglob("*.safetensors")]
    return "; ".join(wrong + left)


def plan(instants: int, each: int) -> list[list[tuple[str, str]]]:
    """Victim and phase of each instant, `each` of them in one run of the study, three in five within training."""
    phases = ("loop", "training", "loop", "any", "any")
    singles = [(VICTIMS[number % 3], phases[number % 5]) for number in range(instants)]
    return [singles[first : first + each] for first in range(0, instants, each)]


def markdown(outcomes: Sequence[Outcome]) -> str:
    """The table of what happened."""
    names = [field.name.replace("_", " ") for field in fields(Outcome)]
    rows = [names, ["---"] * len(names)]
    for outcome in outcomes:
        cells = [f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in astuple(outcome)]
        rows.append(cells)
    trained = sum("pretrain" in outcome.running or "finetune" in outcome.running for outcome in outcomes)
    passed = sum(outcome.passed for outcome in outcomes)
    text = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{text}\n\n{passed} of {len(outcomes)} passed; {trained} struck while a model was being trained.\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instants", type=int, default=20)
    parser.add_argument("--each", type=int, default=1, help="instants in one run of the study before it may end")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, required=True, help="an empty folder to work in")
    parser.add_argument("--markdown", type=Path, help="file that receives the table")
    options = parser.parse_args()
    root = options.folder.resolve() / "turncoat"
    root.mkdir(parents=True)
    for source in SOURCES:  # a copy: an edit of the code during the run would be another study
        copy = shutil.copytree if (REPOSITORY / source).is_dir() else shutil.copy
        copy(REPOSITORY / source, root / source)
    unbroken = SmokeStudy(root, options.folder.resolve() / "unbroken")
    if unbroken.run():
        sys.exit(f"the unbroken run failed:\n{unbroken.last_words()}")
    outcomes: list[Outcome] = []
    for planned in plan(options.instants, options.each):
        study = SmokeStudy(root, options.folder.resolve() / f"from{len(outcomes) + 1}")
        outcomes += chain(study, unbroken, planned, len(outcomes) + 1, options.seed)
        print(markdown(outcomes), flush=True)
        if options.markdown:
            options.markdown.write_text(markdown(outcomes))
        if all(outcome.passed for outcome in outcomes):
            for folder in study.folder.parent.glob(f"{study.folder.name}*"):
                shutil.rmtree(folder)
    if not all(outcome.passed for outcome in outcomes):
        sys.exit(1)
    if any(outcome.checkpoints for outcome in outcomes) and not any(outcome.went_on for outcome in outcomes):
        sys.exit("there were checkpoints, and no job went on from one")


def chain(
    study: SmokeStudy, unbroken: SmokeStudy, planned: Sequence[tuple[str, str]], first: int, seed: int
) -> list[Outcome]:
    """Instants of one run of the study, each followed by a rerun at once; the last rerun may end, and is compared.

    Where nothing is left that an instant could strike, the run is compared, and another begun.
    """
    outcomes: list[Outcome] = []
    for number, (victim, phase) in enumerate(planned, first):
        left = _trained if phase != "any" else SmokeStudy.files
        if outcomes and len(left(study)) >= len(left(unbroken)):
            break
        outcomes.append(strike(study, unbroken, number, victim, phase, seed))
    wrong = finish(study, unbroken)
    logs = [path.read_text(errors="replace") for path in (study.results / "logs").rglob("*.log")]
    went_on = sum("going on from" in log for log in logs)
    outcomes = [replace(outcome, wrong_in_the_end=wrong or "nothing", went_on=went_on) for outcome in outcomes]
    if len(outcomes) == len(planned):
        return outcomes
    done = len(outcomes)
    fresh = SmokeStudy(study.root, study.folder.with_name(f"{study.folder.name}-{first + done}"))
    return outcomes + chain(fresh, unbroken, planned[done:], first + done, seed)


if __name__ == "__main__":
    main()
