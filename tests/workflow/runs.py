"""Running Snakemake as a user does, in a folder of the test's own."""

import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SMOKE = "workflow/studies/smoke.yaml"
SOURCES = ("Snakefile", "config.yaml", "workflow", "profiles", "envs")
LOADED = multiprocessing.get_context("forkserver")
LOADED.set_forkserver_preload(["snakemake.cli"])

STAND_IN = """
import json, os, sys
from pathlib import Path

options = {word: value for word, value in zip(sys.argv, sys.argv[1:]) if word.startswith("--")}
written = ("--output", "--sums", "--curves", "--causes", "--knowledge", "--discrimination", "--known")
targets = [Path(options[name]) for name in written if name in options] or [Path(options["--results"])]
tables = "/tables/" if __spec__.name.endswith("aggregate") else "/figures/"
for name in json.loads(Path("outputs.json").read_text()):
    path = Path(name)
    if path in targets or path.is_relative_to(targets[0]) and (
        "--output" in options or tables in name or name.endswith("report.html") and tables == "/figures/"
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(options["--code"])
sys.exit(0)
"""
"""Put before a stage's own code: writes its outputs without training, and keeps what the stage imports."""


def snakemake(
    *arguments: str, root: Path = REPOSITORY, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `snakemake` on the Snakefile in `root`; stdout and stderr come together in `stdout`."""
    options = ["--snakefile", str(root / "Snakefile"), "--nocolor", *arguments]
    variables = {**os.environ, "TURNCOAT_DEVICE": "cpu", **(environment or {})}
    if {"--dry-run", "-n"} & {*arguments}:
        return _forked(options, root, variables)
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *options],
        cwd=root,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=variables,
        check=False,
    )


def _forked(options: Sequence[str], root: Path, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run Snakemake in a fork of a process that has loaded it, which is half of the work of a dry run."""
    with tempfile.NamedTemporaryFile() as said:
        process = LOADED.Process(target=_main, args=(options, root, dict(variables), said.name))
        process.start()
        process.join()
        text = Path(said.name).read_text()
    assert process.exitcode is not None
    return subprocess.CompletedProcess(["snakemake", *options], process.exitcode, text)


def _main(options: Sequence[str], root: Path, variables: Mapping[str, str], said: str) -> None:
    from snakemake.cli import main

    assert not [name for name in sys.modules if name.partition(".")[0] == "turncoat"]  # it is the one under `root`
    output = os.open(said, os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(root)
    os.environ.clear()
    os.environ.update(variables)
    sys.argv = ["snakemake", *options]
    main()


def planned_jobs(*arguments: str, root: Path = REPOSITORY) -> dict[str, int]:
    """Jobs per rule that a dry run would start, without `all` and `total`."""
    run = snakemake("--dry-run", *arguments, root=root)
    assert run.returncode == 0, run.stdout
    counts = re.findall(r"^(\w+) +(\d+)$", run.stdout, re.M)
    return {rule: int(count) for rule, count in counts if rule not in {"all", "total"}}


class Workspace:
    """A copy of the workflow whose stages only write their files."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def edit(self, path: str, old: str, new: str) -> None:
        file = self.root / path
        text = file.read_text()
        assert old in text, f"{path} does not hold {old!r}"
        file.write_text(text.replace(old, new, 1))

    def jobs(self) -> dict[str, int]:
        """Jobs that the smoke study would now start."""
        return planned_jobs("--configfile", SMOKE, root=self.root)

    def run(self) -> subprocess.CompletedProcess[str]:
        """Run what is left of the smoke study."""
        listing = snakemake("--dry-run", "--configfile", SMOKE, root=self.root).stdout
        outputs = re.findall(r"^    output: (.*)$", listing, re.M)
        (self.root / "outputs.json").write_text(json.dumps([path for line in outputs for path in line.split(", ")]))
        return snakemake("--cores", "2", "--configfile", SMOKE, root=self.root)


def copy_workflow(root: Path) -> None:
    """Copy the workflow to `root` and let its stages only write their files."""
    root.mkdir()
    for source in SOURCES:
        path = REPOSITORY / source
        if path.is_dir():
            shutil.copytree(path, root / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, root / source)
    for stage in (root / "workflow" / "turncoat" / "stages").glob("*.py"):
        if stage.name not in {"__init__.py", "common.py"}:
            stage.write_text(STAND_IN + stage.read_text())
