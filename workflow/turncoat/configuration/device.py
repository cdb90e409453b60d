"""Which device jobs will ask for, found without loading torch: Snakemake reads this on every start."""

import os
from collections.abc import Mapping
from pathlib import Path

from turncoat.configuration.errors import ConfigurationError

CHOICES = ("auto", "cpu", "cuda")


def has_gpu(environment: Mapping[str, str] = os.environ, devices: Path = Path("/dev")) -> bool:
    """Return whether jobs run on a GPU: what TURNCOAT_DEVICE says, or whether an NVIDIA device is visible.

    Raises ConfigurationError on a TURNCOAT_DEVICE other than auto, cpu and cuda.
    """
    choice = environment.get("TURNCOAT_DEVICE", "auto")
    if choice not in CHOICES:
        problem = f"TURNCOAT_DEVICE = {choice!r}: allowed: {', '.join(CHOICES)}"
        raise ConfigurationError([problem], "the environment")
    if choice != "auto":
        return choice == "cuda"
    if environment.get("CUDA_VISIBLE_DEVICES") in {"", "-1"}:
        return False
    return any(devices.glob("nvidia[0-9]*"))
