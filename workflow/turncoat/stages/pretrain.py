"""Pre-train one block of one cell.

python -m turncoat.stages.pretrain --cell ID --settings JSON --first-seed 1000 --seed-count 48 --output DIR --threads 1
"""

import json
import time

from turncoat.organisms.mlp import Architecture
from turncoat.stages.common import begin, device_name, provenance, stage_parser
from turncoat.stages.training import add_training_options, log_progress, make_recipe, write_block
from turncoat.training.block import pretrain_block
from turncoat.training.devices import find_device, settle_process
from turncoat.training.starts import find_start
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
    started = time.monotonic()
    trained = pretrain_block(
        world,
        architecture,
        find_start(settings["start"], training.get("conditional_overseen_target")),
        make_recipe(training, SNAPSHOTS),
        training["batch"],
        training["overseen_share"],
        range(options.first_seed, options.first_seed + options.seed_count),
        device,
        log_progress(training["steps"]),
    )
    seconds = time.monotonic() - started
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


if __name__ == "__main__":
    main()
