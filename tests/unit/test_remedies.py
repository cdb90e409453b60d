"""What is said of a disk or a clock that would make a run fail."""

import errno
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors import SafetensorError

from turncoat.configuration.disk import clock_warning, require_room
from turncoat.configuration.errors import ConfigurationError
from turncoat.stages.failures import remedy


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), "THE DISK IS FULL at /a/b"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), f"THE DISK IS FULL at {Path.cwd()}"),
        (SafetensorError("Error while serializing: No space left on device (os error 28)"), "THE DISK IS FULL at"),
        (PermissionError(errno.EACCES, "Permission denied", "/a/b"), "/a/b CANNOT BE WRITTEN (EACCES)"),
        (SafetensorError("Error while serializing: Read-only file system (os error 30)"), "CANNOT BE WRITTEN (EROFS)"),
        (OSError(errno.EIO, "Input/output error", "/a/b"), "THE DISK FAILED at /a/b (EIO)"),
    ],
)
def test_the_disk_is_named_with_its_remedy(error: Exception, words: str) -> None:
    assert words in remedy(error) and "run the same command again" in remedy(error)


@pytest.mark.parametrize(
    "error", [ValueError("28"), OSError("odd"), FileNotFoundError(errno.ENOENT, "x", "y"), KeyError()]
)
def test_other_errors_speak_for_themselves(error: Exception) -> None:
    assert remedy(error) == ""


def test_the_remedy_comes_last_and_the_job_fails() -> None:
    program = (
        "import sys; from turncoat.stages import common; sys.excepthook = common._end;"
        "raise OSError(28, 'No space left on device', '/a/b')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert lines[0].startswith("Traceback") and lines[-1].startswith("THE DISK IS FULL at /a/b")


def test_a_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_room(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=999_999))
    with pytest.raises(ConfigurationError, match=r"is full \(1\.0 MB are free\)"):
        require_room(tmp_path)


def test_times_in_the_future_are_told(tmp_path: Path) -> None:
    file = tmp_path / "one.parquet"
    file.touch()
    assert clock_warning(tmp_path) == "" and clock_warning(tmp_path / "nowhere") == ""
    os.utime(file, times=(time.time() + 30,) * 2)  # clocks of one cluster differ
    assert clock_warning(tmp_path) == ""
    os.utime(file, times=(time.time() + 3600,) * 2)
    assert clock_warning(tmp_path).startswith(f"1 files in {tmp_path} have times in the future, such as {file}")
