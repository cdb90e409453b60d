"""How a stage's process starts: without pandas, with garbage collection, and only where it is a process of its own."""

import gc
import json
import subprocess
import sys
from pathlib import Path

from running import EVALUATION

import turncoat.stages

COLLECTING = """
import gc, sys
sys.argv[0] = "-m"
import turncoat.stages
assert not gc.isenabled()
from turncoat.stages.common import _settle_modules
_settle_modules()
assert gc.isenabled() and gc.get_freeze_count() > 0
import pyarrow
assert pyarrow.array([1.0, None]).null_count == 1 and "pandas" not in sys.modules
import pandas
assert pyarrow.table({"a": [1]}).to_pandas().equals(pandas.DataFrame({"a": [1]}))
"""


def test_modules_are_settled_and_pandas_can_still_be_had() -> None:
    subprocess.run([sys.executable, "-c", COLLECTING], check=True)


def test_a_stage_that_needs_no_pandas_does_not_load_it(trained: Path, tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.parquet" for name in ("output", "curves", "causes", "knowledge")}
    command = [
        sys.executable, "-X", "importtime", "-m", "turncoat.stages.classify", "--threads", "1", "--label", "b",
        "--weights", str(trained / "child" / "weights.safetensors"), "--settings", json.dumps(EVALUATION),
        *(part for name, path in files.items() for part in (f"--{name}", str(path))),
    ]  # fmt: skip
    loaded = subprocess.run(command, text=True, capture_output=True, check=True).stderr
    modules = {line.split("|")[-1].strip() for line in loaded.splitlines() if line.startswith("import time:")}
    assert {"torch", "pyarrow.parquet"} <= modules
    assert not any(name.startswith("pandas.") for name in modules)  # pandas itself was looked for
    assert all(path.is_file() for path in files.values())


def test_loading_a_stage_in_another_program_leaves_its_garbage_collection_alone() -> None:
    assert not turncoat.stages.AS_PROGRAM and gc.isenabled()
