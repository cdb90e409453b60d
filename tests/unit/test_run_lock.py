"""One run of a study at a time, and no file from a job whose run is over."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from running import PRETRAIN, train

from turncoat import run_lock
from turncoat.run_lock import FILE, VARIABLE, RunLockError, check_run, new_run, release_lock, take_lock
from turncoat.tables.atomic import write_text

HOLD = """
import sys, time
from pathlib import Path
from turncoat.run_lock import hold_lock, new_run
hold_lock(new_run(Path(sys.argv[1])))
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""


def holder(folder: Path, seconds: float = 60) -> subprocess.Popen[str]:
    """A process that holds the study's lock."""
    command = [sys.executable, "-c", HOLD, str(folder), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def change(folder: Path, **values: object) -> None:
    path = folder / FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_second_run_is_refused_and_told_by_whom(tmp_path: Path) -> None:
    process = holder(tmp_path)
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(
        RunLockError, match=rf"process {process.pid} on .* since 20.*nothing was started.*kill {process.pid}"
    ):
        take_lock(new_run(tmp_path))
    assert (tmp_path / FILE).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    process.kill()
    process.wait()


def test_the_lock_goes_with_its_process(tmp_path: Path) -> None:
    assert holder(tmp_path, 0).wait() == 0
    assert not list(tmp_path.iterdir())


def test_a_lock_whose_process_was_killed_is_cleared(tmp_path: Path) -> None:
    process = holder(tmp_path)
    process.send_signal(signal.SIGKILL)
    assert (tmp_path / FILE).is_file()  # a zombie until it is waited for: dead all the same
    run = new_run(tmp_path)
    while run_lock._process(process.pid):
        pass
    assert f"process {process.pid}" in take_lock(run)
    process.wait()
    assert json.loads((tmp_path / FILE).read_text())["pid"] == os.getpid()
    release_lock(run)
    assert not (tmp_path / FILE).exists()


def test_a_number_that_another_process_has_by_now_is_no_holder(tmp_path: Path) -> None:
    take_lock(new_run(tmp_path))
    change(tmp_path, process="another boot 17")
    assert take_lock(new_run(tmp_path))


def test_another_machines_lock_is_never_cleared(tmp_path: Path) -> None:
    take_lock(new_run(tmp_path))
    change(tmp_path, machine="elsewhere", host="node7", pid=2**22)
    with pytest.raises(RunLockError, match=rf"on node7 since .*cannot be seen.*remove {tmp_path / FILE}"):
        take_lock(new_run(tmp_path))
    assert json.loads((tmp_path / FILE).read_text())["host"] == "node7"


def test_a_machine_of_the_same_name_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the process of a run on it would be looked for here, and taken for dead."""
    other = tmp_path / "machine-id"
    other.write_text("another installation\n")
    holder(tmp_path / "study").kill()
    monkeypatch.setattr(run_lock, "MACHINE_ID", other)
    with pytest.raises(RunLockError, match="cannot be seen from"):
        take_lock(new_run(tmp_path / "study"))


def test_what_is_no_lock_is_left_for_the_user(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{")
    with pytest.raises(RunLockError, match="is no lock of turncoat"):
        take_lock(new_run(tmp_path))


def test_a_run_does_not_release_the_lock_of_another(tmp_path: Path) -> None:
    mine = new_run(tmp_path)
    take_lock(mine)
    release_lock(new_run(tmp_path))
    assert (tmp_path / FILE).is_file()
    change(tmp_path, pid=1)
    release_lock(mine)  # a process that forked from the holder
    assert (tmp_path / FILE).is_file()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    with pytest.raises(RunLockError, match=r"results/mine cannot be written: .*; nothing was run"):
        take_lock(new_run(tmp_path / "results" / "mine"))


def test_a_job_writes_nothing_once_its_run_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "TRIES", 1)
    mine, path = new_run(tmp_path), tmp_path / "result"
    check_run()  # started by hand
    take_lock(mine)
    monkeypatch.setenv(VARIABLE, mine)
    write_text(path, "mine")
    change(tmp_path, process="gone")
    take_lock(new_run(tmp_path))
    with pytest.raises(RunLockError, match="the run that started this job is over"):
        write_text(path, "of the run before")
    assert path.read_text() == "mine"
    assert sorted(found.name for found in tmp_path.iterdir()) == [FILE, "result"]
    (tmp_path / FILE).unlink()
    with pytest.raises(RunLockError, match="nothing is written"):
        check_run()


def test_a_stage_of_a_run_that_is_over_ends_with_the_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, new_run(tmp_path))
    said = train("pretrain", "aaaaaaaaaa", PRETRAIN, tmp_path / "out", code=1)
    assert "the run that started this job is over" in said and "Traceback" not in said
    assert not (tmp_path / "out").exists()
