"""Problems of a configuration in words: the key's path, its value, what is allowed, what may be meant."""

import difflib
import re
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from turncoat.configuration.allowed import Schema, allowed, choices, keys, schema_at

EXPONENT = re.compile(r"^[-+]?\d+(\.\d+)?[eE][-+]?\d+$")


class ConfigurationError(Exception):
    """The configuration cannot be run; the message names every problem that was found."""

    def __init__(self, problems: Sequence[str], source: str = "the configuration") -> None:
        self.problems = list(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"{count} in {source}; nothing was run:\n{lines}")


def describe_problems(error: ValidationError, root: Schema) -> list[str]:
    """Return one line for each problem that pydantic found; `root` is the configuration's JSON schema."""
    return [_describe(detail, root) for detail in error.errors(include_url=False)]


def dotted(path: Sequence[str | int]) -> str:
    """Write a key's path as `arms.main.distances[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def suggestion(word: object, known: Sequence[str]) -> str:
    """Return `; did you mean ...?` where one of the `known` words is near, else nothing."""
    near = difflib.get_close_matches(str(word).lower(), known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _describe(detail: Any, root: Schema) -> str:
    path, value, kind = list(detail["loc"]), detail["input"], detail["type"]
    if path and path[-1] == "[key]":
        return _describe_name(path[:-1])
    if kind == "extra_forbidden":
        return _describe_unknown_key(path, root)
    if kind == "value_error":
        message = str(detail["ctx"]["error"])
        if isinstance(value, dict):
            return f"{dotted(path)}.{message}" if path else message
        return f"{dotted(path)} = {_show(value)}: {message}"
    schema = schema_at(path, root)
    permitted = "see docs/configuration.md" if schema is None else allowed(schema, root)
    if kind == "missing":
        return f"{dotted(path)}: is missing; allowed: {permitted}"
    near = "" if schema is None or not isinstance(value, str) else suggestion(value, choices(schema, root))
    advice = f"{near}{_hint(value, permitted)}"
    return f"{dotted(path) or 'configuration'} = {_show(value)}: allowed: {permitted}{advice}"


def _describe_name(path: list[str | int]) -> str:
    hint = "; YAML reads an unquoted null, yes, no or number as a value: quote it or name it otherwise"
    odd = hint if not isinstance(path[-1], str) or path[-1] in {"None", "True", "False"} else ""
    return f"{dotted(path)}: allowed as a name: small letters, digits, _ and - (at most 64){odd}"


def _describe_unknown_key(path: list[str | int], root: Schema) -> str:
    parent = schema_at(path[:-1], root)
    known = [] if parent is None else keys(parent, root)
    return f"{dotted(path)}: unknown key{suggestion(path[-1], known)}; allowed: {', '.join(known)}"


def _hint(value: object, permitted: str) -> str:
    if not isinstance(value, str) or "number" not in permitted:
        return ""
    if EXPONENT.match(value):
        return f"; YAML reads {value} as text: write a decimal point and a signed exponent, as in 1.0e-3"
    try:
        float(value)
    except ValueError:
        return ""
    return "; this is text: leave the quotes out"


def _show(value: object) -> str:
    """Write a value as YAML would, cut to one short line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
