"""Two runs of one study, and a run after one that died."""

import json
import os
from pathlib import Path

from runs import SMOKE, Workspace, snakemake

from turncoat.run_lock import FILE, new_run, release_lock, take_lock

STUDY = Path("results", "smoke")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_second_run_says_who_has_the_study_and_touches_nothing(workspace: Workspace) -> None:
    report = workspace.root / STUDY / "report.html"
    report.unlink()
    held = new_run(workspace.root / STUDY)
    take_lock(held)
    before = contents(workspace.root / STUDY)
    run = workspace.run()
    assert run.returncode == 1
    assert f"is being run by process {os.getpid()} on " in run.stdout and "nothing was started" in run.stdout
    assert "Traceback" not in run.stdout
    assert contents(workspace.root / STUDY) == before
    for question in (("--dry-run",), ("--unlock",), ("--list-rules",)):
        assert snakemake(*question, "--configfile", SMOKE, root=workspace.root).returncode == 0, question
    release_lock(held)
    assert workspace.run().returncode == 0
    assert report.is_file() and not (workspace.root / STUDY / FILE).exists()


def test_a_run_goes_on_where_one_was_killed(workspace: Workspace) -> None:
    """Neither its lock nor Snakemake's own, which it left as well, is in the way."""
    (workspace.root / STUDY / "report.html").unlink()
    take_lock(new_run(workspace.root / STUDY))
    path = workspace.root / STUDY / FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pid": 2**22 + 1}))
    locks = workspace.root / ".snakemake" / "locks"
    (locks / "0.output.lock").write_text(f"{STUDY / 'report.html'}\n")
    run = workspace.run()
    assert run.returncode == 0, run.stdout
    assert f"process {2**22 + 1}, which ran this study since" in run.stdout and "cleared" in run.stdout
    assert not path.exists()
