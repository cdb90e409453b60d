"""A real tiny study: damaged files are refused by who reads them next, earlier code's results kept or refused."""

import importlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas
import pytest
from runs import REPOSITORY, SOURCES, Workspace, snakemake

from turncoat.commands.dry_run import Job, read_jobs
from turncoat.configuration.errors import ConfigurationError
from turncoat.configuration.study_file import read_manifest
from turncoat.tables.atomic import TableError, read_provenance

STUDY = "tiny.yaml"
RESULTS = Path("results", "tiny")
# What is damaged, another file of its kind, and the rule that reads it next.
KINDS = {
    "weights of a parent": ("pretrain/{cell}/{block}/weights.safetensors", "finetune"),
    "a parent's optimizer": ("pretrain/{cell}/{block}/optimizer.safetensors", "finetune"),
    "a parent's organisms": ("pretrain/{cell}/{block}/organisms.parquet", "finetune"),
    "fine-tuned weights": ("finetune/{cell}/{block}/weights.safetensors", "classify"),
    "weights for the probe of gating": ("finetune/{cell}/{block}/weights.safetensors", "probe_gating"),
    "weights for the probe for defection": ("finetune/{cell}/{block}/weights.safetensors", "probe_defection"),
    "fine-tuned optimizer": ("finetune/{cell}/{block}/optimizer.safetensors", "probe_gating"),
    "organisms": ("finetune/{cell}/{block}/organisms.parquet", "aggregate"),
    "trajectories": ("finetune/{cell}/{block}/trajectories.parquet", "aggregate"),
    "measurements": ("classify/{cell}/{block}/measurements.parquet", "aggregate"),
    "curves": ("classify/{cell}/{block}/curves.parquet", "aggregate"),
    "causes": ("classify/{cell}/{block}/causes.parquet", "aggregate"),
    "knowledge": ("classify/{cell}/{block}/knowledge.parquet", "aggregate"),
    "unit rows of gating": ("gating/{cell}/{block}.parquet", "aggregate"),
    "sums of gating": ("gating_sums/{cell}/{block}.parquet", "aggregate"),
    "reinforcement": ("reinforce/planted/{block}.parquet", "aggregate"),
    "planted cases": ("planted/planted.parquet", "aggregate"),
    "discrimination": ("planted/discrimination.parquet", "aggregate"),
    "known quantities": ("planted/known.parquet", "aggregate"),
    "planted causes": ("planted/causes.parquet", "aggregate"),
    "defection": ("defection/defection.parquet", "aggregate"),
    "claims": ("tables/claims.parquet", "report"),
    "organisms of the study": ("tables/organisms.parquet", "report"),
    "gating of the study": ("tables/gating.parquet", "report"),
}
SWAPPED = {"planted/planted.parquet": "planted/known.parquet", "planted/known.parquet": "planted/planted.parquet"}
SWAPPED |= {
    "planted/discrimination.parquet": "planted/causes.parquet",
    "planted/causes.parquet": "planted/known.parquet",
}
SWAPPED |= {"defection/defection.parquet": "tables/defection.parquet", "tables/claims.parquet": "tables/gating.parquet"}
SWAPPED |= {"tables/organisms.parquet": "tables/claims.parquet", "tables/gating.parquet": "tables/claims.parquet"}


def turncoat(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(root / "workflow"), "TURNCOAT_DEVICE": "cpu"}
    command = [sys.executable, "-m", "turncoat", *arguments]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Job]]:
    """A copy of the workflow in which the tiny study has run for real, and its jobs."""
    root = tmp_path_factory.mktemp("tiny") / "turncoat"
    root.mkdir()
    for source in SOURCES:
        path = REPOSITORY / source
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, root / source)
    shutil.copy(Path(__file__).parent / STUDY, root / STUDY)
    run = snakemake("--cores", "2", "--configfile", STUDY, root=root)
    assert run.returncode == 0, run.stdout
    return root, read_jobs(run.stdout)


def reader(jobs: list[Job], rule: str, cell: str, block: str) -> Job:
    """The rule's job of that cell and block, or that starts from them, or its only one."""
    mine = [job for job in jobs if job.rule == rule]
    of_block = [job for job in mine if job.wildcards.get("block", block) == block]
    return next(job for job in of_block if cell in f"{job.inputs}{job.wildcards}" or "cell" not in job.wildcards)


def run_here(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a job's stage in this process."""
    words = shlex.split(job.command.rpartition(" > ")[0])
    module = words[words.index("-m") + 1]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", [module, *words[words.index(module) + 1 :]])
        patch.setattr(sys, "excepthook", sys.excepthook)
        importlib.import_module(module).main()


def flip(place: float) -> Callable[[bytes], bytes]:
    """Flip a bit so far into the file."""

    def damage(content: bytes) -> bytes:
        position = min(int(place * len(content)), len(content) - 1)
        return content[:position] + bytes([content[position] ^ 16]) + content[position + 1 :]

    return damage


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut in half": lambda content: content[: len(content) // 2],
    "a byte short": lambda content: content[:-1],
    **{f"a bit flipped at {place}": flip(place) for place in (0.0, 0.05, 0.3, 0.5, 0.8, 0.99, 1.0)},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_or_swapped_file_is_refused_by_its_next_reader(
    finished: tuple[Path, list[Job]], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, jobs = finished
    monkeypatch.chdir(root)
    pattern, rule = KINDS[kind]
    stage = pattern.split("/")[0]
    folder = {"gating": "finetune", "gating_sums": "finetune", "classify": "finetune"}.get(stage, stage)
    cells = sorted(path.name for path in (RESULTS / folder).iterdir())
    parent = next((RESULTS / "pretrain").iterdir()).name
    cell = parent if stage == "pretrain" else cells[0]
    blocks = ("7000-7001", "7002-7003")
    place = pattern.format(cell=cell, block=blocks[0])
    others = [SWAPPED[place]] if place in SWAPPED else [pattern.format(cell=cell, block=blocks[1])]
    if "{cell}" in pattern:
        other = cells[1] if stage != "pretrain" else next((RESULTS / "finetune").iterdir()).name
        others.append(
            (pattern if stage != "pretrain" else f"finetune{pattern[8:]}").format(cell=other, block=blocks[0])
        )
    path, job = RESULTS / place, reader(jobs, rule, cell, blocks[0])
    sound = path.read_bytes()
    damaged = {name: damage(sound) for name, damage in DAMAGES.items()}
    damaged |= {f"swapped with {other}": (RESULTS / other).read_bytes() for other in others}
    before = {output: Path(output).read_bytes() for output in job.outputs}
    try:
        for name, content in damaged.items():
            assert content != sound
            path.write_bytes(content)
            with pytest.raises((TableError, SystemExit)) as stopped:
                run_here(job, monkeypatch)
            said = str(stopped.value)
            assert str(path) in said and "run" in said, f"{name}: {said}"
            assert "cannot be" in said, f"{name}: {said}"
    finally:
        path.write_bytes(sound)
    assert {output: Path(output).read_bytes() for output in job.outputs} == before


@pytest.mark.parametrize("rule", ["finetune", "classify", "probe_gating", "aggregate", "report"])
def test_a_stage_ends_with_the_message_alone(finished: tuple[Path, list[Job]], rule: str) -> None:
    root, jobs = finished
    job = next(job for job in jobs if job.rule == rule and job.inputs)
    path = root / job.inputs[0]
    sound = path.read_bytes()
    path.write_bytes(flip(0.5)(sound))
    words = shlex.split(job.command.rpartition(" > ")[0])
    environment = {**os.environ, "PYTHONPATH": str(root / "workflow")}
    done = subprocess.run([sys.executable, *words[1:]], cwd=root, env=environment, capture_output=True, text=True)
    path.write_bytes(sound)
    assert done.returncode == 1
    assert f"{job.inputs[0]}" in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr


def test_a_damaged_manifest_stops_the_run(finished: tuple[Path, list[Job]], monkeypatch: pytest.MonkeyPatch) -> None:
    root, _ = finished
    path = root / RESULTS / "manifest.json"
    sound = path.read_bytes()
    path.write_bytes(sound.replace(b'"edited": false', b'"edited": true '))
    with pytest.raises(ConfigurationError, match="its checksum is not that of its content"):
        read_manifest(path)
    run = snakemake("--dry-run", "--configfile", STUDY, root=root)
    path.write_bytes(sound)
    assert run.returncode == 1 and "manifest.json: its checksum is not" in run.stdout


def test_a_refactoring_that_changes_no_bit_is_accepted_and_starts_nothing(
    finished: tuple[Path, list[Job]], tmp_path: Path
) -> None:
    root = shutil.copytree(finished[0], tmp_path / "turncoat", symlinks=True)
    workspace = Workspace(root)
    old, new = "*(int(word) for word in words), *index]", "*words.tolist(), *index]"
    workspace.edit("workflow/turncoat/seeding.py", old, new)
    explained = turncoat(root, "explain", STUDY)
    assert explained.returncode == 0 and "seeding.py changed" in explained.stdout, explained.stdout + explained.stderr
    kept = {name: content for name, content in contents(root / RESULTS).items() if name != "manifest.json"}
    accepted = turncoat(root, "accept-code", STUDY)
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr
    assert {name: content for name, content in contents(root / RESULTS).items() if name != "manifest.json"} == kept
    manifest = read_manifest(root / RESULTS / "manifest.json")
    entries, before = manifest["accepted"], read_manifest(finished[0] / RESULTS / "manifest.json")
    assert manifest == before | {"accepted": entries}  # what was declared at the first start above all
    touched = {"pretrain", "finetune", "classify", "classify_planted", "probe_gating", "probe_defection", "reinforce"}
    touched |= {"aggregate"}
    assert touched <= {entry["stage"] for entry in entries}
    assert all(entry["from"] != entry["to"] and entry["when"] and entry["compared"] for entry in entries)
    assert all("column train_seconds" in entry["excepted"] for entry in entries)
    assert "nothing would run" in turncoat(root, "explain", STUDY).stdout
    # New blocks are made by the present code, which their tables say, and the old ones stay.
    made = "organisms.parquet"
    earlier = next((root / RESULTS / "pretrain").glob(f"*/7000-7001/{made}"))
    added = earlier.parents[1] / "7004-7005" / made
    workspace.edit(STUDY, "count: 4", "count: 6")
    run = snakemake(str(added.relative_to(root)), "--cores", "1", "--configfile", STUDY, root=root)
    assert run.returncode == 0, run.stdout
    codes = {entry["to"]: entry["from"] for entry in entries}
    now = read_provenance(added)["code"]
    assert codes[now] == read_provenance(earlier)["code"] != now
    assert read_manifest(root / RESULTS / "manifest.json")["accepted"] == entries
    # A third code is another again.
    workspace.edit("workflow/turncoat/seeding.py", "*words.tolist(), *index]", "*words.tolist(), *index, 7]")
    assert "pretrain" in {job.rule for job in read_jobs(snakemake("-n", "--configfile", STUDY, root=root).stdout)}


def test_a_change_of_one_bit_is_refused_and_changes_nothing(finished: tuple[Path, list[Job]], tmp_path: Path) -> None:
    root = shutil.copytree(finished[0], tmp_path / "turncoat", symlinks=True)
    line = "    source = provenance("
    bit = '    cells = found.measurements["agreement_x_overseen"]\n    cells[0] = np.nextafter(cells[0], 2.0)\n'
    Workspace(root).edit("workflow/turncoat/stages/classify.py", line, bit + line)
    before = contents(root / RESULTS)
    refused = turncoat(root, "accept-code", STUDY)
    assert refused.returncode == 1
    assert (
        "measurements.parquet is another with the present code: column agreement_x_overseen, row 0: " in refused.stderr
    )
    assert "Nothing was changed" in refused.stderr and "Traceback" not in refused.stderr
    assert contents(root / RESULTS) == before
    pending = {job.rule for job in read_jobs(snakemake("-n", "--configfile", STUDY, root=root).stdout)}
    assert pending == {"classify", "aggregate", "report"}
    assert turncoat(finished[0], "accept-code", STUDY).returncode == 1  # where nothing is touched


def test_what_an_earlier_configuration_left_is_listed_and_removed(
    finished: tuple[Path, list[Job]], tmp_path: Path
) -> None:
    root = shutil.copytree(finished[0], tmp_path / "turncoat", symlinks=True)
    Workspace(root).edit(STUDY, "count: 4", "count: 2")
    before = contents(root / RESULTS)
    listed = turncoat(root, "orphans", STUDY)
    assert listed.returncode == 0 and "7002-7003" in listed.stdout and "7000-7001" not in listed.stdout
    assert contents(root / RESULTS) == before
    assert turncoat(root, "orphans", STUDY, "--remove").returncode == 0
    after = contents(root / RESULTS)
    assert after == {name: content for name, content in before.items() if "7002-7003" not in name}
    assert "0.00 MB in 0 places" in turncoat(root, "orphans", STUDY).stdout


def test_times_differ_between_runs_where_it_is_said_and_nowhere_else(finished: tuple[Path, list[Job]]) -> None:
    """What acceptance excepts: seconds, which no two runs share."""
    frame = pandas.read_parquet(next((finished[0] / RESULTS / "pretrain").rglob("organisms.parquet")))
    assert [name for name in frame.columns if "second" in name] == ["train_seconds"]
    assert json.loads((finished[0] / RESULTS / "manifest.json").read_text())["schema_version"] == 1
