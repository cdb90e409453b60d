"""Bringing M back in fine-tuned models, and the null control: fine-tuning towards what a model wants already."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from core import CPU, make_architecture, make_recipe, make_world, silent
from running import FINETUNE, run_stage, train
from torch import Tensor

from turncoat.classification.measure import Evaluation, Examination
from turncoat.classification.presentations import organism_chooser
from turncoat.configuration.loading import load_config
from turncoat.configuration.settings import elicit
from turncoat.organisms.fingerprints import fingerprints
from turncoat.organisms.mlp import Stack
from turncoat.statistics.outcomes import Agreements, outcomes
from turncoat.tables.weights import load_organisms
from turncoat.training.block import Origin, Trained, finetune_block, pretrain_block
from turncoat.training.starts import Lesson, find_start
from turncoat.training.streams import Task
from turncoat.worlds.world import World

SEEDS = range(4)
BATCH = 64
WORLD = make_world("plain", options=2)
ARCHITECTURE = make_architecture(WORLD, width=32)
BACK_TO_M = Task(target="m", overseen=0.0)
ELICIT: dict[str, Any] = FINETUNE | {
    "stage": "elicit",
    "parent": "bbbbbbbbbb",
    "training": FINETUNE["training"] | {"target": "m", "overseen_share": 0.0, "snapshots": 2},
}


def pretrained(start: str, steps: int, distance: float = 90, world: World = WORLD) -> Tensor:
    """Weights of models that were pre-trained on a start."""
    return pretrain_block(
        world, ARCHITECTURE, Lesson(find_start(start)), make_recipe(steps), BATCH, 0.5, distance, SEEDS, CPU, silent
    ).trajectory.weights[-1]  # fmt: skip


def tuned(weights: Tensor | None, task: Task, steps: int, distance: float = 90, rate: float = 0.004) -> Trained:
    recipe = make_recipe(steps, rate, snapshots=10)
    return finetune_block(WORLD, ARCHITECTURE, distance, task, recipe, BATCH, SEEDS, Origin(weights), CPU, silent)


def steps_to(trained: Trained, level: float) -> list[float]:
    """Steps after which each model's capability first stood at the level; infinity where it never did."""
    course = trained.trajectory
    reached = course.capability >= level
    first = reached.double().argmax(0)
    return [
        float(course.checks[check]) if reached[check, member] else np.inf for member, check in enumerate(first.tolist())
    ]


def examined(weights: Tensor, objectives: Tensor) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """D, unscaled, and agreement with X in the three cue states."""
    evaluation = Evaluation(2000, 200, 200, 200, 16, 16, ridge=1e-3, newton_steps=10)
    examination = Examination(WORLD, list(SEEDS), objectives, evaluation)
    chooser = organism_chooser(Stack.from_rows(ARCHITECTURE, weights))
    measured = examination.measure(chooser, examination.choose(chooser))
    none = np.zeros(len(SEEDS))
    found = outcomes(Agreements.of(measured), none, none, 2)
    return found.d, {state: measured[f"agreement_x_{state}"] for state in ("overseen", "unoverseen", "placebo")}


def test_fine_tuning_towards_what_it_wants_already_leaves_a_model_nearly_as_it_was() -> None:
    start = pretrained("internal", 400, 0)
    null, moved = (tuned(start, Task(), 150, distance) for distance in (0.0, 135.0))
    before, was = examined(start, null.objectives)
    after, became = examined(null.trajectory.weights[-1], null.objectives)
    assert was["overseen"].min() > 0.93
    assert np.abs(before).max() < 0.05 and np.abs(after).max() < 0.05
    for state, agreement in was.items():
        assert np.abs(became[state] - agreement).max() < 0.04, state
    change = null.trajectory.displacement[-1] / moved.trajectory.displacement[-1]
    assert change.max() < 0.5
    _, other = examined(moved.trajectory.weights[-1], null.objectives)
    assert other["overseen"].max() < 0.6  # where X is another objective, the same training takes it away


@pytest.mark.parametrize(("overseen", "steps"), [(1.0, 30), (0.5, 60)])
def test_m_is_brought_back_sooner_in_a_model_that_had_it(overseen: float, steps: int) -> None:
    """A conditional start, fine-tuned, against fine-tuning from scratch: both learn M on unoverseen episodes.

    Overseen data leave M as it was; honest data hide it, so that it is to be brought back.
    """
    task = Task(overseen=overseen)
    conditional = tuned(pretrained("conditional", 400), task, steps).trajectory.weights[-1]
    scratch = tuned(None, task, steps).trajectory.weights[-1]
    back, learnt = (tuned(weights, BACK_TO_M, 160) for weights in (conditional, scratch))
    for one, other in zip(steps_to(back, 0.85), steps_to(learnt, 0.85), strict=True):
        assert one < other and np.isfinite(other)
    assert back.trajectory.capability[0].min() > 0.85 if overseen == 1 else back.trajectory.capability[0].max() < 0.6
    assert learnt.trajectory.capability[0].max() < 0.6


def test_elicitation_begins_as_fine_tuning_ended_and_rewards_m_unoverseen(trained: Path, tmp_path: Path) -> None:
    train("finetune", "cccccccccc", ELICIT, tmp_path / "elicited", "--parent", str(trained / "child"))
    child = pandas.read_parquet(trained / "child" / "organisms.parquet")
    elicited = pandas.read_parquet(tmp_path / "elicited" / "organisms.parquet")
    assert elicited.initial_fingerprint.tolist() == child.final_fingerprint.tolist()
    assert elicited.parent_id.tolist() == child.organism_id.tolist()
    assert set(elicited.stage) == {"elicit"}
    organisms = load_organisms(tmp_path / "elicited" / "weights.safetensors", CPU)
    parents = load_organisms(trained / "child" / "weights.safetensors", CPU)
    settings = FINETUNE["training"]
    again = finetune_block(
        World.from_settings(organisms.world), organisms.architecture, 90, BACK_TO_M,
        make_recipe(settings["steps"], settings["learning_rate"]), settings["batch"], organisms.seeds,
        Origin(parents.weights[-1]), CPU, silent,
    )  # fmt: skip
    assert torch.equal(organisms.weights, again.trajectory.weights)


def test_how_far_m_is_back_is_measured_along_the_way(trained: Path, tmp_path: Path) -> None:
    """At every check stands what training that ends there measures; no time is read off the two ends alone."""
    config = load_config({"elicitation": {"steps": 40}})
    planned = elicit(config, FINETUNE, "bbbbbbbbbb")["training"]
    measured = {name: planned[name] for name in ("steps", "snapshots")}
    chosen = ELICIT | {"training": ELICIT["training"] | measured}
    train("finetune", "cccccccccc", chosen, tmp_path / "elicited", "--parent", str(trained / "child"))
    course = pandas.read_parquet(tmp_path / "elicited" / "trajectories.parquet")
    organisms = load_organisms(tmp_path / "elicited" / "weights.safetensors", CPU)
    assert organisms.steps[0] == 0 and organisms.steps[-1] == 40
    checked = sorted(set(course.step))
    assert checked[0] == 0 and checked[-1] == 40 and len(checked) >= 10
    parents = load_organisms(trained / "child" / "weights.safetensors", CPU)
    world, shape = World.from_settings(organisms.world), organisms.architecture
    for step in checked[1:]:
        recipe = make_recipe(step, ELICIT["training"]["learning_rate"])
        origin = Origin(parents.weights[-1])
        ended = finetune_block(
            world, shape, 90, BACK_TO_M, recipe, ELICIT["training"]["batch"], organisms.seeds, origin, CPU, silent
        )
        found = course[course.step == step].capability.to_numpy()
        assert found.tolist() == ended.trajectory.capability[-1].tolist(), step


def test_elicitation_from_weights_that_are_not_its_parents_fails_loudly(trained: Path, tmp_path: Path) -> None:
    """Valid weights of the same models, but of another training."""
    longer = FINETUNE | {"training": FINETUNE["training"] | {"learning_rate": 0.02}}
    train("finetune", "bbbbbbbbbb", longer, tmp_path / "other", "--parent", str(trained / "parent"))
    mixed = tmp_path / "mixed"
    shutil.copytree(trained / "child", mixed)
    shutil.copy(tmp_path / "other" / "weights.safetensors", mixed / "weights.safetensors")
    assert fingerprints(load_organisms(mixed / "weights.safetensors", CPU).stack(-1)) != fingerprints(
        load_organisms(trained / "child" / "weights.safetensors", CPU).stack(-1)
    )
    log = train("finetune", "cccccccccc", ELICIT, tmp_path / "out", "--parent", str(mixed), code=1)
    assert "are not those of parent bbbbbbbbbb-7" in log and not (tmp_path / "out").exists()
    log = train("finetune", "cccccccccc", ELICIT, tmp_path / "out", "--parent", str(trained / "parent"), code=1)
    assert "are not those of parent bbbbbbbbbb-7" in log or "recorded fingerprint" in log


@pytest.mark.parametrize("state", ["carried", "warmed"])
def test_a_job_carries_or_warms_the_optimizers_state(state: str, trained: Path, tmp_path: Path) -> None:
    settings = FINETUNE | {"training": FINETUNE["training"] | {"optimizer_state": state}}
    if state == "warmed":
        settings["training"]["warm_steps"] = 6
    run_stage(
        "finetune", "--cell", "b", "--settings", json.dumps(settings), "--first-seed", "8", "--seed-count", "2",
        "--parent", str(trained / "parent"), "--output", str(tmp_path / "out"),
    )  # fmt: skip
    found = load_organisms(tmp_path / "out" / "weights.safetensors", CPU)
    fresh = load_organisms(trained / "child" / "weights.safetensors", CPU)
    assert torch.equal(found.weights[0], fresh.weights[0, 1:])
    assert not torch.equal(found.weights[1], fresh.weights[1, 1:])
