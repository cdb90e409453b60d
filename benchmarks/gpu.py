"""Members trained per second on a GPU: turncoat, one model at a time, torch.func.vmap, JAX, and the matrix products.

PYTHONPATH=workflow python -m benchmarks.gpu --out FOLDER [--quick] [--device cpu] [--only PART ...]

Needs torch and numpy; JAX's rows need jax. Prints each row as it comes, and writes gpu.json, gpu.csv and gpu.md. A row
that fails says why in the table; the others still run, and the command then ends with status 1. turncoat's row of the
middle size is measured before and after the others; each row fills some seconds after a warm-up. What is to be compared
comes first: a row for which no time is left (--budget) is told to be missing.
"""

import argparse
import datetime
import gc
import json
import logging
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.gpu_eager import eager_row, vmap_row
from benchmarks.gpu_report import write_report
from benchmarks.gpu_turncoat import limit_row, make_stack, make_steps, make_stream, profile, turncoat_row
from benchmarks.gpu_workload import DEPTH, OUTPUTS, Row
from turncoat.training.device_steps import MODES
from turncoat.training.devices import settle_process

PARTS = ("limit", "turncoat", "modes", "eager", "vmap", "jax", "check", "wide", "profile")
CHECKED_STEPS = 20
LONGEST_JAX = 140.0  # seconds of all its rows of one width
REPOSITORY = Path(__file__).parents[1]


class Table:
    """Rows as they come, and what failed."""

    def __init__(self, until: float) -> None:
        self.rows: list[dict[str, Any]] = []
        self.until = until

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        if "failed" in row:
            print(f"{row['name']:38} {row['width']:4} {row['members']:6}  FAILED: {row['failed']}", flush=True)
            return
        memory = "" if row.get("memory") is None else f"{row['memory']:.2f} GiB"
        print(
            f"{row['name']:38} {row['width']:4} {row['members']:6} {row['rate']:14,.0f} model-steps/s "
            f"{1e6 * row['seconds']:12,.1f} us/step {memory:>10}  {row['note']}",
            flush=True,
        )

    def guard(self, name: str, width: int, members: int, make: Callable[[], Row]) -> None:
        """Add a row, or why there is none."""
        if time.monotonic() > self.until:
            self.add({"name": name, "width": width, "members": members, "failed": "no time left (--budget)"})
            return
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        began = time.monotonic()
        try:
            row = asdict(make()) | {"name": name}
            row["note"] += f"; {time.monotonic() - began:.0f} s in all"
        except Exception as problem:  # told in the table and by the exit status
            row = {"name": name, "width": width, "members": members}
            row["failed"] = " ".join(f"{type(problem).__name__}: {problem}".split())[:500]
        self.add(row)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="Measure training on a GPU.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables")
    parser.add_argument("--quick", action="store_true", help="tiny sizes and times")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS), help="parts to measure")
    parser.add_argument("--members", type=int, nargs="*", help="numbers of members instead of the usual ones")
    parser.add_argument("--mode", default=None, choices=list(MODES), help="turncoat's mode")
    parser.add_argument("--seconds", type=float, help="measured seconds a row")
    parser.add_argument("--budget", type=float, default=300.0, help="seconds after which no further row is started")
    parser.add_argument("--study-steps", type=float, nargs="*", default=[], help="model-steps of a study, to estimate")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("PyTorch sees no GPU here; --device cpu --quick tries the command without one")
    device = torch.device(options.device)
    settle_process(1)
    for name in ("torch._inductor", "torch._dynamo"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"torch\._inductor")
    options.out.mkdir(parents=True, exist_ok=True)
    quick, cuda = options.quick, device.type == "cuda"
    seconds = options.seconds or (0.05 if quick else 2.0)
    mode = options.mode or ("kernels" if cuda else "plain")
    sizes = options.members or ([1, 4] if quick else [65536, 16384, 4096, 1024, 256, 64, 16, 1])
    width = 8 if quick and not cuda else 64
    table = Table(time.monotonic() + options.budget)
    facts = about(device)
    print(json.dumps(facts), flush=True)
    only = set(options.only)
    middle = sizes[len(sizes) // 2] if quick else min(16384, max(sizes))

    if "check" in only:
        table.rows += check_against_jax(options.out, device, mode)

    def ours(width: int, members: int, other: str = mode, tf32: bool = False, said: str = "") -> None:
        name = f"turncoat, {other}" + (", TF32" if tf32 else "") + said
        table.guard(name, width, members, lambda: turncoat_row(width, members, other, device, seconds, tf32))

    def limit(width: int, members: int, tf32: bool = False) -> None:
        name = "matrix products" + (", TF32" if tf32 else "")
        table.guard(name, width, members, lambda: limit_row(width, members, device, seconds / 4, tf32))

    wide, wide_members = (16 if width == 8 else 256), (sizes[0] if quick else min(4096, middle))
    wide_mode = "compiled graph" if cuda else mode  # the kernels are for narrower networks
    if "turncoat" in only:
        ours(width, middle)
        for members in (m for m in sizes if m > middle):
            ours(width, members)
    if "jax" in only:
        jax_sizes = sizes if quick else [middle, *(m for m in (4096, 65536) if m in sizes and m != middle)]
        run_jax(table, width, jax_sizes, seconds, quick, device)
    if "eager" in only:
        table.guard("eager, one at a time", width, 1, lambda: eager_row(width, device, seconds))
    if "wide" in only:
        ours(wide, wide_members, wide_mode)
        limit(wide, wide_members)
        if "jax" in only:
            run_jax(table, wide, [wide_members], seconds, quick, device, ["highest"])
    if "turncoat" in only:
        for members in (m for m in sizes if m < middle):
            ours(width, members)
    if "modes" in only and cuda:
        ours(width, middle, "kernels, TF32")
        ours(width, middle, "compiled graph")
        ours(width, middle, "compiled graph", tf32=True)
    if "limit" in only:
        for members in sizes if quick else [middle]:
            limit(width, members)
        limit(width, middle, tf32=True)
    if "profile" in only:
        profiled(table, width, middle, mode, device, options.out)
    if "turncoat" in only:
        ours(width, middle, said=", again")
    if "vmap" in only:
        table.guard("torch.func.vmap", width, middle, lambda: vmap_row(width, middle, device, seconds))
    used = {width: f"turncoat, {mode}", wide: f"turncoat, {wide_mode}"}
    sys.exit(write_report(table.rows, used, facts, options.out, options.study_steps))


def profiled(table: Table, width: int, members: int, mode: str, device: torch.device, out: Path) -> None:
    """Print and keep the profile of a mode."""
    try:
        text = profile(width, members, mode, device)
    except Exception as problem:  # as in Table.guard
        text = f"FAILED: {type(problem).__name__}: {problem}"[:500]
        table.add({"name": f"profile, {mode}", "width": width, "members": members, "failed": text})
    print(f"profile, {mode}, {members} members", text, sep="\n", flush=True)
    (out / f"profile-{mode.replace(' ', '-')}.txt").write_text(text)


def about(device: torch.device) -> dict[str, Any]:
    """Date, device and versions."""
    facts: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": sys.version.split()[0],
        "device": "cpu",
    }
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(0)
        facts |= {"device": found.name, "memory": f"{found.total_memory / 2**30:.0f} GiB", "cuda": torch.version.cuda}
    return facts


def run_jax(
    table: Table,
    width: int,
    sizes: Sequence[int],
    seconds: float,
    quick: bool,
    device: torch.device,
    precisions: Sequence[str] = ("highest", "default"),
) -> None:
    """JAX's rows, each line as it comes; all of the GPU's memory is its own meanwhile."""
    gc.collect()
    left = min(LONGEST_JAX, table.until - time.monotonic())
    if device.type == "cuda":
        torch.cuda.empty_cache()
    command = [sys.executable, "-m", "benchmarks.gpu_jax", "--width", str(width), "--seconds", str(seconds)]
    command += ["--members", *map(str, sizes)]
    command += ["--steps", "4"] if quick else []
    command += ["--precision", *precisions] if device.type == "cuda" else []
    failure = jax_process(command, device, left, table.add)
    if failure:
        table.add({"name": "JAX", "width": width, "members": 0, "failed": failure})


def jax_process(
    command: Sequence[str], device: torch.device, left: float, add: Callable[[dict[str, Any]], None]
) -> str | None:
    """Run it and hand on its rows; what went wrong, if it ended otherwise than by a row that says so."""
    if left <= 0:
        return "no time left (--budget)"
    environment = os.environ | {"PYTHONPATH": f"{REPOSITORY / 'workflow'}:{REPOSITORY}"}
    environment |= {"JAX_PLATFORMS": "cpu"} if device.type == "cpu" else {}
    with subprocess.Popen(
        ["timeout", f"{left:.0f}", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        told_failure = False
        for line in process.stdout:
            row = json.loads(line)
            if "name" in row:
                told_failure = told_failure or "failed" in row
                add(row)
            else:
                print(line, end="", flush=True)
        errors = process.stderr.read()
    if process.returncode == 124:
        return "no time left (--budget)"
    if process.returncode and not told_failure:
        return f"exit status {process.returncode}: {' '.join(errors.split())[-400:]}"
    return None


def check_against_jax(out: Path, device: torch.device, mode: str) -> list[dict[str, Any]]:
    """Train two members on the same batches in turncoat and in JAX, and compare losses and weights."""
    width, members = 16, 2
    steps = make_steps(width, members, mode, device)
    stream = make_stream(members, device)
    names = parameter_names(make_stack(width, members, device))
    given = {f"p_{name}": value.cpu().numpy() for name, value in names.items()}
    batches = [stream.batch(torch.tensor(number, device=device)) for number in range(CHECKED_STEPS)]
    given["inputs"] = np.stack([batch.inputs.transpose(1, 2).cpu().numpy() for batch in batches])
    given["values"] = np.stack([batch.attributes.transpose(1, 2).cpu().numpy() for batch in batches])
    given["best"] = np.stack([batch.targets.cpu().numpy() for batch in batches])
    np.savez(out / "batches.npz", **given)
    command = [sys.executable, "-m", "benchmarks.gpu_jax", "--check", str(out.resolve())]
    row: dict[str, Any] = {"name": "same batches, JAX against turncoat", "width": width, "members": members}
    failure = jax_process(command, device, 120, lambda _: None)
    if failure:
        row["failed"] = failure
    else:
        losses = []
        for _ in range(CHECKED_STEPS):
            steps.run(1)
            losses.append(steps.loss.cpu().numpy().copy())
        with np.load(out / "jax.npz") as file:
            apart = float(np.abs(file["losses"] - np.stack(losses)).max())
            ended = {f"p_{name}": value.cpu().numpy() for name, value in parameter_names(steps.stack).items()}
            kept = {name: slice(1, None) if name == "p_out_bias" else slice(None) for name in ended}
            moved = float(np.max([np.abs(ended[name] - given[name]).max() for name in ended]))
            off = float(np.max([np.abs(ended[name] - file[name])[:, part].max() for name, part in kept.items()]))
        row["difference"] = {"loss": apart, "weights": off, "moved": moved}
        if not (apart <= 1e-3 and off <= 1e-2 * moved):  # nor where one of them is no number
            row["failed"] = f"they train otherwise: {row['difference']}"
    print(row, flush=True)
    return [row]


def parameter_names(stack: Any) -> dict[str, torch.Tensor]:
    """A stack's parameters by the names and in the layout that JAX's row uses; trained readout columns alone."""
    views = stack.views
    named = {f"w{layer}": views[f"hidden{layer + 1}.weight"] for layer in range(DEPTH)}
    named |= {f"b{layer}": views[f"hidden{layer + 1}.bias"] for layer in range(DEPTH)}
    named["out"] = views["readout.weight"][:, :OUTPUTS].transpose(1, 2)
    named["out_bias"] = views["readout.bias"][:, :OUTPUTS]  # the score's has no gradient: Adam follows its rounding
    return {name: value.clone().contiguous() for name, value in named.items()}


if __name__ == "__main__":
    main()
