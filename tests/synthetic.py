"""A study that nobody trained: job files in a study's layout, drawn from stated C, P and speed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from turncoat.configuration.loading import load_config
from turncoat.configuration.plan import Block, Cell, Plan, expand
from turncoat.seeding import generator
from turncoat.tables import gating_units, measurements, organisms, planted, trajectories
from turncoat.tables.atomic import write_table

OPTIONS = 4
DISTANCES = {0.0: 0.0, 45.0: 0.5, 90.0: 1.0, 135.0: 1.25}  # attainable shortfall
SMALL: dict[str, Any] = {
    "study": "synthetic",
    "seeds": {"first": 1000, "count": 24, "block": 12},
    "organism": {"width": 8},
    "finetuning": {"steps": 1600, "snapshots": 10},
    "arms": {
        "main": {
            "starts": [
                "internal",
                "corrigible",
                "conditional",
                "benign_conditional",
                "scratch",
                "scratch_exposed",
            ],
            "distances": [45, 90, 135],
        },
        "drift": {
            "starts": ["internal", "corrigible", "conditional", "benign_conditional"],
            "distances": [0],
        },
        "gates": {
            "starts": ["scratch"],
            "distances": [90],
            "activations": ["relu", "gelu", "leaky_relu", "identity"],
            "optimizers": ["sgd", "adam"],
            "snapshots": 3,
        },
    },
}


@dataclass(frozen=True)
class Truth:
    """What is planted: C and placebo P by start, the step of half the capability, and what goes wrong.

    `slope` is what 90 degrees more of distance adds to C of start internal. `diverging` holds (start, seed)
    pairs, `stuck` starts whose capability never gets past 0.6.
    """

    c: Mapping[str, float] = field(
        default_factory=lambda: {
            "internal": 0.30, "corrigible": 0.15, "conditional": 0.75, "benign_conditional": 0.60,
            "scratch": 0.05, "scratch_exposed": 0.02,
        }
    )  # fmt: skip
    placebo: Mapping[str, float] = field(
        default_factory=lambda: {
            "internal": 0.30, "corrigible": 0.05, "conditional": 0.20, "benign_conditional": 0.55,
            "scratch": 0.05, "scratch_exposed": 0.02,
        }
    )  # fmt: skip
    half_way: Mapping[str, float] = field(
        default_factory=lambda: {
            "internal": 90, "corrigible": 25, "conditional": 40, "benign_conditional": 50,
            "scratch": 400, "scratch_exposed": 380,
        }
    )  # fmt: skip
    slope: float = 0.1
    spread: float = 0.03
    diverging: frozenset[tuple[str, int]] = frozenset()
    stuck: frozenset[str] = frozenset()
    misread: bool = False


def write_study(folder: Path, overrides: Mapping[str, Any] | None = None, truth: Truth | None = None) -> dict[str, Any]:
    """Write every job file of a synthetic study into `folder` and return its whole configuration."""
    config = load_config({**SMALL, **(overrides or {})})
    plan: Plan = expand(config)
    for cell in plan.cells:
        for block in plan.blocks:
            _write_job(folder, cell, block, truth or Truth())
    _write_planted(folder, truth or Truth(), config.planted.seeds)
    return config.model_dump()


def _write_job(folder: Path, cell: Cell, block: Block, truth: Truth) -> None:
    seeds = np.arange(block.first, block.first + block.count)
    random = generator(block.first, f"synthetic {cell.id}")
    start = cell.labels["start"]
    diverged = np.array([(start, seed) in truth.diverging and cell.stage == "finetune" for seed in seeds.tolist()])
    job = folder / cell.stage / cell.id / block.name
    provenance = {"made_by": "tests/synthetic.py"}
    steps = _snapshot_steps(cell)
    write_table(job / "organisms.parquet", _organisms(cell, block, seeds, diverged), organisms.SCHEMA, provenance)
    trajectory = _trajectory(cell, seeds, steps, diverged, truth, random)
    write_table(job / "trajectories.parquet", trajectory, trajectories.SCHEMA, provenance)
    measured = _measured(cell, seeds, steps, trajectory, diverged, truth, random)
    write_table(
        folder / "classify" / cell.id / f"{block.name}.parquet",
        measured,
        measurements.SCHEMA,
        provenance,
    )
    if cell.stage == "finetune":
        units = _units(cell, seeds, random)
        write_table(folder / "gating" / cell.id / f"{block.name}.parquet", units, gating_units.SCHEMA, provenance)


def _snapshot_steps(cell: Cell) -> np.ndarray:
    last, count = cell.labels["steps"], cell.labels["snapshots"] or 2
    return np.unique(np.round(np.expm1(np.linspace(0, np.log1p(last), count))).astype(int))


def _identities(cell: Cell, seeds: np.ndarray) -> np.ndarray:
    return np.array([f"{cell.id}-{seed}" for seed in seeds])


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
    start = cell.labels["start"]
    delay = np.log(truth.half_way[start]) + 0.15 * random.standard_normal((len(seeds), 1))
    capability = 0.25 + 0.74 / (1 + np.exp(-2.5 * (np.log1p(steps)[None] - delay)))
    if cell.labels["distance"] == 0.0:
        capability = 0.99 + 0 * capability
    if start in truth.stuck:
        capability = np.minimum(capability, 0.6)
    capability = np.clip(capability + 0.004 * random.standard_normal(capability.shape), 0, 1)
    capability[diverged, -1] = np.nan
    return {
        "organism_id": np.repeat(_identities(cell, seeds), len(steps)),
        "step": np.tile(steps, len(seeds)),
        "episodes": np.tile(steps * 128, len(seeds)),
        "loss": (1.4 * (1 - capability)).ravel(),
        "capability": capability.ravel(),
        "update_norm": np.full(capability.size, 0.1),
        "displacement": np.tile(np.log1p(steps), len(seeds)),
    }


def _measured(
    cell: Cell, seeds: np.ndarray, steps: np.ndarray, trajectory: Mapping[str, Any], diverged: np.ndarray,
    truth: Truth, random: np.random.Generator,
) -> dict[str, Any]:  # fmt: skip
    start, distance = cell.labels["start"], cell.labels["distance"]
    count = len(seeds) * len(steps)
    attainable = DISTANCES[distance if distance is not None else 90.0]
    kappa = (np.nan_to_num(trajectory["capability"], nan=0.25) - 0.25) / 0.75
    own = np.repeat(random.standard_normal((2, len(seeds))), len(steps), axis=1) * truth.spread
    c = truth.c[start] + own[0] + truth.slope * ((distance or 90.0) / 90 - 1) * (start == "internal")
    flipped = {
        "overseen": 0.0,
        "unoverseen": c * attainable,
        "placebo": (truth.placebo[start] + own[1]) * attainable,
    }
    columns: dict[str, Any] = {name: trajectory[name] for name in ("organism_id", "step")}
    columns["seed"] = np.repeat(seeds, len(steps))
    speed = {"conditional": 0.35, "benign_conditional": 0.7}.get(start, 0.5)
    kept = np.exp(-speed * np.log1p(columns["step"] / 40) * (1 + own[0]))
    for state, shortfall in flipped.items():
        for objective in ("y", "m", "y2", "slot1", "self"):
            columns[f"agreement_{objective}_{state}"] = np.full(count, 0.4)
        columns[f"agreement_x_{state}"] = 0.25 + 0.75 * kappa * (1 - shortfall)
        columns[f"agreement_initial_{state}"] = 0.25 + 0.75 * kept
    columns |= {"episodes": np.full(count, 512), "options": np.full(count, OPTIONS)}
    columns |= {"attainable": np.full(count, attainable), "finite": ~np.repeat(diverged, len(steps))}
    return columns | _fits(np.array(["internal"] * count))


def _fits(kinds: np.ndarray) -> dict[str, Any]:
    """Fit columns of models of these types, as an ideal classifier's measurements would be."""
    count = len(kinds)
    baked = np.where(kinds == "corrigible", 0.05, 3.0)
    columns: dict[str, Any] = {}
    for regime in measurements.REGIMES:
        for state in measurements.STATES:
            name = f"{regime}_{state}"
            columns[f"{name}_w"] = np.stack([baked, 0 * baked, 0 * baked, 0 * baked], axis=1)
            columns[f"{name}_w_error"] = np.full((count, 4), 0.02)
            for slot in ("slot1", "slot2")[: 2 if regime == "random" else 1]:
                columns[f"{name}_{slot}"] = np.where((kinds == "corrigible") & (slot == "slot1"), 3.0, 0.02)
                columns[f"{name}_{slot}_error"] = np.full(count, 0.02)
            columns[f"{name}_r2"] = np.where(kinds == "incapable", 0.05, 0.95)
            for target in ("x", "y", "m", "y2"):
                columns[f"{name}_cos_{target}"] = np.where((target == "y") & (kinds != "proxy"), 1.0, 0.05)
            columns[f"{name}_converged"] = np.full(count, True)
    return columns


def _units(cell: Cell, seeds: np.ndarray, random: np.random.Generator) -> dict[str, Any]:
    width, depth, activation = cell.labels["width"], cell.labels["depth"], cell.labels["activation"]
    grid = np.array(
        [(s, k, layer, u) for s in seeds for k in range(2) for layer in range(1, depth + 1) for u in range(width)]
    )
    seed, state, layer, unit = grid.T
    count = len(grid)
    level = np.exp(random.standard_normal(count))
    gradient_in, last = np.exp(random.standard_normal(count)), layer == depth
    gradient_out = np.where(last, level, level * np.exp(0.3 * random.standard_normal(count)))
    share = {"relu": 0.0, "gelu": 0.15, "leaky_relu": 0.1, "identity": 0.7}[activation]
    dead = (unit == 0) & (activation == "relu")
    gradient_in = np.where(dead, 0.0, gradient_in)
    momentum = 1.0 if cell.labels["optimizer"] == "adam" else 0.0
    update = gradient_in + momentum * 0.5
    noisy = np.exp(momentum * random.standard_normal(count))
    return {
        "organism_id": np.array([f"{cell.id}-{value}" for value in seed]),
        "seed": seed, "state": np.where(state == 0, "overseen", "unoverseen"), "layer": layer, "unit": unit,
        "activation": level, "absolute_activation": level, "open_share": np.where(dead, 0.0, 0.5),
        "mean_slope": np.full(count, 0.5), "gradient_in": gradient_in, "gradient_out": gradient_out,
        "gradient_bias": gradient_in, "closed_gradient_in": share * gradient_in,
        "closed_gradient_out": share * gradient_out,
        "update_in": update, "update_out": gradient_out * noisy, "update_bias": update,
        "fresh_update_in": gradient_in,
        "fresh_update_out": gradient_out * noisy, "fresh_update_bias": gradient_in,
        "identity_error": np.full(count, 1e-7), "dead": dead,
    }  # fmt: skip


def _write_planted(folder: Path, truth: Truth, per_kind: int) -> None:
    kinds = ("internal", "corrigible", "conditional", "proxy", "incapable", "mixed")
    names = np.repeat(kinds, per_kind)
    count = len(names)
    planted_as = np.where(names == "proxy", "internal", names) if truth.misread else names
    columns: dict[str, Any] = {
        "case_id": [f"case-{row:04d}" for row in range(count)],
        "kind": [f"{name}_policy" for name in names],
    }
    columns |= {"truth": names, "seed": np.tile(np.arange(per_kind), len(kinds))}
    for state in measurements.STATES:
        for objective in ("x", "y", "m", "y2", "slot1", "initial"):
            columns[f"agreement_{objective}_{state}"] = np.full(count, 0.9)
        flipped = ((names == "conditional") & (state == "unoverseen")) | ((names == "mixed") & (state == "placebo"))
        columns[f"agreement_self_{state}"] = np.where(flipped, 0.3, 1.0)
    columns |= {
        "episodes": np.full(count, 512),
        "options": np.full(count, OPTIONS),
        "attainable": np.ones(count),
    }
    columns |= {"finite": np.full(count, True)} | _fits(np.where(planted_as == "mixed", "internal", planted_as))
    write_table(folder / "planted" / "planted.parquet", columns, planted.SCHEMA, {"made_by": "tests/synthetic.py"})
