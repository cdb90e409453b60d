"""How a stage's process ends: at once, with all that was said, and with the code that says how it went."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import ctypes, logging, sys
from turncoat.run_lock import RunLockError
from turncoat.stages.common import _end, run_program
from turncoat.tables.atomic import TableError
sys.excepthook = _end
logging.basicConfig(level=logging.INFO, stream=sys.stderr)

class Last:
    def __del__(self):
        sys.stderr.write("taken down")

kept = Last()

def main():
    {main}

run_program(main)
"""


def run(main: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM.format(main=main)]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": buffered} | options
    return subprocess.run(command, text=True, check=False, **given)  # type: ignore[call-overload, no-any-return]


def test_all_that_was_said_arrives_and_nothing_is_taken_down() -> None:
    ended = run("print('short', end=''); logging.info('logged'); sys.stderr.write('no newline')")
    assert (ended.returncode, ended.stdout) == (0, "short")
    assert ended.stderr == "INFO:root:logged\nno newline"


def test_records_that_a_log_holds_back_arrive() -> None:
    held = "from logging.handlers import MemoryHandler; root = logging.getLogger()"
    ended = run(f"{held}; root.handlers = [MemoryHandler(100, target=root.handlers[0])]; logging.info('kept')")
    assert (ended.returncode, ended.stderr) == (0, "INFO:root:kept\n")


def test_what_a_library_in_c_prints_arrives() -> None:
    ended = run("ctypes.CDLL(None).printf(b'from C')")
    assert (ended.returncode, ended.stdout) == (0, "from C")


@pytest.mark.parametrize(
    ("main", "said"),
    [
        ("sys.exit('cannot go on')", "cannot go on\n"),
        ("raise TableError('a table is broken')", "a table is broken\n"),
        ("raise RunLockError('the run is over')", "the run is over\n"),
        ("raise ValueError('wrong')", "ValueError: wrong\n"),
    ],
)
def test_a_stage_that_fails_says_so(main: str, said: str) -> None:
    ended = run(f"print('begun'); {main}")
    assert (ended.returncode, ended.stdout) == (1, "begun\n")
    assert said in ended.stderr


def test_an_interrupted_stage_does_not_pass() -> None:
    assert run("raise KeyboardInterrupt").returncode not in (0, None)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_output_that_cannot_be_written_is_a_failure() -> None:
    with Path("/dev/full").open("w") as full:
        ended = run("print('lost')", stdout=full)
    assert ended.returncode not in (0, None) and "THE DISK IS FULL" in ended.stderr


def test_a_stage_whose_output_was_closed_passes() -> None:
    ended = run("logging.info('done')", stdout=None, preexec_fn=lambda: os.close(1))
    assert (ended.returncode, ended.stderr) == (0, "INFO:root:done\n")
