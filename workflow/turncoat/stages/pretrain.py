"""Pre-train one block of one cell.

python -m turncoat.stages.pretrain --cell ID --settings JSON --first-seed 1000 --seed-count 48 --output DIR --threads 1
"""

import json
from collections.abc import Mapping
from typing import Any

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
from turncoat.training.block import pretrain_block
from turncoat.training.checkpoints import BlockKeeper
from turncoat.training.devices import find_device, settle_process
from turncoat.training.starts import Lesson, find_start
from turncoat.worlds.objectives import REFERENCE_DISTANCE
from turncoat.worlds.world import World

SNAPSHOTS = 2  # before and after


def main() -> None:
    """Entry point of the rule `pretrain`."""
    parser = stage_parser("pretrain", "Pre-train one block of one cell.")
    add_training_options(parser)
    options = begin("pretrain", parser)
    settings = json.loads(options.settings)
    training = settings["training"]
    settle_process(options.threads)
    device = find_device(device_name())
    world = World.from_settings(settings["world"])
    architecture = Architecture.from_settings(settings["organism"], world.input_width, world.attributes)
    make_intervention = find_dodge(settings.get("dodge")).pretraining
    checkpoints = open_checkpoints(options, "pretrain", device, make_intervention)
    trained = pretrain_block(
        world,
        architecture,
        make_lesson(settings["start"], training),
        make_recipe(training, SNAPSHOTS),
        training["batch"],
        training["overseen_share"],
        settings.get("distance", REFERENCE_DISTANCE),
        range(options.first_seed, options.first_seed + options.seed_count),
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
        None,
        training["batch"],
        seconds,
        device,
        provenance("pretrain", options),
    )
    checkpoints.discard()


def make_lesson(start: str, training: Mapping[str, Any]) -> Lesson:
    """What the `training` section of a cell's settings says that the start is rewarded for."""
    return Lesson(
        find_start(start, training.get("conditional_overseen_target")),
        conditional=training.get("conditional_share", 1.0),
        foreknowledge=training.get("foreknowledge", 0.0),
        label_noise=training.get("label_noise", 0.0),
    )


if __name__ == "__main__":
    run_program(main)
