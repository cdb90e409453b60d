"""The GPU benchmark's figures: ratios at equal sizes alone, JAX with each generator, nothing told unmeasured."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu_report import ratios, write_report

FACTS = {"device": "a GPU", "date": "today", "torch": "2"}
OURS = "turncoat, kernels"


def row(name: str, members: int, rate: float, width: int = 64, memory: float | None = None) -> dict[str, Any]:
    shape = {"name": name, "width": width, "members": members}
    return shape | {"rate": rate, "seconds": members / rate, "memory": memory, "note": "told"}


def make_rows() -> list[dict[str, Any]]:
    """turncoat is fastest at a size that JAX was not measured at, and faster again when measured again."""
    return [
        row(OURS, 4, 800.0),
        row(OURS, 2, 400.0, memory=1.25),
        row(OURS, 1, 100.0),
        row("turncoat, kernels, again", 2, 480.0),
        row("turncoat, kernels, TF32", 2, 900.0),
        row("eager, one at a time", 1, 50.0),
        row("JAX jit(vmap(scan)), threefry", 2, 500.0),
        row("JAX jit(vmap(scan)), threefry", 8, 160.0),
        row("JAX jit(vmap(scan)), rbg, TF32 (its default)", 2, 200.0),
        row("torch.func.vmap", 16, 1.0),
        row("matrix products", 2, 1000.0),
        row("matrix products, TF32", 2, 1800.0),
        {"name": "JAX jit(vmap(scan)), rbg", "width": 64, "members": 4, "failed": "no memory"},
    ]


def test_ratios_are_of_equal_sizes() -> None:
    assert ratios(make_rows(), OURS, 64) == {
        "eager, one at a time": {4: 16.0, 2: 8.0, 1: 2.0},  # whose rate is that of any number of models
        "JAX jit(vmap(scan)), threefry": {2: 0.8},
        "JAX jit(vmap(scan)), rbg, TF32 (its default)": {2: 2.0},
    }
    assert ratios(make_rows(), OURS, 256) == {}


def test_what_was_not_measured_is_left_empty(tmp_path: Path) -> None:
    status = write_report(make_rows(), {64: OURS, 256: "turncoat, compiled graph"}, FACTS, tmp_path, [2000.0])
    assert status == 1  # a row failed
    lines = (tmp_path / "gpu.md").read_text().splitlines()
    assert f"| {OURS} | 64 | 2 | 400 | 5,000.0 | 0.40 | 1.25 | told |" in lines
    assert f"| {OURS} | 64 | 1 | 100 | 10,000.0 |  |  | told |" in lines
    assert "| turncoat, kernels, TF32 | 64 | 2 | 900 | 2,222.2 | 0.50 |  | told |" in lines
    assert "| JAX jit(vmap(scan)), rbg | 64 | 4 | failed | | | | no memory |" in lines
    assert "- Width 64, times as many as JAX jit(vmap(scan)), threefry (at so many members): 0.80 (2)." in lines
    assert "- A study of 2,000 model-steps at width 64 would train for 2.5 s with 4 members at once " in "\n".join(
        lines
    )
    assert not any("256" in line for line in lines)
    with (tmp_path / "gpu.csv").open(newline="") as file:
        assert [kept["memory"] for kept in csv.DictReader(file)][:3] == ["", "1.25", ""]
    assert write_report(make_rows()[:-1], {64: OURS}, FACTS, tmp_path, []) == 0


def test_jax_is_measured_with_every_generator(capsys: pytest.CaptureFixture[str]) -> None:
    """At the first size with both, at the next with the one that was faster; no memory is told."""
    pytest.importorskip("jax")
    from benchmarks import gpu_jax

    rates = {"threefry2x32": 3.0, "unsafe_rbg": 2.0}
    measured: list[tuple[int, str, str]] = []

    def measure(width: int, members: int, seconds: float, steps: int, precision: str, generator: str) -> dict[str, Any]:
        measured.append((members, precision, generator))
        found = real(width, members, seconds, steps, precision, generator) if members == 1 else {}
        return found | {"rate": rates[generator]}

    real = gpu_jax.measure
    command = ["gpu_jax", "--width", "8", "--seconds", "0.01", "--steps", "2", "--members", "1", "3"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu_jax, "measure", measure)
        patch.setattr("sys.argv", [*command, "--precision", "highest"])
        with pytest.raises(SystemExit) as ended:
            gpu_jax.main()
    assert ended.value.code == 0
    assert measured == [(1, "highest", "threefry2x32"), (1, "highest", "unsafe_rbg"), (3, "highest", "threefry2x32")]
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["name"] for line in told[1:3]] == ["JAX jit(vmap(scan)), threefry", "JAX jit(vmap(scan)), rbg"]
    assert "memory" not in told[1]
    assert gpu_jax.name_of("default", "unsafe_rbg") == "JAX jit(vmap(scan)), rbg, TF32 (its default)"
