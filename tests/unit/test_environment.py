"""The environments agree: conda's pins are pip's, and both satisfy what the package asks for."""

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parents[2]
CONDA_NAMES = {"pytorch": "torch"}


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
