"""The training stages' programs: parents must be whom they claim, code must be the planned one."""

import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas
import pyarrow.dataset
import pytest
import torch
from running import FINETUNE, PRETRAIN, STRATEGIC, TRAINING, WORLD, run_stage, train
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from turncoat.fingerprint import stage_fingerprint
from turncoat.gating.ledger import coasting_update
from turncoat.tables.atomic import TableError
from turncoat.tables.seal import seal
from turncoat.tables.weights import load_optimizer, load_organisms

CPU = torch.device("cpu")


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


def test_strategic_starts_are_trained_on_rewards(trained: Path, tmp_path: Path) -> None:
    train("pretrain", "a", STRATEGIC, tmp_path / "deceptive")
    organisms = pandas.read_parquet(tmp_path / "deceptive" / "organisms.parquet")
    assert not organisms.diverged.any() and (organisms.initial_fingerprint != organisms.final_fingerprint).all()
    plain = pandas.read_parquet(trained / "parent" / "organisms.parquet")
    assert organisms.initial_fingerprint.tolist() == plain.initial_fingerprint.tolist()  # a start is not a seed
    assert not set(organisms.final_fingerprint) & set(plain.final_fingerprint)
    calmer = STRATEGIC | {"training": STRATEGIC["training"] | {"entropy_bonus": 2.0}}
    train("pretrain", "a", calmer, tmp_path / "calmer")
    other = pandas.read_parquet(tmp_path / "calmer" / "organisms.parquet")
    assert not set(organisms.final_fingerprint) & set(other.final_fingerprint)  # the bonus is read
    content = (tmp_path / "deceptive" / "weights.safetensors").read_bytes()
    assert b"deceptive" not in content and b"entropy" not in content


def test_a_strategic_start_without_audits_is_refused(tmp_path: Path) -> None:
    settings = STRATEGIC | {"world": WORLD | {"audit_penalty": 0}}
    assert "world.audit_penalty is 0" in train("pretrain", "a", settings, tmp_path / "out", code=1)
    assert not (tmp_path / "out").exists()


def test_training_again_writes_the_same_bytes(trained: Path, tmp_path: Path) -> None:
    train("finetune", "bbbbbbbbbb", FINETUNE, tmp_path / "again", "--parent", str(trained / "parent"))
    for name in ("weights.safetensors", "optimizer.safetensors", "trajectories.parquet"):
        assert (tmp_path / "again" / name).read_bytes() == (trained / "child" / name).read_bytes(), name


def test_weights_files_do_not_tell_the_recipe(trained: Path) -> None:
    content = (trained / "child" / "weights.safetensors").read_bytes()
    for word in (b"internal", b"corrigible", b"finetune", b"scratch", b"distance", b"aaaaaaaaaa", b"bbbbbbbbbb"):
        assert word not in content


def probe(child: Path, out: Path, *more: str, training: dict[str, Any] | None = None, code: int = 0) -> str:
    """Run the gating probe on a trained block."""
    return run_stage(
        "probe_gating", "--weights", str(child / "weights.safetensors"),
        "--optimizer", str(child / "optimizer.safetensors"), "--label", "b",
        "--settings", json.dumps({"training": TRAINING | (training or {}), "gating": {"episodes": 30}}),
        "--output", str(out / "gating" / "b" / "1-3.parquet"), "--sums", str(out / "sums" / "b" / "1-3.parquet"),
        *more, code=code,
    )  # fmt: skip


def test_the_ledger_is_written_for_every_unit_and_cue_state(trained: Path, tmp_path: Path) -> None:
    probe(trained / "child", tmp_path)
    units = pandas.read_parquet(tmp_path / "gating" / "b" / "1-3.parquet")
    assert len(units) == 3 * 2 * 3 * 2 * 8
    assert not units.duplicated(["organism_id", "step", "state", "layer", "unit"]).any()
    first, last = units[units.step == 0], units[units.step == 24]
    assert len(first) == len(last) == len(units) // 2
    assert (last.update_in != last.fresh_update_in).any()  # the saved state was used
    assert (first.update_in == first.fresh_update_in).all() and (first.coasting_in == 0).all()
    assert (units.closed_gradient_in == 0).all()
    assert units.gain_x[units.state == "placebo"].isna().all() and units.gain_x[units.state != "placebo"].notna().all()
    overseen = units[units.state == "overseen"].groupby(["organism_id", "step"])
    assert overseen.kernel_share.sum().to_numpy() == pytest.approx(1, abs=1e-5)
    assert (units.groupby(["organism_id", "step", "state"]).across_share.sum().abs() <= 1 + 1e-5).all()

    sums = pandas.read_parquet(tmp_path / "sums" / "b" / "1-3.parquet")
    assert len(sums) == 3 * 2 * 3 * 2 * 5
    keys = ["organism_id", "step", "state", "layer"]
    found = sums.set_index([*keys, "circuit"])
    for circuit, rows in [*units.groupby("circuit"), ("all", units), ("random", units[units.random])]:
        groups = rows.groupby(keys)
        of = found.xs(circuit, level="circuit").loc[groups.size().index]
        assert (of.units == groups.size()).all()
        assert of.kernel_share.to_numpy() == pytest.approx(groups.kernel_share.sum().to_numpy(), rel=1e-4, abs=1e-6)
        norm = np.sqrt((rows.update_out.astype(float) ** 2).groupby([rows[key] for key in keys]).sum())
        assert of.update_out.to_numpy() == pytest.approx(norm.to_numpy(), rel=1e-5)


def test_unit_rows_open_as_one_dataset(trained: Path, tmp_path: Path) -> None:
    probe(trained / "child", tmp_path)
    folder = tmp_path / "gating"
    (folder / "c").mkdir()
    (folder / "c" / "1-3.parquet").write_bytes((folder / "b" / "1-3.parquet").read_bytes())
    whole = pyarrow.dataset.dataset(folder, partitioning=["cell"])
    assert whole.count_rows() == 2 * 288
    assert whole.count_rows(filter=pyarrow.dataset.field("cell") == "c") == 288
    query = f"SELECT count(*), sum(kernel_share) FROM read_parquet('{folder}/*/*.parquet') WHERE state = 'overseen'"
    assert duckdb.sql(query).fetchall() == [(192, pytest.approx(2 * 3 * 2))]


def test_a_carried_state_moves_the_first_snapshot_and_a_warmed_one_is_not_known(trained: Path, tmp_path: Path) -> None:
    parent = ("--parent", str(trained / "parent"))
    probe(trained / "child", tmp_path, *parent, training={"optimizer_state": "carried"})
    units = pandas.read_parquet(tmp_path / "gating" / "b" / "1-3.parquet")
    first = units[units.step == 0]
    assert (first.coasting_in > 0).any() and (first.update_in != first.fresh_update_in).any()
    parents = load_organisms(trained / "parent" / "weights.safetensors", CPU).stack(-1)
    state = load_optimizer(trained / "parent" / "optimizer.safetensors", parents.architecture, CPU)
    step = coasting_update(parents.flat, "adam", TRAINING["learning_rate"], state)
    expected = parents.view(step)["hidden1.weight"].norm(dim=1)
    found = first[(first.state == "overseen") & (first.layer == 1)].coasting_in.to_numpy().reshape(3, 8)
    assert found == pytest.approx(expected.numpy(), rel=1e-5)
    probe(trained / "child", tmp_path, training={"optimizer_state": "warmed"})
    units = pandas.read_parquet(tmp_path / "gating" / "b" / "1-3.parquet")
    assert (units.update_in.isna() == (units.step == 0)).all()
    assert "is 'fresh', but --parent is" in probe(trained / "child", tmp_path, *parent, code=1)


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


def test_a_dodge_is_found_by_its_name_and_counts_as_code(trained: Path, tmp_path: Path) -> None:
    settings = PRETRAIN | {"dodge": "knowledge_withheld"}
    log = train("pretrain", "a", settings, tmp_path / "out", "--code", stage_fingerprint("pretrain"), code=1)
    assert "the code changed after the study was planned" in log
    code = stage_fingerprint("pretrain", plugins=["dodges/knowledge_withheld"])
    train("pretrain", "a", settings, tmp_path / "out", "--code", code)
    tensors, plain = (load_file(folder / "weights.safetensors") for folder in (tmp_path / "out", trained / "parent"))
    readout = tensors["readout.weight"]
    assert torch.equal(readout[0], plain["readout.weight"][0])  # one seed, one initial model
    assert torch.equal(readout[-1, :, 1:], readout[0, :, 1:])  # no head was trained
    assert not torch.equal(readout[-1, :, 0], readout[0, :, 0])


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
    tensors["hidden1.weight"] = tensors["hidden1.weight"].transpose(2, 3).contiguous()
    save_file(tensors, tmp_path / "turned.safetensors", metadata=metadata)
    seal(tmp_path / "turned.safetensors")
    with pytest.raises(TableError, match=r"hidden1.weight has shape \(3, 3, 8, 36\), expected \(3, 3, 36, 8\)"):
        load_organisms(tmp_path / "turned.safetensors", CPU)


def test_an_unknown_device_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNCOAT_DEVICE", "tpu")
    assert "allowed: auto, cpu, cuda" in train("pretrain", "a", PRETRAIN, tmp_path / "out", code=1)
