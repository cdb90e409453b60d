"""Weights and optimizer state as safetensors: one file holds every snapshot of a block of organisms.

A file says what the organisms are (world, architecture, seeds, objectives), never how they were trained.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from turncoat.organisms.mlp import Architecture, Stack
from turncoat.tables.atomic import TableError, write_file
from turncoat.tables.seal import UNSEALED, SealError, check_name, check_seal, own_name, seal
from turncoat.worlds.world import World

VERSION = "1"


@dataclass(frozen=True)
class Organisms:
    """A block of organisms at K snapshots.

    steps: K of them; seeds: E; objectives: (E, 4, d); weights: (K, E, parameters); world, organism: their settings.
    """

    world: Mapping[str, Any]
    organism: Mapping[str, Any]
    seeds: list[int]
    steps: list[int]
    objectives: Tensor
    weights: Tensor

    @property
    def architecture(self) -> Architecture:
        """The networks' shape."""
        world = World.from_settings(self.world)
        return Architecture.from_settings(self.organism, world.input_width, world.attributes)

    def stack(self, snapshot: int) -> Stack:
        """The organisms at one snapshot (-1: the last)."""
        return Stack.from_rows(self.architecture, self.weights[snapshot])


def save_organisms(path: Path, organisms: Organisms) -> None:
    """Write weights (K, E, *shape) by parameter name, with steps, seeds and objectives, in one step."""
    tensors = _split(organisms.architecture, organisms.weights)
    tensors["steps"] = torch.tensor(organisms.steps)
    tensors["seeds"] = torch.tensor(organisms.seeds)
    tensors["objectives"] = organisms.objectives
    _save(path, tensors, {"world": organisms.world, "organism": organisms.organism})


def load_organisms(path: Path, device: torch.device) -> Organisms:
    """Read what `save_organisms` wrote; raises TableError naming a file that is missing, cut or of another kind."""
    tensors, metadata = _load(path, device)
    try:
        world, organism = metadata["world"], metadata["organism"]
        seeds, steps = tensors["seeds"].tolist(), tensors["steps"].tolist()
        parts = World.from_settings(world)
        architecture = Architecture.from_settings(organism, parts.input_width, parts.attributes)
        for name, shape in architecture.shapes.items():
            expected = (len(steps), len(seeds), *shape)
            if tensors[name].shape != expected:
                found = tuple(tensors[name].shape)
                raise TableError(f"{path}: {name} has shape {found}, expected {expected}; delete it and run again")
        weights = torch.cat([tensors[name].flatten(2) for name in architecture.shapes], dim=-1)
        return Organisms(world, organism, seeds, steps, tensors["objectives"], weights)
    except KeyError as error:
        raise TableError(f"{path} holds no organisms ({error} is missing); delete it and run again") from error


def save_optimizer(path: Path, architecture: Architecture, state: Mapping[str, Tensor]) -> None:
    """Write an optimizer's state; tensors per parameter, (E, parameters), are split by parameter name."""
    tensors: dict[str, Tensor] = {"snapshot": torch.tensor(1)}
    for name, value in state.items():
        if value.ndim == 2:
            tensors |= {f"{name}.{part}": split for part, split in _split(architecture, value).items()}
        else:
            tensors[name] = value
    _save(path, tensors, {})


def load_optimizer(path: Path, architecture: Architecture, device: torch.device) -> dict[str, Tensor]:
    """Read what `save_optimizer` wrote, tensors per parameter as flat buffers laid out like a stack."""
    tensors, _ = _load(path, device)
    state: dict[str, Tensor] = {}
    for name in sorted({key.split(".")[0] for key in tensors} - {"snapshot"}):
        if name in tensors:
            state[name] = tensors[name]
            continue
        rows = torch.cat([tensors[f"{name}.{part}"].flatten(1) for part in architecture.shapes], dim=-1)
        state[name] = Stack.from_rows(architecture, rows).flat
    return state


def _split(architecture: Architecture, rows: Tensor) -> dict[str, Tensor]:
    """Cut (..., parameters) into (..., *shape) by parameter name."""
    parts = zip(architecture.shapes.items(), rows.split(architecture.sizes, dim=-1), strict=True)
    return {name: part.unflatten(-1, shape).contiguous().cpu() for (name, shape), part in parts}


def _save(path: Path, tensors: Mapping[str, Tensor], content: Mapping[str, Any]) -> None:
    # One entry, because safetensors writes several in any order: equal content must give equal bytes.
    described = {"version": VERSION, "file": own_name(path), "checksum": UNSEALED, **content}
    metadata = {"turncoat": json.dumps(described, sort_keys=True)}
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}

    def write(temporary: Path) -> None:
        save_file(ready, temporary, metadata=metadata)
        seal(temporary)

    write_file(path, write)


def _load(path: Path, device: torch.device) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not path.is_file():
        raise TableError(f"{path} does not exist; run the study again, which makes it")
    try:
        check_seal(path)
        with safe_open(path, framework="pt", device=str(device)) as file:
            metadata = json.loads((file.metadata() or {}).get("turncoat", "{}"))
            names: Sequence[str] = list(file.keys())
            tensors = {name: file.get_tensor(name) for name in names}
        check_name(path, metadata.get("file", ""))
    except (SealError, SafetensorError, OSError, ValueError) as error:
        raise TableError(f"{path} cannot be read ({error}); delete it and run the study again") from error
    if metadata.get("version") != VERSION:
        raise TableError(
            f"{path} has version {metadata.get('version')!r}, this code reads {VERSION!r}; delete it and run again"
        )
    return tensors, metadata
