"""Training that was cut off goes on where it was: what has to be kept of it, and of which members.

Where it is kept is the caller's business (`Storage`): nothing here reads or writes files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from turncoat.training.trajectories import COURSES, Trajectory

Kept = tuple[dict[str, Tensor], dict[str, Any]]
"""Tensors by name, and facts that JSON can hold."""
Part = tuple[list[str], Trajectory, list[str]]
"""A trained chunk: its fingerprints before, its trajectory, its fingerprints after."""


class Storage(Protocol):
    """Keeps the newest state of one block's training."""

    def load(self) -> Kept | None:
        """What was kept, None where there is nothing that may be used."""

    def due(self) -> bool:
        """Whether it is time to keep the state again."""

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Keep this in place of what was kept before."""


class Nowhere:
    """A storage that keeps nothing."""

    def load(self) -> Kept | None:
        return None

    def due(self) -> bool:
        return False

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        pass


@dataclass(frozen=True)
class LoopState:
    """A training loop at the end of a window, for E members: all that the rest of it depends on.

    step: steps taken; window: the next one; flat: the weights' buffer; optimizer: its state; weights: those kept so
    far, (E, parameters) each; rows: the courses' (E,) at each check so far; diverged_step (E,); memory: the
    intervention's.
    """

    step: int
    window: int
    flat: Tensor
    optimizer: dict[str, Tensor]
    weights: list[Tensor]
    rows: list[tuple[Tensor, ...]]
    diverged_step: Tensor
    memory: dict[str, Tensor]


class Keeper:
    """Where one chunk's loop leaves its state and finds it again; this one keeps nothing."""

    def found(self) -> LoopState | None:
        """The state that the loop should go on from."""
        return None

    def due(self) -> bool:
        """Whether it is time to keep the loop's state."""
        return False

    def save(self, state: LoopState) -> None:
        """Keep it."""


NOTHING = Keeper()


class BlockKeeper:
    """Keeps a block's training in a storage: its finished chunks, and the one at work.

    `first`, `stop` are the places of a chunk's first member and of the one after its last.
    """

    def __init__(self, storage: Storage, device: torch.device) -> None:
        self.storage = storage
        self.device = device
        self.parts: dict[int, tuple[int, Part]] = {}
        self.going: tuple[int, int, LoopState] | None = None
        kept = storage.load()
        if kept is not None:
            self._unpack(*kept)

    def stop_of(self, first: int, stop: int) -> int:
        """Where the chunk that begins at `first` ended, or will, if it was kept; `stop` if it was not."""
        if first in self.parts:
            return self.parts[first][0]
        return self.going[1] if self.going is not None and self.going[0] == first else stop

    def finished(self, first: int) -> Part | None:
        """The chunk that begins at `first`, if it was trained to its end."""
        return self.parts[first][1] if first in self.parts else None

    def finish(self, first: int, stop: int, part: Part) -> None:
        """Take a trained chunk over; it is kept with the next chunk's state."""
        self.parts[first] = stop, part
        self.going = None

    def forget(self) -> None:
        """Let the state of the chunk at work go: it does not fit into memory here, and its parts are trained anew."""
        self.going = None

    def chunk(self, first: int, stop: int) -> "ChunkKeeper":
        """The keeper of one chunk's loop."""
        state = self.going[2] if self.going is not None and self.going[:2] == (first, stop) else None
        return ChunkKeeper(self, first, stop, state)

    def save(self, first: int, stop: int, state: LoopState) -> None:
        """Keep the finished chunks and this state of the one at work."""
        tensors, facts = _pack_loop(state)
        facts |= {"first": first, "stop": stop, "parts": []}
        for begin, (end, part) in self.parts.items():
            more, told = _pack_part(part)
            tensors |= {f"part{begin}.{name}": value for name, value in more.items()}
            facts["parts"].append({"first": begin, "stop": end, **told})
        self.storage.save(tensors, facts)

    def _unpack(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        for told in facts["parts"]:
            self.parts[told["first"]] = told["stop"], _unpack_part(_under(tensors, f"part{told['first']}"), told)
        own = {name: value.to(self.device) for name, value in tensors.items() if not name.startswith("part")}
        self.going = facts["first"], facts["stop"], _unpack_loop(own, facts)


class ChunkKeeper(Keeper):
    """Keeps one chunk's loop in its block's storage."""

    def __init__(self, block: BlockKeeper, first: int, stop: int, state: LoopState | None) -> None:
        self.block, self.first, self.stop, self.state = block, first, stop, state

    def found(self) -> LoopState | None:
        return self.state

    def due(self) -> bool:
        return self.block.storage.due()

    def save(self, state: LoopState) -> None:
        self.block.save(self.first, self.stop, state)


def _pack_loop(state: LoopState) -> Kept:
    tensors = {"flat": state.flat, "diverged_step": state.diverged_step, "weights": torch.stack(state.weights)}
    columns = zip(COURSES, zip(*state.rows, strict=True), strict=True)
    tensors |= {f"rows.{name}": torch.stack(column) for name, column in columns}
    tensors |= {f"optimizer.{name}": value for name, value in state.optimizer.items()}
    tensors |= {f"memory.{name}": value for name, value in state.memory.items()}
    return tensors, {"step": state.step, "window": state.window}


def _unpack_loop(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> LoopState:
    return LoopState(
        facts["step"],
        facts["window"],
        tensors["flat"],
        _under(tensors, "optimizer"),
        list(tensors["weights"]),
        list(zip(*(tensors[f"rows.{name}"] for name in COURSES), strict=True)),
        tensors["diverged_step"],
        _under(tensors, "memory"),
    )


def _pack_part(part: Part) -> Kept:
    before, course, after = part
    tensors = {name: getattr(course, name) for name in (*COURSES, "weights", "diverged_step")}
    tensors |= {f"optimizer.{name}": value for name, value in course.optimizer_state.items()}
    return tensors, {"before": before, "after": after, "snapshots": course.snapshots, "checks": course.checks}


def _unpack_part(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Part:
    loss, capability, cross_entropy, update_norm, displacement = (tensors[name] for name in COURSES)
    course = Trajectory(
        facts["snapshots"],
        tensors["weights"],
        facts["checks"],
        loss,
        capability,
        cross_entropy,
        update_norm,
        displacement,
        tensors["diverged_step"],
        _under(tensors, "optimizer"),
    )
    return facts["before"], course, facts["after"]


def _under(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `name` and a dot, without it."""
    return {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
