"""Unit tests run with the settings of a job's process."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from running import FINETUNE, PRETRAIN, train

if TYPE_CHECKING:
    from figured import Made

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _gradients_on() -> Iterator[None]:
    """What a test runs may settle its process as a job's, without autograd; the next test knows nothing of it."""
    with torch.enable_grad():
        yield
    torch.set_flush_denormal(False)


sys.path.append(str(Path(__file__).parents[1]))  # where the synthetic study lies


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pre-trained block and what was fine-tuned from it."""
    root = tmp_path_factory.mktemp("trained")
    log = train("pretrain", "aaaaaaaaaa", PRETRAIN, root / "parent")
    assert "models/s" in log
    assert "s left" in log
    train("finetune", "bbbbbbbbbb", FINETUNE, root / "child", "--parent", str(root / "parent"))
    return root


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> "Made":
    """A synthetic study's tables, and the figures that its report draws of them."""
    from figured import tables_and_figures

    return tables_and_figures(tmp_path_factory.mktemp("figures"))
