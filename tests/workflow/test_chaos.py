"""The harness that kills a study (`make chaos`); a few of its instants are in test_smoke.py."""

import shutil
import subprocess
import sys
from pathlib import Path

import chaos
import numpy as np
import pandas
import pytest
from chaos import Job, Outcome, SmokeStudy, chain, differing, kill, markdown, plan, same
from runs import REPOSITORY


def table(path: Path, value: float, seconds: float) -> None:
    pandas.DataFrame({"value": [1.0, np.nan, value], "train_seconds": [seconds] * 3}).to_parquet(path)


def test_equal_means_every_bit_but_wall_time(tmp_path: Path) -> None:
    a, b = tmp_path / "a.parquet", tmp_path / "b.parquet"
    table(a, 2.0, 1.0)
    table(b, 2.0, 5.0)
    assert same(a, b)
    table(b, np.nextafter(2.0, 3.0), 1.0)
    assert not same(a, b)
    b.write_bytes(a.read_bytes()[:-10])
    assert not same(a, b)
    c, d = tmp_path / "c.csv", tmp_path / "d.csv"
    c.write_text("1,2\n")
    d.write_text("1,2")
    assert not same(c, d)
    shutil.copy(c, d)
    assert same(c, d)


def test_a_missing_or_different_file_is_named(tmp_path: Path) -> None:
    studies = [SmokeStudy(REPOSITORY, tmp_path / name) for name in ("one", "two")]
    for study in studies:
        folder = study.results / "tables"
        folder.mkdir(parents=True)
        table(folder / "x.parquet", 1.0, 1.0)
        table(folder / "y.parquet", 1.0, 1.0)
        (folder / ".x.parquet.7.tmp").touch()
    names = studies[0].files()
    assert names == [Path("tables/x.parquet"), Path("tables/y.parquet")]
    assert differing(*studies, names) == []
    table(studies[1].results / "tables" / "x.parquet", 3.0, 1.0)
    (studies[0].results / "tables" / "y.parquet").unlink()
    assert differing(*studies, names) == names


def test_twenty_instants_hit_each_victim_and_mostly_training() -> None:
    planned = [one for run in plan(20, 5) for one in run]
    assert [len(run) for run in plan(20, 5)] == [5] * 4 and len(plan(20, 1)) == 20
    assert min(sum(victim == name for victim, _ in planned) for name in ("driver", "job", "both")) >= 6
    assert sum(phase != "any" for _, phase in planned) >= 10


def test_what_does_not_pass_is_counted() -> None:
    good = Outcome(1, "job", "loop", "finetune", 1, 1.0, 4, 0, 1, False, "nothing")
    torn = Outcome(2, "job", "any", "classify", 1, 1.0, 4, 1, 1, False, "nothing")
    wrong = Outcome(3, "both", "any", "pretrain", 2, 1.0, 4, 0, 1, True, "tables/claims.csv")
    unfinished = Outcome(4, "both", "any", "report", 2, 1.0, 4, 0, 1, True)
    missed = Outcome(5, "job", "any", "report", 0, 1.0, 4, 0, 1, True, "nothing")
    outcomes = [good, torn, wrong, unfinished, missed]
    assert "1 of 5 passed; 2 struck while a model was being trained." in markdown(outcomes)


def test_only_what_was_there_counts_as_struck() -> None:
    def sleeper() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])

    driver, one, other = sleeper(), sleeper(), sleeper()
    jobs = [Job(process.pid, []) for process in (one, other)]
    assert kill(driver, "job", jobs) == 1 and one.wait() == -9
    assert kill(driver, "job", jobs) == 0  # that one has ended
    assert driver.poll() is None and other.poll() is None
    assert kill(driver, "both", jobs) == 2 and (driver.wait(), other.wait()) == (-9, -9)
    assert kill(driver, "driver", jobs) == 0


def test_a_study_with_nothing_left_to_strike_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained to its end by the first instant: what was to strike its training strikes that of another run."""
    unbroken, study = (SmokeStudy(REPOSITORY, tmp_path / name) for name in ("unbroken", "killed"))

    def trained(in_study: SmokeStudy) -> None:
        path = in_study.results / "pretrain" / "a" / "1-2" / "organisms.parquet"
        path.parent.mkdir(parents=True)
        path.touch()

    folders = []

    def struck(in_study: SmokeStudy, _: SmokeStudy, number: int, victim: str, phase: str, seed: int) -> Outcome:
        folders.append(in_study.folder.name)
        if number < 6:
            trained(in_study)
        return Outcome(number, victim, phase, "finetune", 1, 1.0, 1, 0, 0, False)

    trained(unbroken)
    monkeypatch.setattr(chaos, "strike", struck)
    monkeypatch.setattr(chaos, "finish", lambda *_: "")
    outcomes = chain(study, unbroken, [("job", "any"), ("both", "loop"), ("driver", "training")], 5, 1)
    assert [outcome.instant for outcome in outcomes] == [5, 6, 7] and all(outcome.passed for outcome in outcomes)
    assert folders == ["killed", "killed-6", "killed-6"]
