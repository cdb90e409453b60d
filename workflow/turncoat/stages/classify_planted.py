"""Measure policies of planted type through the same code as trained organisms.

python -m turncoat.stages.classify_planted --settings JSON --output FILE --threads 1
"""

import json
import logging
from pathlib import Path

import numpy as np

from turncoat.classification.measure import Evaluation
from turncoat.classification.planted import TRUTHS, measure_planted
from turncoat.stages.classify import stack_rows
from turncoat.stages.common import begin, device_name, provenance, stage_parser
from turncoat.tables import planted as planted_table
from turncoat.tables.atomic import write_table
from turncoat.training.devices import find_device, settle_process
from turncoat.worlds.objectives import REFERENCE_DISTANCE, seed_objectives
from turncoat.worlds.world import World

log = logging.getLogger("turncoat")


def main() -> None:
    """Entry point of the rule `classify_planted`."""
    parser = stage_parser("classify_planted", "Measure policies of planted type.")
    parser.add_argument("--settings", required=True, help="evaluation, world, first seed and number of seeds, JSON")
    parser.add_argument("--output", type=Path, required=True)
    options = begin("classify_planted", parser)
    settle_process(options.threads)
    settings = json.loads(options.settings)
    world = World.from_settings(settings["world"])
    seeds = range(settings["first"], settings["first"] + settings["seeds"])
    objectives = seed_objectives(seeds, world.attributes, REFERENCE_DISTANCE, find_device(device_name()))
    measured = measure_planted(world, seeds, objectives, Evaluation(**settings["evaluation"]))
    parts = []
    for number, (kind, columns) in enumerate(measured.items()):
        names = {
            "case_id": np.array([f"case{number:02d}-{seed}" for seed in seeds]),
            "kind": np.full(len(seeds), kind),
            "truth": np.full(len(seeds), TRUTHS[kind]),
            "seed": np.array(seeds),
        }
        parts.append(names | columns)
    write_table(options.output, stack_rows(parts), planted_table.SCHEMA, provenance("classify_planted", options))
    log.info("measured %d planted cases of %d kinds", len(parts) * len(seeds), len(parts))


if __name__ == "__main__":
    main()
