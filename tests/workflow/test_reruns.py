"""Exact reruns: the jobs that a change starts are those that it must start, by rule, cell and block."""

import shutil
from pathlib import Path

import pytest
from reruns import ARMS, DODGED, PAGE, SCENARIOS, Scenario, counted, document
from runs import SMOKE, Workspace, copy_workflow, snakemake
from study_jobs import every_job, with_all_below

from turncoat.commands.dry_run import read_jobs
from turncoat.configuration.loading import read_config
from turncoat.configuration.plan import expand


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with every kind of job, which has run."""
    root = tmp_path_factory.mktemp("rich") / "turncoat"
    copy_workflow(root)
    workspace = Workspace(root)
    workspace.edit(SMOKE, "main: {starts: [internal, scratch], distances: [90]}", f"{ARMS}\n  {DODGED}")
    workspace.edit(SMOKE, "gating: {episodes: 64}", "gating: {episodes: 64}\nreinforcement: {enabled: true, steps: 3}")
    run = workspace.run()
    assert run.returncode == 0, run.stdout
    return root


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_change_starts_these_jobs_and_no_others(finished: Path, tmp_path: Path, scenario: Scenario) -> None:
    root = tmp_path / "turncoat"
    shutil.copytree(finished, root, symlinks=True)
    scenario.change(Workspace(root))
    plan = expand(read_config(root / "config.yaml", root / SMOKE))
    run = snakemake("--dry-run", "--configfile", SMOKE, *scenario.arguments, root=root)
    assert run.returncode == 0, run.stdout
    found = {(job.rule, job.wildcards.get("cell", ""), job.wildcards.get("block", "")) for job in read_jobs(run.stdout)}
    assert found == with_all_below(scenario.roots(plan), plan)
    assert counted(found) == scenario.jobs


def test_the_page_says_what_is_tested() -> None:
    assert len(SCENARIOS) >= 15
    assert PAGE.read_text() == document()


def test_all_jobs_of_the_study_are_known(finished: Path) -> None:
    """The expectations above rest on this reading of the plan."""
    plan = expand(read_config(finished / "config.yaml", finished / SMOKE))
    run = snakemake("--dry-run", "--forceall", "--configfile", SMOKE, root=finished)
    found = {(job.rule, job.wildcards.get("cell", ""), job.wildcards.get("block", "")) for job in read_jobs(run.stdout)}
    assert found == every_job(plan)
