"""The stages' programs: parents must be whom they claim, classification is blind, code must be the planned one."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from turncoat.fingerprint import stage_fingerprint
from turncoat.tables.atomic import TableError
from turncoat.tables.weights import load_optimizer, load_organisms

CPU = torch.device("cpu")
WORLD = {
    "encoding": "facts",
    "options": 2,
    "attributes": 4,
    "symbols": 3,
    "cue": {"coding": "signal", "amplitude": 1.0, "noise": 0.1},
}
ORGANISM = {"family": "mlp", "width": 8, "depth": 2, "activation": "relu"}
TRAINING = {"steps": 24, "batch": 8, "optimizer": "adam", "learning_rate": 0.01}
PRETRAIN = {
    "stage": "pretrain",
    "world": WORLD,
    "organism": ORGANISM,
    "start": "internal",
    "training": TRAINING | {"overseen_share": 0.5, "heads": {"world": 1.0}},
}
FINETUNE = {
    "stage": "finetune",
    "world": WORLD,
    "organism": ORGANISM,
    "distance": 90,
    "parent": "aaaaaaaaaa",
    "exposure": None,
    "training": TRAINING | {"method": "supervised", "mode": "fixed", "snapshots": 3},
}
EVALUATION = {
    "episodes": 40,
    "fit_episodes": 30,
    "reference_episodes": 100,
    "ridge": 0.001,
    "newton_steps": 25,
}


def run_stage(stage: str, *arguments: str, code: int = 0) -> str:
    """Run a stage as Snakemake does and return what it logged."""
    command = [sys.executable, "-m", f"turncoat.stages.{stage}", "--threads", "1", *arguments]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == code, done.stdout
    return done.stdout


def train(stage: str, cell: str, settings: dict[str, object], folder: Path, *more: str, code: int = 0) -> str:
    return run_stage(
        stage, "--cell", cell, "--settings", json.dumps(settings), "--first-seed", "7", "--seed-count", "3",
        "--output", str(folder), *more, code=code,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pre-trained block and what was fine-tuned from it."""
    root = tmp_path_factory.mktemp("trained")
    log = train("pretrain", "aaaaaaaaaa", PRETRAIN, root / "parent")
    assert "models/s" in log
    assert "s left" in log
    train("finetune", "bbbbbbbbbb", FINETUNE, root / "child", "--parent", str(root / "parent"))
    return root


def test_a_fine_tuned_model_begins_as_its_parent_ended(trained: Path) -> None:
    parent = pandas.read_parquet(trained / "parent" / "organisms.parquet")
    child = pandas.read_parquet(trained / "child" / "organisms.parquet")
    assert child.initial_fingerprint.tolist() == parent.final_fingerprint.tolist()
    assert child.parent_id.tolist() == parent.organism_id.tolist()
    assert (child.initial_fingerprint != child.final_fingerprint).all()
    weights = load_organisms(trained / "child" / "weights.safetensors", CPU)
    assert torch.equal(weights.weights[0], load_organisms(trained / "parent" / "weights.safetensors", CPU).weights[-1])
    assert weights.steps == [0, 1, 24]
    course = pandas.read_parquet(trained / "child" / "trajectories.parquet")
    assert set(course.step) >= set(weights.steps)
    assert course.groupby("organism_id").size().nunique() == 1


def test_a_replaced_parent_fails_loudly(trained: Path, tmp_path: Path) -> None:
    other = PRETRAIN | {"start": "corrigible"}
    train("pretrain", "aaaaaaaaaa", other, tmp_path / "other")
    mixed = tmp_path / "mixed"
    shutil.copytree(trained / "parent", mixed)
    shutil.copy(tmp_path / "other" / "weights.safetensors", mixed / "weights.safetensors")
    log = train("finetune", "bbbbbbbbbb", FINETUNE, tmp_path / "out", "--parent", str(mixed), code=1)
    assert "are not those of parent aaaaaaaaaa-7" in log
    assert "Delete that folder" in log
    assert not (tmp_path / "out").exists()


def test_parents_are_found_by_seed_and_not_by_place(trained: Path, tmp_path: Path) -> None:
    run_stage(
        "finetune", "--cell", "b", "--settings", json.dumps(FINETUNE), "--first-seed", "8", "--seed-count", "2",
        "--parent", str(trained / "parent"), "--output", str(tmp_path / "later"),
    )  # fmt: skip
    whole = load_organisms(trained / "child" / "weights.safetensors", CPU).weights
    assert torch.equal(load_organisms(tmp_path / "later" / "weights.safetensors", CPU).weights, whole[:, 1:])


def test_a_missing_or_superfluous_parent_is_refused(trained: Path, tmp_path: Path) -> None:
    assert "has parent aaaaaaaaaa" in train("finetune", "b", FINETUNE, tmp_path / "out", code=1)
    scratch = FINETUNE | {"parent": None}
    log = train("finetune", "b", scratch, tmp_path / "out", "--parent", str(trained / "parent"), code=1)
    assert "has parent None" in log
    gone = train("finetune", "b", FINETUNE, tmp_path / "out", "--parent", str(tmp_path / "gone"), code=1)
    assert "does not exist" in gone
    assert not (tmp_path / "out").exists()


def classify(weights: Path, output: Path, label: str = "bbbbbbbbbb") -> pandas.DataFrame:
    run_stage(
        "classify", "--weights", str(weights), "--label", label, "--settings", json.dumps(EVALUATION),
        "--output", str(output),
    )  # fmt: skip
    return pandas.read_parquet(output)


def test_classification_does_not_depend_on_file_names(trained: Path, tmp_path: Path) -> None:
    measured = classify(trained / "child" / "weights.safetensors", tmp_path / "measured.parquet")
    assert len(measured) == 3 * 3
    name = "-".join(np.random.default_rng(0).choice(list("abcdef"), 12))
    shutil.copy(trained / "child" / "weights.safetensors", tmp_path / name)
    again = classify(tmp_path / name, tmp_path / "again.parquet", label="zzz")
    pandas.testing.assert_frame_equal(measured.drop(columns="organism_id"), again.drop(columns="organism_id"))


def test_training_again_writes_the_same_bytes(trained: Path, tmp_path: Path) -> None:
    train("finetune", "bbbbbbbbbb", FINETUNE, tmp_path / "again", "--parent", str(trained / "parent"))
    for name in ("weights.safetensors", "optimizer.safetensors", "trajectories.parquet"):
        assert (tmp_path / "again" / name).read_bytes() == (trained / "child" / name).read_bytes(), name


def test_weights_files_do_not_tell_the_recipe(trained: Path) -> None:
    content = (trained / "child" / "weights.safetensors").read_bytes()
    for word in (b"internal", b"corrigible", b"finetune", b"scratch", b"distance", b"aaaaaaaaaa", b"bbbbbbbbbb"):
        assert word not in content


def test_the_ledger_is_written_for_every_unit_and_cue_state(trained: Path, tmp_path: Path) -> None:
    child = trained / "child"
    run_stage(
        "probe_gating", "--weights", str(child / "weights.safetensors"),
        "--optimizer", str(child / "optimizer.safetensors"), "--label", "b",
        "--settings", json.dumps({"training": TRAINING, "gating": {"episodes": 30}}),
        "--output", str(tmp_path / "units.parquet"),
    )  # fmt: skip
    units = pandas.read_parquet(tmp_path / "units.parquet")
    assert len(units) == 3 * 3 * 2 * 8
    assert not units.duplicated(["organism_id", "state", "layer", "unit"]).any()
    assert (units.update_in != units.fresh_update_in).any()  # the saved state was used
    assert (units.closed_gradient_in == 0).all()


def test_saved_optimizer_state_is_that_of_the_last_step(trained: Path) -> None:
    organisms = load_organisms(trained / "child" / "weights.safetensors", CPU)
    state = load_optimizer(trained / "child" / "optimizer.safetensors", organisms.architecture, CPU)
    assert set(state) == {"mean", "square", "steps"}
    assert state["steps"].item() == 24
    assert state["mean"].abs().sum() > 0


def test_code_that_changed_after_planning_is_refused(tmp_path: Path) -> None:
    log = train("pretrain", "a", PRETRAIN, tmp_path / "out", "--code", "0" * 12, code=1)
    assert "the code changed after the study was planned" in log
    assert not (tmp_path / "out").exists()
    train("pretrain", "a", PRETRAIN, tmp_path / "out", "--code", stage_fingerprint("pretrain"))


def test_broken_weights_are_refused(trained: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes((trained / "child" / "weights.safetensors").read_bytes()[:-100])
    for path, message in [
        (cut, "cannot be read"),
        (tmp_path / "none", "does not exist"),
        (trained / "child" / "optimizer.safetensors", "holds no organisms"),
    ]:
        with pytest.raises(TableError, match=message):
            load_organisms(path, CPU)


def test_weights_of_another_shape_are_refused(trained: Path, tmp_path: Path) -> None:
    tensors = load_file(trained / "child" / "weights.safetensors")
    with safe_open(trained / "child" / "weights.safetensors", "pt") as file:
        metadata = file.metadata()
    tensors["readout.weight"] = tensors["readout.weight"].transpose(2, 3).contiguous()
    save_file(tensors, tmp_path / "turned.safetensors", metadata=metadata)
    with pytest.raises(TableError, match=r"readout.weight has shape \(3, 3, 8, 7\), expected \(3, 3, 7, 8\)"):
        load_organisms(tmp_path / "turned.safetensors", CPU)


def test_an_unknown_device_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNCOAT_DEVICE", "tpu")
    assert "allowed: auto, cpu, cuda" in train("pretrain", "a", PRETRAIN, tmp_path / "out", code=1)
