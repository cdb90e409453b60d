"""Tables: atomic, sorted, checked, and open in pandas, polars and DuckDB."""

import importlib
import itertools
import pkgutil
from dataclasses import dataclass
from dataclasses import field as field_of
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from scipy import stats

from turncoat import tables
from turncoat.tables import assembly, gating, gating_units, jobs
from turncoat.tables.atomic import (
    TableError,
    in_order,
    read_provenance,
    read_table,
    sort_keys,
    write_file,
    write_json,
    write_table,
)
from turncoat.tables.fields import field, table_schema
from turncoat.tables.ledger import by_circuit

JUDGED = ("measurements", "curves", "causes", "knowledge")
SCHEMA = table_schema(
    "example",
    1,
    ("name", "step"),
    (
        field("name", "text", "", "who"),
        field("step", "integer", "steps", "when"),
        field("value", "number", "share", "how much", True),
        field("w", "numbers", "utility", "a vector", True),
    ),
)


def example() -> dict[str, Any]:
    return {
        "name": ["b", "a", "a"],
        "step": np.array([0, 5, 1]),
        "value": np.array([1.0, np.nan, 3.0]),
        "w": np.arange(6.0).reshape(3, 2),
    }


def test_rows_are_sorted_and_nan_is_null(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "example.parquet"
    write_table(path, example(), SCHEMA, {"code": "abc"})
    table = read_table(path, SCHEMA)
    assert table["name"].to_pylist() == ["a", "a", "b"]
    assert table["step"].to_pylist() == [1, 5, 0]
    assert table["value"].to_pylist() == [3.0, None, 1.0]
    assert table["w"].to_pylist() == [[4.0, 5.0], [2.0, 3.0], [0.0, 1.0]]
    assert read_provenance(path) == {"code": "abc"}
    assert [file.name for file in path.parent.iterdir()] == ["example.parquet"]


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_table(tmp_path / name, example(), SCHEMA, {})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_table_of_many_parts_gives_the_bytes_of_one(tmp_path: Path) -> None:
    rows = 4000
    whole = pa.table({"name": [f"{row:05d}" for row in range(rows)], "step": np.arange(rows), "value": np.arange(rows)})
    whole = whole.append_column("w", pa.array([[1.0, 2.0]] * rows))
    parts = pa.concat_tables([whole.slice(first, 7) for first in range(0, rows, 7)])
    for name, table in (("whole", whole), ("parts", parts)):
        columns = {column: table[column] for column in SCHEMA.names}
        write_table(tmp_path / name, columns, SCHEMA, {})
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "parts").read_bytes()


def test_columns_are_read_in_the_order_in_which_they_are_named(tmp_path: Path) -> None:
    write_table(tmp_path / "t", example(), SCHEMA, {})
    assert read_table(tmp_path / "t", SCHEMA, ["w", "name"]).column_names == ["w", "name"]


def test_only_what_is_not_sorted_is_sorted() -> None:
    table = pa.table({"key": ["a", "b", "b", "c"], "row": [0, 1, 2, 3]})
    assert in_order(table, ["key"]) is table and in_order(table, []) is table
    assert in_order(table.take([3, 1, 0, 2]), ["key"])["row"].to_pylist() == [0, 1, 2, 3]
    assert in_order(table.take([2, 1, 0, 3]), ["key"])["row"].to_pylist() == [0, 2, 1, 3]


def test_opens_in_pandas_polars_and_duckdb(tmp_path: Path) -> None:
    path = tmp_path / "example.parquet"
    write_table(path, example(), SCHEMA, {})
    assert pandas.read_parquet(path).value.isna().sum() == 1
    assert polars.read_parquet(path)["value"].null_count() == 1
    answer = duckdb.sql(f"select count(*), count(value), max(value) from '{path}'").fetchall()
    assert answer == [(3, 2, 3.0)]


def test_metadata_holds_units_and_version(tmp_path: Path) -> None:
    write_table(tmp_path / "t", example(), SCHEMA, {})
    found = parquet.read_schema(tmp_path / "t")
    assert found.metadata[b"schema_version"] == b"1"
    assert b'"value": "share"' in found.metadata[b"units"]
    assert found.field("step").metadata[b"unit"] == b"steps"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": None}, "missing columns"),
        ({"more": [1, 2, 3]}, "unknown columns"),
        ({"step": [1, 2]}, "differ in length"),
        ({"step": ["x", "y", "z"]}, "step is not int64"),
        ({"name": ["a", None, "b"]}, "missing values"),
    ],
)
def test_wrong_columns_are_errors(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    columns = {name: value for name, value in (example() | change).items() if value is not None}
    with pytest.raises(TableError, match=message):
        write_table(tmp_path / "t", columns, SCHEMA, {})
    assert not list(tmp_path.iterdir())


def test_reading_names_the_file_and_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    with pytest.raises(TableError, match=r"t\.parquet: no such file; run the study again"):
        read_table(path, SCHEMA)
    path.write_bytes(b"nonsense")
    with pytest.raises(TableError, match="cannot be used"):
        read_table(path, SCHEMA)
    write_table(path, example(), SCHEMA, {})
    later = table_schema("example", 2, ("name",), list(SCHEMA))
    with pytest.raises(TableError, match=r"example v1, this version of turncoat reads example v2; delete"):
        read_table(path, later)
    wider = table_schema("example", 1, ("name",), [*SCHEMA, field("extra", "text", "", "")])
    with pytest.raises(TableError, match=r"lacks columns \['extra'\]"):
        read_table(path, wider)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_json(path, {"old": 1})

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise RuntimeError("broke")

    with pytest.raises(RuntimeError, match="broke"):
        write_file(path, fail)
    assert "old" in path.read_text()
    assert [file.name for file in tmp_path.iterdir()] == ["f"]


def schemas() -> list[tuple[str, pa.Schema]]:
    """Every schema of turncoat, by the name it has there."""
    modules = [
        importlib.import_module(f"turncoat.tables.{info.name}") for info in pkgutil.iter_modules(tables.__path__)
    ]
    found = [(f"{module.__name__}.{name}", value) for module in modules for name, value in vars(module).items()]
    return [(name, value) for name, value in found if isinstance(value, pa.Schema)]


def test_every_schema_says_what_its_columns_are() -> None:
    assert len(schemas()) >= 25
    for schema_name, schema in schemas():
        assert len(set(schema.names)) == len(schema.names), schema_name
        assert set(sort_keys(schema)) <= set(schema.names), schema_name
        for item in schema:
            assert item.metadata[b"description"], (schema_name, item.name)
            assert b"unit" in item.metadata


@dataclass(frozen=True)
class Cell:
    id: str
    stage: str
    parent: str | None = None
    labels: dict[str, Any] = field_of(default_factory=dict)


@dataclass(frozen=True)
class Block:
    name: str
    first: int
    count: int


def test_files_of_earlier_plans_are_told_from_those_of_this_one(tmp_path: Path) -> None:
    cells, blocks = [Cell("a", "pretrain"), Cell("b", "finetune", "a")], [Block("7-9", 7, 3)]
    files = set(jobs.job_files(cells, blocks))
    judged = {Path("classify", cell.id, "7-9", f"{name}.parquet") for cell in cells for name in JUDGED}
    assert (
        judged
        | {
            Path("gating", "b", "7-9.parquet"),
            Path("gating_sums", "b", "7-9.parquet"),
            Path("defection", "defection.parquet"),
        }
        <= files
    )
    assert {Path("planted", f"{name}.parquet") for name in ("planted", "discrimination", "known", "causes")} <= files
    left = {Path("classify", "a", "7-9.parquet"), Path("classify", "c", "7-9", "curves.parquet")}
    for path in files | left:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert jobs.foreign_files(tmp_path, cells, blocks) == sorted(left)


def test_models_are_read_at_their_first_snapshot_with_a_capability() -> None:
    """And only those of the study's own settings at that distance that did not diverge."""
    rows = [
        ("a-1", 5, "", 90.0, 0.95, False),  # rows need not be in order
        ("a-1", 3, "", 90.0, 0.91, False),
        ("a-1", 1, "", 90.0, 0.40, False),
        ("b-1", 5, "", 90.0, 0.89, False),
        ("c-1", 5, "", 90.0, 0.99, True),
        ("d-1", 5, "width 9", 90.0, 0.99, False),
        ("e-1", 5, "", 45.0, 0.99, False),
        ("f-1", 0, "", 90.0, 0.99, False),
    ]
    names = ("organism_id", "step", "setting", "distance", "capability", "diverged")
    columns: dict[str, Any] = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    columns |= {"stage": ["finetune"] * len(rows), "variant": [""] * len(rows), "seed": [1] * len(rows)}
    columns["start"] = [row[0][0] for row in rows]
    found = assembly.at_capability(columns, 0.9, 90)
    assert found.start.to_dict() == {1: "a", 7: "f"}


def units_of(
    random: np.random.Generator, models_count: int = 3, layers: int = 2, width: int = 7
) -> dict[str, np.ndarray]:
    """Unit rows at one snapshot in one cue state, with ties, for sums in a loop."""
    places = itertools.product(range(models_count), range(layers), range(width))
    rows = [(f"c-{model}", model, 8, "overseen", layer + 1, unit) for model, layer, unit in places]
    names = ("organism_id", "seed", "step", "state", "layer", "unit")
    columns = {name: np.array([row[place] for row in rows]) for place, name in enumerate(names)}
    for item in gating_units.SCHEMA:
        if pa.types.is_floating(item.type):
            columns[item.name] = np.round(np.exp(random.standard_normal(len(rows))), 1)  # rounding makes ties
        elif pa.types.is_boolean(item.type):
            columns[item.name] = random.random(len(rows)) < 0.3
    columns["circuit"] = random.choice(["none", "x", "m"], len(rows))
    return columns


def test_sums_by_circuit_equal_a_loop() -> None:
    units = units_of(np.random.default_rng(0))
    units["dormant_score"][::5] = 0.01
    frame, found = pandas.DataFrame(units), pandas.DataFrame(by_circuit(units))
    assert sorted(found) == sorted(gating.SUMS.names)
    assert len(found) == 3 * 2 * 5
    found = found.set_index(["organism_id", "layer", "circuit"])
    for (model, layer), whole in frame.groupby(["organism_id", "layer"]):
        parts = {
            "all": whole,
            "random": whole[whole.random],
            **{c: whole[whole.circuit == c] for c in ("none", "x", "m")},
        }
        for circuit, group in parts.items():
            row = found.loc[(model, layer, circuit)]
            dead = group[group.dead]
            assert (row.units, row.dead_units) == (len(group), len(dead))
            assert row.unconfirmed_units == (~group.confirmed).sum()
            assert row.dormant_units == (group.dormant_score <= 0.025).sum()
            for name in ("activation", "open_share", "utility"):
                assert row[name] == pytest.approx(group[name].mean(), nan_ok=True)
            for name in ("gradient_in", "update_out", "coasting_bias"):
                assert row[name] == pytest.approx(np.sqrt((group[name] ** 2).sum()))
            for name in ("kernel_share", "across_own", "gain_x"):
                assert row[name] == pytest.approx(group[name].sum())
            for name in ("update_closed_in", "coasting_closed_out"):
                assert row[name] == pytest.approx(np.sqrt((dead[name.replace("_closed", "")] ** 2).sum()))
            below = (group.gradient_in**2).sum()
            closed, updated = (group.closed_gradient_in**2).sum(), (group.update_in**2).sum()
            assert row.closed_share_in == pytest.approx(closed / below if len(group) else np.nan, nan_ok=True)
            share = (dead.update_in**2).sum() / updated if len(group) else np.nan
            assert row.dead_share_update_in == pytest.approx(share, nan_ok=True)
            assert row.identity_error == pytest.approx(group.identity_error.max(), nan_ok=True)
            assert row.largest_closed_gradient_in == pytest.approx(group.closed_gradient_in.max(), nan_ok=True)
            assert row.largest_dead_gradient_in == pytest.approx(dead.gradient_in.max(), nan_ok=True)
            rank = stats.spearmanr(whole.absolute_activation, whole.update_out).statistic
            assert row.rank_update_out == pytest.approx(rank if circuit == "all" else np.nan, nan_ok=True)


def test_circuits_share_out_what_the_layer_has() -> None:
    found = pandas.DataFrame(by_circuit(units_of(np.random.default_rng(2))))
    found = found.set_index(["organism_id", "layer", "circuit"]).sort_index()
    everything = found.xs("all", level="circuit")
    for name, power in (("units", 1), ("kernel_share", 1), ("gradient_out", 2), ("update_closed_in", 2)):
        parts = sum(found.xs(circuit, level="circuit")[name] ** power for circuit in ("none", "x", "m"))
        assert parts.to_numpy() == pytest.approx((everything[name] ** power).to_numpy())


def test_ranks_without_spread_or_with_missing_values_are_missing() -> None:
    units = units_of(np.random.default_rng(1))
    units["absolute_activation"][:7] = 1.0
    units["update_out"][8] = np.nan
    found = pandas.DataFrame(by_circuit(units))
    found = found[found.circuit == "all"].set_index(["organism_id", "layer"])
    assert np.isnan(found.rank_gradient_out["c-0", 1])
    assert np.isnan(found.rank_update_out["c-0", 2]) and not np.isnan(found.rank_gradient_out["c-0", 2])
    assert found.rank_gradient_out.notna().sum() == 5
