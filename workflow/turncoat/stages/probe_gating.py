"""Write the ledger of every hidden unit of a block of fine-tuned organisms, at their first and last snapshot, by cue
state, and its sums by circuit.

python -m turncoat.stages.probe_gating --weights FILE --optimizer FILE --label NAME --settings JSON \
    [--parent DIR] --output FILE --sums FILE --threads 1
"""

import argparse
import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from turncoat.columns import Columns, stack_rows
from turncoat.gating.blocks import CIRCUITS
from turncoat.gating.circuits import STATES, label_circuits, random_objectives, unit_contents
from turncoat.gating.kernel import normalised, unit_kernels
from turncoat.gating.ledger import gating_batches, unit_ledger
from turncoat.organisms.gates import GateControl
from turncoat.organisms.hidden import hidden_states, hidden_units
from turncoat.organisms.mlp import Architecture, Stack
from turncoat.stages.common import begin, device_name, provenance, run_program, stage_parser
from turncoat.tables import gating, gating_units
from turncoat.tables.atomic import write_table
from turncoat.tables.ledger import by_circuit
from turncoat.tables.weights import Organisms, load_optimizer, load_organisms
from turncoat.training.devices import find_device, settle_process
from turncoat.training.optimizers import BETA2
from turncoat.training.streams import Batch
from turncoat.worlds.objectives import OBJECTIVES
from turncoat.worlds.world import CUE_STATES, World

NUMBERS_AT_ONCE = 2**20  # inputs and hidden numbers of the members that are probed together, to bound memory
TRAINED = "overseen"  # the cue state of fine-tuning, with which the kernel compares the others
PAIRS = list(dict.fromkeys(pair for state in CUE_STATES for pair in ((state, state), (TRAINED, state))))

State = Mapping[str, Tensor] | None
"""An optimizer's state, laid out like the stack; None where it is not known."""

log = logging.getLogger("turncoat")


def main() -> None:
    """Entry point of the rule `probe_gating`."""
    parser = stage_parser("probe_gating", "Write the ledger of every hidden unit of a block of organisms.")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--optimizer", type=Path, required=True)
    parser.add_argument(
        "--parent", type=Path, help="folder of the parent block, whose optimizer's state was carried on"
    )
    parser.add_argument("--label", required=True, help="names the rows, <label>-<seed>")
    parser.add_argument("--settings", required=True, help="how they were trained, and the gating section, JSON")
    parser.add_argument("--output", type=Path, required=True, help="unit rows")
    parser.add_argument("--sums", type=Path, required=True, help="their sums by circuit")
    options = begin("probe_gating", parser)
    settle_process(options.threads)
    settings = json.loads(options.settings)
    device = find_device(device_name())
    organisms = load_organisms(options.weights, device)
    ended = load_optimizer(options.optimizer, organisms.architecture, device)
    states = [_beginning(options, settings["training"], organisms, device), ended]
    started = time.monotonic()
    columns = probe_organisms(organisms, options.label, states, settings)
    made = provenance("probe_gating", options)
    write_table(options.output, columns, gating_units.SCHEMA, made)
    write_table(options.sums, by_circuit(columns), gating.SUMS, made)
    log.info("wrote %d unit rows in %.1f s", len(columns["unit"]), time.monotonic() - started)


def probe_organisms(organisms: Organisms, label: str, states: Sequence[State], settings: Mapping[str, Any]) -> Columns:
    """Unit rows of all members in all cue states, at the first and the last snapshot; `states` are the optimizer's at
    each, settings are those of the training and of `gating`."""
    world, seeds = World.from_settings(organisms.world), organisms.seeds
    architecture, episodes = organisms.architecture, settings["gating"]["episodes"]
    instructed = settings["training"].get("mode") == "instructed"
    numbers = world.options * episodes * (architecture.inputs + architecture.depth * architecture.width)
    size = max(1, NUMBERS_AT_ONCE // numbers)
    whole = organisms.stack(-1)
    parts: list[Columns] = []
    for first in range(0, len(seeds), size):
        members = slice(first, first + size)
        objectives = organisms.objectives[members]
        batches = gating_batches(world, seeds[members], objectives, episodes, instructed)
        for snapshot, state in zip((0, -1), states, strict=True):
            stack = Stack.from_rows(architecture, organisms.weights[snapshot][members])
            found = _unit_columns(stack, batches, objectives, seeds[members], _part(whole, state, members), settings)
            keys = _keys(label, seeds[members], organisms.steps[snapshot], architecture)
            parts += [keys | {"state": np.full(len(keys["unit"]), name)} | columns for name, columns in found.items()]
    return stack_rows(parts)


def _unit_columns(
    stack: Stack,
    batches: Mapping[str, Batch],
    objectives: Tensor,
    seeds: Sequence[int],
    state: State,
    settings: Mapping[str, Any],
) -> dict[str, Columns]:
    """Columns by cue state of one snapshot of some members, one entry per member, layer and unit."""
    training, organism = settings["training"], hidden_units(stack)
    shown = {name: batch.inputs for name, batch in batches.items()}
    circuits = _circuit_columns(stack, shown, batches[TRAINED].attributes, objectives, seeds)
    kernels = unit_kernels(organism, shown, batches[TRAINED].targets, PAIRS)
    found = {}
    for name, batch in batches.items():
        kernel = {
            "kernel_share": normalised(kernels.same, TRAINED, name),
            "kernel_own": kernels.same[name, name],
            "across_share": normalised(kernels.across, TRAINED, name),
            "across_own": kernels.across[name, name],
        }
        ledger = unit_ledger(
            organism,
            batch,
            training["optimizer"],
            training["learning_rate"],
            state,
            training.get("beta2", BETA2),
            GateControl.from_settings(training),
            seeds,
        )
        found[name] = circuits[name] | ledger | {key: _flat(value) for key, value in kernel.items()}
    return found


def _circuit_columns(
    stack: Stack, shown: Mapping[str, Tensor], attributes: Tensor, objectives: Tensor, seeds: Sequence[int]
) -> dict[str, Columns]:
    """Circuits by content, and those of random objectives, by cue state."""
    contents = unit_contents(hidden_states(stack), shown, attributes)
    aims = objectives[:, [OBJECTIVES.index(name) for name in CIRCUITS[1:]]]
    circuits = label_circuits(contents, aims)
    control = label_circuits(contents, random_objectives(seeds, objectives.shape[2], objectives.device))
    common: Columns = {
        "circuit": np.array(CIRCUITS)[_flat(circuits.labels)],
        "confirmed": _flat(circuits.found == circuits.confirming),
        "random": _flat(control.labels == 1),
        "shared": _flat(circuits.shared),
    }
    for place, name in enumerate(CIRCUITS[1:]):
        common[f"share_{name}"] = _flat(circuits.shares[..., place])
    found = {}
    for state in shown:
        columns = dict(common)
        for place, name in enumerate(CIRCUITS[1:]):
            for kind, values in (("cosine", circuits.cosines), ("gain", circuits.gains)):
                missing = torch.full_like(values[:, :, 0, :, place], torch.nan)
                here = values[:, :, STATES.index(state), :, place] if state in STATES else missing
                columns[f"{kind}_{name}"] = _flat(here)
        found[state] = columns
    return found


def _keys(label: str, seeds: Sequence[int], step: int, architecture: Architecture) -> Columns:
    depth, width = architecture.depth, architecture.width
    return {
        "organism_id": np.repeat([f"{label}-{seed}" for seed in seeds], depth * width),
        "seed": np.repeat(seeds, depth * width),
        "step": np.full(len(seeds) * depth * width, step),
        "layer": np.tile(np.repeat(np.arange(1, depth + 1), width), len(seeds)),
        "unit": np.tile(np.arange(width), len(seeds) * depth),
    }


def _beginning(
    options: argparse.Namespace, training: Mapping[str, Any], organisms: Organisms, device: torch.device
) -> State:
    """The optimizer's state at step 0: fresh, the parents' where it was carried on; unknown where it was warmed."""
    kind = training.get("optimizer_state", "fresh")
    if (kind == "carried") != (options.parent is not None):
        sys.exit(f"training.optimizer_state is {kind!r}, but --parent is {options.parent}")
    if kind == "warmed":
        return None
    if kind == "fresh":
        return {}
    parents = load_organisms(options.parent / "weights.safetensors", device)
    missing = sorted(set(organisms.seeds) - set(parents.seeds))
    if missing:
        sys.exit(f"{options.parent}: has no seed {missing[0]}; delete that folder and run the study again")
    state = load_optimizer(options.parent / "optimizer.safetensors", organisms.architecture, device)
    return _part(parents.stack(-1), state, [parents.seeds.index(seed) for seed in organisms.seeds])


def _part(whole: Stack, state: State, places: slice | Sequence[int]) -> State:
    """The state of some members of a stack, laid out like their own."""
    if state is None:
        return None
    return {
        name: Stack.from_rows(whole.architecture, whole.rows(value)[places]).flat if value.ndim else value
        for name, value in state.items()
    }


def _flat(values: Tensor) -> Any:
    return values.flatten().cpu().numpy()


if __name__ == "__main__":
    run_program(main)
