"""What a run's last words are, from Snakemake's own log."""

from pathlib import Path

import pytest

from turncoat.configuration.console import failed_jobs_text

LOG = """\
rule pretrain:
    log: logs/fine.log
Error in rule pretrain:
    message: SLURM-job '3' failed, SLURM status is: 'FAILED'. Detailed failure reason unavailable.
    log: logs/first.log, slurm/3.log (check log file(s) for error details)
    external_jobid: 3
Error in rule classify:
    message: SLURM-job '4' failed, SLURM status is: 'TIMEOUT'. Detailed failure reason unavailable.
    log: logs/second.log, slurm/4.log (check log file(s) for error details)
    message: Error in group finetune
    log: slurm/5.log (check log file(s) for error details)
    Error in rule finetune:
        message: None
        log: logs/began.log (check log file(s) for error details)
    Error in rule finetune:
        message: None
        log: logs/waited.log (check log file(s) for error details)
Error in rule pretrain:
    message: SLURM-job '6' failed, SLURM status is: 'FAILED'. Detailed failure reason unavailable.
    log: logs/first.log, slurm/6.log (check log file(s) for error details)
"""


def test_every_job_that_failed_is_named_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("logs").mkdir()
    Path("slurm").mkdir()
    Path("snakemake.log").write_text(LOG)
    Path("logs/first.log").write_text("one\ntwo\nthree\n")
    Path("logs/began.log").write_text("four\n")
    Path("logs/waited.log").touch()
    Path("slurm/4.log").write_text("refused before it began\n")
    expected = [
        "pretrain failed; its log is logs/first.log and ends:",
        "  two",
        "  three",
        "classify failed (Slurm: TIMEOUT; --set-resources classify:runtime=MINUTES grants more); "
        "its log is slurm/4.log and ends:",
        "  refused before it began",
        "finetune failed; its log is logs/began.log and ends:",
        "  four",
    ]
    assert failed_jobs_text(["snakemake.log"], last_lines=2).splitlines() == expected


def test_a_job_without_any_log_is_named_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("snakemake.log").write_text(
        "Error in rule report:\n    log: logs/report.log (check log file(s) for details)\n"
    )
    assert "report failed; its log is logs/report.log" in failed_jobs_text(["snakemake.log"])
    Path("snakemake.log").write_text("all went well\n")
    assert failed_jobs_text(["snakemake.log"]) == "The run stopped; see the messages above."
