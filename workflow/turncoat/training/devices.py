"""Where training runs and how many organisms a step holds at once."""

import torch

KEPT_BYTES = 31 * 2**20  # glibc's allocator adapts to blocks of up to 32 MiB
CPU_CHUNK = 48  # small networks, whose steps cost less than calling their kernels does if fewer share them
LARGE_CHUNK = 16  # of networks that gain nothing by more, and would need three times the memory
LARGE_LAYER = 2**15  # numbers in one member's hidden layer, all rows together
GPU_CHUNK = 4096


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


def chunk_size(device: torch.device) -> int:
    """Most members trained at once. It never changes a result, only how fast it comes."""
    return GPU_CHUNK if device.type == "cuda" else CPU_CHUNK


def bounded_chunk(size: int, device: torch.device, rows: int, width: int) -> int:
    """That many members or fewer, where networks of this width with so many rows of input a step are large."""
    return min(size, LARGE_CHUNK) if device.type == "cpu" and rows * width > LARGE_LAYER else size
