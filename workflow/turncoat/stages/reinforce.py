"""Reinforce a block of networks on episodes on which X and M want the same option, and measure what each wants after.

python -m turncoat.stages.reinforce --settings JSON (--weights FILE --label NAME | --first-seed 0 --seed-count 16) \
    --output FILE --threads 1

With --weights the networks are a fine-tuned block, at its last snapshot; without, two-block networks are planted.
"""

import argparse
import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from turncoat.columns import Columns, stack_rows
from turncoat.gating.agreement import held_out
from turncoat.gating.blocks import block_objectives, block_units, planted_blocks
from turncoat.gating.circuits import STATES, label_circuits, unit_contents
from turncoat.gating.reinforcement import PROMPTS, Setting, reinforce
from turncoat.gating.reinforcement_arms import ReinforcementArm, planted_arms, trained_arms
from turncoat.gating.reinforcement_rows import reinforcement_rows
from turncoat.organisms.hidden import hidden_states
from turncoat.organisms.mlp import Stack
from turncoat.stages.common import begin, device_name, provenance, run_program, stage_parser
from turncoat.tables import reinforcement
from turncoat.tables.atomic import TableError, write_table
from turncoat.tables.weights import load_organisms
from turncoat.training.devices import bounded_chunk, chunk_size, find_device, settle_process
from turncoat.worlds.objectives import OBJECTIVES
from turncoat.worlds.world import World

log = logging.getLogger("turncoat")


def main() -> None:
    """Entry point of the rules `reinforce` and `reinforce_planted`."""
    parser = stage_parser("reinforce", "Reinforce a block of networks where X and M want the same option.")
    parser.add_argument("--settings", required=True, help="the reinforcement section, and the planted world, JSON")
    parser.add_argument("--weights", type=Path, help="a fine-tuned block; without it networks are planted")
    parser.add_argument("--label", help="names the rows of a fine-tuned block, <label>-<seed>")
    parser.add_argument("--first-seed", type=int, help="of planted networks")
    parser.add_argument("--seed-count", type=int, help="of planted networks")
    parser.add_argument("--output", type=Path, required=True)
    options = begin("reinforce", parser)
    _check(options)
    settle_process(options.threads)
    device = find_device(device_name())
    settings = json.loads(options.settings)
    started = time.monotonic()
    try:
        if options.weights is None:
            seeds = range(options.first_seed, options.first_seed + options.seed_count)
            columns = reinforce_planted(settings, seeds, device)
        else:
            columns = reinforce_trained(settings, options.weights, options.label, device)
    except TableError as error:
        sys.exit(str(error))
    write_table(options.output, columns, reinforcement.SCHEMA, provenance("reinforce", options))
    for flag, text in (("matched", "have no matched entropy"), ("diverged", "diverged")):
        count = int((columns[flag] == (flag == "diverged")).sum())
        if count:
            log.warning("%d of %d rows %s: their numbers are null", count, len(columns["seed"]), text)
    log.info("wrote %d rows in %.1f s", len(columns["seed"]), time.monotonic() - started)


def reinforce_planted(settings: Mapping[str, Any], seeds: Sequence[int], device: torch.device) -> Columns:
    """Rows of planted networks of these seeds."""
    section, world = settings["reinforcement"], World.from_settings(settings["world"])
    arms = planted_arms(section)
    rates, width = section["learning_rates"], section["width"]
    parts: list[Columns] = []
    for chunk in _chunks(seeds, device, world.options * section["batch"], width):
        objectives = block_objectives(chunk, world.attributes, device)
        setting = _setting(section, world, chunk, objectives, separate=True, learning_rates=rates)

        def plant(arm: ReinforcementArm, setting: Setting = setting) -> Stack:
            return planted_blocks(
                setting.world,
                setting.seeds,
                setting.objectives,
                width=width,
                activation=str(arm.activation),
                m_strength=float(arm.m_strength or 0.0),
            )

        shown = held_out(world, chunk, objectives, section["held_out"], _prompts(arms))
        for found in reinforce(setting, arms, plant, shown):
            arm, architecture = found.arm, found.after.architecture
            labels = block_units(architecture, len(chunk), m_strength=float(arm.m_strength or 0.0)).to(device)
            names = [f"planted-{arm.activation}-{arm.m_strength:g}-{seed}" for seed in chunk]
            parts.append(reinforcement_rows(setting, found, names, "planted", architecture.activation, labels))
        log.info("%d of %d seeds", chunk[-1] + 1 - seeds[0], len(seeds))
    return stack_rows(parts)


def reinforce_trained(settings: Mapping[str, Any], weights: Path, label: str, device: torch.device) -> Columns:
    """Rows of a fine-tuned block. Circuits are found by content, in the networks as they were fine-tuned."""
    section, organisms = settings["reinforcement"], load_organisms(weights, device)
    world, whole = World.from_settings(organisms.world), organisms.stack(-1)
    arms = trained_arms(section)
    parts: list[Columns] = []
    for chunk in _chunks(organisms.seeds, device, world.options * section["batch"], whole.architecture.width):
        first = organisms.seeds.index(chunk[0])
        stack = Stack.from_rows(whole.architecture, organisms.weights[-1][first : first + len(chunk)])
        objectives = organisms.objectives[first : first + len(chunk)]
        rates = section["trained_learning_rates"]
        setting = _setting(section, world, chunk, objectives, separate=False, learning_rates=rates)
        shown = held_out(world, chunk, objectives, section["held_out"], _prompts(arms))
        labels = content_labels(setting, stack, section["held_out"])
        names = [f"{label}-{seed}" for seed in chunk]
        for found in reinforce(setting, arms, lambda arm, stack=stack: stack, shown):  # type: ignore[misc]
            parts.append(reinforcement_rows(setting, found, names, "trained", whole.architecture.activation, labels))
        log.info("%d of %d seeds", first + len(chunk), len(organisms.seeds))
    return stack_rows(parts)


def content_labels(setting: Setting, stack: Stack, episodes: int) -> Tensor:
    """Each unit's circuit by content, (E, layers, W), on episodes apart from those that gains are measured on."""
    shown = held_out(setting.world, setting.seeds, setting.objectives, episodes, PROMPTS[:2], "reinforcement circuits")
    inputs = {state: shown.inputs[prompt] for state, prompt in zip(STATES, PROMPTS[:2], strict=True)}
    contents = unit_contents(hidden_states(stack), inputs, shown.attributes)
    wanted = [OBJECTIVES.index(name) for name in ("x", "m")]
    return label_circuits(contents, setting.objectives[:, wanted]).labels


def _setting(
    section: Mapping[str, Any],
    world: World,
    seeds: Sequence[int],
    objectives: Tensor,
    separate: bool,
    learning_rates: Mapping[str, float],
) -> Setting:
    steps, batch, samples = (section[name] for name in ("steps", "batch", "samples"))
    return Setting(world, seeds, objectives, separate, steps, batch, samples, learning_rates)


def _chunks(seeds: Sequence[int], device: torch.device, rows: int, width: int) -> list[list[int]]:
    size = bounded_chunk(chunk_size(device), device, rows, width)
    return [list(seeds[first : first + size]) for first in range(0, len(seeds), size)]


def _prompts(arms: Sequence[ReinforcementArm]) -> list[float]:
    return list(dict.fromkeys([*PROMPTS, *(arm.prompt for arm in arms)]))


def _check(options: argparse.Namespace) -> None:
    planted = [options.first_seed, options.seed_count]
    trained = [options.weights, options.label]
    if None in (planted if options.weights is None else trained):
        sys.exit("give --weights and --label of a fine-tuned block, or --first-seed and --seed-count of planted ones")


if __name__ == "__main__":
    run_program(main)
