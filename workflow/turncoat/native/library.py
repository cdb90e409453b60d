"""Compiles the kernels beside this file for this machine, once, and loads them.

They are used on CPUs whose PyTorch makes its products by MKL's `cblas_sgemm_batch`, where there is a C
compiler. Elsewhere PyTorch does what they do, to the same bits, in more time.
"""

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from ctypes import c_float, c_int64, c_void_p
from functools import cache
from pathlib import Path

import torch

from turncoat.native.structures import STRUCTURES, Adam, Layout, Logit, Loss, Scoring, Step, Utilities

log = logging.getLogger("turncoat")

NAMES = ("borrowed.h", "layout.h", "episodes.c", "logit.c", "scores.c", "step.c")
SOURCES = tuple(Path(__file__).with_name(name) for name in NAMES)
# Without contraction: a product and a sum that are rounded once are not what PyTorch's two kernels give.
FLAGS = ("-std=c11", "-O3", "-march=native", "-mprefer-vector-width=512", "-ffp-contract=off", "-fno-math-errno")
LANES = {"AVX512": 16, "AVX2": 8}  # numbers that PyTorch's softmax takes at once, by its `get_cpu_capability`
SMALLEST_PRODUCT = 400  # multiplications: smaller products PyTorch makes by a loop of its own
SLOWER = "computing by PyTorch's kernels alone, which is slower and gives the same bits"


def library_folder() -> Path:
    """Where the kernels are kept: in the environment, or where that cannot be written, in the user's cache folder."""
    own = Path(sys.prefix) / "lib" / "turncoat"
    if os.access(own if own.exists() else own.parent, os.W_OK):
        return own
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "turncoat"


_wanted = ContextVar("wanted", default=True)


@contextmanager
def without_kernels() -> Iterator[None]:
    """Do without the kernels meanwhile, for what compares with PyTorch's."""
    before = _wanted.set(False)
    try:
        yield
    finally:
        _wanted.reset(before)


def native_library() -> ctypes.CDLL | None:
    """The kernels, compiled if they are not yet; None where they cannot be had, which the log tells."""
    return _loaded() if _wanted.get() else None


@cache
def _loaded() -> ctypes.CDLL | None:
    compiler = shutil.which("cc")
    if compiler is None or borrowed() is None:
        lacking = "no C compiler (cc) is found" if compiler is None else "this PyTorch lacks functions that they call"
        log.info("%s: %s", SLOWER, lacking)
        return None
    try:
        return load(compiled(SOURCES, Path(compiler), library_folder()))
    except subprocess.CalledProcessError as problem:
        log.warning("%s: the kernels do not compile\n%s", SLOWER, problem.stderr.strip())
    except (OSError, RuntimeError) as problem:  # the latter: there is no home folder
        log.warning("%s: %s", SLOWER, problem)
    return None


@cache
def borrowed() -> dict[str, int] | None:
    """Addresses of what PyTorch makes products, exponentials and logarithms by; None where it lacks one of them."""
    lanes = LANES.get(torch.backends.cpu.get_cpu_capability(), 0)
    names = {
        "products": "cblas_sgemm_batch",
        "exponential": f"Sleef_expf{lanes}_u10",
        "logarithm": f"Sleef_logf{lanes}_u10",
        "exponentials": "vmsExp",
        "double_products": "cblas_dgemm_batch",
        "double_exponentials": "vmdExp",
    }
    found: dict[str, int] = {}
    for library in (Path(torch.__file__).parent / "lib").glob("libtorch_cpu.*"):
        loaded = ctypes.CDLL(str(library))
        for use, name in names.items():
            address = ctypes.cast(getattr(loaded, name), c_void_p).value if hasattr(loaded, name) else None
            if address is not None:
                found[use] = address
    return found if len(found) == len(names) else None


def compiled(sources: Sequence[Path], compiler: Path, folder: Path) -> Path:
    """The library made of `sources`, in `folder`, by a name that says of what, by what and for which processor.

    Raises subprocess.CalledProcessError where they do not compile, OSError where the folder cannot be written.
    """
    flags = [*FLAGS, "-shared", "-fPIC", f"-DLANES={LANES[torch.backends.cpu.get_cpu_capability()]}"]
    made_of = [*(source.read_text() for source in sources), *flags, str(compiler.resolve()), processor()]
    made_of.append(str(compiler.stat().st_mtime_ns))  # another version in the same place
    library = folder / f"kernels-{hashlib.sha256('|'.join(made_of).encode()).hexdigest()[:16]}.so"
    if not library.exists() or not library.stat().st_size:  # cut short as a machine may that loses power
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            part = Path(scratch) / library.name
            units = [str(source) for source in sources if source.suffix == ".c"]
            command = [str(compiler), *flags, *units, "-o", str(part), "-lm"]
            subprocess.run(command, check=True, capture_output=True, text=True)
            part.replace(library)
    return library


def load(library: Path) -> ctypes.CDLL:
    """Load the kernels and say what they take. Raises OSError for a library whose structures are not those here."""
    kernels = ctypes.CDLL(str(library))
    for structure in STRUCTURES:
        size = c_int64.in_dll(kernels, f"size_of_{structure.__name__}").value
        if size != ctypes.sizeof(structure):
            raise OSError(f"{library}: {structure.__name__} has {size} bytes, not {ctypes.sizeof(structure)}")
    step, loss, adam, utilities = map(ctypes.POINTER, (Step, Loss, Adam, Utilities))
    layout, logit, scoring = map(ctypes.POINTER, (Layout, Logit, Scoring))
    taken: dict[str, list[type]] = {
        "forward": [step],
        "backward": [step],
        "learn": [step, loss, layout, c_int64, adam],
        "value_options": [utilities],
        "lay_out": [layout],
        "sum_over_episodes": [logit],
        "score_options": [scoring],
        "describe": [c_void_p] * 4 + [c_int64] * 4,
        "scale_to_unit": [c_void_p, c_int64, c_int64, c_float],
    }
    for name, arguments in taken.items():
        kernel = getattr(kernels, name)
        kernel.argtypes, kernel.restype = arguments, None
    return kernels


def processor() -> str:
    """What instructions this processor has, as far as the system says."""
    told = Path("/proc/cpuinfo")
    lines = set(told.read_text().splitlines()) if told.exists() else set()
    return "|".join([platform.machine(), *sorted(line for line in lines if line.startswith(("flags", "model name")))])
