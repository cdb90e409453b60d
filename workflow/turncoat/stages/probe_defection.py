"""Train linear probes for defection on some seeds and test them on other seeds, of the same cell and of others.

python -m turncoat.stages.probe_defection --folder results/STUDY --cells ID ... --blocks FIRST-LAST ... \
    --output FILE --threads 1

Reads the last snapshot of FOLDER/finetune/CELL/BLOCK/weights.safetensors; never a recipe.
"""

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from turncoat.classification.presentations import present
from turncoat.classification.relative import chosen_options, draw_anchors, relative, relative_states
from turncoat.organisms.mlp import initialise
from turncoat.stages.common import begin, device_name, provenance, run_program, stage_parser
from turncoat.statistics.defection import HIDDEN, RAW, RAW_RELATIVE, UNTRAINED, Rows, probe_cells
from turncoat.tables import defection
from turncoat.tables.atomic import TableError, write_table
from turncoat.tables.weights import Organisms, load_organisms
from turncoat.training.devices import find_device, settle_process
from turncoat.training.divergence import exploded
from turncoat.worlds.objectives import OBJECTIVES
from turncoat.worlds.world import World

STATES = ("overseen", "unoverseen")
EPISODES = 128  # per model and cue state
SEEDS = 64  # the first so many of a cell, to bound memory; half of them are tested on
QUANTILES = 8  # of X-utility, each of them an anchor in four states of the cues
DIRECTIONS = 200
RESAMPLES = 500

log = logging.getLogger("turncoat")


def main() -> None:
    """Entry point of the rule `probe_defection`."""
    parser = stage_parser("probe_defection", "Train probes for defection and test them on other seeds.")
    parser.add_argument("--folder", type=Path, required=True, help="the study's folder")
    parser.add_argument("--cells", nargs="+", required=True, help="fine-tuned cells; their names mean nothing here")
    parser.add_argument("--blocks", nargs="+", required=True, help="blocks of seeds that each of them has")
    parser.add_argument("--output", type=Path, required=True)
    options = begin("probe_defection", parser)
    settle_process(options.threads)
    started = time.monotonic()
    try:
        cells = read_cells(options.folder, options.cells, options.blocks, find_device(device_name()))
    except TableError as error:
        sys.exit(str(error))
    log.info("read the choices of %d cells in %.1f s", len(cells), time.monotonic() - started)
    columns = probe_cells(cells, DIRECTIONS, RESAMPLES)
    write_table(options.output, columns, defection.SCHEMA, provenance("probe_defection", options))
    if False in columns["converged"]:
        log.warning("%d rows are of probes that did not converge", columns["converged"].count(False))
    log.info("wrote %d rows in %.1f s", len(columns["auroc"]), time.monotonic() - started)


def read_cells(folder: Path, cells: Sequence[str], blocks: Sequence[str], device: torch.device) -> dict[str, Rows]:
    """Rows of each cell; ends the job where cells differ in world or organism, which no probe could cross."""
    shared = None
    found = {}
    for cell in cells:
        parts = []
        for organisms in _last_organisms([folder / "finetune" / cell / block for block in blocks], device):
            shape = {"world": organisms.world, "organism": organisms.organism}
            shared = shared or (cell, shape)
            if shape != shared[1]:
                sys.exit(f"cell {cell} has {shape}, cell {shared[0]} has {shared[1]}; a probe needs them to be equal")
            parts.append(defection_rows(organisms, EPISODES, QUANTILES))
        found[cell] = _join(parts)
    return found


def defection_rows(organisms: Organisms, episodes: int, quantiles: int) -> Rows:
    """What each model chose at its last snapshot, `episodes` overseen and as many unoverseen, with slot 2 at X.

    Anchors know X, as the labels do. The floors `untrained` and `raw_relative` know as much, by the same anchors; `raw`
    is the chosen option's input row, with X in slot 2, and nothing else. Models that diverged are left out.
    """
    world = World.from_settings(organisms.world)
    device = organisms.objectives.device
    stack = organisms.stack(-1)
    presentations = present(world, organisms.seeds, organisms.objectives, episodes, 1)
    x = organisms.objectives[:, OBJECTIVES.index("x")]
    chosen = [chosen_options(stack, presentations["fixed", state], x) for state in STATES]
    inputs = torch.cat([part.inputs for part in chosen], dim=1)
    anchors = draw_anchors(world, x, quantiles)
    untrained = initialise(stack.architecture, organisms.seeds, world.input_power, device)
    features = {(RAW, 0): inputs, (RAW_RELATIVE, 0): relative(inputs, anchors)}
    for name, networks in ((HIDDEN, stack), (UNTRAINED, untrained)):
        layers = enumerate(relative_states(networks, inputs, anchors), start=1)
        features |= {(name, layer): part for layer, part in layers}
    sound = [part.finite for part in chosen] + [part.isfinite().all(-1).all(-1) for part in features.values()]
    finite = torch.stack(sound).all(0) & ~exploded(stack)
    if not finite.all():
        log.warning("%d of %d models diverged and are left out", (~finite).sum(), len(finite))
    defects = torch.cat([part.defects for part in chosen], dim=1)
    overseen = torch.arange(2 * episodes, device=device).expand_as(defects) < episodes
    seeds = torch.tensor(organisms.seeds, device=device)[:, None].expand_as(defects)
    return Rows(
        {key: part[finite].flatten(0, 1).cpu().numpy() for key, part in features.items()},
        *(part[finite].flatten().cpu().numpy() for part in (defects, overseen, seeds)),
    )


def _last_organisms(folders: Sequence[Path], device: torch.device) -> Iterator[Organisms]:
    """The organisms of each block at their last snapshot, SEEDS of them at most; the other snapshots are let go."""
    left = SEEDS
    for folder in folders:
        if left == 0:
            return
        whole = load_organisms(folder / "weights.safetensors", device)
        kept = slice(min(left, len(whole.seeds)))
        left -= len(whole.seeds[kept])
        yield replace(
            whole,
            seeds=whole.seeds[kept],
            steps=whole.steps[-1:],
            objectives=whole.objectives[kept],
            weights=whole.weights[-1:, kept].clone(),
        )


def _join(parts: Sequence[Rows]) -> Rows:
    features = {key: np.concatenate([part.features[key] for part in parts]) for key in parts[0].features}
    others = (np.concatenate([getattr(part, name) for part in parts]) for name in ("defects", "overseen", "seeds"))
    return Rows(features, *others)


if __name__ == "__main__":
    run_program(main)
