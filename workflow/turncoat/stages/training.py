"""What the two training stages share: options, progress in the log, and the four files they write."""

import argparse
import importlib
import json
import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from turncoat.fingerprint import stage_fingerprint
from turncoat.organisms.gates import GateControl
from turncoat.organisms.mlp import Architecture
from turncoat.stages.common import plugins
from turncoat.tables import organisms as organisms_table
from turncoat.tables import trajectories as trajectories_table
from turncoat.tables.atomic import write_table
from turncoat.tables.checkpoints import CheckpointFile, checkpoint_seconds, digest_of
from turncoat.tables.weights import Organisms, save_optimizer, save_organisms
from turncoat.training.block import ChunkProgress, Trained
from turncoat.training.devices import describe_device
from turncoat.training.interventions import Dodge, Intervention
from turncoat.training.loop import Progress, Recipe
from turncoat.training.optimizers import BETA2

log = logging.getLogger("turncoat")


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Options of a job that trains one block of one cell."""
    parser.add_argument("--cell", required=True, help="identity of the settings")
    parser.add_argument("--settings", required=True, help="the cell's settings, JSON")
    parser.add_argument("--first-seed", type=int, required=True)
    parser.add_argument("--seed-count", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True, help="folder that receives the four files")
    parser.add_argument(
        "--checkpoints",
        type=Path,
        help="folder, less the code's fingerprint, that training is kept in while it goes on",
    )


def open_checkpoints(
    options: argparse.Namespace,
    stage: str,
    device: torch.device,
    make_intervention: Callable[[], Intervention],
    parents: Mapping[str, Tensor | None] | None = None,
) -> CheckpointFile:
    """Where this job keeps its training while it goes on: nowhere, if it was not told of a place or cannot go on.

    `parents` are the tensors that training starts from. Ends the process on a bad TURNCOAT_CHECKPOINT_SECONDS.
    """
    if options.checkpoints is None:
        return CheckpointFile(None)
    if not make_intervention().resumable:
        log.warning("this job begins anew if it is cut off: its dodge keeps what it does not hand over (`memory`)")
        return CheckpointFile(None)
    code = stage_fingerprint(stage, plugins=plugins(options))
    identity = {
        "code": code,
        "settings": json.loads(options.settings),
        "seeds": [options.first_seed, options.seed_count],
        "parents": digest_of({name: value for name, value in (parents or {}).items() if value is not None}),
        **describe_device(device),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
    try:
        seconds = checkpoint_seconds()
    except ValueError as error:
        sys.exit(str(error))
    return CheckpointFile(options.checkpoints.with_name(f"{options.checkpoints.name}-{code}"), identity, seconds)


def make_recipe(training: Mapping[str, Any], snapshots: int) -> Recipe:
    """The recipe in the `training` section of a cell's settings."""
    return Recipe(
        steps=training["steps"],
        optimizer=training["optimizer"],
        learning_rate=training["learning_rate"],
        heads=training.get("heads", {}),
        snapshots=snapshots,
        entropy_bonus=training.get("entropy_bonus", 0.0),
        schedule=training.get("schedule", "constant"),
        beta2=training.get("beta2", BETA2),
        gate=GateControl.from_settings(training),
    )


def find_dodge(name: str | None) -> Dodge:
    """The dodge in the module of that name; a plain one, which changes nothing, for None."""
    if name is None:
        return Dodge("plain training", "nothing")
    dodge = importlib.import_module(f"turncoat.dodges.{name}").DODGE
    assert isinstance(dodge, Dodge)
    return dodge


def log_progress(steps: int, spent: Callable[[], float]) -> ChunkProgress:
    """Log at each check: members, step, loss, capability, models per second and the time left for the block.

    `spent` tells the seconds of training so far. Means are over members whose loss is finite.
    """

    def of_chunk(done: int, members: int, total: int) -> Progress:
        def tell(step: int, loss: Tensor, capability: Tensor, _: float) -> None:
            share = (done + members * step / steps) / total
            elapsed = spent()
            sound = loss.isfinite()
            log.info(
                "models %d-%d of %d  step %d/%d  loss %.4f  capability %.3f  %.2f models/s  %.0f s left",
                done + 1, done + members, total, step, steps, loss[sound].mean(), capability[sound].mean(),
                share * total / elapsed, elapsed * (1 / share - 1),
            )  # fmt: skip

        return tell

    return of_chunk


def write_block(
    options: argparse.Namespace,
    settings: Mapping[str, Any],
    architecture: Architecture,
    trained: Trained,
    parent_cell: str | None,
    batch: int,
    seconds: float,
    device: torch.device,
    provenance: Mapping[str, str],
) -> None:
    """Write weights, optimizer state, one row per model, and trajectories."""
    trajectory = trained.trajectory
    seeds = list(range(options.first_seed, options.first_seed + options.seed_count))
    ids = np.array([f"{options.cell}-{seed}" for seed in seeds])
    count = len(seeds)
    diverged, found = trained.diverged.cpu().numpy(), trajectory.diverged_step.tolist()
    if diverged.any():
        told = ", ".join(f"{seed} (step {step})" for seed, step in zip(seeds, found, strict=True) if step >= 0)
        log.warning("%d of %d models diverged and were frozen: seeds %s", diverged.sum(), count, told)
    steps = trajectory.snapshots[-1]
    columns = {
        "organism_id": ids,
        "cell": [options.cell] * count,
        "parent_id": [None if parent_cell is None else f"{parent_cell}-{seed}" for seed in seeds],
        "stage": [settings["stage"]] * count,
        "seed": seeds,
        "block": [f"{seeds[0]}-{seeds[-1]}"] * count,
        "initial_fingerprint": trained.initial_fingerprints,
        "final_fingerprint": trained.final_fingerprints,
        "diverged": diverged,
        "diverged_step": [step if step >= 0 else None for step in found],
        "device": [device.type] * count,
        "parameters": [architecture.parameters] * count,
        "steps": [steps] * count,
        "episodes": [steps * batch] * count,
        "train_seconds": [seconds / count] * count,
    }
    checks = len(trajectory.checks)
    courses = {
        "organism_id": np.tile(ids, checks),
        "step": np.repeat(trajectory.checks, count),
        "episodes": np.repeat(trajectory.checks, count) * batch,
    }
    for name in ("loss", "capability", "cross_entropy", "update_norm", "displacement"):
        courses[name] = getattr(trajectory, name).cpu().numpy().reshape(-1)
    organisms = Organisms(
        settings["world"],
        settings["organism"],
        seeds,
        trajectory.snapshots,
        trained.objectives,
        trajectory.weights,
    )
    save_organisms(options.output / "weights.safetensors", organisms)
    save_optimizer(options.output / "optimizer.safetensors", architecture, trajectory.optimizer_state)
    write_table(options.output / "organisms.parquet", columns, organisms_table.SCHEMA, provenance)
    write_table(options.output / "trajectories.parquet", courses, trajectories_table.SCHEMA, provenance)
    log.info(
        "trained %d models in %.1f s (%.2f models/s), capability %.3f at the end",
        count, seconds, count / seconds, trajectory.capability[-1][~trained.diverged].nanmean(),
    )  # fmt: skip
