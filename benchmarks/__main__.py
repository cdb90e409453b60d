"""Benchmarks: python -m benchmarks [training stages planning] [--quick] [--output results/bench]

`make bench` runs them all, on one thread; training on one core. Times are CPU seconds of the process, of contenders in
turn; compare rows of one run, never of two. On a GPU: python -m benchmarks.gpu.
"""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTS = ("training", "stages", "planning")


@contextmanager
def one_core() -> Iterator[None]:
    """Keep the process on one core, so that no contender gets a second; where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
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
    parser.add_argument("--output", type=Path, default=Path("results/bench"))
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown parts {sorted(unknown)}; allowed: {', '.join(PARTS)}")
    # Read by libraries as they are imported.
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    os.environ.update(XLA_FLAGS="--xla_cpu_multi_thread_eigen=false", JAX_PLATFORMS="cpu")
    from benchmarks import table
    from turncoat.training.devices import settle_process

    settle_process(1)
    about = table.where_and_when()
    asked = options.parts or PARTS
    if "training" in asked:
        from benchmarks.training import FULL, QUICK, benchmark_training

        with one_core():
            rows = benchmark_training(QUICK if options.quick else FULL)
        table.write(options.output, "training", rows, about)
    if "stages" in asked:
        from benchmarks.stages import benchmark_stages

        table.write(options.output, "stages", benchmark_stages(options.quick), about)
    if "planning" in asked:
        from benchmarks.planning import benchmark_planning

        table.write(options.output, "planning", benchmark_planning(options.quick), about)


if __name__ == "__main__":
    main()
