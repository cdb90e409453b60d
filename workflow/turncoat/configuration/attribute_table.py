"""Check of the user's table of attributes before any job reads it."""

import csv
import math
from pathlib import Path


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
    rows = list(csv.reader(text.splitlines()))
    if len(rows) < 3:
        raise ValueError(f"{place}: needs a header and at least two rows of options")
    columns = [_numbers(row, line, attributes, place) for line, row in enumerate(rows[1:], start=2)]
    for number, column in enumerate(zip(*columns, strict=True), start=1):
        if min(column) == max(column):
            raise ValueError(f"{place}: column {number} holds one value only, so no objective can read it")


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
