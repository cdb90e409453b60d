"""Which device jobs will ask for, found without loading torch: Snakemake reads this on every start."""

import os
from collections.abc import MutableMapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from turncoat.configuration.errors import ConfigurationError
from turncoat.gpus import DEVICES, device_files, visible_gpus

CHOICES = ("auto", "cpu", "cuda")


def has_gpu(
    environment: MutableMapping[str, str] = os.environ, devices: Path = DEVICES, torch: str | None = None
) -> bool:
    """Return whether jobs run on a GPU: what TURNCOAT_DEVICE says, or whether there is one that PyTorch can use.

    That is, an NVIDIA device is visible and the installed PyTorch (version `torch`) is no build for CPUs alone.
    Raises ConfigurationError on a TURNCOAT_DEVICE other than auto, cpu and cuda.
    """
    choice = environment.get("TURNCOAT_DEVICE", "auto")
    if choice not in CHOICES:
        problem = f"TURNCOAT_DEVICE = {choice!r}: allowed: {', '.join(CHOICES)}"
        raise ConfigurationError([problem], "the environment")
    if choice != "auto":
        return choice == "cuda"
    if device_files(devices) == 0 or not visible_gpus(environment, devices):
        return False
    return not (torch or _installed_torch()).endswith("+cpu")


def _installed_torch() -> str:
    try:
        return version("torch")
    except PackageNotFoundError:
        return ""  # jobs have an environment of their own (--sdm conda)
