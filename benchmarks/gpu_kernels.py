"""How the tilings of the kernels of relu networks compare, on a GPU, at the width and number of members asked for.

PYTHONPATH=workflow python -m benchmarks.gpu_kernels [--members N] [--precision P ...] [--compile]

`--compile` compiles alone, in many processes, what a later call then finds. Which tilings training uses stands in
`turncoat.organisms.relu_kernels`: results depend on them, so they are not chosen where training runs.
"""

import argparse
import itertools
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import torch
from torch import Tensor

from benchmarks.gpu_workload import OUTPUTS, SHOWN, make_architecture
from turncoat.organisms import relu_kernels
from turncoat.organisms.mlp import Stack
from turncoat.organisms.relu_kernels import USUAL, Tiling, Tilings

FORWARD = [(128, 8, 1), (128, 4, 1), (64, 4, 1), (64, 8, 1), (256, 8, 1)]
FIRST = [(64, 4, 1), (64, 8, 1), (32, 4, 1), (32, 4, 2), (64, 4, 2), (128, 8, 1)]
ABOVE = [(32, 4, 1), (32, 8, 1), (16, 4, 1), (32, 4, 2), (64, 4, 1), (64, 8, 1)]
CALLS = 5


def choices(precision: str) -> Iterator[tuple[str, Tilings]]:
    """What is varied, and the tilings with it; those without tensor cores are measured once."""
    for name, tried in (("forward", FORWARD), ("first", FIRST), ("above", ABOVE)):
        for tiling in tried[:1] if precision == "ieee" else tried:
            yield name, replace(USUAL, **{name: Tiling(*tiling)})


def make_passes(width: int, members: int) -> tuple[Callable[[str, Tilings], None], Callable[[str, Tilings], None]]:
    """Forward and backward passes of random networks."""
    architecture, device = make_architecture(width), torch.device("cuda")
    padded = members * architecture.parameters + -members * architecture.parameters % 64
    stack = Stack(architecture, torch.randn(padded, device=device) * 0.1, members)
    gradient = stack.with_flat(torch.zeros_like(stack.flat))
    shown = torch.randn(members, architecture.inputs, SHOWN, device=device).transpose(1, 2)
    at_output = torch.randn(members, OUTPUTS, SHOWN, device=device)
    hidden: list[Tensor] = relu_kernels.forward(stack, shown, OUTPUTS)[0]

    def forward(precision: str, tilings: Tilings) -> None:
        relu_kernels.forward(stack, shown, OUTPUTS, precision, tilings)

    def backward(precision: str, tilings: Tilings) -> None:
        relu_kernels.backward(stack, shown, hidden, at_output, gradient, precision, tilings)

    return forward, backward


def compile_one(case: tuple[int, str, str, Tilings]) -> None:
    width, precision, name, tilings = case
    try:
        make_passes(width, 2)[name != "forward"](precision, tilings)
        torch.cuda.synchronize()
    except Exception as problem:  # told again where it is measured
        print(f"{precision} {name} {getattr(tilings, name)}: {type(problem).__name__}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_kernels", description="Compare tilings.")
    parser.add_argument("--members", type=int, default=16384)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--precision", nargs="*", default=["tf32x3", "tf32", "ieee"])
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    cases = [(options.width, p, name, tilings) for p in options.precision for name, tilings in choices(p)]
    if options.compile:
        began = time.monotonic()
        with ProcessPoolExecutor(min(len(cases), os.cpu_count() or 1, 12), get_context("spawn")) as pool:
            list(pool.map(compile_one, cases))
        print(f"{len(cases)} compiled in {time.monotonic() - began:.0f} s", flush=True)
        return
    print(torch.cuda.get_device_name(), options.members, "members of width", options.width)
    passes = make_passes(options.width, options.members)
    for (precision, name), group in itertools.groupby(cases, key=lambda case: case[1:3]):
        for *_, tilings in group:
            run, tiling = passes[name != "forward"], getattr(tilings, name)
            try:
                for _ in range(2):
                    run(precision, tilings)
                torch.cuda.synchronize()
                began = time.perf_counter()
                for _ in range(CALLS):
                    run(precision, tilings)
                torch.cuda.synchronize()
                told = f"{1e3 * (time.perf_counter() - began) / CALLS:8.3f} ms a pass"
            except Exception as problem:  # the next may still run
                told = f"FAILED: {type(problem).__name__}: {problem}"[:150]
            print(
                f"{precision:7} {name:8} {tiling.rows:4} rows {tiling.warps} warps {tiling.stages} stages {told}",
                flush=True,
            )


if __name__ == "__main__":
    main()
