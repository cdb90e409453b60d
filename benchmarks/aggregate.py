"""How long the aggregate stage takes, and how much memory, on a study of 200,000 snapshots and 5 million ledger rows.

    python benchmarks/aggregate.py [--seeds 460] [--folder FOLDER] [--seconds 60] [--gigabytes 4]

Writes a synthetic study (tests/synthetic.py) into FOLDER, a temporary one by default, runs the stage on it by its own
command line in a process of its own, prints what it took as JSON, and ends with an error where a bar is missed. A study
that is already in FOLDER is used again. Of the ledger the stage reads the sums by circuit; of its rows by unit it only
checks that they are whole and made with these settings, as of every file.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "workflow")]

import pyarrow.parquet as parquet  # noqa: E402

from synthetic import SMALL, write_study  # noqa: E402
from turncoat.fingerprint import stage_fingerprint  # noqa: E402

SNAPSHOTS = 21  # log-spaced steps, of which some are the same
ROWS = {
    "models": "finetune/*/*/organisms.parquet",
    "snapshots": "finetune/*/*/trajectories.parquet",
    "measurements": "classify/*/*/measurements.parquet",
    "curves": "classify/*/*/curves.parquet",
    "ledger": "gating/*/*.parquet",
    "ledger_sums": "gating_sums/*/*.parquet",
}
SEEDS = 460  # of 23 fine-tuned models each: 202,400 snapshots and 5.2 million ledger rows
GIGABYTE = 2**30


def main() -> None:
    """Write the study, aggregate it, and compare with the bars."""
    parser = argparse.ArgumentParser(description="Time and memory of the aggregate stage on a large synthetic study.")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="seeds, of 23 fine-tuned models each")
    parser.add_argument(
        "--folder", type=Path, help="where the study is written and kept; a temporary folder if not set"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="bar on the wall-clock time")
    parser.add_argument("--gigabytes", type=float, default=4.0, help="bar on the peak memory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        found = {"seeds": options.seeds} | measure(folder, options.seeds)
    print(json.dumps(found, indent=2))
    if found["seconds"] > options.seconds or found["gigabytes"] > options.gigabytes:
        sys.exit(f"a bar is missed: {options.seconds:g} s, {options.gigabytes:g} GB")


def measure(folder: Path, seeds: int) -> dict[str, Any]:
    """Rows of the study in `folder`, which is written if it is not there, and what aggregating it took."""
    config = folder / "config.json"
    if not config.is_file():
        config.parent.mkdir(parents=True, exist_ok=True)
        written = write_study(folder, study(seeds))
        config.write_text(json.dumps(written))
    found = json.loads(config.read_text())["seeds"]["count"]
    if found != seeds:
        sys.exit(f"{folder} holds a study of {found} seeds, not {seeds}: name another folder, or --seeds {found}")
    rows = {
        name: sum(parquet.read_metadata(path).num_rows for path in folder.glob(where)) for name, where in ROWS.items()
    }
    files = [path for path in folder.rglob("*.parquet") if path.parent.name != "tables"]
    rows |= {"files": len(files), "megabytes": sum(path.stat().st_size for path in files) // 10**6}
    command = [sys.executable, "-m", "turncoat.stages.aggregate", "--config", f"@{config}", "--results", str(folder)]
    command += ["--threads", "1", "--code", stage_fingerprint("aggregate")]
    settings = os.environ | {"PYTHONPATH": str(ROOT / "workflow"), "OMP_NUM_THREADS": "1"}
    began = time.perf_counter()
    subprocess.run(command, check=True, env=settings)
    took = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)  # of that one process: nothing else was waited for
    spent = {"seconds": took, "cpu_seconds": used.ru_utime + used.ru_stime}
    return (
        rows
        | {name: round(value, 1) for name, value in spent.items()}
        | {"gigabytes": round(used.ru_maxrss * 1024 / GIGABYTE, 2)}
    )


def study(seeds: int) -> dict[str, Any]:
    """The synthetic study's arms with more snapshots, networks of the default size, and the default statistics."""
    arms = {name: {**arm, "snapshots": SNAPSHOTS} for name, arm in SMALL["arms"].items()}
    return {
        "seeds": {"first": 1000, "count": seeds, "block": min(seeds, 40)},
        "organism": {"width": 64},
        "finetuning": {"steps": 1600, "snapshots": SNAPSHOTS},
        "statistics": {},
        "arms": arms,
    }


if __name__ == "__main__":
    main()
