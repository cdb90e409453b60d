"""What a job that ends with an error says last: what the disk would not do, and what helps."""

import errno
import re
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)
AGAIN = "then run the same command again: what is finished is kept, and the rest is made"


def remedy(error: BaseException) -> str:
    """What is wrong with the disk, where, and what to do; empty for errors of other kinds."""
    number = _number(error)
    where = Path(str(getattr(error, "filename", None) or ".")).absolute()
    if number in FULL:
        return f"THE DISK IS FULL at {where}: nothing half-written was kept. Free some space there, {AGAIN}."
    if number in FORBIDDEN:
        return f"{where} CANNOT BE WRITTEN ({_words(number)}). Make it writable for this user, {AGAIN}."
    if number == errno.EIO:
        return f"THE DISK FAILED at {where} ({_words(number)}). Move the study's folder to a sound disk, {AGAIN}."
    return ""


def _number(error: BaseException) -> int | None:
    """The system's number of an error; safetensors has it in its words only."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    written = re.search(r"os error (\d+)", str(error))
    return int(written[1]) if written else None


def _words(number: int | None) -> str:
    return "" if number is None else errno.errorcode.get(number, str(number))
