"""A finished smoke study whose stages only write their files, for tests of what a change starts again."""

import shutil
from pathlib import Path

import pytest
from runs import Workspace, copy_workflow


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the smoke study has run; copy it before changing it."""
    root = tmp_path_factory.mktemp("finished") / "turncoat"
    copy_workflow(root)
    run = Workspace(root).run()
    assert run.returncode == 0, run.stdout
    return root


@pytest.fixture
def workspace(finished_study: Path, tmp_path: Path) -> Workspace:
    """A copy of the finished study, free to change."""
    root = tmp_path / "turncoat"
    shutil.copytree(finished_study, root, symlinks=True)
    return Workspace(root)
