"""Tests on a GPU: PYTHONPATH=workflow python -m pytest -q -m gpu -p no:cacheprovider tests/gpu

They need torch, numpy and pytest alone, and are skipped, with the reason, where PyTorch sees no GPU.
"""

from collections.abc import Iterator

import pytest
import torch


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/gpu" in item.path.as_posix():
            item.add_marker(pytest.mark.gpu)
            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="PyTorch sees no GPU on this machine"))


@pytest.fixture(autouse=True)
def _settled() -> Iterator[None]:
    """As a job's process is: no autograd graph, full precision."""
    torch.set_float32_matmul_precision("highest")
    with torch.no_grad():
        yield
