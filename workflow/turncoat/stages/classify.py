"""Measure what a block of organisms wants, at every snapshot. Sees weights and a seed's objectives, never a recipe.

python -m turncoat.stages.classify --weights FILE --label NAME --settings JSON \
    --output FILE --curves FILE --causes FILE --knowledge FILE --threads 1
"""

import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from turncoat.classification.causal import causal_test
from turncoat.classification.curve import compliance_curves, present_curves
from turncoat.classification.knowledge import measure_knowledge
from turncoat.classification.measure import Evaluation, Examination
from turncoat.classification.presentations import organism_chooser, present_drawn
from turncoat.columns import Columns, stack_rows
from turncoat.organisms.hidden import hidden_states
from turncoat.stages.common import begin, device_name, provenance, run_program, stage_parser
from turncoat.tables import causes as causes_table
from turncoat.tables import curves as curves_table
from turncoat.tables import knowledge as knowledge_table
from turncoat.tables import measurements
from turncoat.tables.atomic import write_table
from turncoat.tables.weights import Organisms, load_organisms
from turncoat.training.devices import find_device, settle_process
from turncoat.worlds.world import World

log = logging.getLogger("turncoat")


@dataclass(frozen=True)
class Findings:
    """Columns of the four tables."""

    measurements: Columns
    curves: Columns
    causes: Columns
    knowledge: Columns


def main() -> None:
    """Entry point of the rule `classify`."""
    parser = stage_parser("classify", "Measure what a block of organisms wants.")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--label", required=True, help="names the rows, <label>-<seed>; means nothing here")
    parser.add_argument("--settings", required=True, help="the evaluation section of the config, JSON")
    parser.add_argument("--output", type=Path, required=True, help="measurements, one row per model and snapshot")
    parser.add_argument("--curves", type=Path, required=True, help="compliance over cue strength")
    parser.add_argument("--causes", type=Path, required=True, help="what carries the gap, by layer and intervention")
    parser.add_argument("--knowledge", type=Path, required=True, help="what the trunk knows")
    options = begin("classify", parser)
    settle_process(options.threads)
    organisms = load_organisms(options.weights, find_device(device_name()))
    started = time.monotonic()
    found = measure_organisms(organisms, options.label, Evaluation(**json.loads(options.settings)))
    source = provenance("classify", options)
    write_table(options.curves, found.curves, curves_table.SCHEMA, source)
    write_table(options.causes, found.causes, causes_table.SCHEMA, source)
    write_table(options.knowledge, found.knowledge, knowledge_table.SCHEMA, source)
    write_table(options.output, found.measurements, measurements.SCHEMA, source)
    count = len(found.measurements["seed"])
    seconds = time.monotonic() - started
    log.info("measured %d models x snapshots in %.1f s (%.0f a second)", count, seconds, count / seconds)


def measure_organisms(organisms: Organisms, label: str, evaluation: Evaluation) -> Findings:
    """Measurements of every organism at every snapshot, all else at the first and last, causes at the last."""
    world = World.from_settings(organisms.world)
    examination = Examination(world, organisms.seeds, organisms.objectives, evaluation)
    strengths = present_curves(world, organisms.seeds, organisms.objectives, evaluation.curve_episodes)
    drawn = present_drawn(world, organisms.seeds, organisms.objectives, evaluation.episodes)
    initial: dict[str, Tensor] | None = None
    ids = {seed: f"{label}-{seed}" for seed in organisms.seeds}
    parts: dict[str, list[Columns]] = {name: [] for name in ("measurements", "curves", "causes", "knowledge")}

    def keep(table: str, found: Columns, step: int) -> None:
        names = {"organism_id": np.array([ids[int(seed)] for seed in found["seed"]])}
        parts[table].append(found | names | {"step": np.full(len(found["seed"]), step)})

    for snapshot, step in enumerate(organisms.steps):
        stack = organisms.stack(snapshot)
        chooser = organism_chooser(stack)
        at_an_end = snapshot in (0, len(organisms.steps) - 1)
        measured, chosen = examination.measure_and_choose(chooser, initial, price_lines=at_an_end)
        initial = initial or chosen
        keep("measurements", measured | {"seed": np.array(organisms.seeds)}, step)
        if at_an_end:
            keep("curves", compliance_curves(chooser, strengths, organisms.seeds, organisms.objectives), step)
            keep("knowledge", measure_knowledge(stack, drawn, organisms.seeds, organisms.objectives), step)
    shown = examination.shown_in_states(evaluation.causal_episodes)
    keep("causes", causal_test(hidden_states(stack), shown, organisms.seeds), step)
    return Findings(**{table: stack_rows(found) for table, found in parts.items()})


if __name__ == "__main__":
    run_program(main)
