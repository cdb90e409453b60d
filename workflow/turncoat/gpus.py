"""GPUs of a machine without a scheduler: which ones a process may use, and one of them for itself alone.

Nothing here loads torch: CUDA reads CUDA_VISIBLE_DEVICES when it starts, so a GPU has to be chosen before.
"""

import logging
import os
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import TextIO

log = logging.getLogger("turncoat")

VISIBLE = "CUDA_VISIBLE_DEVICES"
DEVICES = Path("/dev")
_held: list[TextIO] = []  # open as long as the process lives: however it ends, its lock ends with it


def device_files(devices: Path = DEVICES) -> int:
    """Return how many NVIDIA GPUs the system shows."""
    return len(list(devices.glob("nvidia[0-9]*")))


def visible_gpus(environment: MutableMapping[str, str] = os.environ, devices: Path = DEVICES) -> list[str]:
    """Return the names by which CUDA_VISIBLE_DEVICES can ask for each GPU that a process may use.

    They are what the variable holds, up to the first name that CUDA takes for no device (it hides what follows), or,
    where it is not set, the numbers of the GPUs that the system shows.
    """
    given = environment.get(VISIBLE)
    if given is None:
        return [str(index) for index in range(device_files(devices))]
    names: list[str] = []
    for name in (part.strip() for part in given.split(",")):
        if not name or name.startswith("-") or name == "NoDevFiles":
            break
        names.append(name)
    return names


def slot_folder() -> Path:
    """Return where this user's locks lie: one folder for all studies, whatever TMPDIR says.

    Raises PermissionError where the folder is another user's.
    """
    folder = Path("/tmp") / f"turncoat-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user, and this user's GPU locks would lie there")
    return folder


def take_gpu(
    environment: MutableMapping[str, str] = os.environ,
    devices: Path = DEVICES,
    folder: Path | None = None,
    pause: float = 1.0,
) -> str | None:
    """Give this process a GPU that no other process of this user has taken, and return its name.

    Sets CUDA_VISIBLE_DEVICES to that one of the visible GPUs, and holds a lock on it until the process ends. Waits,
    looking every `pause` seconds, while all are taken. Returns None, and changes nothing, under Slurm (it hands out
    GPUs itself, and each job's first GPU is called 0), where no GPU is visible, and once a GPU has been taken.
    """
    names = visible_gpus(environment, devices)
    if _held or not names or "SLURM_JOB_ID" in environment:
        return None
    folder = slot_folder() if folder is None else folder
    taken = _free_one(names, folder)
    if taken is None:
        log.info("other jobs have taken GPU %s: waiting for one", ", ".join(names))
    while taken is None:
        time.sleep(pause)
        taken = _free_one(names, folder)
    environment[VISIBLE] = taken
    return taken


def _free_one(names: list[str], folder: Path) -> str | None:
    import fcntl  # not on Windows, where nothing else here is asked for either

    for name in names:
        file = (folder / f"{name.replace('/', '_')}.lock").open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        _held.append(file)
        return name
    return None
