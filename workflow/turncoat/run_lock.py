"""One run of a study at a time: a lock beside its results, and jobs that write nothing once their run is over.

The lock names the process that drives the run. One that died on this machine is cleared; of one on another machine
nothing can be known, so the user is asked. Jobs get the run's name in TURNCOAT_RUN: a job that outlived its driver
must not write over the files of the run that came after, which may have other code and settings.
"""

import atexit
import contextlib
import fcntl
import json
import os
import platform
import time
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

VARIABLE = "TURNCOAT_RUN"  # path of the lock, #, the run's id
FILE = ".run.json"
MACHINE_ID = Path("/etc/machine-id")
TRIES = 5  # a second apart: a shared file system may show a lock late


class RunLockError(RuntimeError):
    """Another run has this study, or the run that started this job is over."""


def new_run(folder: Path) -> str:
    """Return the value of TURNCOAT_RUN for a new run of the study in `folder`."""
    return f"{folder / FILE}#{uuid.uuid4().hex[:12]}"


def hold_lock(run: str) -> str:
    """Take the study's lock until this process ends; returns what was done, in words. Raises as `take_lock` does."""
    cleared = take_lock(run)
    atexit.register(release_lock, run)
    return f"{cleared}\n" * bool(cleared) + f"{_parts(run)[0]} says that process {os.getpid()} runs the study"


def take_lock(run: str) -> str:
    """Take the study's lock for `run`, a value of `new_run`; returns what was cleared, in words, or nothing.

    Raises RunLockError where another run has it, or the folder cannot be written.
    """
    path, _ = _parts(run)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _take(run)
    except OSError as error:
        folder = path.parent.resolve()
        raise RunLockError(
            f"{folder} cannot be written: {error.strerror} ({error.filename}); nothing was run"
        ) from None


def _take(run: str) -> str:
    path, name = _parts(run)
    cleared = ""
    with _alone(path.parent):
        holder = _holder(path)
        if holder is not None:
            if not _is_dead(holder):
                raise RunLockError(_refusal(path, holder))
            cleared = f"{path}: process {holder['pid']}, which ran this study since {holder['since']}, is gone; cleared"
            path.unlink()
        _create(path, name)
    return cleared


def release_lock(run: str) -> None:
    """Remove the lock if this process holds it."""
    path, name = _parts(run)
    with contextlib.suppress(OSError, RunLockError):
        holder = _holder(path) or {}
        if (holder.get("id"), holder.get("pid")) == (name, os.getpid()):
            path.unlink()


def check_run() -> None:
    """Raise RunLockError where the run that started this job no longer has the study. Started by hand: nothing."""
    run = os.environ.get(VARIABLE, "")
    if not run:
        return
    path, name = _parts(run)
    for attempt in range(TRIES):
        with contextlib.suppress(RunLockError):
            if (_holder(path) or {}).get("id") == name:
                return
        time.sleep(1 if attempt < TRIES - 1 else 0)
    raise RunLockError(
        f"the run that started this job is over ({path} is no longer its lock), and another may have begun: "
        "nothing is written. Run the study again; what is missing is made then."
    )


def _parts(run: str) -> tuple[Path, str]:
    path, _, name = run.rpartition("#")
    return Path(path), name


def _create(path: Path, name: str) -> None:
    """Write the lock whole or not at all, and never over another."""
    content = {
        "id": name,
        "pid": os.getpid(),
        "process": _process(os.getpid()),
        "host": platform.node(),
        "machine": _machine(),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    temporary = path.with_name(f"{FILE}.{platform.node()}.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        os.link(temporary, path)
    except FileExistsError:
        raise RunLockError(_refusal(path, _holder(path) or {})) from None
    finally:
        temporary.unlink(missing_ok=True)


def _holder(path: Path) -> dict[str, Any] | None:
    """What the lock says; None where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        content = None
    if not isinstance(content, dict) or not {"id", "pid", "process", "host", "machine", "since"} <= content.keys():
        raise RunLockError(f"{path} is no lock of turncoat. If no run of this study goes on, remove it and run again.")
    return content


def _is_dead(holder: dict[str, Any]) -> bool:
    """Whether the process is gone for sure: it ran here, and its number is free or another's by now."""
    return holder["machine"] == _machine() and _process(holder["pid"]) != holder["process"]


def _refusal(path: Path, holder: dict[str, Any]) -> str:
    who = f"process {holder.get('pid')} on {holder.get('host')} since {holder.get('since')}"
    if holder.get("machine") == _machine():
        remedy = f"Wait until it ends, or end it with Ctrl-C where it was started, or with `kill {holder['pid']}`."
    else:
        remedy = (
            f"Whether it still runs cannot be seen from {platform.node()}. If it does not, and none of its jobs is "
            f"left on the cluster, remove {path} and run again."
        )
    return f"the study in {path.parent} is being run by {who}; nothing was started. {remedy}"


def _machine() -> str:
    """This machine as far as its process numbers reach, which is no farther than a container.

    Names of machines may be alike (`localhost`), and so may the numbers of their process spaces: systemd's own name of
    an installation tells them apart.
    """
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    with contextlib.suppress(OSError):
        parts.append(MACHINE_ID.read_text(encoding="utf-8").strip())
    return " ".join(parts)


def _process(pid: int) -> str:
    """What tells a process from an earlier one of the same number, whatever the clock does; empty where it is gone."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return _process_without_proc(pid)
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else f"{boot} {fields[18]}"  # ticks from the boot to its start


def _process_without_proc(pid: int) -> str:
    import psutil

    try:
        return f"{psutil.Process(pid).create_time():.2f}"
    except psutil.Error:
        return ""


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder against processes of this machine that look at the same moment for a lock to clear."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some shared file systems lock no folders
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
