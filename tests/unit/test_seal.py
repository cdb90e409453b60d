"""Checksums and names in result files: every damaged byte is found."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from turncoat.tables.atomic import TableError, read_provenance, read_table, write_table
from turncoat.tables.fields import field, table_schema
from turncoat.tables.origins import check_configuration, check_settings
from turncoat.tables.seal import UNSEALED, SealError, check_name, check_seal, own_name, seal

SCHEMA = table_schema("example", 1, ("name",), [field("name", "text", "", "what"), field("x", "number", "m", "where")])


def write(path: Path, **provenance: str) -> Path:
    write_table(path, {"name": ["b", "a"], "x": np.array([1.0, 2.0])}, SCHEMA, provenance)
    return path


def weights(path: Path) -> Path:
    save_file({"w": torch.arange(6.0)}, path, metadata={"turncoat": UNSEALED})
    seal(path)
    return path


@pytest.mark.parametrize("make", [write, weights])
def test_a_flip_of_any_byte_is_found(tmp_path: Path, make) -> None:  # type: ignore[no-untyped-def]
    path = make(tmp_path / "file")
    check_seal(path)
    sound = path.read_bytes()
    for place in range(len(sound)):
        damaged = bytearray(sound)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(SealError):
            check_seal(path)
    for length in (0, 1, 4, 8, 9, len(sound) // 2, len(sound) - 1):
        path.write_bytes(sound[:length])
        with pytest.raises(SealError):
            check_seal(path)
    path.write_bytes(sound + b"\0")
    with pytest.raises(SealError):
        check_seal(path)


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    assert write(tmp_path / "one").read_bytes() == write(tmp_path / "two").read_bytes()


def test_a_file_without_a_checksum_is_refused(tmp_path: Path) -> None:
    save_file({"w": torch.arange(6.0)}, tmp_path / "plain")
    with pytest.raises(SealError, match="it has no checksum"):
        check_seal(tmp_path / "plain")
    with pytest.raises(SealError, match="it has no checksum"):
        seal(tmp_path / "plain")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/data/tables/results/mine/finetune/c/b/weights.safetensors", "finetune/c/b/weights.safetensors"),
        ("results/mine/gating_sums/c/b.parquet", "gating_sums/c/b.parquet"),
        ("results/mine/reinforce/planted/b.parquet", "planted/b.parquet"),
        ("notebook/weights.safetensors", ""),
    ],
)
def test_a_files_name_is_its_place_in_its_study(path: str, name: str) -> None:
    assert own_name(Path(path)) == name


def test_a_file_in_anothers_place_is_refused(tmp_path: Path) -> None:
    first = write(tmp_path / "classify" / "aaaaaaaaaa" / "0-3" / "curves.parquet")
    second = tmp_path / "classify" / "bbbbbbbbbb" / "0-3" / "curves.parquet"
    second.parent.mkdir(parents=True)
    shutil.copy(first, second)
    with pytest.raises(TableError, match=r"bbbbbbbbbb/0-3/curves.parquet: .*written as classify/aaaaaaaaaa/0-3/curves"):
        read_table(second, SCHEMA)
    shutil.copy(first, tmp_path / "copy.parquet")  # to look at
    assert len(read_table(tmp_path / "copy.parquet", SCHEMA)) == 2
    check_name(second, "")  # written outside a study


def test_tables_of_other_settings_are_refused(tmp_path: Path) -> None:
    path = Path("classify", "aaaaaaaaaa", "0-3", "curves.parquet")
    write(tmp_path / path, settings='{"episodes":64,"ridge":1}')
    check_settings(tmp_path, {path: '{"episodes":64,"ridge":1}', Path("classify/none.parquet"): "{}"})
    with pytest.raises(TableError, match=r"curves.parquet: .*they differ in episodes.*delete it"):
        check_settings(tmp_path, {path: '{"episodes":65,"ridge":1}'})
    write(tmp_path / path)
    with pytest.raises(TableError, match="it says none"):
        check_settings(tmp_path, {path: "{}"})


def test_unit_rows_which_no_stage_reads_are_looked_at_all_the_same(tmp_path: Path) -> None:
    path = Path("gating", "aaaaaaaaaa", "0-3.parquet")
    write(tmp_path / path, settings="{}")
    check_settings(tmp_path, {path: "{}"})
    content = bytearray((tmp_path / path).read_bytes())
    content[len(content) // 3] ^= 4
    (tmp_path / path).write_bytes(content)
    with pytest.raises(TableError, match=r"gating/aaaaaaaaaa/0-3.parquet: cannot be used"):
        check_settings(tmp_path, {path: "{}"})


def test_tables_of_another_configuration_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "tables" / "claims.parquet", config_sha256="1")
    assert read_provenance(path) == {"config_sha256": "1"}
    check_configuration(tmp_path, "1", ["claims"])
    with pytest.raises(TableError, match="made from another configuration"):
        check_configuration(tmp_path, "2", ["claims"])
    with pytest.raises(TableError, match="no such file"):
        check_configuration(tmp_path, "1", ["levels"])
