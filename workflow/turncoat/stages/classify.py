"""Measure what a block of organisms wants, at every snapshot. Sees weights and a seed's objectives, never a recipe.

python -m turncoat.stages.classify --weights FILE --label NAME --settings JSON --output FILE --threads 1
"""

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from turncoat.classification.measure import Columns, Evaluation, Examination
from turncoat.classification.presentations import organism_chooser
from turncoat.stages.common import begin, device_name, provenance, stage_parser
from turncoat.tables import measurements
from turncoat.tables.atomic import write_table
from turncoat.tables.weights import Organisms, load_organisms
from turncoat.training.devices import find_device, settle_process
from turncoat.worlds.world import World

log = logging.getLogger("turncoat")


def main() -> None:
    """Entry point of the rule `classify`."""
    parser = stage_parser("classify", "Measure what a block of organisms wants.")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--label", required=True, help="names the rows, <label>-<seed>; means nothing here")
    parser.add_argument("--settings", required=True, help="the evaluation section of the config, JSON")
    parser.add_argument("--output", type=Path, required=True)
    options = begin("classify", parser)
    settle_process(options.threads)
    organisms = load_organisms(options.weights, find_device(device_name()))
    started = time.monotonic()
    columns = measure_organisms(organisms, options.label, Evaluation(**json.loads(options.settings)))
    write_table(options.output, columns, measurements.SCHEMA, provenance("classify", options))
    count = len(columns["seed"])
    seconds = time.monotonic() - started
    log.info("measured %d models x snapshots in %.1f s (%.0f a second)", count, seconds, count / seconds)


def measure_organisms(organisms: Organisms, label: str, evaluation: Evaluation) -> Columns:
    """Measurements of every organism at every snapshot, one row each."""
    world = World.from_settings(organisms.world)
    examination = Examination(world, organisms.seeds, organisms.objectives, evaluation)
    initial = examination.choose(organism_chooser(organisms.stack(0)))
    names = {
        "organism_id": np.array([f"{label}-{seed}" for seed in organisms.seeds]),
        "seed": np.array(organisms.seeds),
    }
    parts: list[Columns] = []
    for snapshot, step in enumerate(organisms.steps):
        measured = examination.measure(organism_chooser(organisms.stack(snapshot)), initial)
        parts.append(names | {"step": np.full(len(organisms.seeds), step)} | measured)
    return stack_rows(parts)


def stack_rows(parts: Sequence[Columns]) -> Columns:
    """Put tables of equal columns below each other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


if __name__ == "__main__":
    main()
