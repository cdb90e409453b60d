"""Tables written otherwise than the library does, and yet sealed as it seals its own."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet

from turncoat.tables.seal import UNSEALED, seal


def write_sealed(table: pa.Table, path: Path) -> None:
    """Write an Arrow table as it is, its metadata too, with a checksum of its own."""
    metadata = {key: value for key, value in (table.schema.metadata or {}).items() if key != b"checksum"}
    table = table.replace_schema_metadata(metadata)
    with parquet.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"checksum": UNSEALED})
    seal(path)
