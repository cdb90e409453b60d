"""Studies side by side: what differs is said, what is no study is refused."""

import json
import re
from pathlib import Path
from typing import Any

import pandas
import pyarrow.parquet as parquet
import pytest
import yaml

from sealing import write_sealed
from turncoat.compare import main
from turncoat.reporting.comparison import compared, differing, flat, read_study
from turncoat.tables import claims
from turncoat.tables.atomic import write_table

ROW: dict[str, Any] = {
    field.name: 0 if str(field.type).startswith("int") else False if str(field.type) == "bool" else ""
    for field in claims.SCHEMA
} | {field.name: float("nan") for field in claims.SCHEMA if str(field.type) == "double"}
ANSWER = {"primary": True, "outcome": "d", "stratum": "internal minus scratch", "margin": 0.05, "n": 24}


def write(folder: Path, answers: dict[str, dict[str, Any]], config: dict[str, Any] | None = None) -> Path:
    """A study's folder with these primary answers, by claim."""
    rows = pandas.DataFrame([ROW | ANSWER | {"claim": name} | answer for name, answer in answers.items()])
    columns = {name: rows[name].to_numpy() for name in rows}
    write_table(folder / "tables" / "claims.parquet", columns, claims.SCHEMA, {"code": folder.name})
    settings = {"study": folder.name, "seeds": {"first": 1000, "count": 24}} | (config or {})
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    (folder / "manifest.json").write_text(json.dumps({"code": {"finetune": folder.name * 3}, "python": "3.11"}))
    return folder


def estimate(verdict: str, low: float, high: float, **more: Any) -> dict[str, Any]:
    return {"verdict": verdict, "estimate": (low + high) / 2, "low": low, "high": high} | more


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    first = {
        "P1": estimate("no_effect", -0.02, 0.02),
        "P2": estimate("supported", 0.6, 0.8),
        "P3": estimate("supported", 0.1, 0.2),
        "P9": {"verdict": "not_tested", "reason": "no models"},
    }
    second = {
        "P1": estimate("no_effect", 0.01, 0.03),
        "P2": estimate("contradicted", -0.3, -0.1),
        "P3": estimate("supported", 0.3, 0.4, stratum="corrigible minus scratch"),
        "P9": estimate("supported", 0.1, 0.2),
    }
    other = {"seeds": {"first": 2000, "count": 24}, "world": {"options": 3}}
    return [write(tmp_path / "one", first), write(tmp_path / "two", second, other)]


def test_answers_stand_side_by_side(pair: list[Path]) -> None:
    rows = {row["claim"].id: row for row in compared([read_study(folder) for folder in pair])}
    assert {name: (row["agreement"], row["overlap"]) for name, row in rows.items()} == {
        "P1": ("same", True),
        "P2": ("differ", False),
        "P3": ("same", None),  # of different strata: not comparable
        "P9": ("one", None),
    }
    assert [answer["estimate"] for answer in rows["P2"]["answers"]] == pytest.approx([0.7, -0.2])


def test_differences_of_configuration_and_code(pair: list[Path]) -> None:
    one, two = (read_study(folder) for folder in pair)
    assert differing([one.config, two.config]) == [("seeds.first", ["1000", "2000"]), ("world.options", ["", "3"])]
    assert dict(differing([one.code, two.code])) == {
        "table.code": ["one", "two"],
        "code.finetune": ["oneoneone", "twotwotwo"],
    }
    assert differing([one.config, one.config]) == []
    assert flat({"a": {"b": [1, 2], "c": {}}, "d": None}) == {"a.b": "[1, 2]", "a.c": "{}", "d": "null"}


def test_the_command_prints_and_writes(pair: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "side.html"
    main([*map(str, pair), "--output", str(page)])
    printed = capsys.readouterr().out
    assert re.search(r"^P2: .*\[VERDICTS DIFFER; INTERVALS DO NOT OVERLAP\]$", printed, re.M)
    assert "  seeds.first: 1000 | 2000" in printed and "  code.finetune: oneoneone | twotwotwo" in printed
    text = page.read_text()
    assert text.startswith("<!doctype html>") and "https://" not in text and "default-src 'none'" in text
    assert (
        "0.700 [0.600, 0.800]" in text and "corrigible minus scratch" in text and "<code>world.options</code>" in text
    )


def test_what_is_said_of_an_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Standing, a ratio's scale, a reason in place of a number; and nothing twice."""
    claims_of = {
        "P1": estimate("no_effect", -0.02, 0.02),
        "P2": estimate("no_effect", -0.02, 0.02, confirmatory=True),
        "P4c": estimate("contradicted", 1.0, 3.0, outcome="points_to_x", stratum="internal over scratch, points_to_x"),
        "P9": {"verdict": "not_tested", "reason": "no models", "stratum": "primary"},
        "P10": estimate("not_tested", 0.1, 0.2, reason="premise failed"),
    }
    folders = [write(tmp_path / name, claims_of) for name in ("one", "two")]
    page = tmp_path / "side.html"
    main([*map(str, folders), "--output", str(page)])
    printed = capsys.readouterr().out
    assert printed.count("(D: internal minus scratch; exploratory)") == 2 * 2  # P1 and P10 in both
    assert printed.count("(D: internal minus scratch)") == 2  # P2, confirmatory
    assert printed.count("2.000 [1.000, 3.000], as a ratio 7.39 [2.72, 20.09], n 24") == 2
    assert "points_to_x" not in printed and printed.count("no models") == 1 and "(d: primary)" not in printed
    assert "table.study" not in printed and "study:" not in printed
    text = page.read_text()
    assert text.count("; exploratory</span>") == 3 * 2 and text.count("as a ratio 7.39") == 2


def test_three_studies_and_equal_names(pair: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    third = write(tmp_path / "three", {"P1": estimate("no_effect", 0.02, 0.04)}, {"study": "one"})
    main(list(map(str, [*pair, third])))
    printed = capsys.readouterr().out
    assert str(pair[0]) in printed and str(third) in printed  # two are called 'one'
    assert "not among its claims" in printed
    assert re.search(r"^P1: .*\[same verdict; intervals overlap\]$", printed, re.M)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: None, "no such folder"),
        (lambda folder: folder.mkdir(), "holds no tables/claims.parquet"),
        (lambda folder: write(folder, {"P77": estimate("supported", 0.1, 0.2)}), "does not know: P77"),
        (lambda folder: _other_version(folder), "this version of turncoat reads"),
    ],
)
def test_what_is_no_comparable_study_is_refused(
    pair: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Any, words: str
) -> None:
    make(tmp_path / "other")
    with pytest.raises(SystemExit) as ended:
        main([str(pair[0]), str(tmp_path / "other")])
    said = capsys.readouterr()
    assert ended.value.code == 2 and words in said.err and str(tmp_path / "other") in said.err and not said.out


def _other_version(folder: Path) -> None:
    write(folder, {"P1": estimate("supported", 0.1, 0.2)})
    path = folder / "tables" / "claims.parquet"
    table = parquet.read_table(path)
    metadata = table.schema.metadata | {b"schema_version": b"0"}
    write_sealed(table.replace_schema_metadata(metadata), path)


def test_one_study_is_none_to_compare(pair: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(pair[0]), str(pair[0])])
    assert ended.value.code == 2 and "two or more different studies" in capsys.readouterr().err
