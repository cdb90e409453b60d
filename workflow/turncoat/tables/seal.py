"""What every result file carries to be told from a cut, altered or misplaced one: its checksum and its own name.

The checksum is the sha256 of all other bytes of the file. It lies as text in the metadata of a Parquet footer or a
safetensors header, where zeros are put first. It detects damage, not forgery: whoever can write the file can seal it.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

MARK = b"turncoat-sha256:"
DIGITS = 64
UNSEALED = (MARK + b"0" * DIGITS).decode()
PIECE = 2**20
FOLDERS = (
    "pretrain",
    "finetune",
    "elicit",
    "classify",
    "gating",
    "gating_sums",
    "reinforce",
    "planted",
    "defection",
    "tables",
)
"""Folders of a study that hold result files."""


class SealError(ValueError):
    """A file whose checksum is missing or is not that of its bytes."""


def own_name(path: Path) -> str:
    """Return the path from its stage's folder on, such as finetune/<cell>/<block>/weights.safetensors.

    Nothing where it lies in no such folder. The study is left out: its folder may be moved.
    """
    *folders, name = path.parts
    places = [place for place, folder in enumerate(folders) if folder in FOLDERS]
    return "/".join([*folders[places[-1] :], name]) if places else ""


def check_name(path: Path, written_as: str) -> None:
    """Raise SealError where a file of a study lies in the place of another: of another cell, block or kind."""
    here = own_name(path)
    if here and written_as and here != written_as:
        raise SealError(f"it was written as {written_as}")


def seal(path: Path) -> None:
    """Replace the zeros behind the mark in a file's metadata by the checksum. Raises SealError where there are none."""
    with path.open("r+b") as file:
        place = _place(file)
        digest = _digest(file, place)
        file.seek(place)
        file.write(digest)


def check_seal(path: Path) -> None:
    """Raise SealError unless the file's checksum is that of its bytes."""
    with path.open("rb") as file:
        place = _place(file)
        file.seek(place)
        if file.read(DIGITS) != _digest(file, place):
            raise SealError("its checksum is not that of its content: it was cut or altered")


def _digest(file: BinaryIO, place: int) -> bytes:
    hashed = hashlib.sha256()
    for piece in _pieces(file, 0, place):
        hashed.update(piece)
    hashed.update(b"0" * DIGITS)
    for piece in _pieces(file, place + DIGITS, None):
        hashed.update(piece)
    return hashed.hexdigest().encode()


def _pieces(file: BinaryIO, start: int, end: int | None) -> Iterator[bytes]:
    file.seek(start)
    while end is None or start < end:
        piece = file.read(PIECE if end is None else min(PIECE, end - start))
        if not piece:
            return
        start += len(piece)
        yield piece


def _place(file: BinaryIO) -> int:
    """Where the checksum's digits begin, in a Parquet file's footer or a safetensors file's header."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    opening = file.read(8)
    if opening[:4] == b"PAR1":
        file.seek(max(size - 8, 0))
        length = int.from_bytes(file.read(4), "little")
        start = size - 8 - length
    else:
        length = int.from_bytes(opening, "little")
        start = 8
    if not 0 < length <= size - 8 or start < 0:
        raise SealError("it is cut, or no result file")
    file.seek(start)
    metadata = file.read(length)
    found = metadata.find(MARK)
    if found < 0 or found + len(MARK) + DIGITS > length or metadata.count(MARK) > 1:
        raise SealError("it has no checksum")
    return start + found + len(MARK)
