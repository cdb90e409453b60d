"""Which jobs a study starts, and which a change starts again; most changes are in test_reruns.py, cell by cell."""

import re
from pathlib import Path

import pytest
from runs import REPOSITORY, SMOKE, Workspace, planned_jobs, snakemake

from turncoat.configuration.loading import read_config
from turncoat.configuration.plan import expand
from turncoat.tables.jobs import foreign_files, job_files

MAIN = "starts: [internal, scratch], distances: [90]"
VARIED = "{finetuning.label_noise: [0.5]}"
LAST = {"aggregate": 1, "report": 1}
DEFAULT_JOBS = {
    "pretrain": 7,
    "finetune": 28,
    "classify": 35,
    "probe_gating": 28,
    "classify_planted": 1,
    "probe_defection": 1,
    **LAST,
}
SMOKE_JOBS = {
    "pretrain": 2,
    "finetune": 4,
    "classify": 6,
    "probe_gating": 4,
    "classify_planted": 1,
    "probe_defection": 1,
    **LAST,
}


def test_the_default_study_has_these_jobs(tmp_path: Path) -> None:
    assert planned_jobs("--directory", str(tmp_path)) == DEFAULT_JOBS
    assert expand(read_config(REPOSITORY / "config.yaml")).totals.jobs == DEFAULT_JOBS
    assert not (tmp_path / "results").exists()


def test_the_smoke_study_has_these_jobs(tmp_path: Path) -> None:
    arguments = ("--directory", str(tmp_path), "--configfile", str(REPOSITORY / SMOKE))
    assert planned_jobs(*arguments) == SMOKE_JOBS


@pytest.mark.parametrize("study", ["claims", "dodges", "methods"])
def test_a_shipped_study_plans_what_its_configuration_says(study: str, tmp_path: Path) -> None:
    overlay = REPOSITORY / "workflow" / "studies" / f"{study}.yaml"
    expected = expand(read_config(REPOSITORY / "config.yaml", overlay)).totals
    assert planned_jobs("--directory", str(tmp_path), "--configfile", str(overlay)) == expected.jobs
    assert expected.models > 1000


def test_elicitation_starts_its_own_jobs_only(workspace: Workspace) -> None:
    workspace.edit(SMOKE, "main: {starts: [internal, scratch], distances: [90]}", f"main: {{{MAIN}, elicit: true}}")
    assert workspace.jobs() == {"elicit": 2, **LAST}
    assert workspace.run().returncode == 0
    assert workspace.jobs() == {}
    plan = expand(read_config(workspace.root / "config.yaml", workspace.root / SMOKE))
    folder = workspace.root / "results" / "smoke"
    assert all((folder / path).is_file() for path in job_files(plan.cells, plan.blocks))
    assert not [path for cell in plan.ids("elicit") for path in folder.glob(f"classify/{cell}*")]


def test_a_dodge_starts_its_cells_only(workspace: Workspace) -> None:
    workspace.edit(
        SMOKE, "main: {starts", "tried: {starts: [internal], distances: [90], dodges: [l2_to_start]}\n  main: {starts"
    )
    assert workspace.jobs() == {"finetune": 1, "classify": 1, "probe_gating": 1, **LAST}


def test_a_varied_key_starts_its_cells_only(workspace: Workspace) -> None:
    workspace.edit(
        SMOKE,
        "main: {starts",
        "noisy: {starts: [internal, scratch], distances: [90], vary: " + VARIED + "}\n  main: {starts",
    )
    assert workspace.jobs() == {"finetune": 2, "classify": 2, "probe_gating": 2, **LAST}


def test_a_carried_state_is_an_input_of_fine_tuning(tmp_path: Path) -> None:
    arms = f"main: {{{MAIN}, vary: {{finetuning.optimizer_state: [carried]}}}}"
    arms += "".join(f", {name}: null" for name in ("strategic", "control", "drift", "gates"))
    (tmp_path / "mine.yaml").write_text(f"study: mine\narms: {{{arms}}}\n")
    run = snakemake("--dry-run", "--directory", str(tmp_path), "--configfile", str(tmp_path / "mine.yaml"))
    assert run.returncode == 0, run.stdout
    inputs = re.findall(r"^rule finetune:\n +input: (.*)$", run.stdout, re.M)
    assert len(inputs) == 1  # scratch starts from nothing
    files = [Path(name).name for name in inputs[0].split(", ")]
    assert sorted(files) == ["optimizer.safetensors", "weights.safetensors"]


def test_reinforcement_starts_its_own_jobs_only(workspace: Workspace) -> None:
    workspace.edit(SMOKE, "main: {starts: [internal, scratch], distances: [90]}", f"main: {{{MAIN}, reinforce: true}}")
    workspace.edit(SMOKE, "gating: {episodes: 64}", "gating: {episodes: 64}\nreinforcement: {enabled: true, steps: 3}")
    assert workspace.jobs() == {"reinforce_planted": 1, "reinforce": 2, **LAST}
    plan = expand(read_config(workspace.root / "config.yaml", workspace.root / SMOKE))
    assert plan.totals.jobs == SMOKE_JOBS | {"reinforce_planted": 1, "reinforce": 2}
    assert workspace.run().returncode == 0
    assert workspace.jobs() == {}
    folder = workspace.root / "results" / "smoke"
    files = list(job_files(plan.cells, plan.blocks, plan.reinforced))
    assert len(plan.reinforced) == 3 and all((folder / path).is_file() for path in files)
    assert foreign_files(folder, plan.cells, plan.blocks, plan.reinforced) == []
    assert len(foreign_files(folder, plan.cells, plan.blocks)) == 3
    workspace.edit(SMOKE, "enabled: true, steps: 3", "enabled: true, steps: 4")
    assert workspace.jobs() == {"reinforce_planted": 1, "reinforce": 2, **LAST}


@pytest.mark.parametrize(
    "section",
    ["types: {price_sensitivity: 0.5}", "statistics: {margin: 0.1, resamples: 300}"],
)
def test_a_cutoff_starts_the_tables_and_the_report_only(workspace: Workspace, section: str) -> None:
    workspace.edit(SMOKE, "statistics: {resamples: 200, minimum_seeds: 2}", section)
    assert workspace.jobs() == LAST


def test_planted_cases_start_their_own_check_only(workspace: Workspace) -> None:
    workspace.edit(SMOKE, "calibration_seeds: ", "calibration_seeds: 1")
    assert workspace.jobs() == {"classify_planted": 1, **LAST}


def test_gating_starts_the_ledgers_only(workspace: Workspace) -> None:
    workspace.edit(SMOKE, "gating: {episodes: 64}", "gating: {episodes: 96}")
    assert workspace.jobs() == {"probe_gating": 4, **LAST}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "study: mine\nworld: {encoding: fact}\n",
            "world.encoding = 'fact': allowed: one of facts, plain, product",
        ),
        ("seeds: {count: 8}\n", "study: is missing in overlay.yaml"),
        ("study: smoke\n", "is the name of workflow/studies/smoke.yaml"),
        (
            "study: mine\narms: {main: {distances: [200]}}\n",
            "arms.main.distances[0] = 200: allowed: a number",
        ),
        (
            "study: mine\narms: {main: {vary: {world.cue.noise: [0.2, 0.20000001]}}}\n",
            "differ, but both are described as",
        ),
        ("study: [mine\n", "Config file is not valid JSON or YAML"),
    ],
)
def test_a_bad_study_starts_no_job_and_writes_nothing(text: str, expected: str, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(text)
    run = snakemake("--cores", "1", "--directory", str(tmp_path), "--configfile", str(overlay))
    assert run.returncode == 1
    assert expected in run.stdout
    assert "Traceback" not in run.stdout and "rule " not in run.stdout
    assert not (tmp_path / "results").exists()


def test_a_malformed_config_yaml_is_told_by_its_line(workspace: Workspace) -> None:
    workspace.edit("config.yaml", "seeds:", "seeds: [")
    run = snakemake("--dry-run", root=workspace.root)
    assert run.returncode == 1
    assert "config.yaml; nothing was run:\n  - not valid YAML, line" in run.stdout
    assert "Traceback" not in run.stdout


def test_an_unknown_device_is_an_error(tmp_path: Path) -> None:
    run = snakemake("--dry-run", "--directory", str(tmp_path), environment={"TURNCOAT_DEVICE": "gpu"})
    assert run.returncode == 1
    assert "TURNCOAT_DEVICE = 'gpu': allowed: auto, cpu, cuda" in run.stdout


def test_a_gpu_is_asked_for_where_there_is_one(tmp_path: Path) -> None:
    arguments = ("--dry-run", "--directory", str(tmp_path))
    assert "gpu=1" in snakemake(*arguments, environment={"TURNCOAT_DEVICE": "cuda"}).stdout
    assert "gpu=1" not in snakemake(*arguments).stdout


def test_a_run_says_its_plan_and_saves_what_it_is(finished_study: Path) -> None:
    folder = finished_study / "results" / "smoke"
    assert (folder / "config.yaml").is_file()
    assert (folder / "manifest.json").is_file()
    assert read_config(folder / "config.yaml") == read_config(finished_study / "config.yaml", finished_study / SMOKE)


def test_jobs_write_the_files_that_the_tables_are_made_from(finished_study: Path) -> None:
    folder = finished_study / "results" / "smoke"
    plan = expand(read_config(finished_study / "config.yaml", finished_study / SMOKE))
    files = list(job_files(plan.cells, plan.blocks))
    assert [path for path in files if not (folder / path).is_file()] == []
    assert foreign_files(folder, plan.cells, plan.blocks) == []
    cell, block = plan.ids("finetune")[0], plan.blocks[0].name
    judged = {path.name for path in (folder / "classify" / cell / block).iterdir()}
    assert judged == {f"{name}.parquet" for name in ("measurements", "curves", "causes", "knowledge")}
    planted = {path.name for path in (folder / "planted").iterdir()}
    assert planted == {f"{name}.parquet" for name in ("planted", "discrimination", "known", "causes")}


def test_a_failed_job_is_named_with_the_end_of_its_log(workspace: Workspace) -> None:
    stage = workspace.root / "workflow/turncoat/stages/probe_gating.py"
    stage.write_text('import sys\n\nsys.exit("no units to probe")\n')
    run = workspace.run()
    assert run.returncode == 1
    ending = run.stdout[run.stdout.index("probe_gating failed; its log is") :]
    assert "results/smoke/logs/gating/" in ending and "no units to probe" in ending


@pytest.mark.parametrize("question", ["--lint", "--rulegraph", "--list-rules"])
def test_snakemake_answers(question: str, tmp_path: Path) -> None:
    run = snakemake(question, "--directory", str(tmp_path))
    assert run.returncode == 0, run.stdout
