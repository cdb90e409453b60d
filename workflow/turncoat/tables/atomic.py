"""Files that are either complete or absent: written under a temporary name beside it, then renamed.

Tables carry a schema version, a checksum and their own name, which reading verifies.
"""

import contextlib
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.parquet as parquet

from turncoat.run_lock import check_run
from turncoat.tables.seal import UNSEALED, SealError, check_name, check_seal, own_name, seal

Column: TypeAlias = Any  # a sequence, a NumPy array (two-dimensional for lists) or an Arrow array; pyarrow has no types


class TableError(RuntimeError):
    """A table that is missing, incomplete or of another schema version."""


def write_file(path: Path, writer: Callable[[Path], None]) -> None:
    """Let `writer` write to a temporary path beside `path`, then rename it to `path` in one step.

    The content is on the disk before the name is, and the name before this returns. Raises RunLockError, and leaves
    `path` as it was, where the run that started this job is over.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.tmp")
    try:
        writer(temporary)
        temporary.chmod(0o666 & ~_umask())  # some writers keep their files to themselves; a cluster's are shared
        _to_disk(temporary)
        check_run()
        temporary.replace(path)
        with contextlib.suppress(OSError):  # not every file system syncs folders
            _to_disk(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes atomically."""
    write_file(path, lambda temporary: _write_bytes(temporary, content))


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, keys sorted, so that equal content gives equal bytes."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")


def write_table(
    path: Path,
    columns: Mapping[str, Column],
    schema: pa.Schema,
    provenance: Mapping[str, str],
) -> None:
    """Write columns as Parquet, in the schema's column order and sorted by its `sort_by`.

    A column is a sequence or an array with one entry (or, for lists, one row) per table row. NaN is
    written as null, which pandas, polars and DuckDB all read as missing. The file's metadata holds the
    table's name, schema version, units and the provenance, the file's own name and its checksum.

    Raises TableError when a column is missing, unknown, of the wrong length or type, or null where
    the schema does not allow it.
    """
    table = build_table(columns, schema, str(path))
    metadata = dict(table.schema.metadata or {})
    metadata[b"units"] = json.dumps({item.name: unit_of(item) for item in schema}, sort_keys=True).encode()
    metadata[b"provenance"] = json.dumps(dict(provenance), sort_keys=True).encode()
    metadata[b"file"] = own_name(Path(path)).encode()
    write_file(path, lambda temporary: _write_sealed(temporary, table.replace_schema_metadata(metadata)))


def _write_sealed(path: Path, table: pa.Table) -> None:
    with parquet.ParquetWriter(path, table.schema, compression="zstd") as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"checksum": UNSEALED})  # in the footer alone, not in Arrow's copy of the schema
    seal(path)


def build_table(columns: Mapping[str, Column], schema: pa.Schema, name: str) -> pa.Table:
    """The sorted Arrow table of these columns; `name` is what an error calls it."""
    missing = [column for column in schema.names if column not in columns]
    unknown = [column for column in columns if column not in schema.names]
    if missing or unknown:
        raise TableError(f"{name}: missing columns {missing}, unknown columns {unknown}")
    arrays = [_array(columns[item.name], item, name) for item in schema]
    lengths = {item.name: len(array) for item, array in zip(schema, arrays, strict=True)}
    if len(set(lengths.values())) > 1:
        raise TableError(f"{name}: columns differ in length: {lengths}")
    table = pa.Table.from_arrays(arrays, schema=schema)
    # Joined, since a file's bytes would otherwise tell of what parts a table was put together.
    return in_order(table, sort_keys(schema)).combine_chunks()


def in_order(table: pa.Table, keys: Sequence[str]) -> pa.Table:
    """The table sorted by these columns, rows that tie as they were: itself, not a copy, where it is sorted already."""
    if not keys:
        return table
    order = compute.sort_indices(table, sort_keys=[(key, "ascending") for key in keys])
    return table if np.array_equal(order, np.arange(len(table))) else table.take(order)


def read_table(path: Path, schema: pa.Schema, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet table after checking that it is whole, lies where it was written, and has this schema's version
    and columns.

    `columns` picks some of them. Raises TableError that names the file, what is wrong and the remedy.
    """
    path = Path(path)
    file = _opened(path)
    found = file.schema_arrow
    expected = _version(schema)
    if _version(found) != expected:
        raise TableError(
            f"{path}: holds table {_version(found)}, this version of turncoat reads {expected}; "
            "delete the file and run the study again"
        )
    lacking = set(schema.names) - set(found.names)
    if lacking:
        missing = [name for name in schema.names if name in lacking]
        raise TableError(f"{path}: lacks columns {missing}; delete the file and run the study again")
    wanted = list(columns) if columns is not None else schema.names
    return file.read(columns=wanted, use_threads=False).select(wanted)


def sound_schema(path: Path) -> pa.Schema:
    """The schema of a Parquet table that is whole and lies where it was written; raises TableError otherwise."""
    return _opened(path).schema_arrow


def _opened(path: Path) -> parquet.ParquetFile:
    if not path.is_file():
        raise TableError(f"{path}: no such file; run the study again so that Snakemake makes it")
    try:
        check_seal(path)
        file = parquet.ParquetFile(path)
        check_name(path, (file.schema_arrow.metadata or {}).get(b"file", b"").decode())
    except (SealError, pa.ArrowInvalid, OSError) as error:
        raise TableError(f"{path}: cannot be used ({error}); delete it and run the study again") from error
    return file


def read_provenance(path: Path) -> dict[str, str]:
    """The provenance that `write_table` put into a Parquet file. Raises TableError where it cannot be used."""
    metadata = sound_schema(path).metadata or {}
    content: dict[str, str] = json.loads(metadata.get(b"provenance", b"{}"))
    return content


def unit_of(field: pa.Field) -> str:
    """The unit in a field's metadata; empty when it has none."""
    return (field.metadata or {}).get(b"unit", b"").decode()


def sort_keys(schema: pa.Schema) -> list[str]:
    """The columns by which a table of this schema is sorted."""
    keys = (schema.metadata or {}).get(b"sort_by", b"").decode()
    return [key for key in keys.split(",") if key]


def _version(schema: pa.Schema) -> str:
    metadata = schema.metadata or {}
    return f"{metadata.get(b'table', b'?').decode()} v{metadata.get(b'schema_version', b'?').decode()}"


def _array(values: Column, item: pa.Field, name: str) -> pa.Array:
    try:
        if isinstance(values, pa.Array | pa.ChunkedArray):
            array = values.cast(item.type)
        elif isinstance(values, np.ndarray) and values.ndim == 2:
            flat = pa.array(values.reshape(-1), item.type.value_type)
            offsets = np.arange(values.shape[0] + 1, dtype=np.int32) * values.shape[1]
            array = pa.ListArray.from_arrays(pa.array(offsets), flat).cast(item.type)
        else:
            array = pa.array(values, item.type, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise TableError(f"{name}: column {item.name} is not {item.type}: {error}") from error
    if array.null_count and not item.nullable:
        raise TableError(f"{name}: column {item.name} has {array.null_count} missing values")
    return array


def _write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)
