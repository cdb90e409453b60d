"""Whether two result files hold the same bits, but for what says how long and by which code they were made."""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
from safetensors import safe_open

from turncoat.tables.seal import SealError, check_seal

WALL_TIMES = ("train_seconds",)
"""Columns that differ between two runs of the same code."""
MADE_BY = (b"provenance", b"checksum", b"file", b"ARROW:schema")
"""Metadata that says who made a table and where it lies; the checksum covers these too."""


def difference(kept: Path, made: Path) -> str | None:
    """Return the first difference between two files of one kind in words, None where they hold the same bits."""
    if kept.suffix in (".parquet", ".safetensors"):
        try:
            check_seal(kept)
        except SealError as error:
            return f"the file that was kept cannot be used ({error}); delete it and run the study again"
    if kept.suffix == ".parquet":
        return _table_difference(kept, made)
    if kept.suffix == ".safetensors":
        return _tensor_difference(kept, made)
    return _byte_difference(kept, made)


def _table_difference(kept: Path, made: Path) -> str | None:
    old, new = (parquet.read_table(path, partitioning=None) for path in (kept, made))
    if old.schema.names != new.schema.names or old.schema.types != new.schema.types:
        return f"columns {old.schema.names} became {new.schema.names}, or their types differ"
    if old.num_rows != new.num_rows:
        return f"{old.num_rows} rows became {new.num_rows}"
    described = [
        {key: value for key, value in (table.schema.metadata or {}).items() if key not in MADE_BY}
        for table in (old, new)
    ]
    if described[0] != described[1]:
        return f"its metadata {described[0]} became {described[1]}"
    for name in old.schema.names:
        if name not in WALL_TIMES:
            one, two = old[name].combine_chunks(), new[name].combine_chunks()
            if not _as_bits(one).equals(_as_bits(two)):
                return f"column {name}, {_first_row(one, two)}"
    return None


def _described(table: pa.Table) -> dict[bytes, bytes]:
    return {key: value for key, value in (table.schema.metadata or {}).items() if key not in MADE_BY}


def _as_bits(array: pa.Array) -> pa.Array:
    """Floating-point numbers as integers, so that NaN equals itself and 0 is not -0; lists by their content."""
    kind = array.type
    if pa.types.is_floating(kind):
        return array.view({16: pa.int16(), 32: pa.int32(), 64: pa.int64()}[kind.bit_width])
    if pa.types.is_list(kind) and pa.types.is_floating(kind.value_type):
        return pa.ListArray.from_arrays(array.offsets, _as_bits(array.values), mask=array.is_null())
    return array


def _first_row(one: pa.Array, two: pa.Array) -> str:
    for row, (old, new) in enumerate(zip(_as_bits(one), _as_bits(two), strict=True)):
        if not old.equals(new):
            return f"row {row}: {one[row].as_py()!r} became {two[row].as_py()!r}"
    raise AssertionError("columns differ in no row")


def _tensor_difference(kept: Path, made: Path) -> str | None:
    with safe_open(kept, framework="np") as old, safe_open(made, framework="np") as new:
        if sorted(old.keys()) != sorted(new.keys()):
            return f"tensors {sorted(old.keys())} became {sorted(new.keys())}"
        for name in sorted(old.keys()):
            one, two = old.get_tensor(name), new.get_tensor(name)
            if (one.dtype, one.shape) != (two.dtype, two.shape):
                return f"tensor {name}: {one.dtype} {one.shape} became {two.dtype} {two.shape}"
            if one.tobytes() != two.tobytes():
                flat = zip(one.reshape(-1), two.reshape(-1), strict=True)
                places = (place for place, (a, b) in enumerate(flat) if a.tobytes() != b.tobytes())
                place = next(places)
                return f"tensor {name}, number {place}: {one.flat[place]!r} became {two.flat[place]!r}"
    return _text_difference(*(safe_open(path, framework="np").metadata() for path in (kept, made)))


def _text_difference(old: dict[str, str] | None, new: dict[str, str] | None) -> str | None:
    """What the metadata of two files of weights say, their checksums aside: those are equal where all else is."""
    return None if old == new else f"its metadata {old} became {new}"


def _byte_difference(kept: Path, made: Path) -> str | None:
    old, new = kept.read_bytes(), made.read_bytes()
    if old == new:
        return None
    if kept.suffix in (".csv", ".html", ".svg"):
        return next(_line_differences(old, new))
    return f"{len(old)} bytes became {len(new)}, or others"


def _line_differences(old: bytes, new: bytes) -> Iterator[str]:
    lines = (content.decode("utf-8", "replace").splitlines() for content in (old, new))
    for number, (one, two) in enumerate(zip_longest(*lines, fillvalue=""), start=1):
        if one != two:
            yield f"line {number}: {one.strip()[:100]!r} became {two.strip()[:100]!r}"
    yield "line ends differ"
