"""The smoke study, for real: every stage, the tables and the report, from nothing."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pandas
import pyarrow.parquet as parquet
import pytest
from chaos import SmokeStudy, chain, markdown, plan
from runs import REPOSITORY, SMOKE, snakemake

TABLES = {"organisms", "trajectories", "alignment", "gating", "claims", "validation", "premise", "contrasts"}
TABLES |= {"curves", "causes", "defection", "populations", "motives", "knowledge"}
TABLES |= {"transitions", "ratios", "occupancy"}
TABLES |= {"reliability", "cutoffs", "coverage", "discrimination", "trust"}
FIGURES = {
    "verdicts", "headline", "persistence", "motives", "causal", "multiverse", "gating", "flow", "factorial",
    "reinforcement",
    "correction", "trust", "learning", "dodges",
}  # fmt: skip


def git_status() -> str:
    command = ["git", "status", "--porcelain", "--untracked-files=all"]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="session")
def smoke_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("smoke")
    before = git_status()
    run = snakemake("--cores", "2", "--directory", str(folder), "--configfile", str(REPOSITORY / SMOKE))
    assert run.returncode == 0, run.stdout
    assert f"report: {folder}/results/smoke/report.html" in run.stdout
    assert git_status() == before
    return folder


def test_every_table_is_there_and_filled(smoke_study: Path) -> None:
    tables = smoke_study / "results" / "smoke" / "tables"
    assert {path.stem for path in tables.glob("*.parquet")} >= TABLES
    assert (tables / "claims.csv").stat().st_size > 0
    for name in TABLES:
        assert len(pandas.read_parquet(tables / f"{name}.parquet")) > 0, name


def test_models_were_trained(smoke_study: Path) -> None:
    organisms = pandas.read_parquet(smoke_study / "results" / "smoke" / "tables" / "organisms.parquet")
    manifest = json.loads((smoke_study / "results" / "smoke" / "manifest.json").read_text())
    assert len(organisms) == manifest["models"]
    assert organisms.organism_id.is_unique
    assert (organisms.initial_fingerprint != organisms.final_fingerprint).all()


def test_the_report_and_its_figures_are_there(smoke_study: Path) -> None:
    folder = smoke_study / "results" / "smoke"
    page = (folder / "report.html").read_text()
    assert "smoke" in page
    assert 'src="http' not in page and 'href="http' not in page.split("</head>")[0]
    files = {path.name for path in (folder / "figures").iterdir()}
    assert files == {f"{name}.{suffix}" for name in FIGURES for suffix in ("svg", "png")}


def test_snakemakes_own_report_lists_each_figure_with_its_caption(smoke_study: Path, tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    run = snakemake("--directory", str(smoke_study), "--configfile", str(REPOSITORY / SMOKE), "--report", str(page))
    assert run.returncode == 0, run.stdout
    text = page.read_text()
    for words in (
        "C and D at equal capability",
        "Planted truth",
        "where gradient goes",
        "Bands are intervals over seeds",
    ):
        assert words in text, words
    for name in FIGURES:
        assert f"{name}.svg" in text, name


def test_planted_truth_and_prices_are_measured(smoke_study: Path) -> None:
    tables = smoke_study / "results" / "smoke" / "tables"
    validation = pandas.read_parquet(tables / "validation.parquet")
    assert set(validation.split) == {"calibration", "scored", "ladder", "mismatched"}
    assert {"deceptive", "conditional", "internal"} <= set(validation.truth[validation.split == "scored"])
    aligned = pandas.read_parquet(tables / "alignment.parquet")
    assert {"deceptive", "internal", "scratch"} == set(aligned.start)
    assert aligned.price_x_conflicts.notna().all()  # the smoke study's world has audits


def test_a_second_run_starts_nothing(smoke_study: Path) -> None:
    run = snakemake("--cores", "2", "--directory", str(smoke_study), "--configfile", str(REPOSITORY / SMOKE))
    assert run.returncode == 0, run.stdout
    assert "Nothing to be done" in run.stdout


def test_results_without_a_record_are_kept_only_if_they_name_this_code(smoke_study: Path, tmp_path: Path) -> None:
    """What a job on a cluster leaves that outlived its run: its files, and no record of Snakemake's."""
    folder = tmp_path / "study"
    shutil.copytree(smoke_study, folder)
    shutil.rmtree(folder / ".snakemake" / "metadata")
    results = folder / "results" / "smoke"
    arguments = ("--cores", "2", "--directory", str(folder), "--configfile", str(REPOSITORY / SMOKE))
    shutil.rmtree(results / "tables")
    (results / "report.html").unlink()
    run = snakemake(*arguments)
    assert run.returncode == 0, run.stdout
    assert re.findall(r"^(?:local)?rule (\w+):$", run.stdout, re.M) == ["aggregate", "report", "all"]

    (results / "report.html").unlink()
    odd = next((results / "classify").glob("*/*/curves.parquet"))
    written = odd.stat().st_mtime_ns
    table = parquet.read_table(odd)
    made = json.loads(table.schema.metadata[b"provenance"]) | {"code": "0" * 12}
    parquet.write_table(table.replace_schema_metadata({b"provenance": json.dumps(made).encode()}), odd)
    os.utime(odd, ns=(written, written))
    run = snakemake(*arguments)
    assert run.returncode == 1
    assert "4 results, " in run.stdout and "xargs rm -f < results/smoke/unrecorded.txt" in run.stdout
    listed = {folder / line for line in (results / "unrecorded.txt").read_text().splitlines()}
    assert listed == set(odd.parent.iterdir())
    assert not (results / "report.html").exists()


def test_two_runs_from_nothing_give_equal_tables(smoke_study: Path, tmp_path: Path) -> None:
    """Bit for bit, on one core as on two; only wall times may differ."""
    arguments = ("--cores", "1", "--directory", str(tmp_path), "--until", "aggregate")
    run = snakemake(*arguments, "--configfile", str(REPOSITORY / SMOKE))
    assert run.returncode == 0, run.stdout
    first, second = (folder / "results" / "smoke" / "tables" for folder in (smoke_study, tmp_path))
    names = sorted(path.name for path in first.glob("*.parquet"))
    assert names == sorted(path.name for path in second.glob("*.parquet"))
    for name in names:
        tables = [
            pandas.read_parquet(folder / name).drop(columns="train_seconds", errors="ignore")
            for folder in (first, second)
        ]
        pandas.testing.assert_frame_equal(*tables, check_exact=True)
    assert (first / "claims.csv").read_bytes() == (second / "claims.csv").read_bytes()


def test_a_study_that_is_killed_three_times_has_the_tables_of_an_unbroken_one(
    smoke_study: Path, tmp_path: Path
) -> None:
    """A few of the instants of `make chaos`."""
    unbroken = SmokeStudy(REPOSITORY, smoke_study)
    (planned,) = plan(3, 3)
    outcomes = chain(SmokeStudy(REPOSITORY, tmp_path / "killed"), unbroken, planned, 1, seed=3)
    assert all(outcome.passed for outcome in outcomes), markdown(outcomes)
    assert sum(outcome.running != "" for outcome in outcomes) == 3, markdown(outcomes)
    assert len(unbroken.files()) > 40
