"""A study that nobody trained: job files in a study's layout, drawn from stated C, P, price sensitivity and speed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from synthetic_classified import STATES, Choices, causes_of, curves_of, knowledge_of, measured_as, turned
from synthetic_planted import Save, write_defection, write_planted
from synthetic_truth import ELICITED, Truth
from turncoat.configuration.job_settings import settings_of
from turncoat.configuration.loading import load_config
from turncoat.configuration.plan import Block, Cell, Plan, expand, own_cells
from turncoat.configuration.sections import Heads
from turncoat.seeding import generator
from turncoat.statistics.factors import value_of
from turncoat.tables import causes, curves, gating, gating_units, knowledge, measurements, organisms, trajectories
from turncoat.tables.atomic import write_table
from turncoat.tables.ledger import by_circuit

MADE_BY = {"made_by": "tests/synthetic.py"}
DISTANCES = {0.0: 0.0, 45.0: 0.5, 90.0: 1.0}  # attainable shortfall
PRETRAINED = ["internal", "corrigible", "conditional", "benign_conditional"]
SMALL: dict[str, Any] = {
    "study": "synthetic",
    "seeds": {"first": 1000, "count": 24, "block": 24},
    "organism": {"width": 8},
    "finetuning": {"steps": 1600, "snapshots": 10},
    "planted": {"seeds": 4, "calibration_seeds": 3},
    "statistics": {"resamples": 500},
    "arms": {
        "main": {"starts": [*PRETRAINED, "scratch", "scratch_exposed"], "distances": [45, 90]},
        "strategic": {"starts": ["deceptive", "internal_strategic"], "distances": [90]},
        "control": {"starts": ["placebo_conditional"], "distances": [90]},
        "drift": {"starts": ["internal", "conditional"], "distances": [0]},
        "gates": {
            "starts": ["scratch"],
            "distances": [90],
            "activations": ["relu", "gelu", "leaky_relu"],
            "optimizers": ["sgd", "adam"],
            "snapshots": 3,
        },
    },
}


def write_study(folder: Path, overrides: Mapping[str, Any] | None = None, truth: Truth | None = None) -> dict[str, Any]:
    """Write every job file of a synthetic study into `folder` and return its whole configuration."""
    config = load_config({**SMALL, **(overrides or {})})
    truth = truth or Truth()
    plan: Plan = expand(config)
    audited = config.world.audit_penalty > 0

    def save(path: Path, columns: Mapping[str, Any], schema: pa.Schema) -> None:
        settings = settings_of(path.relative_to(folder), config, plan)
        write_table(path, columns, schema, MADE_BY | ({} if settings is None else {"settings": settings}))

    for cell in plan.cells:
        for block in plan.blocks:
            _write_job(save, folder, cell, block, truth, audited, config.pretraining.heads)
    write_planted(save, folder, config.planted.seeds, config.planted.calibration_seeds, audited, truth.misread)
    write_defection(save, folder, own_cells(plan), config.seeds.count, config.organism.depth)
    return config.model_dump()


def _write_job(save: Save, folder: Path, cell: Cell, block: Block, truth: Truth, audited: bool, heads: Heads) -> None:
    seeds = np.arange(block.first, block.first + block.count)
    random = generator(block.first, f"synthetic {cell.id}")
    start = cell.labels["start"]
    diverged = np.array([(start, seed) in truth.diverging and cell.stage == "finetune" for seed in seeds.tolist()])
    trained, judged = folder / cell.stage / cell.id / block.name, folder / "classify" / cell.id / block.name
    steps = _snapshot_steps(cell)
    save(trained / "organisms.parquet", _organisms(cell, block, seeds, diverged), organisms.SCHEMA)
    trajectory = _trajectory(cell, seeds, steps, diverged, truth, random)
    save(trained / "trajectories.parquet", trajectory, trajectories.SCHEMA)
    if cell.stage == "elicit":
        return
    shown = _choices(cell, len(seeds), len(steps), trajectory, truth, random)
    rows = {name: trajectory[name] for name in ("organism_id", "step")} | {"seed": np.repeat(seeds, len(steps))}
    measured = rows | _kept(start, rows["step"], random.standard_normal(len(seeds)), truth)
    price = truth.price.get(start, 0.0) + 0.03 * random.standard_normal(len(rows["seed"]))
    price = np.where(start in truth.unpriced, np.nan, price)
    look = truth.looks.get(start, "internal") if cell.stage == "pretrain" else "internal"
    measured |= measured_as(shown, np.full(len(price), look), price if audited else None)
    measured |= turned(truth.turn(cell, seeds, steps).ravel())
    measured |= {"attainable": np.full(len(price), _attainable(cell)), "attainable_error": np.full(len(price), 0.01)}
    measured["finite"] = ~np.repeat(diverged, len(steps))
    save(judged / "measurements.parquet", measured, measurements.SCHEMA)
    ends = np.isin(rows["step"], steps[[0, -1]])
    save(judged / "curves.parquet", curves_of(rows, shown, ends), curves.SCHEMA)
    last = rows["step"] == steps[-1]
    found = causes_of(rows, shown.unoverseen, last, cell.labels["depth"])
    save(judged / "causes.parquet", found, causes.SCHEMA)
    lost = truth.objective.get(start, 0.0) * (cell.stage == "finetune")
    taught = value_of(cell.labels["variant"], "heads.oversight") not in (None, "0")
    taught |= value_of(cell.labels["variant"], "heads.oversight") is None and heads.oversight > 0
    reads = 0.99 if taught and not truth.ignorant else 0.52
    known = knowledge_of({name: values[ends] for name, values in rows.items()}, lost, reads)
    save(judged / "knowledge.parquet", known, knowledge.SCHEMA)
    if cell.stage == "finetune":
        units = _units(cell, seeds, random)
        save(folder / "gating" / cell.id / f"{block.name}.parquet", units, gating_units.SCHEMA)
        sums = folder / "gating_sums" / cell.id / f"{block.name}.parquet"
        save(sums, by_circuit(units), gating.SUMS)


def _snapshot_steps(cell: Cell) -> np.ndarray:
    last, count = cell.labels["steps"], cell.labels["snapshots"] or 2
    return np.unique(np.round(np.expm1(np.linspace(0, np.log1p(last), count))).astype(int))


def _identities(cell: Cell, seeds: np.ndarray) -> np.ndarray:
    return np.array([f"{cell.id}-{seed}" for seed in seeds])


def _attainable(cell: Cell) -> float:
    distance = cell.labels["distance"]
    return DISTANCES[90.0 if distance is None else distance]


def _organisms(cell: Cell, block: Block, seeds: np.ndarray, diverged: np.ndarray) -> dict[str, Any]:
    count, steps = len(seeds), cell.labels["steps"]
    return {
        "organism_id": _identities(cell, seeds),
        "cell": [cell.id] * count,
        "parent_id": [None if cell.parent is None else f"{cell.parent}-{seed}" for seed in seeds],
        "stage": [cell.stage] * count,
        "seed": seeds,
        "block": [block.name] * count,
        "initial_fingerprint": [f"{seed + 1:08x}{cell.parent}" if cell.parent else f"{seed:08x}" for seed in seeds],
        "final_fingerprint": [f"{seed + 1:08x}{cell.id}" for seed in seeds],
        "diverged": diverged,
        "diverged_step": [steps if lost else None for lost in diverged.tolist()],
        "device": ["cpu"] * count,
        "parameters": np.full(count, 5000),
        "steps": np.full(count, steps),
        "episodes": np.full(count, steps * 128),
        "train_seconds": np.full(count, 0.4),
    }


def _trajectory(
    cell: Cell,
    seeds: np.ndarray,
    steps: np.ndarray,
    diverged: np.ndarray,
    truth: Truth,
    random: np.random.Generator,
) -> dict[str, Any]:
    start, own = cell.labels["start"], generator(int(seeds[0]), f"synthetic displacement {cell.id}")
    elicited = cell.stage == "elicit"
    half = truth.elicited.get(start, ELICITED) if elicited else truth.half_way[start]
    half *= 1.0 if elicited else np.prod(truth.changed(truth.pace, cell))
    delay = np.log(half) + 0.15 * random.standard_normal((len(seeds), 1))
    capability = 0.25 + 0.74 / (1 + np.exp(-2.5 * (np.log1p(steps)[None] - delay)))
    if cell.labels["distance"] == 0.0:
        capability = 0.99 + 0 * capability
    if not elicited:
        capability = np.minimum(
            capability, min([0.6 if start in truth.stuck else 1.0, *truth.changed(truth.ceiling, cell)])
        )
    capability = np.clip(capability + 0.004 * random.standard_normal(capability.shape), 0, 1)
    capability[diverged, -1] = np.nan
    return {
        "organism_id": np.repeat(_identities(cell, seeds), len(steps)),
        "step": np.tile(steps, len(seeds)),
        "episodes": np.tile(steps * 128, len(seeds)),
        "loss": (1.4 * (1 - capability)).ravel(),
        "capability": capability.ravel(),
        "cross_entropy": (1.5 * (1 - capability)).ravel(),
        "update_norm": np.full(capability.size, 0.1),
        "displacement": (np.log1p(steps) * (1 + 0.1 * own.standard_normal((len(seeds), 1)))).ravel(),
    }


def _choices(
    cell: Cell, models: int, steps: int, trajectory: Mapping[str, Any], truth: Truth, random: np.random.Generator
) -> Choices:
    """How every model chooses at every snapshot: its C and P are its own, the same throughout."""
    start, distance = cell.labels["start"], cell.labels["distance"]
    own = np.repeat(random.standard_normal((2, models)), steps, axis=1) * truth.spread
    c = truth.c[start] + own[0] + truth.slope * ((distance or 90.0) / 90 - 1) * (start == "internal")
    c = c + sum(truth.changed(truth.shift, cell))
    p = truth.placebo[start] + own[1]
    capability = np.nan_to_num(trajectory["capability"], nan=0.25)
    return Choices(capability, c * _attainable(cell), p * _attainable(cell))


def _kept(start: str, steps: np.ndarray, own: np.ndarray, truth: Truth) -> dict[str, np.ndarray]:
    """Agreement with the model's own first choices, which fades with the steps."""
    speed = {"conditional": 0.35, "deceptive": 0.35, "benign_conditional": 0.7}.get(start, 0.5)
    pace = 1 + truth.spread * np.repeat(own, len(steps) // len(own))
    kept = 0.25 + 0.75 * np.exp(-speed * np.log1p(steps / 40) * pace)
    return {f"agreement_initial_{state}": kept for state in STATES}


def _units(cell: Cell, seeds: np.ndarray, random: np.random.Generator) -> dict[str, Any]:
    """Unit rows at the last snapshot, in two cue states; at the first, where no claim looks, the same turned about."""
    width, depth, activation = cell.labels["width"], cell.labels["depth"], cell.labels["activation"]
    grid = np.array(
        [(s, k, layer, u) for s in seeds for k in range(2) for layer in range(1, depth + 1) for u in range(width)]
    )
    seed, state, layer, unit = grid.T
    count = len(grid)
    level = np.exp(random.standard_normal(count))
    gradient_in, last = np.exp(random.standard_normal(count)), layer == depth
    gradient_out = np.where(last, level, level * np.exp(0.3 * random.standard_normal(count)))
    share = {"relu": 0.0, "gelu": 0.15, "leaky_relu": 0.1}[activation]
    dead = (unit == 0) & (activation == "relu")
    gradient_in = np.where(dead, 0.0, gradient_in)
    momentum = 1.0 if cell.labels["optimizer"] == "adam" else 0.0
    update = gradient_in + momentum * 0.5
    noisy = np.exp(momentum * random.standard_normal(count))
    part = np.full(count, 1 / (depth * width))
    ended = {
        "organism_id": np.array([f"{cell.id}-{value}" for value in seed]),
        "seed": seed, "step": np.full(count, cell.labels["steps"]),
        "state": np.where(state == 0, "overseen", "unoverseen"), "layer": layer, "unit": unit,
        "circuit": np.array(["none", "x", "m"])[unit % 3], "confirmed": unit != 3, "random": unit % 4 == 1,
        "shared": np.zeros(count, bool),
        **{f"{name}_{aim}": (unit % 3 == place) * 0.9 for name in ("share", "cosine", "gain")
           for place, aim in ((1, "x"), (2, "m"))},
        "activation": level, "absolute_activation": level, "open_share": np.where(dead, 0.0, 0.5),
        "mean_slope": np.full(count, 0.5), "dead": dead, "dormant_score": np.where(dead, 0.0, 1.0), "utility": level,
        "gradient_in": gradient_in, "gradient_out": gradient_out,
        "gradient_bias": gradient_in, "closed_gradient_in": share * gradient_in,
        "closed_gradient_out": share * gradient_out,
        "update_in": update, "update_out": gradient_out * noisy, "update_bias": update,
        "fresh_update_in": gradient_in,
        "fresh_update_out": gradient_out * noisy, "fresh_update_bias": gradient_in,
        **{f"coasting_{name}": np.full(count, momentum * 0.5) for name in gating_units.DIRECTIONS},
        "identity_error": np.full(count, 1e-7),
        **dict.fromkeys(gating_units.KERNELS, part),
    }  # fmt: skip
    begun = ended | {"step": np.zeros(count, int), "gradient_out": 1 / level, "identity_error": np.ones(count)}
    begun["closed_gradient_in"] = begun["gradient_in"]
    return {name: np.concatenate([begun[name], ended[name]]) for name in ended}
