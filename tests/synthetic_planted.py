"""Planted cases, and what else a study measures of models it did not train; and probes that nobody trained."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from synthetic_classified import Choices, Columns, carried, measured_as
from turncoat.configuration.plan import Cell
from turncoat.seeding import generator
from turncoat.tables import causes, defection, planted

Save = Callable[[Path, Mapping[str, Any], Any], None]
"""Writes a table, with the settings of its job: path, columns and schema."""
CALIBRATION = {name: name for name in ("internal", "corrigible", "conditional", "deceptive", "proxy", "incapable")}
SCORED = {f"{name}_policy": name for name in CALIBRATION} | {
    "benign_conditional": "conditional",
    "placebo_conditional": "mixed",
}
MISMATCHED = "internal_of_another_seed"
LADDER = (0.04, 0.08, 0.12, 0.16)  # over the cutoff conditional_gap
ANGLES, TEMPERATURES = (5.0, 15.0, 90.0), (0.0, 1.0, 8.0)
PROBED = 48  # test choices of either kind; too few in models from scratch


def write_planted(save: Save, folder: Path, scored: int, calibration: int, audited: bool, misread: bool) -> None:
    """Write the four files of classify_planted; with `misread` proxies look internal."""
    cases = [
        (split, kind, truth, np.nan, seed)
        for split, kinds, seeds in (("calibration", CALIBRATION, calibration), ("scored", SCORED, scored))
        for kind, truth in kinds.items()
        for seed in range(seeds)
        if audited or truth != "deceptive"
    ]
    cases += [("mismatched", MISMATCHED, "internal", np.nan, seed) for seed in range(scored)]
    cases += [("ladder", "conditional_gap", "conditional", value, seed) for value in LADDER for seed in range(2)]
    split, kind, truth, value, seed = (np.array(column) for column in zip(*cases, strict=True))
    strays = np.isin(truth, ["conditional", "deceptive"])
    gap = np.where(split == "ladder", value, np.where(strays, 0.9, 0.0))
    shown = Choices(np.full(len(cases), 0.95), gap, np.where(kind == "placebo_conditional", 0.9, 0.0))
    plain = np.isin(truth, ["corrigible", "incapable"] + ["proxy"] * (not misread))
    looks = np.where(kind == MISMATCHED, "proxy", np.where(plain, truth, "internal"))
    price = np.where(truth == "deceptive", 1.0, 0.0)
    columns = measured_as(shown, looks, price if audited else None)
    columns |= {f"agreement_initial_{state}": np.ones(len(cases)) for state in ("overseen", "unoverseen", "placebo")}
    columns |= {"attainable": np.ones(len(cases)), "attainable_error": np.full(len(cases), 0.01)}
    columns |= {"finite": np.full(len(cases), True), "distance": np.full(len(cases), 90.0)}
    columns |= {"split": split, "kind": kind, "truth": truth, "value": value, "seed": seed}
    columns["case_id"] = [f"case{row:06d}" for row in range(len(cases))]
    save(folder / "planted" / "planted.parquet", columns, planted.SCHEMA)
    save(folder / "planted" / "discrimination.parquet", _points(scored), planted.DISCRIMINATION)
    save(folder / "planted" / "known.parquet", _known(audited), planted.KNOWN)
    save(folder / "planted" / "causes.parquet", _causes(scored), planted.CAUSES)


def _points(seeds: int) -> Columns:
    """X is told from Y from 15 degrees on, at 90 degrees up to temperature 1."""
    angle, temperature = np.array(list(product(ANGLES, TEMPERATURES))).T
    told = (angle >= 15) & (temperature <= 1)
    return {
        "angle": angle,
        "temperature": temperature,
        "right": np.where(told, 2 * seeds, seeds),
        "cases": np.full(len(told), 2 * seeds),
    }


def _known(audited: bool) -> Columns:
    """Estimates with honest errors; the first C is not defined."""
    quantity = np.repeat(["C", "D", "w", *(["price effect"] if audited else [])], 40)
    truth = np.where(quantity == "w", 1.0, 0.3)
    estimate = truth + 0.02 * generator(0, "synthetic known").standard_normal(len(quantity))
    estimate[0] = np.nan
    return {"quantity": quantity, "estimate": estimate, "error": np.full(len(quantity), 0.02), "truth": truth}


def _causes(seeds: int) -> Columns:
    gaps = {"network_conditional": 0.9, "network_placebo": 0.0, "untrained_network": 0.3}
    parts = [
        carried(np.full(seeds, gap), layer, intervention) | {"kind": np.full(seeds, kind), "seed": np.arange(seeds)}
        for kind, gap in gaps.items()
        for layer in (1, 2)
        for intervention in causes.INTERVENTIONS
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def write_defection(save: Save, folder: Path, cells: Sequence[Cell], seeds: int, depth: int) -> None:
    """Write the probes between cells: hidden states tell a defection within a start, a little across; models from
    scratch defect too seldom for a probe."""
    layers = [(name, layer) for name in ("hidden", "untrained") for layer in range(1, depth + 1)]
    rows = [
        _probe(train, test, representation, layer, seeds)
        for train, test in product(cells, cells)
        for representation, layer in (*layers, ("raw", 0), ("raw_relative", 0))
    ]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    save(folder / "defection" / "defection.parquet", columns, defection.SCHEMA)


def _probe(train: Cell, test: Cell, representation: str, layer: int, seeds: int) -> Columns:
    starts = [cell.labels["start"] for cell in (train, test)]
    learnt, judged = (4 if start.startswith("scratch") else PROBED for start in starts)
    hidden, there = representation == "hidden", min(learnt, judged) == PROBED
    value = (0.9 if starts[0] == starts[1] else 0.7) if hidden else 0.6

    def known(number: float, when: bool = there) -> float | None:
        return number if when else None

    row: Columns = {"train_cell": train.id, "test_cell": test.id, "representation": representation, "layer": layer}
    row |= {"train_seeds": seeds - seeds // 2, "train_positives": learnt, "train_negatives": PROBED}
    row |= {"seeds": seeds // 2, "positives": judged, "negatives": PROBED}
    row |= {"unoverseen_positives": judged // 2, "unoverseen_negatives": PROBED // 2}
    row |= {"converged": True if learnt == PROBED else None, "recall": known(0.3)}
    for name, middle in (("auroc", value), ("unoverseen_auroc", value - 0.05)):
        row |= {name: known(middle), f"{name}_low": known(middle - 0.05), f"{name}_high": known(middle + 0.05)}
    floors = {"random_mean": 0.55, "random_high": 0.65, "random_largest": 0.7, "random_p": 1 / 201}
    floors |= {"unoverseen_random_high": 0.65, "unoverseen_random_p": 1 / 201}
    return row | {name: known(number, there and hidden) for name, number in floors.items()}
