"""What a training job that was cut off goes on from: one file, replaced as training goes on, gone when it is done.

The file is a safetensors file whose metadata says which job it belongs to (settings, code, seeds, parents, device and
versions), how long that has trained, and the SHA-256 of all it holds. No file that is anything else is gone on from.
"""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from turncoat.tables.atomic import write_file

log = logging.getLogger("turncoat")

SECONDS = "TURNCOAT_CHECKPOINT_SECONDS"
DEFAULT_SECONDS = 60.0
LARGEST_SHARE = 0.01  # of a job's time that writing may take
NAME = "checkpoint.safetensors"


class CheckpointFile:
    """Keeps a job's state in `folder`, nothing if that is None; a `turncoat.training.checkpoints.Storage`.

    identity: what the job is, to which a file must be equal to be used; JSON. Written when `seconds` have passed since
    the last time, and never so often that it takes more than a hundredth of the time; with 0, after every window.
    `seconds_before`: what the job had trained when the state that it goes on from was kept.
    """

    def __init__(
        self, folder: Path | None, identity: Mapping[str, Any] | None = None, seconds: float = DEFAULT_SECONDS
    ) -> None:
        self.path = None if folder is None else folder / NAME
        self.identity = json.loads(json.dumps(identity or {}))
        self.seconds = seconds
        self.seconds_before = 0.0
        self.started = self.written = time.monotonic()
        self.cost = 0.0

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The tensors and facts of a file that is whole and this job's own; what is wrong with another is logged."""
        if self.path is None:
            return None
        if not self.path.is_file():
            for other in _others(self.path):
                log.info("not going on from %s: it is of other settings or other code", other)
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                told = json.loads(file.metadata()["turncoat"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            sound = told.pop("sha256") == _digest(tensors, told)
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("not going on from %s: it cannot be read (%s); training from the beginning", self.path, error)
            return None
        if not sound:
            log.warning("not going on from %s: its content is not what was written; training anew", self.path)
            return None
        if told["identity"] != self.identity:
            differing = [key for key in self.identity if told["identity"].get(key) != self.identity[key]]
            log.warning("not going on from %s: it is of another job (%s differs)", self.path, ", ".join(differing))
            return None
        facts = told["facts"]
        self.seconds_before = told["seconds"]
        log.info(
            "going on from %s: models %d-%d at step %d, after %.1f s of training",
            self.path, facts["first"] + 1, facts["stop"], facts["step"], self.seconds_before,
        )  # fmt: skip
        return tensors, facts

    def spent(self) -> float:
        """Seconds of training so far, those before the job was cut off included."""
        return self.seconds_before + time.monotonic() - self.started

    def due(self) -> bool:
        """Whether it is time to write again."""
        if self.path is None or self.seconds == 0:
            return self.path is not None
        return time.monotonic() - self.written >= max(self.seconds, self.cost / LARGEST_SHARE)

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Replace the file in one step. Training goes on where that fails: the log says that it cannot be resumed."""
        if self.path is None:
            return
        began = time.monotonic()
        # Copied: two that share memory, as a dodge's may, are two here.
        ready = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        told = {"identity": self.identity, "facts": facts, "seconds": self.spent()}
        told["sha256"] = _digest(ready, told)
        metadata = {"turncoat": json.dumps(told, sort_keys=True)}
        try:
            write_file(self.path, lambda temporary: save_file(ready, temporary, metadata=metadata))
        except (OSError, SafetensorError) as error:
            log.warning("no checkpoint: %s cannot be written (%s); training goes on", self.path, error)
        self.written = time.monotonic()
        self.cost = self.written - began

    def discard(self) -> None:
        """Remove the job's checkpoints, those of other code and settings included, and folders left empty by that."""
        if self.path is None:
            return
        for folder in (self.path.parent, *(other.parent for other in _others(self.path))):
            shutil.rmtree(folder, ignore_errors=True)
        for folder in self.path.parents[1:4]:  # cell, stage, checkpoints
            try:
                folder.rmdir()
            except OSError:
                return


def _others(path: Path) -> list[Path]:
    """Checkpoints of the same block that other settings or other code left."""
    block = path.parent.name.rsplit("-", 1)[0]
    return sorted(other for other in path.parent.parent.glob(f"{block}-*/{NAME}") if other != path)


def checkpoint_seconds() -> float:
    """Least seconds between two checkpoints: TURNCOAT_CHECKPOINT_SECONDS, or 60.

    Raises ValueError on what is no number of seconds.
    """
    given = os.environ.get(SECONDS, str(DEFAULT_SECONDS))
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise ValueError(f"{SECONDS} is {given!r}; allowed: a number of seconds, 0 or more")
    return seconds


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors by name, with their types and shapes."""
    return _digest({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, {})


def _digest(tensors: Mapping[str, Tensor], told: Mapping[str, Any]) -> str:
    hashed = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for name in sorted(tensors):
        value = tensors[name]
        hashed.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        hashed.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return hashed.hexdigest()
