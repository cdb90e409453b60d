"""Planning: what Snakemake takes to plan a study, and to find that a finished one has nothing to do.

The real Snakefile, in a folder of its own, with the default study's cells on more and more blocks. Outputs of the
finished study are faked: empty files that Snakemake is made to record as its own.
"""

import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

Row = dict[str, Any]
DRY = ("--dry-run", "--quiet", "rules")
REPOSITORY = Path(__file__).resolve().parents[1]
JOBS_A_BLOCK = 98  # of the default study: its cells, classified and probed
TOUCH = """
import sys
import snakemake.executors.touch as touch
from snakemake.cli import main
touch.Executor.SLEEPING_TIME = 0  # it waits so long for each job
main(sys.argv[1:])
"""


def benchmark_planning(quick: bool) -> list[Row]:
    """Rows: CPU seconds and seconds that passed, of dry runs, and of a rerun with nothing to do, dry and not.

    Megabytes are the run's peak, where that is above this process's own.
    """
    sizes = (1, 10) if quick else (1, 10, 102, 1020)
    finished = 10 if quick else 102
    rows = []
    for blocks in sizes:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(_row("dry run", Path(folder), blocks, *DRY))
    with tempfile.TemporaryDirectory() as folder:
        _fake(Path(folder), finished)
        rows.append(_row("nothing to do, dry run", Path(folder), finished, *DRY))
        rows.append(_row("nothing to do", Path(folder), finished))
    return rows


def _row(what: str, folder: Path, blocks: int, *arguments: str) -> Row:
    started = time.monotonic()
    said, used = snakemake(folder, blocks, *arguments)
    passed = time.monotonic() - started
    if ("Nothing to be done" in said) != what.startswith("nothing to do"):
        raise RuntimeError(f"{what}, {blocks} blocks: Snakemake said otherwise\n{said[-2000:]}")
    jobs = re.search(r"^total +(\d+)$", said, re.M)
    return {
        "what": what,
        "blocks": blocks,
        "jobs": int(jobs[1]) if jobs else JOBS_A_BLOCK * blocks + 4,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "seconds": passed,
        "megabytes": used.ru_maxrss / 1024,
    }


def snakemake(
    folder: Path, blocks: int, *arguments: str, program: tuple[str, ...] = ("-m", "snakemake")
) -> tuple[str, resource.struct_rusage]:
    """Run Snakemake on the default study with so many blocks, in a folder; return what it said and what it used.

    Raises RuntimeError where it fails.
    """
    overlay = folder / "planning.yaml"
    overlay.write_text(f"study: planning\nseeds: {{first: 1000000, count: {blocks}, block: 1}}\n")
    command = [sys.executable, *program, "--snakefile", str(REPOSITORY / "Snakefile"), "--nocolor", "--cores", "1"]
    command += ["--directory", str(folder), "--configfile", str(overlay), *arguments]
    variables = os.environ | {"TURNCOAT_DEVICE": "cpu"}
    with tempfile.TemporaryFile("w+") as text:
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=text, stderr=subprocess.STDOUT, env=variables)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)  # it has been waited for
        text.seek(0)
        said = text.read()
    if process.returncode:
        raise RuntimeError(f"snakemake {' '.join(arguments)} failed:\n{said[-2000:]}")
    return said, used


def _fake(folder: Path, blocks: int) -> None:
    """Leave the folder as if the study had been run."""
    summary, _ = snakemake(folder, blocks, "--summary")
    files = [line.split("\t")[0] for line in summary.splitlines() if line.startswith("results/")]
    if not files:
        raise RuntimeError("snakemake --summary named no output")
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    program = folder / "touch.py"
    program.write_text(TOUCH)
    snakemake(folder, blocks, "--touch", "--forceall", "--quiet", "all", program=(str(program),))
