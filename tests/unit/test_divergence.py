"""Members that diverge: found, frozen, counted, never averaged in; and their mates, which notice nothing."""

import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import torch
from aggregated import one_arm
from core import CPU, make_architecture, make_recipe, make_stack, make_world, silent
from running import FINETUNE, train
from torch import Tensor

import turncoat.training.loop as loop
from sealing import write_sealed
from synthetic import Truth, write_study
from turncoat.gating.gains import Gains
from turncoat.gating.reinforcement import Reinforced
from turncoat.organisms.mlp import Architecture, Stack, initialise
from turncoat.reporting.page import write_report
from turncoat.stages.aggregate import aggregate
from turncoat.tables import reinforcement
from turncoat.tables.assembly import reinforcement_columns
from turncoat.training.block import Origin, Trained, finetune_block
from turncoat.training.divergence import LARGEST_WEIGHT, Freezer
from turncoat.training.interventions import Intervention
from turncoat.training.optimizers import OPTIMIZERS
from turncoat.training.streams import WINDOW, Task, finetuning_stream
from turncoat.worlds.objectives import seed_objectives

SEEDS, STEPS = [1, 2, 3, 4], 40
WORLD = make_world("plain")
ARCHITECTURE = make_architecture(WORLD, width=8)


def parents() -> Tensor:
    return initialise(ARCHITECTURE, SEEDS, WORLD.input_power, CPU).rows()


def tuned(
    rows: Tensor, make: Callable[[], Intervention] = Intervention, seeds: Sequence[int] = SEEDS, **recipe: Any
) -> Trained:
    recipe = {"snapshots": 4} | recipe
    return finetune_block(
        WORLD, ARCHITECTURE, 60, Task(), make_recipe(STEPS, **recipe), 8, seeds, Origin(rows), CPU, silent, make
    )


def hastened(*members: int) -> Callable[[], Intervention]:
    """A learning rate far too high for some members only: their gradients are a million times as large."""

    def hasten(stack: Stack, gradient: Stack, _: Stack) -> None:
        for view in gradient.views.values():
            view[list(members)] *= 1e6

    return lambda: Intervention(gradient=hasten)


def same_bits(first: Trained, second: Trained, member: int) -> bool:
    names = ("weights", "loss", "capability", "cross_entropy", "update_norm", "displacement")
    pairs = (
        (getattr(trained.trajectory, name)[:, member].numpy().tobytes() for trained in (first, second))
        for name in names
    )
    states = (trained.trajectory.optimizer_state for trained in (first, second))
    kept = [[value[member].numpy().tobytes() for value in state.values() if value.ndim] for state in states]
    return all(a == b for a, b in pairs) and kept[0] == kept[1]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("planted", [torch.nan, torch.inf, -torch.inf, 2 * LARGEST_WEIGHT])
def test_planted_weights_are_found_at_once_and_stay_as_they_are(planted: float, optimizer: str) -> None:
    """One weight of member 2; the others are those of a stack without it, bit for bit."""
    rows = parents()
    healthy = tuned(rows, optimizer=optimizer)
    assert healthy.trajectory.diverged_step.tolist() == [-1] * 4 and not healthy.diverged.any()
    rows[2, 5] = planted
    broken = tuned(rows, optimizer=optimizer)
    assert broken.trajectory.diverged_step.tolist() == [-1, -1, 0, -1]
    assert broken.diverged.tolist() == [False, False, True, False]
    for weights in broken.trajectory.weights:
        assert weights[2].numpy().tobytes() == rows[2].numpy().tobytes()
    for member in (0, 1, 3):
        assert same_bits(broken, healthy, member)
    assert not same_bits(broken, healthy, 2)


def test_the_limit_is_where_it_is_said_to_be() -> None:
    stack = make_stack(WORLD, SEEDS)
    stack.views["hidden1.bias"][0, 0] = LARGEST_WEIGHT
    stack.views["readout.weight"][3, 0, 0] = -LARGEST_WEIGHT * 1.001
    freezer = Freezer(stack)
    freezer.check(stack, 7, torch.ones(4))
    assert freezer.steps.tolist() == [-1, -1, -1, 7]
    freezer.check(stack, 9, torch.tensor([1.0, torch.nan, 1.0, 1.0]))  # a loss is enough
    assert freezer.steps.tolist() == [-1, 9, -1, 7]
    freezer.check(stack, 11, torch.tensor([torch.inf, 1.0, 1.0, torch.inf]))
    assert freezer.steps.tolist() == [11, 9, -1, 7]


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adamw"])
def test_a_learning_rate_too_high_for_some(optimizer: str) -> None:
    """Found at the first check or end of a window by which a loop that freezes nothing has gone beyond; kept from
    there on. Adam's steps do not grow with gradients, so there the weights do not explode."""
    rows = parents()
    make = hastened(1, 2)
    broken, healthy = tuned(rows, make, optimizer=optimizer), tuned(rows, optimizer=optimizer)
    stack = Stack.from_rows(ARCHITECTURE, rows)
    optimizer_of = loop.make_optimizer(optimizer, stack.flat, 0.01)
    stream = finetuning_stream(WORLD, SEEDS, seed_objectives(SEEDS, 4, 60, CPU), 8, Task())
    gradient = stack.with_flat(torch.zeros_like(stack.flat))
    looked = {*broken.trajectory.checks[1:], *range(WINDOW, STEPS, WINDOW)}
    found, kept = [-1] * 4, {}
    step = 0
    for window in range(3):
        for batch in stream(window):
            step += 1
            loss = loop.train_step(
                stack,
                batch,
                make_recipe(STEPS),
                2,
                optimizer_of,
                gradient,
                make(),
                beginning=torch.zeros_like(stack.flat),
            )()
            for member in range(4) if step in looked else ():
                row = stack.rows()[member]
                sound = bool(loss[member].isfinite()) and bool((row.abs() <= LARGEST_WEIGHT).all())
                if found[member] < 0 and not sound:
                    found[member], kept[member] = step, row.clone()
    if optimizer == "adamw":
        assert found == [-1] * 4
    else:
        assert found[0] == found[3] == -1 and found[1] > 0 and found[2] > 0
    assert broken.trajectory.diverged_step.tolist() == found
    for member, row in kept.items():
        assert broken.trajectory.weights[-1, member].numpy().tobytes() == row.numpy().tobytes()
    for member in (0, 3):
        assert same_bits(broken, healthy, member)


def test_members_can_diverge_one_after_the_other() -> None:
    """Member 0 from the start, 3 at the second check; what froze first stays as it was."""
    calls = [0]

    def explode(stack: Stack, before: Stack) -> None:
        calls[0] += 1
        if calls[0] == 2:
            stack.views["hidden1.bias"][3] = torch.inf

    rows = parents()
    rows[0, 0] = torch.nan
    broken = tuned(rows, lambda: Intervention(after_step=explode))
    assert broken.trajectory.checks[:3] == [0, 1, 2]
    assert broken.trajectory.diverged_step.tolist() == [0, -1, -1, 2]
    last = broken.trajectory.weights[-1]
    assert last[0].numpy().tobytes() == rows[0].numpy().tobytes()
    assert not last[3].isfinite().all() and last[1:3].isfinite().all()
    assert broken.trajectory.update_norm[-1, [1, 2]].gt(0).all()


@pytest.mark.parametrize("make", [Intervention, hastened(1)])
def test_sound_members_have_the_bits_of_a_loop_that_freezes_nothing(
    make: Callable[[], Intervention], monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = tuned(parents(), make, optimizer="sgd")
    monkeypatch.setattr(Freezer, "check", lambda *told: None)
    free = tuned(parents(), make, optimizer="sgd")
    for member in (0, 2, 3):
        assert same_bits(frozen, free, member)
    assert free.trajectory.diverged_step.tolist() == [-1] * 4


def test_members_that_diverged_cost_no_time() -> None:
    """Processor time, interleaved, the best of each: all NaN against all sound."""
    rows = parents()
    broken = torch.full_like(rows, torch.nan)
    best = {"sound": 1e9, "broken": 1e9}
    for _ in range(7):
        for name, weights in (("sound", rows), ("broken", broken)):
            began = time.process_time()
            tuned(weights)
            best[name] = min(best[name], time.process_time() - began)
    assert best["broken"] < 1.5 * best["sound"], best


def test_a_stage_tells_which_models_diverged_and_when(trained: Path, tmp_path: Path) -> None:
    wild = FINETUNE | {"training": FINETUNE["training"] | {"optimizer": "sgd", "learning_rate": 1e9}}
    log = train("finetune", "cccccccccc", wild, tmp_path / "wild", "--parent", str(trained / "parent"))
    rows = pandas.read_parquet(tmp_path / "wild" / "organisms.parquet")
    assert rows.diverged.all() and rows.diverged_step.between(1, 24).all()
    told = ", ".join(f"{row.seed} (step {row.diverged_step})" for row in rows.itertuples())
    assert f"3 of 3 models diverged and were frozen: seeds {told}" in log
    sound = pandas.read_parquet(trained / "child" / "organisms.parquet")
    assert not sound.diverged.any() and sound.diverged_step.isna().all()


# The numbers of a model that diverged reach no table but those that have a row for each model.

PER_MODEL = {"organisms", "trajectories", "alignment", "curves", "causes", "knowledge", "gating"}


def numbers_become(folder: Path, lost: set[str], value: float) -> int:
    """Give models that diverged finite numbers, as an exploded one can have them; how many files that changed."""
    changed = 0
    for path in sorted(folder.rglob("*.parquet")):
        if path.parent.name == "tables" or path.name == "organisms.parquet":
            continue
        table = parquet.read_table(path, partitioning=None)
        if "organism_id" not in table.column_names:
            continue
        rows = [name in lost for name in table["organism_id"].to_pylist()]
        if not any(rows):
            continue
        for at, item in enumerate(table.schema):
            if pa.types.is_floating(item.type):
                values = [value if own else old for own, old in zip(rows, table[item.name].to_pylist(), strict=True)]
                table = table.set_column(at, item, pa.array(values, item.type))
            elif item.name == "finite":
                table = table.set_column(at, item, pa.array([True] * len(table)))
        write_sealed(table.replace_schema_metadata(parquet.read_schema(path).metadata), path)
        changed += 1
    return changed


def test_what_diverged_is_never_averaged_in(tmp_path: Path) -> None:
    lost_seeds = [("internal", 1003), ("internal", 1011), ("scratch", 1005), ("conditional", 1003), ("deceptive", 1007)]
    truth = Truth(diverging=frozenset(lost_seeds))
    starts = ["internal", "conditional", "deceptive", "scratch", "scratch_exposed"]
    overrides = one_arm(starts, elicit=True) | {"statistics": {"resamples": 200}}
    config = write_study(tmp_path, overrides, truth)
    models = pandas.concat(pandas.read_parquet(path) for path in tmp_path.glob("*/*/*/organisms.parquet"))
    lost = set(models[models.diverged].organism_id)
    assert len(lost) == len(lost_seeds)
    tables, figures = [], []
    for value in (0.31, 0.77):
        assert numbers_become(tmp_path, lost, value) > 5
        aggregate(config, tmp_path, "0" * 12)
        files = sorted((tmp_path / "tables").glob("*.parquet"))
        tables.append({path.stem: pandas.read_parquet(path) for path in files})
        write_report(config, tmp_path)
        figures.append({path.name: path.read_bytes() for path in (tmp_path / "figures").glob("*.svg")})
    assert set(tables[0]["organisms"].query("diverged").organism_id) == lost
    for name, first in tables[0].items():
        second = tables[1][name]
        if name in PER_MODEL:
            assert set(first.organism_id) & lost or name == "organisms", name
            first, second = (frame[~frame.organism_id.isin(lost)] for frame in (first, second))
        pandas.testing.assert_frame_equal(first, second, check_exact=True, obj=name)
    different = tables[0]["alignment"].set_index("organism_id").loc[sorted(lost)]
    assert not different.equals(tables[1]["alignment"].set_index("organism_id").loc[sorted(lost)])
    assert tables[1]["levels"].diverged.sum() > 0
    assert len(figures[0]) > 10
    assert [name for name in figures[0] if figures[0][name] != figures[1][name]] == []
    assert f"{len(lost)} diverged and are never averaged in" in (tmp_path / "report.html").read_text()


def test_reinforcement_of_a_model_that_diverged_before_has_no_numbers() -> None:
    """Exploded weights are finite, and so is what is measured on them."""
    names = ["c-1000", "c-1001", "planted-relu-1-1000"]
    numbers = {item.name: [0.5, 0.6, 0.7] for item in reinforcement.NUMBERS}
    table = pa.table({"organism_id": names, "diverged": [False] * 3, **numbers})
    factors = {name: ["a", "a"] for name in ("cell", "start", "setting", "variant")}
    organisms = pandas.DataFrame({"diverged": [False, True], "distance": [90.0, 90.0], **factors}, index=names[:2])
    found = reinforcement_columns(SimpleNamespace(reinforcement=table), organisms)  # type: ignore[arg-type]
    assert found["diverged"].tolist() == [False, True, False]
    for item in reinforcement.NUMBERS:
        assert np.isnan(found[item.name]).tolist() == [False, True, False] and found[item.name][2] == 0.7, item.name


def test_a_network_that_exploded_counts_as_diverged_in_reinforcement() -> None:
    shape = Architecture(5, 4, 1, "relu", 2)
    rows = torch.zeros(3, shape.parameters)
    rows[1, 0] = 2 * LARGEST_WEIGHT
    gains = Gains(*(torch.zeros(3, 2) for _ in fields(Gains)))
    found = Reinforced.__new__(Reinforced)
    object.__setattr__(found, "after", Stack.from_rows(shape, rows))
    object.__setattr__(found, "gains_after", {1.0: gains})
    assert found.diverged.tolist() == [False, True, False]
