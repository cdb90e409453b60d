"""Benchmarks: python -m benchmarks [training stages planning] [--quick] [--device cuda] [--output results/bench]

`make bench` runs them all, on one thread of one core. Times are CPU seconds of the process (on a GPU, seconds that
pass), of contenders in turn; compare rows of one run, never of two.
"""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTS = ("training", "stages", "planning")


@contextmanager
def one_core(wanted: bool) -> Iterator[None]:
    """Keep the process on one core, so that no contender gets a second; where the system can do that."""
    if not wanted or not hasattr(os, "sched_setaffinity"):
        yield
        return
    whole = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(whole)})
    yield
    os.sched_setaffinity(0, whole)


def main() -> None:
    """Run the parts asked for, all by default."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help=f"any of {', '.join(PARTS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="fewer sizes and steps: minutes, and rougher")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--output", type=Path, default=Path("results/bench"))
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown parts {sorted(unknown)}; allowed: {', '.join(PARTS)}")
    on_gpu = options.device == "cuda"
    # Read by libraries as they are imported.
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    flags = "--xla_cpu_multi_thread_eigen=false"
    os.environ.update(XLA_FLAGS=flags, XLA_PYTHON_CLIENT_PREALLOCATE="false")
    if not on_gpu:
        os.environ["JAX_PLATFORMS"] = "cpu"
    from benchmarks import table
    from turncoat.training.devices import find_device, settle_process

    settle_process(1)
    device = find_device(options.device)
    about = table.where_and_when(device)
    asked = options.parts or (["training"] if on_gpu else PARTS)
    if "training" in asked:
        from benchmarks.training import FULL, GPU, QUICK, benchmark_training

        sizes = QUICK if options.quick else GPU if on_gpu else FULL
        with one_core(not on_gpu):
            rows = benchmark_training(sizes, device)
        table.write(options.output, "training", rows, about)
    if "stages" in asked:
        from benchmarks.stages import benchmark_stages

        table.write(options.output, "stages", benchmark_stages(options.quick), about)
    if "planning" in asked:
        from benchmarks.planning import benchmark_planning

        table.write(options.output, "planning", benchmark_planning(options.quick), about)


if __name__ == "__main__":
    main()
