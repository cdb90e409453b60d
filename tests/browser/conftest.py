"""A real Chromium without a network, and the report of a synthetic study that it opens from disk."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opening import Opened

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
REQUIRED = "TURNCOAT_BROWSER_REQUIRED"  # set by `make browser-test`: what is lacking then fails


def _lacks(what: str) -> None:
    if os.environ.get(REQUIRED):
        pytest.fail(f"{what}, and {REQUIRED} is set")
    pytest.skip(what)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium; the tests are skipped, with the reason, only where it or its driver is not installed."""
    if CHROMIUM is None:
        _lacks("no Chromium on this machine (Debian: apt-get install chromium)")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _lacks("no playwright (pip install -e '.[browser]')")
    with sync_playwright() as driver:
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        started = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield started
        started.close()


@pytest.fixture(scope="session")
def report_file(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a synthetic study, alone in a folder: what it needs, it must hold.

    TURNCOAT_REPORT names another report to test, such as a real study's.
    """
    folder = tmp_path_factory.mktemp("opened")
    if os.environ.get("TURNCOAT_REPORT"):
        return Path(shutil.copy(os.environ["TURNCOAT_REPORT"], folder / "report.html"))
    tests = Path(__file__).resolve().parents[1]
    sys.path += [str(tests), str(tests / "unit")]  # where the synthetic study lies
    from aggregated import study

    from synthetic import SMALL
    from turncoat.configuration.loading import load_config
    from turncoat.reporting.page import write_report

    made = tmp_path_factory.mktemp("study")
    study(made)
    return Path(shutil.copy(write_report(load_config(SMALL).model_dump(), made), folder / "report.html"))


@pytest.fixture
def opened(browser: Any, report_file: Path, request: pytest.FixtureRequest) -> Iterator[Opened]:
    """The report, opened at (width, scheme): 1400 pixels and light unless a test asks for other."""
    width, scheme = getattr(request, "param", (1400, "light"))
    found = Opened(browser, report_file, width, scheme)
    yield found
    found.context.close()
