"""What a study trains: its cells, its blocks of seeds, and what that will cost."""

from dataclasses import dataclass, field
from itertools import product
from typing import Any

from turncoat.configuration import settings
from turncoat.configuration.cells import cell_id
from turncoat.configuration.models import Config
from turncoat.configuration.sections import PRETRAINED_STARTS, Arm
from turncoat.configuration.totals import Totals, totals


@dataclass(frozen=True)
class Cell:
    """The settings of one point of an arm: `id` names it, `labels` say what it is in the tables.

    `settings` is what the training stage gets; `parent` is the id of the pre-trained cell that a fine-tuned
    one starts from. Labels: stage, start, distance (degrees, None when pre-trained), arms, activation,
    optimizer, width, depth, pretraining_steps (0 without), steps, snapshots (None when pre-trained).
    """

    id: str
    stage: str
    settings: dict[str, Any]
    labels: dict[str, Any]
    parent: str | None = None


@dataclass(frozen=True)
class Block:
    """A run of seeds that one job trains."""

    name: str
    first: int
    count: int


@dataclass(frozen=True)
class Plan:
    """Every cell and block of a study; each cell is trained on each block."""

    cells: list[Cell]
    blocks: list[Block]
    totals: Totals
    _cells: dict[str, Cell] = field(init=False, repr=False, compare=False)
    _blocks: dict[str, Block] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_cells", {cell.id: cell for cell in self.cells})
        object.__setattr__(self, "_blocks", {block.name: block for block in self.blocks})

    def cell(self, identity: str) -> Cell:
        """Return the cell of that id; raises KeyError where the study has none."""
        return self._cells[identity]

    def block(self, name: str) -> Block:
        """Return the block of that name; raises KeyError where the study has none."""
        return self._blocks[name]

    def ids(self, stage: str | None = None) -> list[str]:
        """Return the ids of the cells of `stage` (pretrain, finetune), or of all."""
        return [cell.id for cell in self.cells if stage in (None, cell.stage)]


def expand(config: Config) -> Plan:
    """Return the plan of `config`: arms crossed, equal cells joined, seeds split into blocks."""
    cells: dict[str, Cell] = {}
    for name, arm in config.arms.items():
        for cell in _cells_of_arm(config, arm):
            known = cells.setdefault(cell.id, cell)
            known.labels["arms"].append(name)
    for cell in cells.values():
        cell.labels["arms"] = sorted(set(cell.labels["arms"]))
    ordered = sorted(cells.values(), key=lambda cell: cell.stage != "pretrain")
    blocks = _blocks(config)
    return Plan(ordered, blocks, totals(config, [(cell.stage, cell.labels) for cell in ordered], len(blocks)))


def own_cells(config: Config, plan: Plan) -> list[Cell]:
    """Return the fine-tuned cells, X apart from Y, that differ from the study's own settings in nothing else.

    Where there are none, those with the settings of the first fine-tuned cell.
    """
    everyone = [cell for cell in plan.cells if cell.stage == "finetune"]
    tuned = [cell for cell in everyone if cell.labels["distance"] > 0] or everyone
    own = {
        "activation": config.organism.activation,
        "width": config.organism.width,
        "depth": config.organism.depth,
        "optimizer": config.finetuning.optimizer,
        "steps": config.finetuning.steps,
    }
    lengths = (0, config.pretraining.steps)
    found = [cell for cell in tuned if _has(cell, own) and cell.labels["pretraining_steps"] in lengths]
    return found or [cell for cell in tuned if _has(cell, {name: tuned[0].labels[name] for name in own})]


def _has(cell: Cell, labels: dict[str, Any]) -> bool:
    return all(cell.labels[name] == value for name, value in labels.items())


def _blocks(config: Config) -> list[Block]:
    first, end, size = config.seeds.first, config.seeds.first + config.seeds.count, config.seeds.block
    starts = range(first, end, size)
    counts = [min(size, end - start) for start in starts]
    return [Block(f"{start}-{start + n - 1}", start, n) for start, n in zip(starts, counts, strict=True)]


def _cells_of_arm(config: Config, arm: Arm) -> list[Cell]:
    factors = product(
        arm.starts,
        arm.widths or [config.organism.width],
        arm.depths or [config.organism.depth],
        arm.activations or [config.organism.activation],
        arm.pretraining_steps or [config.pretraining.steps],
        arm.optimizers or [config.finetuning.optimizer],
    )
    cells: list[Cell] = []
    for start, width, depth, activation, pretraining_steps, optimizer in factors:
        organism = {
            "family": config.organism.family,
            "width": width,
            "depth": depth,
            "activation": activation,
        }
        parent = None
        if start in PRETRAINED_STARTS:
            parent = _pretrain_cell(config, organism, start, pretraining_steps)
            cells.append(parent)
        for distance in arm.distances:
            cells.append(_finetune_cell(config, arm, organism, start, distance, optimizer, parent))
    return cells


def _pretrain_cell(config: Config, organism: dict[str, Any], start: str, steps: int) -> Cell:
    chosen = settings.pretrain(config, organism, start, steps)
    labels = _labels("pretrain", start, None, organism, config.pretraining.optimizer)
    labels |= {"pretraining_steps": steps, "steps": steps, "snapshots": None}
    return Cell(cell_id(chosen), "pretrain", chosen, labels)


def _finetune_cell(
    config: Config,
    arm: Arm,
    organism: dict[str, Any],
    start: str,
    distance: float,
    optimizer: str,
    parent: Cell | None,
) -> Cell:
    steps, snapshots = arm.steps or config.finetuning.steps, arm.snapshots or config.finetuning.snapshots
    parent_id = parent.id if parent else None
    training = settings.finetuning(config, optimizer, steps, snapshots, exposure=start == "scratch_exposed")
    chosen = settings.finetune(config, organism, distance, parent_id, training)
    labels = _labels("finetune", start, distance, organism, optimizer)
    labels["pretraining_steps"] = parent.labels["steps"] if parent else 0
    labels |= {"steps": steps, "snapshots": snapshots}
    return Cell(cell_id(chosen), "finetune", chosen, labels, parent_id)


def _labels(stage: str, start: str, distance: float | None, organism: dict[str, Any], optimizer: str) -> dict[str, Any]:
    return {
        "stage": stage,
        "start": start,
        "distance": None if distance is None else float(distance),
        "arms": [],
        "activation": organism["activation"],
        "width": organism["width"],
        "depth": organism["depth"],
        "optimizer": optimizer,
    }
