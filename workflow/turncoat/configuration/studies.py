"""Which study a run belongs to: one name, one overlay, one results folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from turncoat.configuration.errors import ConfigurationError
from turncoat.configuration.loading import load_config, read_yaml
from turncoat.configuration.models import Config
from turncoat.configuration.study_file import read_manifest

DEFAULT_FILE = "config.yaml"


def open_study(
    values: Mapping[str, Any],
    repository: Path,
    overlays: Sequence[Path] = (),
    command_line: Mapping[str, Any] | None = None,
) -> Config:
    """Check the merged `values` of a study and that its results folder is its own; return its configuration.

    `overlays` are the files given with --configfile, `command_line` the values given with --config. Results
    are looked for under the working directory. Raises ConfigurationError with every problem found.
    """
    layers = [*(read_yaml(path) for path in overlays), command_line or {}]
    source = " + ".join([DEFAULT_FILE, *(path.name for path in overlays)])
    problems = _name_problems(values, repository, overlays, layers) if overlays else []
    try:
        config = load_config(values, source)
    except ConfigurationError as error:
        raise ConfigurationError([*problems, *error.problems], source) from None
    problems += _owner_problems(config.study, repository, overlays)
    if problems:
        raise ConfigurationError(problems, source)
    return config


def overlay_names(repository: Path, overlays: Sequence[Path]) -> list[str]:
    """Return the overlays' paths as a manifest keeps them: relative to the repository if inside it."""
    resolved = [path.resolve() for path in overlays]
    root = repository.resolve()
    return [str(path.relative_to(root) if path.is_relative_to(root) else path) for path in resolved]


def _name_problems(
    values: Mapping[str, Any], repository: Path, overlays: Sequence[Path], layers: Sequence[Mapping[str, Any]]
) -> list[str]:
    default = read_yaml(repository / DEFAULT_FILE).get("study", Config().study)
    if not any("study" in layer for layer in layers):
        mixed = f"so results would mix with those of {default}"
        return [f"study: is missing in {overlays[-1].name}, {mixed}; add a line such as `study: mine`"]
    study = values.get("study")
    if study == default:
        return [f"study = {study!r}: is the name of {DEFAULT_FILE}; allowed: a name of its own"]
    given = {path.resolve() for path in overlays}
    for shipped in sorted((repository / "workflow" / "studies").glob("*.yaml")):
        if shipped.resolve() not in given and _study_named_in(shipped) == study:
            return [f"study = {study!r}: is the name of workflow/studies/{shipped.name}; allowed: its own name"]
    return []


def _study_named_in(path: Path) -> object:
    try:
        return read_yaml(path).get("study")
    except ConfigurationError:
        return None  # another study's broken file is that study's problem


def _owner_problems(study: str, repository: Path, overlays: Sequence[Path]) -> list[str]:
    """A results folder belongs to the files it was made from, as long as they exist."""
    folder = Path("results") / study
    manifest = folder / "manifest.json"
    remedy = f"allowed: another name, or removing {folder}"
    blocking = next((path for path in (folder, folder.parent) if path.exists() and not path.is_dir()), None)
    if blocking is not None:
        return [f"study = {study!r}: {blocking} is a file, where results must go; allowed: another name, or moving it"]
    if not manifest.is_file():
        return []
    try:
        owners = read_manifest(manifest)["overlays"]
    except ConfigurationError as error:
        return [f"study = {study!r}: {problem}" for problem in error.problems]
    except KeyError:
        return [f"study = {study!r}: {manifest} is no manifest of turncoat; {remedy}"]
    names = overlay_names(repository, overlays)
    if owners == names or not all((repository / owner).is_file() for owner in owners):
        return []
    made, asked = (" + ".join(files) or DEFAULT_FILE for files in (owners, names))
    return [f"study = {study!r}: {folder} was made from {made}, not {asked}; {remedy}"]
