"""What a study trains: its cells, its blocks of seeds, and what that will cost."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from turncoat.configuration import settings
from turncoat.configuration.cells import cell_id
from turncoat.configuration.errors import ConfigurationError
from turncoat.configuration.models import Config
from turncoat.configuration.sections import PRETRAINED_STARTS, Arm
from turncoat.configuration.totals import Totals, totals
from turncoat.configuration.varying import combinations
from turncoat.configuration.wording import differences, words

STAGES = ("pretrain", "finetune", "elicit")
PLANTED = "planted"  # what stands for a cell where networks are planted


@dataclass(frozen=True)
class Cell:
    """The settings of one point of an arm: `id` names it, `labels` say what it is in the tables.

    `settings` is what the training stage gets; `parent` is the id of the pre-trained cell that a fine-tuned
    one starts from, or of the fine-tuned cell that M is brought back in. Labels: stage, start, distance (degrees, None
    when pre-trained), arms, setting and variant (how it differs from the study's own settings, in words), dodge,
    activation, optimizer, width, depth, pretraining_steps (0 without), steps, snapshots (None when pre-trained).
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
    """Every cell and block of a study; each cell is trained on each block.

    `reinforced`: ids of the fine-tuned cells that are trained on where X and M want the same, and `planted` where
    planted networks are.
    """

    cells: list[Cell]
    blocks: list[Block]
    totals: Totals
    reinforced: tuple[str, ...] = ()
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
        """Return the ids of the cells of `stage` (pretrain, finetune, elicit), or of all."""
        return [cell.id for cell in self.cells if stage in (None, cell.stage)]


def expand(config: Config) -> Plan:
    """Return the plan of `config`: arms crossed, equal cells joined, seeds split into blocks."""
    cells: dict[str, Cell] = {}
    reinforced: dict[str, None] = {PLANTED: None} if config.reinforcement.enabled else {}
    for name, arm in config.arms.items():
        for cell in _cells_of_arm(config, name, arm):
            known = cells.setdefault(cell.id, cell)
            known.labels["arms"].append(name)
            if arm.reinforce and cell.stage == "finetune":
                reinforced[cell.id] = None
    for cell in cells.values():
        cell.labels["arms"] = sorted(set(cell.labels["arms"]))
    _check_told_apart(list(cells.values()))
    ordered = sorted(cells.values(), key=lambda cell: STAGES.index(cell.stage))
    blocks = _blocks(config)
    chosen = [cells[name].settings if name in cells else None for name in reinforced]
    sizes = totals(config, [(cell.settings, cell.labels) for cell in ordered], len(blocks), chosen)
    return Plan(ordered, blocks, sizes, tuple(reinforced))


def _check_told_apart(cells: list[Cell]) -> None:
    """No two cells may carry the same words: their models would be pooled."""
    known: dict[tuple[Any, ...], str] = {}
    for cell in cells:
        words = tuple(cell.labels[name] for name in ("stage", "start", "distance", "setting", "variant"))
        # Pre-training is told apart by its variant alone: what it was told of X is not in its words.
        other = known.setdefault(words, cell.id)
        if other != cell.id and cell.stage != "pretrain":
            raise ConfigurationError([f"arms: cells {other} and {cell.id} differ, but both are described as {words}"])


def own_cells(plan: Plan) -> list[Cell]:
    """Return the fine-tuned cells, X apart from Y, that differ from the study's own settings in nothing else.

    Where there are none, those with the settings of the first fine-tuned cell.
    """
    everyone = [cell for cell in plan.cells if cell.stage == "finetune"]
    tuned = [cell for cell in everyone if cell.labels["distance"] > 0] or everyone

    def like(setting: str, variant: str) -> list[Cell]:
        return [cell for cell in tuned if (cell.labels["setting"], cell.labels["variant"]) == (setting, variant)]

    return like("", "") or like(tuned[0].labels["setting"], tuned[0].labels["variant"])


def _blocks(config: Config) -> list[Block]:
    first, end, size = config.seeds.first, config.seeds.first + config.seeds.count, config.seeds.block
    starts = range(first, end, size)
    counts = [min(size, end - start) for start in starts]
    return [Block(f"{start}-{start + n - 1}", start, n) for start, n in zip(starts, counts, strict=True)]


def _cells_of_arm(config: Config, name: str, arm: Arm) -> Iterator[Cell]:
    for changes in combinations(arm):
        changed = config.changed(name, changes) if changes else config
        dodges: list[str | None] = [*arm.dodges] if arm.dodges else [None]
        for start, dodge, distance in product(arm.starts, dodges, arm.distances):
            parent = None
            if start in PRETRAINED_STARTS:
                parent = _pretrained(config, changed, start, distance, dodge)
                yield parent
            tuned = _finetuned(config, changed, start, distance, dodge, parent)
            yield tuned
            if arm.elicit:
                chosen = settings.elicit(changed, tuned.settings, tuned.id)
                training = chosen["training"]
                labels = tuned.labels | {"stage": "elicit", "arms": [], "steps": training["steps"]}
                labels |= {"snapshots": training["snapshots"]}
                yield Cell(cell_id(chosen), "elicit", chosen, labels, tuned.id)


def _pretrained(config: Config, changed: Config, start: str, distance: float, dodge: str | None) -> Cell:
    chosen = settings.pretrain(changed, start, distance, dodge)
    own = settings.pretrain(config, start, distance, None)
    rate = getattr(config.pretraining.learning_rates, chosen["training"]["optimizer"])
    labels = _labels(chosen, start, None) | {
        "setting": words(differences(chosen, own, ("world", "organism"), rate)),
        "variant": words(differences(chosen, own, ("training", "dodge"), rate), "pretraining "),
        "pretraining_steps": chosen["training"]["steps"],
        "snapshots": None,
    }
    return Cell(cell_id(chosen), "pretrain", chosen, labels)


def _finetuned(
    config: Config, changed: Config, start: str, distance: float, dodge: str | None, parent: Cell | None
) -> Cell:
    chosen = settings.finetune(changed, start, distance, parent.id if parent else None, dodge)
    own = settings.finetune(config, start, distance, parent.id if parent else None, None)
    rate = getattr(config.finetuning.learning_rates, chosen["training"]["optimizer"])
    found = differences(chosen, own, ("world", "organism", "training"), rate)
    # What comes from pre-training, which models from scratch do not have, is no setting: they are to be compared.
    inherited = {key: found.pop(key) for key in list(found) if key.startswith("heads.")}
    if found.get("optimizer_state") == "carried":
        inherited["optimizer_state"] = found.pop("optimizer_state")
    if chosen["exposure"] != own["exposure"]:
        inherited["overseen_share"] = chosen["exposure"]
    variant = [parent.labels["variant"] if parent else "", words(inherited, "pretraining ")]
    if "dodge" in chosen and f"dodge {dodge}" not in variant[0]:
        variant.append(f"dodge {dodge}")
    labels = _labels(chosen, start, distance) | {
        "setting": words(found),
        "variant": ", ".join(part for part in variant if part),
        "pretraining_steps": parent.labels["steps"] if parent else 0,
        "snapshots": chosen["training"]["snapshots"],
    }
    return Cell(cell_id(chosen), "finetune", chosen, labels, parent.id if parent else None)


def _labels(chosen: dict[str, Any], start: str, distance: float | None) -> dict[str, Any]:
    organism, training = chosen["organism"], chosen["training"]
    return {
        "stage": chosen["stage"],
        "start": start,
        "distance": None if distance is None else float(distance),
        "arms": [],
        "activation": organism["activation"],
        "width": organism["width"],
        "depth": organism["depth"],
        "optimizer": training["optimizer"],
        "steps": training["steps"],
        "dodge": chosen.get("dodge", ""),
    }
