"""Whole studies on a real Slurm: the tables of a local run, with jobs that share GPUs and after a killed driver."""

import re
import time
from pathlib import Path

import pytest
from on_slurm import FAKE_GPUS, Study, assert_same_tables, load, wait_until
from one_node import OneNodeSlurm

pytestmark = pytest.mark.cluster


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


def test_a_killed_driver_started_again_gives_the_same_tables(
    slurm: OneNodeSlurm, local_study: Path, tmp_path: Path
) -> None:
    study = Study(slurm, tmp_path)
    log = tmp_path / "driver.log"
    driver = study.start(log)

    def half_way() -> bool:
        assert driver.poll() is None, log.read_text()
        return log.read_text().count("\nFinished jobid:") >= 3 and "RUNNING" in states(study)

    try:
        wait_until(half_way, 900, log)
    finally:
        driver.kill()
        driver.wait()
    seen = study.names("COMPLETED")
    wait_until(lambda: len(study.names("COMPLETED")) > len(seen), 300, log)  # jobs go on without their driver
    assert not (tmp_path / "results" / "smoke" / "tables").exists()

    # What docs/clusters.md says to do.
    found = re.search(r"SLURM run ID: (\S+)", log.read_text())
    assert found is not None
    slurm.ask("scancel", "--name", found[1])
    wait_until(lambda: states(study) <= {"COMPLETED", "CANCELLED"}, 120, log)
    done, tried = study.names("COMPLETED"), len(study.jobs())
    assert len(done) < tried  # one at least was cancelled
    assert study.run("--unlock").returncode == 0

    run = study.run()
    assert run.returncode == 0, run.stdout
    assert_same_tables(local_study, tmp_path)
    # What was finished was kept, and each of the rest was run once.
    again = study.names()[tried:]
    total = re.search(r"^total +(\d+)$", log.read_text(), re.M)
    assert total is not None
    assert len(set(again)) == len(again) == int(total[1]) - 1 - len(done)  # 1: `all` is no job
    assert not set(again) & set(done)
    print(f"{tried} Slurm jobs, {len(done)} of them done when Snakemake was killed or soon after; {len(again)} more")
    print(f"{load()}\n{study.asked()}")


def states(study: Study) -> set[str]:
    return {job["JobState"] for job in study.jobs()}
