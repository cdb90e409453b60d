"""Write the ledger of every hidden unit of a block of fine-tuned organisms, at their last snapshot, by cue state.

python -m turncoat.stages.probe_gating --weights FILE --optimizer FILE --label NAME --settings JSON \
    --output FILE --threads 1
"""

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from turncoat.columns import Columns, stack_rows
from turncoat.gating.ledger import gating_batches, unit_ledger
from turncoat.organisms.gates import GateControl
from turncoat.organisms.mlp import Stack
from turncoat.stages.common import begin, device_name, provenance, stage_parser
from turncoat.tables import gating_units
from turncoat.tables.atomic import write_table
from turncoat.tables.weights import Organisms, load_optimizer, load_organisms
from turncoat.training.devices import find_device, settle_process
from turncoat.training.optimizers import BETA2
from turncoat.worlds.world import World

CHUNK = 8  # members probed at once, to bound memory

log = logging.getLogger("turncoat")


def main() -> None:
    """Entry point of the rule `probe_gating`."""
    parser = stage_parser("probe_gating", "Write the ledger of every hidden unit of a block of organisms.")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--optimizer", type=Path, required=True)
    parser.add_argument("--label", required=True, help="names the rows, <label>-<seed>")
    parser.add_argument("--settings", required=True, help="how they were trained, and the gating section, JSON")
    parser.add_argument("--output", type=Path, required=True)
    options = begin("probe_gating", parser)
    settle_process(options.threads)
    device = find_device(device_name())
    organisms = load_organisms(options.weights, device)
    state = load_optimizer(options.optimizer, organisms.architecture, device)
    started = time.monotonic()
    columns = probe_organisms(organisms, options.label, state, json.loads(options.settings))
    write_table(options.output, columns, gating_units.SCHEMA, provenance("probe_gating", options))
    log.info("wrote %d unit rows in %.1f s", len(columns["unit"]), time.monotonic() - started)


def probe_organisms(
    organisms: Organisms, label: str, state: Mapping[str, Tensor], settings: Mapping[str, Any]
) -> Columns:
    """Unit rows of all members in all cue states; `state` is laid out like the stack of all members."""
    whole = organisms.stack(-1)
    rows = {name: whole.rows(value) if value.ndim else value for name, value in state.items()}
    parts: list[Columns] = []
    for first in range(0, len(organisms.seeds), CHUNK):
        members = slice(first, first + CHUNK)
        chunk = Stack.from_rows(whole.architecture, organisms.weights[-1][members])
        saved = {
            name: Stack.from_rows(whole.architecture, value[members]).flat if value.ndim else value
            for name, value in rows.items()
        }
        parts += _probe_chunk(organisms, label, members, chunk, saved, settings)
    return stack_rows(parts)


def _probe_chunk(
    organisms: Organisms,
    label: str,
    members: slice,
    stack: Stack,
    state: Mapping[str, Tensor],
    settings: Mapping[str, Any],
) -> list[Columns]:
    world = World.from_settings(organisms.world)
    seeds = organisms.seeds[members]
    batches = gating_batches(world, seeds, organisms.objectives[members], settings["gating"]["episodes"])
    depth, width = stack.architecture.depth, stack.architecture.width
    training = settings["training"]
    parts = []
    for name, batch in batches.items():
        ledger = unit_ledger(
            stack,
            batch,
            training["optimizer"],
            training["learning_rate"],
            state,
            training.get("beta2", BETA2),
            GateControl.from_settings(training),
            seeds,
        )
        keys = {
            "organism_id": np.repeat([f"{label}-{seed}" for seed in seeds], depth * width),
            "seed": np.repeat(seeds, depth * width),
            "state": np.full(len(seeds) * depth * width, name),
            "layer": np.tile(np.repeat(np.arange(1, depth + 1), width), len(seeds)),
            "unit": np.tile(np.arange(width), len(seeds) * depth),
        }
        parts.append(keys | ledger)
    return parts


if __name__ == "__main__":
    main()
