"""Classification, the gating probe and the reading of all tables into verdicts, each through its stage's own code.

The models are trained here for a few steps; the study that is aggregated is the tests' synthetic one.
"""

import logging
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.timing import measure
from turncoat.classification.measure import Evaluation
from turncoat.configuration import settings
from turncoat.configuration.loading import load_config
from turncoat.configuration.plan import expand
from turncoat.native.library import without_kernels
from turncoat.organisms.mlp import Architecture, Stack
from turncoat.stages.aggregate import aggregate
from turncoat.stages.classify import measure_organisms
from turncoat.stages.finetune import make_task
from turncoat.stages.probe_gating import probe_organisms
from turncoat.stages.training import make_recipe
from turncoat.tables.weights import Organisms
from turncoat.training.block import Origin, finetune_block
from turncoat.worlds.world import World

Row = dict[str, Any]
NO_KERNELS = "classification, no C compiler"
STEPS = 96
ROUNDS = 3


def benchmark_stages(quick: bool) -> list[Row]:
    """Things done a second: models x snapshots classified, models probed, models of a study aggregated."""
    logging.disable(logging.INFO)
    seeds = range(8) if quick else range(48)
    organisms, state, chosen, evaluation = _trained(seeds)
    snapshots = len(seeds) * len(organisms.steps)
    counts = {"classification": snapshots, NO_KERNELS: snapshots, "gating probe": len(seeds)}
    shape = organisms.architecture
    ended = {name: Stack.from_rows(shape, value).flat if value.ndim else value for name, value in state.items()}
    runs: dict[str, Callable[[int], None]] = {
        "classification": lambda _: _done(measure_organisms(organisms, "bench", evaluation)),
        NO_KERNELS: lambda _: _without_kernels(lambda: measure_organisms(organisms, "bench", evaluation)),
        "gating probe": lambda _: _done(probe_organisms(organisms, "bench", [None, ended], chosen)),
    }
    with tempfile.TemporaryDirectory() as folder:
        config = _synthetic(Path(folder))
        plan = expand(load_config(config))
        counts["aggregate"] = plan.totals.models
        runs["aggregate"] = lambda _: aggregate(config, Path(folder), "0" * 12)
        timings = measure(runs, dict.fromkeys(runs, 1), 1 if quick else ROUNDS)
    things = dict.fromkeys(("classification", NO_KERNELS), "models x snapshots")
    things |= {"gating probe": "models, both snapshots", "aggregate": "models"}
    rows = []
    for name, timing in timings.items():
        low, high = timing.spread
        times = {"cpu_seconds": timing.median, "low": low, "high": high, "a_second": counts[name] / timing.median}
        rows.append({"what": name, "things": things[name], "count": counts[name]} | times)
    return rows


def _without_kernels(run: Callable[[], object]) -> None:
    with without_kernels():
        _done(run())


def _done(found: object) -> None:
    if not found:
        raise RuntimeError("the stage found nothing")


def _trained(seeds: range) -> tuple[Organisms, dict[str, torch.Tensor], dict[str, Any], Evaluation]:
    """A block of the default study's fine-tuned models, after a few steps; the settings of its ledger."""
    config = load_config({"study": "bench", "finetuning": {"steps": STEPS}})
    cell = next(cell for cell in expand(config).cells if cell.stage == "finetune" and cell.parent is None)
    chosen = cell.settings
    world = World.from_settings(chosen["world"])
    architecture = Architecture.from_settings(chosen["organism"], world.input_width, world.attributes)
    training = chosen["training"]
    recipe = make_recipe(training, training["snapshots"])
    trained = finetune_block(
        world, architecture, 90.0, make_task(chosen), recipe, training["batch"], seeds, Origin(), torch.device("cpu"),
        lambda *_: lambda *_: None,
    )  # fmt: skip
    course = trained.trajectory
    organisms = Organisms(
        chosen["world"], chosen["organism"], list(seeds), course.snapshots, trained.objectives, course.weights
    )
    evaluation = Evaluation(**config.evaluation.model_dump())
    return organisms, course.optimizer_state, settings.ledger(config, chosen), evaluation


def _synthetic(folder: Path) -> dict[str, Any]:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from synthetic import write_study

    return write_study(folder)
