"""Which results without a record can be kept: those whose tables name the code and settings that are planned."""

from pathlib import Path

import pyarrow as pa
import pytest

from turncoat.tables.atomic import write_table
from turncoat.tables.unrecorded import not_as_planned

SCHEMA = pa.schema([pa.field("seed", pa.int64())], metadata={"name": "seeds", "version": "1"})


def outputs_of(folder: Path, made: dict[str, str]) -> list[str]:
    folder.mkdir()
    (folder / "weights.safetensors").write_bytes(b"weights")
    write_table(folder / "first.parquet", {"seed": [1]}, SCHEMA, {"code": "c1", "settings": '{"a":1}'})
    write_table(folder / "second.parquet", {"seed": [2]}, SCHEMA, made)
    return [str(folder / name) for name in ("weights.safetensors", "first.parquet", "second.parquet")]


@pytest.mark.parametrize(
    "made", [{"code": "c2", "settings": '{"a":1}'}, {"code": "c1", "settings": '{"a":2}'}, {"code": "c1"}, {}]
)
def test_all_of_a_job_goes_with_a_table_that_names_other_code_or_settings(made: dict[str, str], tmp_path: Path) -> None:
    alike = outputs_of(tmp_path / "alike", {"code": "c1", "settings": '{"a":1}'})
    unlike = outputs_of(tmp_path / "unlike", made)
    planned = [(names, "c1", '{"a":1}') for names in (alike, unlike)]
    assert not_as_planned(planned) == [Path(name) for name in unlike]


def test_what_cannot_be_read_or_has_no_table_is_not_as_planned(tmp_path: Path) -> None:
    names = outputs_of(tmp_path / "job", {"code": "c1", "settings": '{"a":1}'})
    planned = [(names, "c1", '{"a":1}')]
    assert not_as_planned(planned) == []
    Path(names[2]).write_bytes(b"PAR1 cut")
    assert len(not_as_planned(planned)) == 3
    Path(names[2]).unlink()
    assert len(not_as_planned(planned)) == 3
    assert not_as_planned([(["page.html"], "c1", "")]) == [Path("page.html")]
