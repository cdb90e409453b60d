"""What every stage's process does first, read its options, check its code, settle device and log, and last: to end."""

import argparse
import ctypes
import gc
import json
import logging
import os
import platform
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import TracebackType

from turncoat.acceptance import stands_for
from turncoat.fingerprint import stage_fingerprint
from turncoat.gpus import VISIBLE, take_gpu
from turncoat.run_lock import RunLockError, check_run
from turncoat.stages import AS_PROGRAM
from turncoat.stages.failures import remedy

log = logging.getLogger("turncoat")


def stage_parser(stage: str, description: str) -> argparse.ArgumentParser:
    """A parser with the options that all stages share."""
    parser = argparse.ArgumentParser(prog=f"python -m turncoat.stages.{stage}", description=description)
    parser.add_argument("--threads", type=int, required=True, help="threads that the scheduler grants")
    parser.add_argument("--code", help="fingerprint of the stage's code that the plan was made with")
    return parser


def begin(stage: str, parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse, set the log up, and end the process if the code is not the one that the plan was made with."""
    options = parser.parse_args(arguments)
    if AS_PROGRAM:
        sys.excepthook = _end
        _settle_modules()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr, force=True
    )
    running = stage_fingerprint(stage, plugins=plugins(options))
    if options.code is not None and not stands_for(running, options.code):
        sys.exit(
            f"stage {stage}: the code changed after the study was planned (planned {options.code}, now {running}). "
            "Run snakemake again: it will plan with the new code."
        )
    if options.threads < 1:
        sys.exit(f"--threads is {options.threads}; allowed: 1 or more")
    check_run()
    log.info("stage %s, code %s, threads %d", stage, running, options.threads)
    return options


def run_program(main: Callable[[], None]) -> None:
    """Run a stage, then end its process at once: all that it writes is on disk by then, and to take PyTorch's and
    Arrow's libraries down in order would take a tenth of a second a job."""
    main()
    logging.shutdown()
    if sys.stdout is not None:  # as it is where the program was started with it closed
        sys.stdout.flush()
    ctypes.CDLL(None).fflush(None)  # what libraries in C print, such as MKL's errors
    os._exit(0)


def _end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What a process says last: of a file that cannot be used, or a run that is over, the message alone; where the disk
    failed, the remedy below the traceback."""
    from turncoat.tables.atomic import TableError

    if issubclass(kind, TableError | RunLockError):
        print(error, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)
        if text := remedy(error):
            print(text, file=sys.stderr)


def _settle_modules() -> None:
    """End what loading modules left to be done at every collection of garbage, and at the first Arrow array.

    pyarrow loads pandas then, where it finds it, in case the values are a pandas object: 0.3 s a job. What it is asked
    to make pandas objects of later still makes it load pandas.
    """
    gc.freeze()
    gc.enable()
    if "pandas" not in sys.modules:
        import pyarrow

        unfound = _Unfound()
        sys.meta_path.insert(0, unfound)
        pyarrow.array([])
        sys.meta_path.remove(unfound)


class _Unfound(MetaPathFinder):
    """Makes Python find no pandas."""

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        """Raise ModuleNotFoundError for pandas; leave all else to the finders that follow."""
        if name == "pandas":
            raise ModuleNotFoundError(name)


def plugins(options: argparse.Namespace) -> list[str]:
    """Modules that the settings name, and that the stage imports by that name: the dodge, if there is one."""
    chosen = json.loads(read_settings(getattr(options, "settings", None) or "{}"))
    return [f"dodges/{chosen['dodge']}"] if chosen.get("dodge") else []


def read_settings(text: str) -> str:
    """The JSON given on the command line, or the content of the file behind a leading @."""
    return Path(text[1:]).read_text() if text.startswith("@") else text


def device_name() -> str:
    """What TURNCOAT_DEVICE asks for: auto, cpu or cuda. On cuda, a GPU is this process's own from here on.

    Ask before anything runs on a GPU. Ends the process on another name, and where a GPU was promised and none is seen.
    """
    name = os.environ.get("TURNCOAT_DEVICE", "auto")
    if name not in ("auto", "cpu", "cuda"):
        sys.exit(f"TURNCOAT_DEVICE is {name!r}; allowed: auto, cpu, cuda")
    if name == "cuda":
        taken = take_gpu()
        if not _sees_gpu():
            sys.exit(
                f"this job was promised a GPU (TURNCOAT_DEVICE=cuda), and PyTorch sees none on {platform.node()} "
                f"({VISIBLE}={os.environ.get(VISIBLE, '')!r}). Either this is a build of PyTorch for CPUs, or the "
                "driver does not fit it, or the scheduler granted no GPU. TURNCOAT_DEVICE=cpu runs without one."
            )
        log.info("on GPU %s", taken or os.environ.get(VISIBLE, "0"))
    return name


def _sees_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def provenance(stage: str, options: argparse.Namespace) -> dict[str, str]:
    """What a table's metadata says of where it came from: stage, code, settings and package versions."""
    import numpy
    import torch

    from turncoat import __name__ as package

    return {
        "program": f"{package}.stages.{stage}",
        "code": stage_fingerprint(stage, plugins=plugins(options)),
        "settings": str(getattr(options, "settings", "")),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "numpy": numpy.__version__,
    }
