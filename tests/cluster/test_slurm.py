"""The workflow on a real Slurm: the same tables, GPUs as asked for, failures told and retried as often as said."""

import re
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml
from on_slurm import FAKE_GPUS, Study, assert_same_tables, load
from one_node import OneNodeSlurm
from runs import REPOSITORY, copy_workflow

pytestmark = pytest.mark.cluster

FAILS = """
import sys
from pathlib import Path

cell = sys.argv[sys.argv.index("--cell") + 1]
with Path("attempts").open("a") as attempts:
    attempts.write(cell + "\\n")
sys.exit("this stage always fails")
"""
SLEEPS = """
import time
print("about to take long", flush=True)
time.sleep(600)
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workflow whose stages only write their files, free to change."""
    root = tmp_path / "turncoat"
    copy_workflow(root)
    return root


def begin_stage_with(root: Path, stage: str, code: str) -> None:
    path = root / "workflow" / "turncoat" / "stages" / f"{stage}.py"
    path.write_text(code + path.read_text())


def test_the_smoke_study_gives_the_tables_of_a_local_run(
    slurm: OneNodeSlurm, local_study: Path, tmp_path: Path
) -> None:
    study = Study(slurm, tmp_path, profile="slurm-gpu")
    started = time.monotonic()
    run = study.run(*FAKE_GPUS)
    wall = time.monotonic() - started
    assert run.returncode == 0, run.stdout
    assert_same_tables(local_study, tmp_path)
    jobs = study.jobs()
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}
    print(f"{len(jobs)} Slurm jobs; submit to report {study.seconds_to_report():.0f} s; wall {wall:.0f} s; {load()}")
    print(study.asked())

    # Four fine-tunings share one allocation: one GPU, one core, one job's memory, and four times its runtime.
    (shared,) = study.jobs("finetune")
    assert shared["TresPerJob"] == "gres:gpu:1"
    assert shared["TRES"].startswith("cpu=1,mem=1500M,")
    assert shared["TimeLimit"] == "08:00:00"
    assert len(study.jobs("classify_classify")) == 2  # six jobs
    assert [job["TimeLimit"] for job in study.jobs("classify_planted")] == ["02:00:00"]
    for rule in ("aggregate", "report"):
        (job,) = study.jobs(rule)
        assert "TresPerJob" not in job


@pytest.mark.parametrize(("profile", "submitted", "tried"), [("slurm", 2, 2), ("slurm-gpu", 1, 1)])
def test_a_failing_job_is_tried_again_as_often_as_said(
    slurm: OneNodeSlurm, workspace: Path, profile: str, submitted: int, tried: int
) -> None:
    """Each of two failing jobs; in a group, the first of them, which ends it."""
    begin_stage_with(workspace, "pretrain", FAILS)
    retries = 2
    study = Study(slurm, workspace, workspace, profile)
    run = study.run("--until", "pretrain", "--retries", str(retries))
    assert run.returncode == 1
    jobs = study.jobs("pretrain")
    assert [job["JobState"] for job in jobs] == ["FAILED"] * submitted * (1 + retries)
    attempts = Counter((workspace / "attempts").read_text().split())
    assert list(attempts.values()) == [1 + retries] * tried
    assert run.stdout.count("pretrain failed; its log is") == tried
    assert run.stdout.count("ends:\n  this stage always fails") == tried
    assert {(job["NumCPUs"], job["TimeLimit"]) for job in jobs} == {("1", f"0{4 // submitted}:00:00")}


@pytest.mark.parametrize("profile", ["slurm", "slurm-gpu"])
def test_the_profiles_retry_once(profile: str) -> None:
    settings = yaml.safe_load((REPOSITORY / "profiles" / profile / "profile.yaml").read_text())
    assert settings["retries"] == 1
    rules = (REPOSITORY / "workflow" / "rules").glob("*.smk")
    assert [path.name for path in rules if re.search(r"^ *retries:", path.read_text(), re.M)] == []


def test_the_profile_for_gpus_only_adds_to_the_other() -> None:
    plain, gpu = (
        yaml.safe_load((REPOSITORY / "profiles" / name / "profile.yaml").read_text()) for name in ("slurm", "slurm-gpu")
    )
    rules = "\n".join(path.read_text() for path in (REPOSITORY / "workflow" / "rules").glob("*.smk"))
    many = [rule for rule in re.split(r"^rule ", rules, flags=re.M) if "{cell}" in rule and "gpu=int(HAS_GPU)" in rule]
    names = {rule.partition(":")[0] for rule in many}
    assert len(names) > 4
    assert set(gpu["groups"]) == {f"{name}={name}" for name in names}
    assert set(gpu["group-components"]) == {f"{name}=4" for name in names}
    added = {"groups", "group-components", "resources", "cores"}
    assert {key: value for key, value in gpu.items() if key not in added} == plain


def test_a_job_over_its_time_limit_ends_as_failed_and_says_so(slurm: OneNodeSlurm, workspace: Path) -> None:
    begin_stage_with(workspace, "classify_planted", SLEEPS)
    study = Study(slurm, workspace, workspace)
    limit = ("--until", "classify_planted", "--retries", "0", "--set-resources", "classify_planted:runtime=1")
    started = time.monotonic()
    run = study.run(*limit)
    assert run.returncode == 1
    assert time.monotonic() - started < 300
    assert [job["JobState"] for job in study.jobs("classify_planted")] == ["TIMEOUT"]
    ending = run.stdout[run.stdout.index("classify_planted failed") :]
    assert ending.startswith(
        "classify_planted failed (Slurm: TIMEOUT; --set-resources classify_planted:runtime=MINUTES"
    )
    assert "about to take long" in ending
    assert not (workspace / "results" / "smoke" / "planted" / "planted.parquet").exists()


def test_a_killed_driver_started_again_gives_the_same_tables(
    slurm: OneNodeSlurm, local_study: Path, tmp_path: Path
) -> None:
    study = Study(slurm, tmp_path)
    log = tmp_path / "driver.log"
    driver = study.start(log)
    try:
        end = time.monotonic() + 900
        while not any(job["JobState"] == "RUNNING" for job in study.jobs("finetune")):
            assert driver.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.2)
    finally:
        driver.kill()
        driver.wait()
    assert not (tmp_path / "results" / "smoke" / "tables").exists()

    # What docs/clusters.md says to do.
    found = re.search(r"SLURM run ID: (\S+)", log.read_text())
    assert found is not None
    slurm.ask("scancel", "--name", found[1])
    while any(job["JobState"] in {"RUNNING", "PENDING", "COMPLETING"} for job in study.jobs()):
        time.sleep(0.2)
    refused = study.run()
    assert refused.returncode == 1
    assert "--unlock" in refused.stdout
    assert study.run("--unlock").returncode == 0

    run = study.run()
    assert run.returncode == 0, run.stdout
    assert_same_tables(local_study, tmp_path)
    assert len(study.jobs("pretrain")) == 2  # what was finished was kept
    print(f"{len(study.jobs())} Slurm jobs with those that were cancelled; {load()}")
    print(study.asked())
