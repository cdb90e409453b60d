"""Where training runs and how many organisms a step holds at once."""

import gc
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

import torch

KEPT_BYTES = 31 * 2**20  # glibc's allocator adapts to blocks of up to 32 MiB
CPU_CHUNK = 48  # small networks, whose steps cost less than calling their kernels does if fewer share them
LARGE_CHUNK, LARGE_LAYER = 16, 2**15
"""Chunk of networks whose hidden layer holds that many numbers or more, all rows together: calls cost little beside
products of that size, and what fewer networks need stays in a core's own cache for longer."""
GPU_CHUNK = 4096  # where nothing is said of how much memory a member takes
LARGEST_GPU_CHUNK = 65536
USED_SHARE = 0.8  # of a GPU's free memory


def settle_process(threads: int) -> None:
    """Use the granted threads, no autograd graph, and no denormals, which double the cost of saturated softmaxes."""
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    if not torch.set_flush_denormal(True):
        raise RuntimeError("this processor cannot flush denormal numbers; results would differ from other machines'")
    # A large block that was freed once makes glibc keep smaller ones: otherwise it gives a step's tensors back to the
    # system after each use, which then clears their pages anew.
    torch.empty(KEPT_BYTES, dtype=torch.uint8)


def find_device(name: str) -> torch.device:
    """The device that `auto`, `cpu` or `cuda` means here; raises RuntimeError for cuda where there is none."""
    if name == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("a GPU was asked for (TURNCOAT_DEVICE=cuda), but PyTorch sees none on this machine")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def describe_device(device: torch.device) -> dict[str, str]:
    """What the bits of training depend on of where it runs, besides PyTorch's own version.

    device: its type; processor: the vector instructions of the CPU, or the GPU's name; cuda, triton: versions, empty
    where there is none.
    """
    if device.type != "cuda":
        return {"device": device.type, "processor": torch.backends.cpu.get_cpu_capability(), "cuda": "", "triton": ""}
    name = torch.cuda.get_device_properties(device).name
    return {"device": device.type, "processor": name, "cuda": torch.version.cuda or "", "triton": _triton()}


def _triton() -> str:
    for name in ("triton", "pytorch-triton"):  # the second in PyTorch's builds of before a release
        with suppress(PackageNotFoundError):
            return version(name)
    return ""


def chunk_size(device: torch.device) -> int:
    """Most members trained at once.

    On a CPU it changes no bit, nor on a GPU any of weights that `relu_kernels` trains. Of other weights it does there:
    PyTorch's batched products and sums round by how many there are (docs/gpu.md).
    """
    return GPU_CHUNK if device.type == "cuda" else CPU_CHUNK


def bounded_chunk(size: int, device: torch.device, rows: int, width: int) -> int:
    """That many members or fewer, where networks of this width with so many rows of input a step are large."""
    return min(size, LARGE_CHUNK) if device.type == "cpu" and rows * width >= LARGE_LAYER else size


def memory_chunk(device: torch.device, bytes_per_member: int) -> int:
    """Most members whose training fits a GPU's free memory."""
    free, _ = torch.cuda.mem_get_info(device)
    return fitting_chunk(free, bytes_per_member)


def fitting_chunk(free: int, bytes_per_member: int) -> int:
    """Largest power of two of members, 1 to LARGEST_GPU_CHUNK, that fits the used share of so many bytes."""
    fitting = int(free * USED_SHARE) // bytes_per_member
    return min(LARGEST_GPU_CHUNK, 1 << max(0, fitting.bit_length() - 1))


def member_bytes(parameters: int, inputs: int, hidden: int, rows: int, judged_rows: int, snapshots: int) -> int:
    """About what one member takes on a GPU: its weights, gradient, optimizer state and snapshots; the inputs and hidden
    layers of a step of `rows` rows, and of the `judged_rows` on which capability is measured.

    inputs: numbers of a row of input; hidden: units of all hidden layers.
    """
    weights = parameters * (8 + snapshots)
    step = rows * (3 * inputs + 5 * hidden)
    judged = judged_rows * (3 * inputs + 3 * hidden)
    return 4 * (weights + step + judged)


def release_memory(device: torch.device) -> None:
    """Give back what a chunk that failed had held."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
