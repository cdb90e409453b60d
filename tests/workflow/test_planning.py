"""What planning keeps and leaves alone: every job is told its own cell, and memory is looked after once jobs run."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from runs import REPOSITORY, SMOKE, Workspace, snakemake

from turncoat.commands.dry_run import Job, read_jobs
from turncoat.configuration import settings
from turncoat.configuration.cells import canonical_json
from turncoat.configuration.loading import read_config
from turncoat.configuration.plan import expand

STUDY = """study: mine
seeds: {first: 10, count: 5, block: 2}
arms:
  main:
    {starts: [internal, scratch], distances: [90, 45], elicit: true, reinforce: true,
     vary: {finetuning.optimizer_state: [fresh, carried], finetuning.learning_rates.adam: [0.004, 0.002]}}
  strategic: null
  control: null
  drift: null
  gates: null
reinforcement: {enabled: true, steps: 3}
"""
COLLECTOR = """
import gc, sys
from snakemake.cli import main
usual = gc.get_threshold()
try:
    main(sys.argv[1:])
finally:
    print("searches", gc.get_threshold() == usual, "frozen", gc.get_freeze_count())
"""
TRAINED = ("pretrain", "finetune", "elicit")
"""Stages whose jobs are told all that they need by their cell and block."""


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("planning") / "mine.yaml"
    path.write_text(STUDY)
    return path


@pytest.fixture(scope="module")
def jobs(overlay: Path) -> list[Job]:
    """The jobs of a study whose cells differ in little, on whole and shorter blocks."""
    run = snakemake("--dry-run", "--directory", str(overlay.parent), "--configfile", str(overlay))
    assert run.returncode == 0, run.stdout
    return read_jobs(run.stdout)


def told(job: Job) -> dict[str, str]:
    """The command's options by name."""
    words = shlex.split(job.command.rpartition(" > ")[0])
    return {word: words[at + 1] for at, word in enumerate(words[:-1]) if word.startswith("--")}


def test_every_training_is_told_its_own_cell_and_block(jobs: list[Job], overlay: Path) -> None:
    plan = expand(read_config(REPOSITORY / "config.yaml", overlay))
    trainings = [job for job in jobs if job.rule in TRAINED]
    assert len(trainings) == len(plan.cells) * len(plan.blocks) and len(plan.blocks) == 3
    for job in trainings:
        cell, block = plan.cell(job.wildcards["cell"]), plan.block(job.wildcards["block"])
        folder = f"{cell.stage}/{cell.id}/{block.name}"
        parent = f"results/mine/{plan.cell(cell.parent).stage}/{cell.parent}/{block.name}" if cell.parent else None
        options = told(job)
        code = options.pop("--code")
        assert re.fullmatch("[0-9a-f]{12}", code)
        assert options == {
            "--cell": cell.id,
            "--settings": canonical_json(cell.settings),
            "--first-seed": str(block.first),
            "--seed-count": str(block.count),
            "--output": f"results/mine/{folder}",
            "--checkpoints": f"results/mine/checkpoints/{folder}",
            "--threads": "1",
            **({"--parent": parent} if parent else {}),
        }
        assert {str(Path(name).parent) for name in job.outputs} == {f"results/mine/{folder}"}
        carried = cell.settings["training"].get("optimizer_state") == "carried"
        names = ["weights.safetensors", *(["optimizer.safetensors"] if carried else [])]
        assert sorted(job.inputs) == sorted(f"{parent}/{name}" for name in (names if parent else []))


def test_every_ledger_is_told_its_own_cell(jobs: list[Job], overlay: Path) -> None:
    config = read_config(REPOSITORY / "config.yaml", overlay)
    plan = expand(config)
    ledgers = [job for job in jobs if job.rule == "probe_gating"]
    assert len(ledgers) == len(plan.ids("finetune")) * 3
    for job in ledgers:
        cell = plan.cell(job.wildcards["cell"])
        assert told(job)["--settings"] == canonical_json(settings.ledger(config, cell.settings))
        carried = cell.settings["training"]["optimizer_state"] == "carried"
        expected = f"results/mine/pretrain/{cell.parent}/{job.wildcards['block']}" if carried else None
        assert told(job).get("--parent") == expected
    assert {"--parent" in told(job) for job in ledgers} == {True, False}


def test_parts_of_a_study_plan_their_jobs_and_no_others(jobs: list[Job], overlay: Path) -> None:
    def asked(target: str) -> set[str]:
        run = snakemake("--dry-run", target, "--directory", str(overlay.parent), "--configfile", str(overlay))
        return {output for job in read_jobs(run.stdout) for output in job.outputs}

    def made(*rules: str) -> set[str]:
        return {output for job in jobs if job.rule in rules for output in job.outputs}

    assert asked("models") == made(*TRAINED)
    assert asked("measurements") == made("pretrain", "finetune", "classify", "classify_planted")
    assert asked("ledgers") == made("pretrain", "finetune", "probe_gating")
    assert asked("reinforcement") == made("pretrain", "finetune", "reinforce", "reinforce_planted")


def collecting(root: Path, *arguments: str) -> tuple[bool, int]:
    """Run Snakemake; whether garbage was searched for as usual when it ended, and objects that were no longer."""
    variables = os.environ | {"TURNCOAT_DEVICE": "cpu"}
    command = [sys.executable, "-c", COLLECTOR, "--nocolor", "--cores", "1", "--configfile", SMOKE, *arguments]
    run = subprocess.run(
        command, cwd=root, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    found = re.search(r"^searches (\w+) frozen (\d+)$", run.stdout, re.M)
    assert run.returncode == 0 and found, run.stdout
    return found[1] == "True", int(found[2])


def test_garbage_is_searched_for_again_once_jobs_run(workspace: Workspace) -> None:
    assert collecting(workspace.root, "--dry-run") == (False, 0)
    (workspace.root / "results" / "smoke" / "report.html").unlink()
    usual, frozen = collecting(workspace.root)
    assert usual
    assert frozen > 10_000  # the plan, which is never garbage
