"""The environments agree: conda's pins are pip's, and both satisfy what the package asks for."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import yaml
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parents[2]
CONDA_NAMES = {"pytorch": "torch"}
CORE = ("worlds", "organisms", "training", "classification", "gating")
RUNS_JOBS = {"snakemake", "pygments"}  # outside the environment that a job's process runs in


def constraints() -> dict[str, str]:
    lines = (REPOSITORY / "envs" / "constraints.txt").read_text().splitlines()
    pins = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {name.lower(): pinned for name, pinned in pins}


def test_conda_pins_what_pip_pins() -> None:
    environment = yaml.safe_load((REPOSITORY / "envs" / "turncoat.yaml").read_text())
    pinned = dict(re.split(r"\s*=\s*", line) for line in environment["dependencies"])
    pinned.pop("python")
    for name, version in pinned.items():
        assert constraints()[CONDA_NAMES.get(name, name)] == version, name


def test_every_dependency_is_pinned_within_its_range() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    for text in (*project["dependencies"], *project["optional-dependencies"]["test"]):
        requirement = Requirement(text)
        assert requirement.specifier.contains(constraints()[requirement.name.lower()]), text


def test_no_build_of_torch_is_chosen() -> None:
    assert not any("+" in pinned for pinned in constraints().values())
    assert not any(name.startswith("nvidia") for name in constraints())


def test_the_conda_environment_holds_all_that_jobs_import() -> None:
    environment = yaml.safe_load((REPOSITORY / "envs" / "turncoat.yaml").read_text())
    held = {re.split(r"\s*=\s*", line)[0] for line in environment["dependencies"]} - {"python"}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    needed = {Requirement(text).name.lower() for text in project["dependencies"]}
    assert {CONDA_NAMES.get(name, name) for name in held} == needed - RUNS_JOBS


def imported(path: Path) -> Iterator[str]:
    """What a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_core_needs_torch_and_numpy_alone() -> None:
    """And of turncoat only the core itself and what lies at its root, so that it runs from a notebook."""
    package = REPOSITORY / "workflow" / "turncoat"
    rooms = {path.name for path in package.iterdir() if path.is_dir()} - set(CORE)
    files = [path for room in CORE for path in (package / room).glob("*.py")]
    assert len(files) > 20
    for path in files:
        for name in imported(path):
            first, *rest = name.split(".")
            if first == "turncoat":
                assert rest[0] not in rooms, f"{path.name} imports {name}"
            else:
                assert first in {"torch", "numpy"} or first in sys.stdlib_module_names, f"{path.name} imports {name}"
