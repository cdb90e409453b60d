"""A Slurm for all cluster tests, and the smoke study as this machine runs it without."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from one_node import OneNodeSlurm
from runs import REPOSITORY, SMOKE, snakemake


@pytest.fixture(scope="session")
def slurm() -> Iterator[OneNodeSlurm]:
    """A one-node cluster. An error, and not a skip, where there is none to be had: make cluster-test installs it."""
    cluster = OneNodeSlurm()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def local_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a smoke study that ran without Slurm."""
    folder = tmp_path_factory.mktemp("local")
    run = snakemake("--cores", "2", "--directory", str(folder), "--configfile", str(REPOSITORY / SMOKE))
    assert run.returncode == 0, run.stdout
    return folder
