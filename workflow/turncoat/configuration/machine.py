"""What jobs may use of this machine together, as Snakemake's --resources: memory that is free, and GPUs.

python -m turncoat.configuration.machine        prints, for instance, mem_mb=14200 gpu=2
"""

from pathlib import Path

import psutil

from turncoat.configuration.device import has_gpu
from turncoat.gpus import visible_gpus

SHARE = 0.9
CGROUP = Path("/sys/fs/cgroup")


def free_memory(group: Path = CGROUP) -> int:
    """Return the bytes that new processes can use: what the system has, and what a container's limit leaves."""
    free = int(psutil.virtual_memory().available)
    try:
        limit, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return free
    return free if limit == "max" else min(free, max(int(limit) - int(used), 0))


def limits(free: int, gpus: int) -> str:
    """Return 90 % of `free` bytes in MB, and the GPUs if there are any. Jobs that ask for more run alone."""
    found = {"mem_mb": int(free * SHARE / 1e6), **({"gpu": gpus} if gpus else {})}
    return " ".join(f"{name}={amount}" for name, amount in found.items())


if __name__ == "__main__":
    print(limits(free_memory(), len(visible_gpus()) if has_gpu() else 0))
