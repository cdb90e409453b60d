"""The stage `reinforce` and what aggregate makes of its files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from running import run_stage

from synthetic import write_study
from turncoat.configuration import settings
from turncoat.configuration.errors import ConfigurationError
from turncoat.configuration.loading import load_config
from turncoat.configuration.plan import expand
from turncoat.stages.aggregate import aggregate
from turncoat.tables import reinforcement
from turncoat.tables.atomic import TableError, read_table, write_table

SMALL: dict[str, Any] = {
    "enabled": True,
    "activations": ["relu"],
    "strengths": [1.0, 0.0],
    "width": 12,
    "entropies": [0.5],
    "prompts": [0.5],
    "optimizers": ["sgd", "adam_warmed"],
    "gates": ["natural", "shuffled"],
    "steps": 3,
    "batch": 8,
    "held_out": 64,
}
ARM = {"main": {"starts": ["scratch"], "distances": [90], "reinforce": True}}


def options(**changes: Any) -> str:
    config = load_config({"study": "small", "reinforcement": SMALL | changes})
    return json.dumps(settings.reinforcement(config))


def planted(path: Path, first: int, count: int) -> pandas.DataFrame:
    run_stage(
        "reinforce", "--settings", options(), "--first-seed", str(first), "--seed-count", str(count),
        "--output", str(path),
    )  # fmt: skip
    return pandas.read_parquet(path)


def test_planted_rows_are_the_same_alone_and_in_a_block(tmp_path: Path) -> None:
    together = planted(tmp_path / "one.parquet", 5, 3)
    planted(tmp_path / "two.parquet", 5, 3)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    alone = planted(tmp_path / "alone.parquet", 6, 1)
    pandas.testing.assert_frame_equal(together[together.seed == 6].reset_index(drop=True), alone, check_exact=True)
    assert not together.duplicated(list(reinforcement.KEY)).any()
    assert set(together.organism_id) == {f"planted-relu-{size}-{seed}" for size in (0, 1) for seed in (5, 6, 7)}
    assert together.matched.all() and not together.diverged.any()
    counts = together.groupby(["signal", "method"]).size()
    assert counts["reward", "policy_gradient"] == counts["own_choice", "policy_gradient"] > counts.min() > 0
    assert together.initial_woken_gain[together.m_strength == 1].notna().all()
    without = together[(together.m_strength == 0) & (together.woken == "m")]
    assert len(without) and without.initial_woken_gain.isna().all() and (without.gain_m_prompt_before.abs() < 0.1).all()


def test_fine_tuned_rows_are_named_after_their_cell(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    weights = str(trained / "child" / "weights.safetensors")
    run_stage(
        "reinforce", "--settings", options(), "--weights", weights, "--label", "bbbbbbbbbb", "--output", str(path)
    )
    rows = read_table(path, reinforcement.SCHEMA).to_pandas()
    assert set(rows.organism_id) == {f"bbbbbbbbbb-{seed}" for seed in (7, 8, 9)}
    assert set(rows.kind) == {"trained"} and rows.m_strength.isna().all()
    correlation = rows.groupby("selected").selection_correlation.mean()
    assert correlation[True] > correlation[False] + 0.3
    at = rows.entropy[rows.matched & rows.selected & (rows.matched_at == rows.prompt)]
    assert at.to_numpy() == pytest.approx(0.5 * np.log(2), abs=1e-5)


def test_the_stage_wants_a_block_or_seeds(tmp_path: Path) -> None:
    target = str(tmp_path / "rows.parquet")
    said = run_stage("reinforce", "--settings", options(), "--first-seed", "1", "--output", target, code=1)
    assert "give --weights and --label of a fine-tuned block, or --first-seed and --seed-count" in said
    gone = ("--weights", str(tmp_path / "no.safetensors"), "--label", "a")
    assert "does not exist" in run_stage("reinforce", "--settings", options(), *gone, "--output", target, code=1)


@pytest.fixture
def study(tmp_path: Path) -> tuple[dict[str, Any], Path, list[Path]]:
    """A synthetic study with reinforcement rows of two seeds: planted, and of its only cell."""
    seeds = {"first": 5, "count": 2, "block": 2}
    config = write_study(tmp_path, {"seeds": seeds, "arms": ARM, "reinforcement": SMALL})
    plan = expand(load_config(config))
    rows = planted(tmp_path / "rows.parquet", 5, 2)
    paths = []
    for name in plan.reinforced:
        own = rows if name == "planted" else rows.assign(organism_id=[f"{name}-{seed}" for seed in rows.seed])
        if name != "planted":
            own = own[own.m_strength == 1].assign(kind="trained", m_strength=np.nan)
        paths.append(tmp_path / "reinforce" / name / "5-6.parquet")
        write_table(paths[-1], {column: own[column].to_numpy() for column in own}, reinforcement.SCHEMA, {})
    return config, tmp_path, paths


def test_aggregate_puts_factors_beside_trained_rows(study: tuple[dict[str, Any], Path, list[Path]]) -> None:
    config, folder, paths = study
    aggregate(config, folder, "code")
    found = read_table(folder / "tables" / "reinforcement.parquet", reinforcement.STUDY).to_pandas()
    assert len(found) == sum(len(pandas.read_parquet(path)) for path in paths)
    trained = found[found.kind == "trained"]
    assert (
        set(trained.start) == {"scratch"}
        and set(trained.distance) == {90.0}
        and set(trained.cell) == {paths[-1].parts[-2]}
    )
    assert found[found.kind == "planted"][["start", "cell", "distance"]].isna().all(axis=None)


def test_a_study_without_reinforcement_has_an_empty_table(tmp_path: Path) -> None:
    seeds = {"first": 5, "count": 2, "block": 2}
    arms = {"main": {"starts": ["scratch"], "distances": [90]}}
    aggregate(write_study(tmp_path, {"seeds": seeds, "arms": arms}), tmp_path, "code")
    assert len(read_table(tmp_path / "tables" / "reinforcement.parquet", reinforcement.STUDY)) == 0


def test_missing_and_foreign_rows_stop_the_tables(study: tuple[dict[str, Any], Path, list[Path]]) -> None:
    config, folder, (first, second) = study
    kept = second.read_bytes()
    second.write_bytes(first.read_bytes())
    with pytest.raises(TableError, match="it was written as"):
        aggregate(config, folder, "code")
    rows = pandas.read_parquet(first)
    rows = rows[rows.seed == 5]
    second.write_bytes(kept)
    write_table(first, {column: rows[column].to_numpy() for column in rows}, reinforcement.SCHEMA, {})
    with pytest.raises(TableError, match="holds 1 seeds from"):
        aggregate(config, folder, "code")
    first.unlink()
    with pytest.raises(TableError, match="no such file"):
        aggregate(config, folder, "code")


def test_reinforcement_needs_an_x_that_stays() -> None:
    with pytest.raises(ConfigurationError, match=r"arms\.main.reinforce = True: X must stay"):
        load_config({"study": "small", "arms": ARM, "finetuning": {"mode": "instructed"}})


@pytest.mark.parametrize(
    ("change", "said"),
    [({"activations": ["tanh"]}, "tanh"), ({"strengths": [0.0, 1.0]}, "the first is the primary setting")],
)
def test_what_cannot_be_planted_is_refused_before_any_job(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        options(**change)
