"""Which files a study's jobs write, which of them are missing, and which belong to no job of the plan."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol


class CellLike(Protocol):
    """What is needed of a cell of the plan."""

    @property
    def id(self) -> str: ...
    @property
    def stage(self) -> str: ...
    @property
    def labels(self) -> dict[str, Any]: ...
    @property
    def parent(self) -> str | None: ...


class BlockLike(Protocol):
    """What is needed of a block of seeds."""

    @property
    def name(self) -> str: ...
    @property
    def first(self) -> int: ...
    @property
    def count(self) -> int: ...


Job = tuple[str, str]
"""Id of a cell, or of a folder of reinforcement (`reinforce/<name>`), and name of a block."""


def absent_jobs(
    folder: Path, cells: Sequence[CellLike], blocks: Sequence[BlockLike], reinforced: Sequence[str] = ()
) -> set[Job]:
    """Jobs that lack a file, and those whose models descend from theirs: what a partial study does without."""

    def lacks(files: Iterable[Path]) -> bool:
        return not all((folder / path).is_file() for path in files)

    absent = {(cell.id, block.name) for cell in cells for block in blocks if lacks(_cell_files(cell, block))}
    for _ in cells:  # as deep as descent can be
        more = {(cell.id, block.name) for cell in cells for block in blocks if (cell.parent, block.name) in absent}
        if more <= absent:
            break
        absent |= more
    return absent | {
        (f"reinforce/{name}", block.name)
        for name in reinforced
        for block in blocks
        if (name, block.name) in absent or lacks([reinforced_file(name, block)])
    }


def _cell_files(cell: CellLike, block: BlockLike) -> Iterator[Path]:
    yield Path(cell.stage, cell.id, block.name, "organisms.parquet")
    yield Path(cell.stage, cell.id, block.name, "trajectories.parquet")
    if cell.stage == "elicit":
        return
    for name in ("measurements", "curves", "causes", "knowledge"):
        yield Path("classify", cell.id, block.name, f"{name}.parquet")
    if cell.stage == "finetune":
        yield Path("gating", cell.id, f"{block.name}.parquet")
        yield Path("gating_sums", cell.id, f"{block.name}.parquet")


def reinforced_file(name: str, block: BlockLike) -> Path:
    """What a job of reinforcement writes."""
    return Path("reinforce", name, f"{block.name}.parquet")


def job_files(
    cells: Iterable[CellLike],
    blocks: Sequence[BlockLike],
    reinforced: Sequence[str] = (),
    absent: Collection[Job] = (),
) -> Iterator[Path]:
    """The Parquet files that the plan's jobs write, relative to the study's folder; those in `absent` left out."""
    for cell in cells:
        for block in blocks:
            if (cell.id, block.name) not in absent:
                yield from _cell_files(cell, block)
    for name in reinforced:
        for block in blocks:
            if (f"reinforce/{name}", block.name) not in absent:
                yield reinforced_file(name, block)
    for name in ("planted", "discrimination", "known", "causes"):
        yield Path("planted", f"{name}.parquet")
    yield Path("defection", "defection.parquet")


def foreign_files(
    folder: Path, cells: Sequence[CellLike], blocks: Sequence[BlockLike], reinforced: Sequence[str] = ()
) -> list[Path]:
    """Parquet files of jobs that the plan does not name: an earlier configuration of the study left them."""
    expected = set(job_files(cells, blocks, reinforced))
    found: set[Path] = set()
    stages = (
        "pretrain",
        "finetune",
        "elicit",
        "classify",
        "gating",
        "gating_sums",
        "reinforce",
        "planted",
        "defection",
    )
    for stage in stages:
        found.update(path.relative_to(folder) for path in (folder / stage).rglob("*.parquet") if path.name[0] != ".")
    return sorted(found - expected)
