"""Measure models of planted type and of exactly known measurements, through the code that judges trained ones.

python -m turncoat.stages.classify_planted --settings JSON --output FILE --discrimination FILE --known FILE \
    --causes FILE --threads 1
"""

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from turncoat.classification.coverage import Known, known_coefficients, known_outcomes, known_price_effects
from turncoat.classification.discrimination import discriminate
from turncoat.classification.measure import Evaluation, Examination
from turncoat.classification.planted import (
    CALIBRATION,
    SCORED,
    measure_kinds,
    measure_ladders,
    measure_mismatched,
    planted_causes,
    spread_objectives,
)
from turncoat.columns import Columns, stack_rows
from turncoat.stages.common import begin, device_name, provenance, run_program, stage_parser
from turncoat.statistics.outcomes import Agreements, outcomes
from turncoat.tables import planted as tables
from turncoat.tables.atomic import write_table
from turncoat.training.devices import find_device, settle_process
from turncoat.worlds.objectives import REFERENCE_DISTANCE, seed_objectives
from turncoat.worlds.world import World

log = logging.getLogger("turncoat")

CALIBRATION_SEED = 2**31  # beyond the seeds of any study
LADDER_SEED = CALIBRATION_SEED + 2**20
MISMATCHED = "mismatched"
DRAWS = 3  # independent sets of noise behind each known outcome
FITS = 10  # the same behind each known coefficient


def main() -> None:
    """Entry point of the rule `classify_planted`."""
    parser = stage_parser("classify_planted", "Measure models of planted type.")
    parser.add_argument("--settings", required=True, help="evaluation, world, first seed and numbers of seeds, JSON")
    parser.add_argument("--output", type=Path, required=True, help="planted cases")
    parser.add_argument("--discrimination", type=Path, required=True, help="X told from Y, by angle and noise")
    parser.add_argument("--known", type=Path, required=True, help="estimates whose truth is known")
    parser.add_argument("--causes", type=Path, required=True, help="what directions carry in planted networks")
    options = begin("classify_planted", parser)
    settle_process(options.threads)
    settings = json.loads(options.settings)
    device = find_device(device_name())
    world, evaluation = World.from_settings(settings["world"]), Evaluation(**settings["evaluation"])
    scored = range(settings["first"], settings["first"] + settings["seeds"])
    calibrated = range(CALIBRATION_SEED, CALIBRATION_SEED + settings["calibration_seeds"])
    ladder = range(LADDER_SEED, LADDER_SEED + settings["calibration_seeds"])
    source = provenance("classify_planted", options)

    cases = stack_rows(list(_cases(world, scored, calibrated, ladder, evaluation, device)))
    cases["case_id"] = np.array([f"case{number:06d}" for number in range(len(cases["seed"]))])
    log.info("measured %d planted cases", len(cases["seed"]))
    points = list(discriminate(world, scored, evaluation, device))
    log.info("told X from Y at %d angles and temperatures", len(points))
    objectives = seed_objectives(scored, world.attributes, REFERENCE_DISTANCE, device)
    carried = list(planted_causes(world, scored, objectives, evaluation))
    log.info("moved hidden states of planted networks")
    known = list(_known(world, scored, objectives, evaluation))
    log.info("estimated %d known values", sum(len(item.truths) for item in known))

    causes = stack_rows([found | {"kind": np.full(len(found["seed"]), kind)} for kind, found in carried])
    names = ("angle", "temperature", "right", "cases")
    columns = {name: [getattr(point, name) for point in points] for name in names}
    write_table(options.discrimination, columns, tables.DISCRIMINATION, source)
    write_table(options.causes, causes, tables.CAUSES, source)
    write_table(options.known, _known_columns(known), tables.KNOWN, source)
    write_table(options.output, cases, tables.SCHEMA, source)


def _cases(
    world: World,
    scored: Sequence[int],
    calibrated: Sequence[int],
    ladder: Sequence[int],
    evaluation: Evaluation,
    device: torch.device,
) -> Iterator[Columns]:
    """Cases of every kind on its split's seeds, then of every rung of every ladder."""
    for split, seeds in ((CALIBRATION, calibrated), (SCORED, scored)):
        objectives, angles = spread_objectives(seeds, world.attributes, device)
        for name, kind, columns in measure_kinds(world, seeds, objectives, evaluation, split):
            yield columns | _labels(split, name, kind.truth, np.full(len(seeds), np.nan), seeds, angles)
    objectives, angles = spread_objectives(scored, world.attributes, device)
    columns = measure_mismatched(world, scored, objectives, evaluation)
    none = np.full(len(scored), np.nan)
    yield columns | _labels(MISMATCHED, "internal_of_another_seed", "internal", none, scored, angles)
    objectives, angles = spread_objectives(ladder, world.attributes, device)
    for cutoff, truth, values, columns in measure_ladders(world, ladder, objectives, evaluation):
        yield columns | _labels("ladder", cutoff, truth, values, ladder, angles)


def _labels(
    split: str, kind: str, truth: str, values: np.ndarray, seeds: Sequence[int], angles: Sequence[float]
) -> Columns:
    count = len(seeds)
    labels = {"split": np.full(count, split), "kind": np.full(count, kind), "truth": np.full(count, truth)}
    return labels | {"value": values, "seed": np.array(seeds), "distance": np.array(angles)}


def _known(world: World, seeds: Sequence[int], objectives: Tensor, evaluation: Evaluation) -> Iterator[Known]:
    examination = Examination(world, seeds, objectives, evaluation)
    yield from known_coefficients(examination, seeds, objectives, FITS)
    if world.audit_terms:
        yield from known_price_effects(examination, seeds, objectives, 2 * DRAWS)
    for case in known_outcomes(world, examination, seeds, objectives, evaluation, DRAWS):
        columns = case.columns
        found = outcomes(Agreements.of(columns), columns["attainable"], columns["attainable_error"], columns["options"])
        yield Known("C", found.c, found.c_error, case.c)
        yield Known("P", found.placebo, found.placebo_error, case.placebo)
        yield Known("D", found.d, found.d_error, case.c - case.placebo)
        yield Known("transfer", found.transfer, found.c_error, 1 - case.c)


def _known_columns(known: Sequence[Known]) -> dict[str, np.ndarray]:
    columns = {"quantity": np.concatenate([np.full(len(item.truths), item.quantity) for item in known])}
    for name, part in (("estimate", "estimates"), ("error", "errors"), ("truth", "truths")):
        columns[name] = np.concatenate([getattr(item, part) for item in known])
    return columns


if __name__ == "__main__":
    run_program(main)
