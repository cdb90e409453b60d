"""What a study was run with, saved beside its results before the first job."""

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from turncoat.configuration.cells import canonical_json, digest
from turncoat.configuration.code_record import save_code
from turncoat.configuration.device import has_gpu
from turncoat.configuration.errors import ConfigurationError
from turncoat.configuration.models import Config
from turncoat.configuration.plan import Plan
from turncoat.configuration.studies import overlay_names
from turncoat.configuration.study_file import NAME, read_manifest, replace_text, write_manifest
from turncoat.fingerprint import ROOT, files_fingerprint, imported_files, stage_fingerprint

STAGES = (
    "pretrain",
    "finetune",
    "classify",
    "classify_planted",
    "probe_gating",
    "probe_defection",
    "reinforce",
    "aggregate",
    "report",
)
PACKAGES = (
    "snakemake",
    "torch",
    "numpy",
    "pandas",
    "pyarrow",
    "pydantic",
    "scipy",
    "safetensors",
    "matplotlib",
)
JUDGING = ("statistics/analysis.py", "statistics/outcomes.py", "classification/types.py")
PUT_TOGETHER = (
    "statistics/claims.yaml",
    "configuration/plan.py",
    "tables/jobs.py",
    "tables/collect.py",
    "tables/assembly.py",
    "tables/factors.py",
    "stages/aggregate.py",
)
"""Hashed by themselves, without what they import: they write tables too, which judge nothing."""
FROZEN = {"config_sha256": "configuration", "claims_sha256": "claims or the code that judges them"}
"""Hashes in the manifest that must be those of the first start, and what they are of."""
BACK_AGAIN = "claims or configuration, and back again"
TRAINED = ("pretrain", "finetune", "tables")
"""Folders whose files a study has only after its first start."""
FIRST = ("started", "config_sha256", "claims_sha256", "git_commit")


def save_study(config: Config, plan: Plan, repository: Path, overlays: Sequence[Path], cores: int | None) -> None:
    """Write results/<study>/config.yaml and manifest.json, each under a temporary name and then renamed.

    The manifest's `first` keeps when the study first started and the hashes of claims and configuration then;
    `edited` says whether either was ever another since, for what has been seen cannot be unseen; `lost` whether there
    were results already, but no manifest that says what they were made to test; `looks` the numbers of seeds that it
    was started with. Raises ConfigurationError where the folder cannot be written.
    """
    folder = Path("results") / config.study
    try:
        _save(folder, config, plan, repository, overlays, cores)
    except OSError as error:
        problem = f"{folder.resolve()} cannot be written: {error.strerror} ({error.filename}); nothing was run"
        raise ConfigurationError([problem], "the results folder") from None


def _save(
    folder: Path, config: Config, plan: Plan, repository: Path, overlays: Sequence[Path], cores: int | None
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    manifest = describe(config, plan, repository, overlays, cores)
    previous = folder / NAME
    manifest["first"] = {key: manifest[key] for key in FIRST}
    manifest["edited"] = False
    manifest["lost"] = not previous.is_file() and any(any((folder / name).rglob("*.parquet")) for name in TRAINED)
    if previous.is_file():
        before = read_manifest(previous)
        manifest["first"] = before["first"]
        manifest["accepted"], manifest["lost"] = before.get("accepted", []), before.get("lost", False)
        changed = any(manifest[key] != manifest["first"][key] for key in ("config_sha256", "claims_sha256"))
        manifest["edited"] = changed or before.get("edited", True)
        manifest["looks"] = sorted({*before.get("looks", []), *manifest["looks"]})
    replace_text(folder / "config.yaml", merged_yaml(config))
    dodges = {cell.settings["dodge"] for cell in plan.cells if "dodge" in cell.settings}
    tried = product(("pretrain", "finetune"), sorted(dodges))
    plain = [(stage, ()) for stage in STAGES]
    save_code(folder, [*plain, *((stage, (f"dodges/{dodge}",)) for stage, dodge in tried)])
    write_manifest(previous, manifest)


def accepted_codes(study: str) -> dict[str, str]:
    """Return, for each accepted fingerprint, that of the code whose results it was shown to make bit for bit.

    Raises ConfigurationError where the study's manifest is damaged.
    """
    path = Path("results") / study / NAME
    accepted = read_manifest(path).get("accepted", []) if path.is_file() else []
    return {entry["to"]: entry["from"] for entry in accepted}


def describe(
    config: Config, plan: Plan, repository: Path, overlays: Sequence[Path], cores: int | None
) -> dict[str, Any]:
    """Return the manifest of a run that starts now."""
    commit = _git(repository, "rev-parse", "HEAD")
    changes = _git(repository, "status", "--porcelain")
    return {
        "study": config.study,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "overlays": overlay_names(repository, overlays),
        "config_sha256": config_sha256(config),
        "claims_sha256": claims_sha256(),
        "looks": [config.seeds.count],
        "git_commit": commit,
        "git_dirty": None if changes is None else bool(changes),
        "code": {stage: stage_fingerprint(stage) for stage in STAGES},
        "device": "cuda" if has_gpu() else "cpu",
        "host_cores": os.cpu_count(),
        "cores": cores,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": {package: _version(package) for package in PACKAGES},
        "models": plan.totals.models,
        "jobs": plan.totals.jobs,
    }


def config_sha256(config: Config) -> str:
    """Return the hash of the merged configuration, the same for equal values however they were written.

    The number of seeds does not count where it is planned to grow (`statistics.planned_seeds`).
    """
    values = config.model_dump()
    if config.statistics.planned_seeds is not None:
        del values["seeds"]["count"]
    return digest(canonical_json(values))


def claims_sha256() -> str:
    """Return the hash of the claims' declarations and of the code that judges them, without comments and docstrings.

    That code is what verdicts go through: the analysis with all that it imports, outcomes, types, and what puts the
    models' numbers together for them. What only
    describes (figures, tables beside the claims, tests of the classifier) may change.
    """
    judging = set().union(*(imported_files(ROOT / file) for file in JUDGING))
    return files_fingerprint({*judging, *(ROOT / file for file in PUT_TOGETHER)})


def merged_yaml(config: Config) -> str:
    """Return the merged configuration as YAML."""
    return yaml.safe_dump(config.model_dump(), sort_keys=False, default_flow_style=None, width=110)


def _git(repository: Path, *arguments: str) -> str | None:
    """Return what git says, None where there is no git or no repository."""
    try:
        answer = subprocess.run(["git", *arguments], cwd=repository, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
