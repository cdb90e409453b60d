"""Fine-tune one block of one cell towards X, from its parent's weights or from scratch; or bring M back in one.

python -m turncoat.stages.finetune --cell ID --settings JSON --first-seed 1000 --seed-count 48 [--parent DIR] \
    --output DIR --threads 1
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from turncoat.organisms.fingerprints import fingerprints
from turncoat.organisms.mlp import Architecture
from turncoat.stages.common import begin, device_name, provenance, run_program, stage_parser
from turncoat.stages.training import (
    add_training_options,
    find_dodge,
    log_progress,
    make_recipe,
    open_checkpoints,
    write_block,
)
from turncoat.tables import organisms as organisms_table
from turncoat.tables.atomic import TableError, read_table
from turncoat.tables.weights import Organisms, load_optimizer, load_organisms
from turncoat.training.block import Origin, finetune_block
from turncoat.training.checkpoints import BlockKeeper
from turncoat.training.devices import find_device, settle_process
from turncoat.training.streams import Task
from turncoat.worlds.world import World


def main() -> None:
    """Entry point of the rule `finetune`."""
    parser = stage_parser("finetune", "Fine-tune one block of one cell towards X.")
    add_training_options(parser)
    parser.add_argument("--parent", type=Path, help="folder of the parent block; none when starting from scratch")
    options = begin("finetune", parser)
    settings = json.loads(options.settings)
    training = settings["training"]
    settle_process(options.threads)
    device = find_device(device_name())
    world = World.from_settings(settings["world"])
    architecture = Architecture.from_settings(settings["organism"], world.input_width, world.attributes)
    seeds = range(options.first_seed, options.first_seed + options.seed_count)
    make_intervention = find_dodge(settings.get("dodge")).finetuning
    origin = _origin(options, settings, seeds, architecture, device)
    checkpoints = open_checkpoints(
        options, "finetune", device, make_intervention, {"weights": origin.weights, **(origin.optimizer_state or {})}
    )
    trained = finetune_block(
        world,
        architecture,
        settings["distance"],
        make_task(settings),
        make_recipe(training, training["snapshots"]),
        training["batch"],
        seeds,
        origin,
        device,
        log_progress(training["steps"], checkpoints.spent),
        make_intervention,
        training.get("draws", "host"),
        BlockKeeper(checkpoints, device),
    )
    seconds = checkpoints.spent()
    write_block(
        options,
        settings,
        architecture,
        trained,
        settings["parent"],
        training["batch"],
        seconds,
        device,
        provenance("finetune", options),
    )
    checkpoints.discard()


def make_task(settings: Mapping[str, Any]) -> Task:
    """What a cell's settings say that fine-tuning shows and rewards."""
    training = settings["training"]
    return Task(
        target=training.get("target", "x"),
        instructed=training["mode"] == "instructed",
        overseen=training.get("overseen_share", 1.0),
        label_noise=training.get("label_noise", 0.0),
        budget=training.get("budget"),
        samples=training.get("samples", 0),
        exposure=settings["exposure"],
    )


def _origin(
    options: argparse.Namespace,
    settings: Mapping[str, Any],
    seeds: Sequence[int],
    architecture: Architecture,
    device: torch.device,
) -> Origin:
    """What fine-tuning starts from; ends the job unless the parents are whom they claim to be."""
    if (options.parent is None) != (settings["parent"] is None):
        sys.exit(f"cell {options.cell} has parent {settings['parent']}, but --parent is {options.parent}")
    training = settings["training"]
    warm_steps = training.get("warm_steps", 0)
    if options.parent is None:
        return Origin(warm_steps=warm_steps)
    parents = _parents(options, settings, seeds, device)
    members = [parents.seeds.index(seed) for seed in seeds]
    state = None
    if training.get("optimizer_state") == "carried":
        whole = parents.stack(-1)
        loaded = load_optimizer(options.parent / "optimizer.safetensors", architecture, device)
        state = {name: whole.rows(value)[members] if value.ndim else value for name, value in loaded.items()}
    return Origin(parents.weights[-1][members], state, warm_steps)


def _parents(
    options: argparse.Namespace, settings: Mapping[str, Any], seeds: Sequence[int], device: torch.device
) -> Organisms:
    try:
        parents = load_organisms(options.parent / "weights.safetensors", device)
        rows = read_table(options.parent / "organisms.parquet", organisms_table.SCHEMA).to_pylist()
    except TableError as error:
        sys.exit(str(error))
    expected = [f"{settings['parent']}-{seed}" for seed in seeds]
    recorded = {row["organism_id"]: row["final_fingerprint"] for row in rows}
    found = dict(
        zip((f"{settings['parent']}-{seed}" for seed in parents.seeds), fingerprints(parents.stack(-1)), strict=True)
    )
    for organism in expected:
        if organism not in recorded or recorded[organism] != found.get(organism):
            sys.exit(
                f"{options.parent}: the weights are not those of parent {organism} (recorded fingerprint "
                f"{recorded.get(organism)}, found {found.get(organism)}). Delete that folder and run the study again."
            )
    return parents


if __name__ == "__main__":
    run_program(main)
