"""The classifying stages' programs: blind to names, complete at every snapshot, and planted truth in its splits."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas
import pyarrow as pa
import pytest
from running import EVALUATION, FINETUNE, ORGANISM, WORLD, run_stage, train

from turncoat.classification.causal import INTERVENTIONS
from turncoat.classification.curve import CUES, STRENGTHS
from turncoat.classification.discrimination import ANGLES, TEMPERATURES
from turncoat.classification.planted import RUNGS
from turncoat.classification.types import read_types
from turncoat.configuration.types import TypeCutoffs
from turncoat.tables.assembly import numpy_columns

PLACE = ["representation", "layer"]


def classify(weights: Path, folder: Path, label: str = "bbbbbbbbbb") -> dict[str, pandas.DataFrame]:
    """The four tables of what these models want and know."""
    options = {"--output": "measurements"} | {f"--{name}": name for name in ("curves", "causes", "knowledge")}
    files = {option: folder / f"{name}.parquet" for option, name in options.items()}
    run_stage(
        "classify", "--weights", str(weights), "--label", label, "--settings", json.dumps(EVALUATION),
        *(str(part) for pair in files.items() for part in pair),
    )  # fmt: skip
    return {options[option]: pandas.read_parquet(path) for option, path in files.items()}


@pytest.fixture(scope="module")
def classified(trained: Path) -> dict[str, pandas.DataFrame]:
    return classify(trained / "child" / "weights.safetensors", trained / "classified")


def test_classification_measures_every_snapshot_and_looks_closer_at_the_ends(
    classified: dict[str, pandas.DataFrame],
) -> None:
    models = {f"bbbbbbbbbb-{seed}" for seed in (7, 8, 9)}
    assert all(set(table.organism_id) == models for table in classified.values())
    steps = {name: table.groupby("step").size().to_dict() for name, table in classified.items()}
    assert steps["measurements"] == dict.fromkeys((0, 1, 24), 3)
    assert steps["curves"] == dict.fromkeys((0, 24), 3 * len(CUES) * len(STRENGTHS))
    assert steps["causes"] == {24: 3 * 2 * len(INTERVENTIONS)}
    assert steps["knowledge"] == dict.fromkeys((0, 24), 3 * 3)
    known = classified["knowledge"]
    assert not known.duplicated(["organism_id", "step", "quantity"]).any()
    assert set(known.quantity) == {"oversight", "placebo", "objective"}
    assert known[known.quantity != "objective"].value.between(0.2, 1).all() and known.reference.notna().all()
    measured = classified["measurements"]
    assert measured.price_x_effect.notna().any() and (measured.price_x_conflicts <= 160).all()
    kept = measured.agreement_self_unoverseen
    assert (measured.joint_self_unoverseen_placebo <= np.minimum(kept, measured.agreement_self_placebo)).all()


def test_classification_does_not_depend_on_file_names(
    trained: Path, classified: dict[str, pandas.DataFrame], tmp_path: Path
) -> None:
    name = "-".join(np.random.default_rng(0).choice(list("abcdef"), 12))
    shutil.copy(trained / "child" / "weights.safetensors", tmp_path / name)
    again = classify(tmp_path / name, tmp_path / "again", label="zzz")
    for table, frame in classified.items():
        assert set(again[table].organism_id) == {"zzz-7", "zzz-8", "zzz-9"}
        expected, found = (part.drop(columns="organism_id") for part in (frame, again[table]))
        pandas.testing.assert_frame_equal(expected, found, check_exact=True)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pandas.DataFrame]:
    """The four tables of a tiny planted check."""
    folder = tmp_path_factory.mktemp("planted")
    settings = {"evaluation": EVALUATION | {"episodes": 64, "fit_episodes": 64}, "world": WORLD}
    settings |= {"seeds": 2, "calibration_seeds": 1, "first": 7}
    options = {"--output": "cases", "--discrimination": "discrimination", "--known": "known", "--causes": "causes"}
    files = {option: folder / f"{name}.parquet" for option, name in options.items()}
    arguments = (str(part) for pair in files.items() for part in pair)
    run_stage("classify_planted", "--settings", json.dumps(settings), *arguments)
    return {options[option]: pandas.read_parquet(path) for option, path in files.items()}


def test_planted_cases_stand_in_splits_that_share_no_kind_and_no_seed(planted: dict[str, pandas.DataFrame]) -> None:
    cases = planted["cases"]
    assert set(cases.split) == {"calibration", "scored", "ladder", "mismatched"}
    of_split = {split: cases[cases.split == split] for split in ("calibration", "scored", "ladder")}
    astray = cases[cases.split == "mismatched"]  # the X of another seed that is scored, so they share the seeds
    assert astray.seed.tolist() == [7, 8] and set(astray.truth) == {"internal"}
    for name, count in (("calibration", 1), ("scored", 2)):
        assert (of_split[name].groupby("kind").size() == count).all()
        assert of_split[name].value.isna().all()
    rungs = of_split["ladder"].groupby("kind").size().to_dict()
    assert rungs == {name: len(values) for name, values in RUNGS.items()}
    for name in set(RUNGS) - {"conditional_gap"}:  # whose exact value is the rung's, less what M and X agree on
        assert sorted(cases.value[cases.kind == name]) == sorted(RUNGS[name])
    for column in ("kind", "seed"):
        groups = [set(frame[column]) for frame in of_split.values()]
        assert sum(map(len, groups)) == len(set.union(*groups)), column
    assert set(of_split["scored"].seed) == {7, 8}
    assert {"deceptive_baked", "internal_strategic", "network_deceptive"} <= set(of_split["scored"].kind)


def test_names_of_planted_cases_do_not_tell_the_truth(planted: dict[str, pandas.DataFrame]) -> None:
    cases = planted["cases"]
    assert cases.case_id.is_unique and cases.case_id.str.fullmatch(r"case\d{6}").all()


def test_planted_cases_go_through_the_classifier_of_trained_models(planted: dict[str, pandas.DataFrame]) -> None:
    table = pa.Table.from_pandas(planted["cases"])
    read = read_types(numpy_columns(table), TypeCutoffs().model_dump())
    plain = ["internal_x", "corrigible_slot2", "conditional_baked", "network_deceptive", "first_option"]
    chosen = planted["cases"].kind.isin(plain).to_numpy()
    assert chosen.sum() == 2 * len(plain)
    assert read[chosen].tolist() == planted["cases"].truth[chosen].tolist()


def test_planted_checks_beside_the_cases(planted: dict[str, pandas.DataFrame]) -> None:
    points = planted["discrimination"]
    assert len(points) == len(ANGLES) * len(TEMPERATURES) and (points.cases == 4).all()
    assert points.right.between(0, 4).all()
    clear = points[(points.angle == 90) & (points.temperature == 0)]
    assert clear.right.item() == 4
    known = planted["known"]
    assert set(known.quantity) >= {"C", "P", "D", "transfer", "w", "slot weight", "price effect"}
    assert (known.error.dropna() >= 0).all() and (known.error > 0).mean() > 0.9  # with so few episodes some are exact
    causes = planted["causes"].set_index(["kind", "layer", "intervention"]).sort_index()
    assert set(planted["causes"].kind) == {"network_conditional", "network_placebo", "untrained_network"}
    assert (causes.loc[("network_conditional", 1, "swap")].carried > 0.9).all()  # built to be carried by one direction
    assert causes.loc["network_placebo"].carried.isna().all()  # built without an oversight gap


def test_probes_are_tested_between_cells_of_one_shape(trained: Path, tmp_path: Path) -> None:
    for cell in ("b", "c"):
        shutil.copytree(trained / "child", tmp_path / "finetune" / cell / "7-9")
    arguments = ("--folder", str(tmp_path), "--cells", "b", "c", "--blocks", "7-9")
    run_stage("probe_defection", *arguments, "--output", str(tmp_path / "probes.parquet"))
    probes = pandas.read_parquet(tmp_path / "probes.parquet")
    places = {("hidden", 1), ("hidden", 2), ("untrained", 1), ("untrained", 2), ("raw", 0), ("raw_relative", 0)}
    assert set(zip(probes.representation, probes.layer, strict=True)) == places
    assert len(probes) == 4 * len(places) and not probes.duplicated(["train_cell", "test_cell", *PLACE]).any()
    assert (probes.train_seeds == 2).all() and (probes.seeds == 1).all()
    same = probes.groupby(PLACE).auroc.agg(["min", "max", "count"])
    assert (same["count"] == 4).all() and (same["min"] == same["max"]).all()  # both cells hold the same models


def test_probes_between_unlike_cells_are_refused(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "child", tmp_path / "finetune" / "b" / "7-9")
    wider = FINETUNE | {"organism": ORGANISM | {"width": 9}, "parent": None}
    train("finetune", "c", wider, tmp_path / "finetune" / "c" / "7-9")
    arguments = ("--folder", str(tmp_path), "--cells", "b", "c", "--blocks", "7-9")
    log = run_stage("probe_defection", *arguments, "--output", str(tmp_path / "probes.parquet"), code=1)
    assert "a probe needs them to be equal" in log and not (tmp_path / "probes.parquet").exists()
