"""What of the disk and the clock would make a run fail, or never end, looked at before it starts."""

import shutil
import time
from pathlib import Path

from turncoat.configuration.errors import ConfigurationError

LEAST_BYTES = 1_000_000  # Snakemake's own notes and logs; without them it ends in the middle of its messages
AHEAD = 60.0  # seconds by which clocks of one cluster may differ


def require_room(folder: Path) -> None:
    """Raise ConfigurationError where nothing can be written below `folder`, because its disk is full."""
    free = shutil.disk_usage(folder).free
    if free < LEAST_BYTES:
        problem = (
            f"the disk of {folder.absolute()} is full ({free / 1e6:.1f} MB are free); free some space, then run the "
            "same command again: what is finished is kept"
        )
        raise ConfigurationError([problem], "the disk")


def clock_warning(results: Path) -> str:
    """What to do about results whose time lies in the future; empty where none does.

    A clock that was put back leaves them. What is made from them would be older than they are, and
    Snakemake refuses that.
    """
    limit = time.time() + AHEAD
    ahead = [path for path in results.rglob("*") if path.suffix and path.stat().st_mtime > limit]
    if not ahead:
        return ""
    return (
        f"{len(ahead)} files in {results} have times in the future, such as {min(ahead)}: the clock was put back. "
        "Snakemake refuses what is made from them, for it would be older than they are. Once the clock is right, run "
        f"this, then the study again: find {results} -newermt now -exec touch -d 2000-01-01 {{}} +"
    )
