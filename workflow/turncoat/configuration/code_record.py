"""Which modules each fingerprint of a study's code stands for, so that a changed fingerprint can be put into words."""

import json
from collections.abc import Iterable
from pathlib import Path

from turncoat.configuration.study_file import replace_text
from turncoat.fingerprint import ROOT, module_hashes, stage_fingerprint, stage_modules

FOLDER = "code"


def save_code(folder: Path, stages: Iterable[tuple[str, tuple[str, ...]]]) -> None:
    """Write <folder>/code/<fingerprint>.json, the hash of each module, for stages and the plug-ins each imports."""
    for stage, plugins in stages:
        path = folder / FOLDER / f"{stage_fingerprint(stage, plugins=plugins)}.json"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_text(path, json.dumps(module_hashes(stage_modules(stage, plugins=plugins)), indent=1) + "\n")


def changed_modules(folder: Path, before: str, now: str) -> list[str] | None:
    """Return the modules that differ between two fingerprints; None where the study keeps no record of the first.

    The second may be that of the code as it is now.
    """
    old = _record(folder, before)
    new = _record(folder, now) or _current(old)
    if old is None:
        return None
    return sorted(name for name in {*old, *new} if old.get(name) != new.get(name))


def _record(folder: Path, code: str) -> dict[str, str] | None:
    try:
        content = json.loads((folder / FOLDER / f"{code}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _current(old: dict[str, str] | None) -> dict[str, str]:
    """What the modules of an older record hold now; those that came since are not known from it."""
    return module_hashes({ROOT / name for name in old or {} if (ROOT / name).is_file()})
