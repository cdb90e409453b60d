"""Results that no cell and block of a study's present configuration owns, and files that killed jobs left half written.

    python -m turncoat orphans [OVERLAY ...] [--remove]

Only what is named as turncoat names results is ever listed or removed; whatever else lies in the folder stays.
"""

import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from turncoat.configuration.plan import PLANTED, Plan

CELL = re.compile(r"[0-9a-f]{10}")
BLOCK = re.compile(r"[0-9]+-[0-9]+")
HALF_WRITTEN = re.compile(r"\..+\.[0-9]+\.tmp")
IN_FOLDERS = ("pretrain", "finetune", "elicit", "classify")  # <stage>/<cell>/<block>/
IN_FILES = ("gating", "gating_sums", "reinforce")  # <stage>/<cell>/<block>.parquet
OF_STAGE = {"gating": ("finetune",), "gating_sums": ("finetune",), "classify": ("pretrain", "finetune")}


def orphans(folder: Path, plan: Plan) -> list[Path]:
    """Return the folders and files in the study's `folder` that `plan` does not name, sorted."""
    return sorted({*_unowned(folder, plan), *_half_written(folder)})


def size(path: Path) -> int:
    """Bytes in a file, or in all files of a folder."""
    if path.is_dir() and not path.is_symlink():
        return sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())
    return path.lstat().st_size


def remove(paths: Iterable[Path]) -> None:
    """Remove files and folders, and the folder of a cell of which nothing is left."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        if CELL.fullmatch(path.parent.name) and not any(path.parent.iterdir()):
            path.parent.rmdir()


def listed(paths: Iterable[Path]) -> str:
    """One line for each path, with its size, and their sum."""
    sizes = {path: size(path) for path in paths}
    lines = [f"{bytes_ / 1e6:10.2f} MB  {path}" for path, bytes_ in sizes.items()]
    return "\n".join([*lines, f"{sum(sizes.values()) / 1e6:10.2f} MB in {len(sizes)} places"])


def _unowned(folder: Path, plan: Plan) -> Iterator[Path]:
    blocks = {block.name for block in plan.blocks}
    for stage in (*IN_FOLDERS, *IN_FILES):
        if stage == "reinforce":
            owned = set(plan.reinforced)
        else:
            owned = {cell for kind in OF_STAGE.get(stage, (stage,)) for cell in plan.ids(kind)}
        places = [(folder / stage, "" if stage in IN_FOLDERS else ".parquet")]
        rule = {"gating": "gating", "gating_sums": None}.get(stage, stage)
        if rule:
            places += [(folder / "logs" / rule, ".log"), (folder / "benchmarks" / rule, ".tsv")]
        for place, suffix in places:
            yield from _in_place(place, suffix, owned, blocks)


def _in_place(place: Path, suffix: str, owned: set[str], blocks: set[str]) -> Iterator[Path]:
    for cell in place.iterdir() if place.is_dir() else ():
        named = CELL.fullmatch(cell.name) or (cell.name == PLANTED and place.name == "reinforce")
        if not named or cell.is_symlink() or not cell.is_dir():
            continue
        for path in cell.iterdir():
            block = path.name.removesuffix(suffix)
            right = path.name.endswith(suffix) and path.is_dir() == (suffix == "") and BLOCK.fullmatch(block)
            if right and not (cell.name in owned and block in blocks):
                yield path


def _half_written(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob(".*.tmp") if HALF_WRITTEN.fullmatch(path.name) and path.is_file())
