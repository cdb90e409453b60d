"""Jobs on a real Slurm: asked for as the profiles say, retried as often as said, and their failures told."""

import re
import signal
from collections import Counter
from pathlib import Path

import pytest
import yaml
from on_slurm import Study, wait_until
from one_node import ACCOUNT, OneNodeSlurm
from runs import REPOSITORY, copy_workflow

pytestmark = pytest.mark.cluster

FAILS = """
import os, sys
from pathlib import Path

cell = sys.argv[sys.argv.index("--cell") + 1]
with Path("attempts").open("a") as attempts:
    attempts.write(f"{cell} {os.environ.get('CUDA_VISIBLE_DEVICES', 'none')}\\n")
sys.exit("this stage always fails")
"""
SLEEPS = """
import time
print("about to take long", flush=True)
time.sleep(600)
"""


EARLY = ("pretrain", "finetune", "classify_planted")
"""Rules with jobs that wait for no other."""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workflow whose stages only write their files, free to change."""
    root = tmp_path / "turncoat"
    copy_workflow(root)
    return root


def on_request(job: dict[str, str]) -> tuple[str, ...]:
    """A job's state, and what it asked Slurm for."""
    granted = job["TRES"].split(",node")[0]
    gpu = job.get("TresPerJob", "no GPU")
    return job["JobState"], job["Account"], job["Partition"], granted, job["TimeLimit"], gpu, job["Requeue"]


def begin_stage_with(root: Path, stage: str, code: str) -> None:
    path = root / "workflow" / "turncoat" / "stages" / f"{stage}.py"
    path.write_text(code + path.read_text())


@pytest.mark.parametrize(
    ("profile", "arguments", "tries", "jobs_of_slurm", "failing", "devices"),
    [
        ("slurm", ["--retries", "2"], 3, 2, 2, {"none"}),
        ("slurm-gpu", ["--set-resources", "pretrain:gpu=1"], 2, 1, 1, {"0", "1"}),  # the profile's own `retries: 1`
    ],
)
def test_a_failing_job_is_tried_again_as_often_as_said(
    slurm: OneNodeSlurm,
    workspace: Path,
    profile: str,
    arguments: list[str],
    tries: int,
    jobs_of_slurm: int,
    failing: int,
    devices: set[str],
) -> None:
    """Each of two failing jobs; in a group, the first of them, which ends it. Each try has the GPU it asked for."""
    begin_stage_with(workspace, "pretrain", FAILS)
    study = Study(slurm, workspace, workspace, profile)
    run = study.run("--until", "pretrain", *arguments)
    assert run.returncode == 1
    jobs = study.jobs("pretrain")
    assert [job["JobState"] for job in jobs] == ["FAILED"] * jobs_of_slurm * tries
    attempts = [line.split() for line in (workspace / "attempts").read_text().splitlines()]
    assert list(Counter(cell for cell, _ in attempts).values()) == [tries] * failing
    assert {device for _, device in attempts} <= devices
    assert run.stdout.count("pretrain failed; its log is") == failing
    assert run.stdout.count("ends:\n  this stage always fails") == failing
    assert {(job["NumCPUs"], job["TimeLimit"]) for job in jobs} == {("1", f"0{4 // jobs_of_slurm}:00:00")}


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


def test_what_the_profile_says_reaches_slurm_and_ctrl_c_takes_it_back(slurm: OneNodeSlurm, workspace: Path) -> None:
    """The settings that the profile only names, and a GPU: in partitions whose jobs never start."""
    profile = workspace / "profiles" / "slurm" / "profile.yaml"
    text = re.sub(r"^#(?=\S|  - )", "", profile.read_text(), flags=re.M)
    text = text.replace("your-account", ACCOUNT).replace("your-partition", "closed")
    text = text.replace('aggregate:slurm_partition="cpu"', 'pretrain:slurm_partition="closed-too"\n  - finetune:gpu=1')
    profile.write_text(text)
    study = Study(slurm, workspace, workspace)
    log = workspace / "driver.log"
    driver = study.start(log)
    try:
        wait_until(lambda: len(study.jobs()) == 5 or driver.poll() is not None, 120, log)
        asked = {rule: {on_request(job) for job in study.jobs(rule)} for rule in EARLY}
        driver.send_signal(signal.SIGINT)
        driver.wait(120)
    finally:
        driver.kill()
        driver.wait()
    assert asked == {
        "pretrain": {("PENDING", ACCOUNT, "closed-too", "cpu=1,mem=1500M", "02:00:00", "no GPU", "0")},
        "finetune": {("PENDING", ACCOUNT, "closed", "cpu=1,mem=8000M", "04:00:00", "gres:gpu:1", "0")},
        "classify_planted": {("PENDING", ACCOUNT, "closed", "cpu=1,mem=1500M", "02:00:00", "no GPU", "0")},
    }
    assert study.names("CANCELLED") == study.names()
    assert not any((workspace / ".snakemake" / "locks").glob("*"))  # an empty folder locks nothing


def test_a_job_over_its_time_limit_ends_as_failed_and_says_so(slurm: OneNodeSlurm, workspace: Path) -> None:
    begin_stage_with(workspace, "classify_planted", SLEEPS)
    study = Study(slurm, workspace, workspace)
    limit = ("--until", "classify_planted", "--retries", "0", "--set-resources", "classify_planted:runtime=1")
    run = study.run(*limit)
    assert run.returncode == 1
    assert [job["JobState"] for job in study.jobs("classify_planted")] == ["TIMEOUT"]
    ending = run.stdout[run.stdout.index("classify_planted failed") :]
    assert ending.startswith(
        "classify_planted failed (Slurm: TIMEOUT; --set-resources classify_planted:runtime=MINUTES"
    )
    assert "about to take long" in ending
    assert not (workspace / "results" / "smoke" / "planted" / "planted.parquet").exists()
