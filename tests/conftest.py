"""Files of tests that take longest come first, so that no worker is left alone with one in the end."""

from pathlib import Path

import pytest

LONGEST = (
    "workflow/test_smoke.py",
    "workflow/test_integrity.py",
    "workflow/test_reruns.py",
    "workflow/test_dry_run.py",
    "workflow/test_failures.py",
    "workflow/test_two_runs.py",
    "unit/test_reporting.py",
    "unit/test_arm_claims.py",
    "unit/test_claims.py",
    "unit/test_divergence.py",
    "unit/test_resuming.py",
    "unit/test_aggregate.py",
    "unit/test_device_steps.py",
    "unit/test_declarations.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files; tests of a file stay as they are."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
