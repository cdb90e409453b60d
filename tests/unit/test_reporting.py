"""The report builds offline from any study, says what it lacks, and is the same bytes each time."""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1]))
from synthetic import Truth, write_study
from turncoat.reporting.summary import interval, number
from turncoat.stages.aggregate import aggregate
from turncoat.stages.report import report

VOID = {"meta", "br", "link", "img"}


class Balance(HTMLParser):
    """Every tag that opens closes in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.identities: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.identities += [value for key, value in attrs if key == "id" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.identities += [value for key, value in attrs if key == "id" and value]


def build(folder: Path, truth: Truth | None = None, **overrides: Any) -> str:
    config = write_study(folder, {"planted": {"seeds": 2}, **overrides}, truth)
    aggregate(config, folder, "0" * 12)
    report(config, folder)
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("report")
    return folder, build(folder)


def test_page_is_sound_and_offline(page: tuple[Path, str]) -> None:
    _, text = page
    reader = Balance()
    reader.feed(text)
    assert reader.open == []
    assert len(set(reader.identities)) == len(reader.identities)
    assert not re.findall(r'(?:src|href)="https?:', text.replace('xlink:href="#', ""))
    assert "<script" not in text and '<html lang="en">' in text
    assert text.count('role="img"') == 3 and text.count("aria-label") >= 4
    for local in re.findall(r'href="#([\w-]+)"', text):
        assert local in reader.identities, local


def test_page_says_what_was_found(page: tuple[Path, str]) -> None:
    _, text = page
    for words in (
        "The answer in one minute",
        "no effect",
        "Premise gate",
        "Planted truth",
        "What was run",
        "P10",
    ):
        assert words in text
    assert "classifier misreads" not in text


def test_figures_are_saved(page: tuple[Path, str]) -> None:
    folder, _ = page
    names = {path.name for path in (folder / "figures").iterdir()}
    assert names == {f"{name}.{kind}" for name in ("headline", "persistence", "gating") for kind in ("svg", "png")}


def test_two_reports_are_equal(page: tuple[Path, str], tmp_path: Path) -> None:
    folder, text = page
    assert build(tmp_path) == text
    for path in (folder / "figures").iterdir():
        assert path.read_bytes() == (tmp_path / "figures" / path.name).read_bytes(), path.name


def test_misread_planted_truth_is_a_warning(tmp_path: Path) -> None:
    text = build(tmp_path, Truth(misread=True), arms={"main": {"starts": ["scratch"], "distances": [90]}})
    assert "The classifier misreads planted cases" in text
    assert "This study has no pre-trained start" in text and "no arm at distance 0" in text


def test_numbers_for_people() -> None:
    assert number(0.1234) == "0.123" and number(-0.003) == "\N{MINUS SIGN}0.003"
    assert number(float("nan")) == "\N{EN DASH}" and number(0) == "0.000" and number(-0.0001) == "0.000"
    assert number(float("inf"), 0) == "never"
    assert interval(0.1, 0.25, 2) == "[0.10, 0.25]" and interval(float("nan"), 1) == "\N{EN DASH}"
