"""Check of the user's table of attributes before any job reads it."""

import csv
import math
from pathlib import Path

LARGEST_SPREAD = 1e100


def check_attribute_table(path: Path, attributes: int) -> None:
    """Raise ValueError unless `path` is a CSV with a header and `attributes` columns of finite numbers.

    At least two rows are needed, and no column may be constant: columns are standardised when they are read.
    """
    place = f"attribute_table = {str(path)!r}"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{place}: cannot be read ({error.strerror}); allowed: an existing CSV file") from None
    except UnicodeDecodeError:
        raise ValueError(f"{place}: is not text in UTF-8; allowed: a CSV file") from None
    rows = [row for row in csv.reader(text.splitlines()) if row]
    if len(rows) < 3:
        raise ValueError(f"{place}: needs a header and at least two rows of options")
    if len(rows[0]) != attributes or all(_is_number(cell) for cell in rows[0]):
        raise ValueError(
            f"{place}: line 1 holds {rows[0]!r}; allowed: a header, a name for each of world.attributes = {attributes}"
        )
    columns = [_numbers(row, line, attributes, place) for line, row in enumerate(rows[1:], start=2)]
    for number, column in enumerate(zip(*columns, strict=True), start=1):
        if min(column) == max(column):
            raise ValueError(f"{place}: column {number} holds one value only, so no objective can read it")
        if max(column) - min(column) > LARGEST_SPREAD or max(column) - min(column) < 1 / LARGEST_SPREAD:
            raise ValueError(
                f"{place}: column {number} spreads over {max(column) - min(column):g}; allowed: between "
                f"{1 / LARGEST_SPREAD:g} and {LARGEST_SPREAD:g}, or it cannot be standardised"
            )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers(row: list[str], line: int, attributes: int, place: str) -> list[float]:
    if len(row) != attributes:
        raise ValueError(f"{place}: line {line} has {len(row)} columns; allowed: world.attributes = {attributes}")
    try:
        numbers = [float(cell) for cell in row]
    except ValueError:
        raise ValueError(f"{place}: line {line} holds {row!r}; allowed: numbers") from None
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"{place}: line {line} holds {row!r}; allowed: finite numbers")
    return numbers
