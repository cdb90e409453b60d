"""The environments agree: conda's pins are pip's, and both satisfy what the package asks for."""

import ast
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parents[2]
CONDA = {"turncoat.yaml": "pytorch-cpu", "turncoat-cuda.yaml": "pytorch-gpu"}  # and what it calls its build of torch
CORE = ("native", "worlds", "organisms", "training", "classification", "gating")
KERNELS = ("_kernel", "_kernels")  # modules of kernels for GPUs
RUNS_JOBS = {"snakemake", "pygments", "psutil"}  # outside the environment that a job's process runs in


def constraints() -> dict[str, str]:
    lines = (REPOSITORY / "envs" / "constraints.txt").read_text().splitlines()
    pins = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {name.lower(): pinned for name, pinned in pins}


def conda_pins(file: str) -> dict[str, str]:
    """What a conda environment pins, its torch by pip's name, and without Python."""
    environment = yaml.safe_load((REPOSITORY / "envs" / file).read_text())
    pinned = dict(re.split(r"\s*=\s*", line) for line in environment["dependencies"])
    assert pinned.pop("python") == "3.11"
    pinned["torch"] = pinned.pop(CONDA[file])
    return pinned


@pytest.mark.parametrize("file", CONDA)
def test_conda_pins_what_pip_pins(file: str) -> None:
    for name, version in conda_pins(file).items():
        assert constraints()[name] == version, name


def test_every_dependency_is_pinned_within_its_range() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    for text in (*project["dependencies"], *(text for extra in optional.values() for text in extra)):
        requirement = Requirement(text)
        assert requirement.specifier.contains(constraints()[requirement.name.lower()]), text


def test_no_build_of_torch_is_chosen() -> None:
    assert not any("+" in pinned for pinned in constraints().values())
    assert not any(name.startswith("nvidia") for name in constraints())


@pytest.mark.parametrize("file", CONDA)
def test_the_conda_environment_holds_all_that_jobs_import(file: str) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    needed = {Requirement(text).name.lower() for text in project["dependencies"]}
    assert set(conda_pins(file)) == needed - RUNS_JOBS


def test_the_container_takes_its_versions_from_the_constraints() -> None:
    """The recipe cannot be built in a test; what it says can be read."""
    text = (REPOSITORY / "envs" / "Dockerfile").read_text()
    lines = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", text, flags=re.M)).splitlines()
    instructions = [line.split(maxsplit=1) for line in lines if line.strip()]
    assert {word for word, _ in instructions} <= {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "ENTRYPOINT"}
    assert instructions[0][0] == "FROM"
    installs = [rest for word, rest in instructions if word == "RUN" and "pip install" in rest]
    assert installs
    assert all("--constraint envs/constraints.txt" in rest for rest in installs)
    assert "==" not in text
    copied = [name for word, rest in instructions if word == "COPY" for name in rest.split()[:-1]]
    assert [name for name in copied if not (REPOSITORY / name).exists()] == []
    assert {"Snakefile", "config.yaml", "workflow", "profiles", "envs", "pyproject.toml"} <= set(copied)
    command = next(rest for word, rest in instructions if word == "ENTRYPOINT")
    assert json.loads(command)[0] == "snakemake"


def imported(path: Path, at_once: bool = False) -> Iterator[str]:
    """What a file imports, wherever in it, or when it is itself imported."""
    tree = ast.parse(path.read_text())
    for node in tree.body if at_once else ast.walk(tree):
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
        loaded = [name for name in imported(path, at_once=True) if name.endswith(KERNELS)]
        assert not loaded, f"{path.name} loads {loaded} even where there is no GPU"
        for name in imported(path):
            first, *rest = name.split(".")
            if first == "turncoat":
                assert rest[0] not in rooms, f"{path.name} imports {name}"
            else:
                kernels = {"triton"} if path.stem.endswith(KERNELS) else set()  # PyTorch for CUDA has it
                known = {"torch", "numpy"} | kernels | sys.stdlib_module_names
                assert first in known, f"{path.name} imports {name}"
