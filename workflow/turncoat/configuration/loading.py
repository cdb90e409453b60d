"""From YAML to a checked configuration."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from turncoat.configuration.allowed import Schema
from turncoat.configuration.errors import ConfigurationError, describe_problems
from turncoat.configuration.models import Config


@cache
def config_schema() -> Schema:
    """Return the JSON schema of the models as pydantic writes it."""
    return Config.model_json_schema()


def load_config(values: Mapping[str, Any], source: str = "the configuration") -> Config:
    """Check merged `values` and return the configuration they describe.

    Raises ConfigurationError with every problem, each naming the key's path, the value and what is allowed.
    """
    try:
        return Config.model_validate(_with_text_keys(values))
    except ValidationError as error:
        raise ConfigurationError(describe_problems(error, config_schema()), source) from None


def read_config(path: Path, *overlays: Path) -> Config:
    """Read `path`, merge the `overlays` into it in turn, and check the result."""
    values = read_yaml(path)
    for overlay in overlays:
        values = merged(values, read_yaml(overlay))
    return load_config(values, ", ".join(str(file) for file in (path, *overlays)))


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping that the YAML file `path` holds.

    Raises ConfigurationError where it is missing, malformed, repeats a key or is no mapping.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except OSError as error:
        raise ConfigurationError([f"cannot be read: {error.strerror}"], str(path)) from None
    except UnicodeDecodeError:
        raise ConfigurationError(["is not text in UTF-8"], str(path)) from None
    except yaml.YAMLError as error:
        raise ConfigurationError([_malformed(error)], str(path)) from None
    except ValueError as error:
        raise ConfigurationError([f"holds a value that cannot be read: {error}"], str(path)) from None
    if _holds_itself(values, ()):
        raise ConfigurationError(["an alias (*name) stands inside what it names; allowed: values that end"], str(path))
    if not isinstance(values, dict):
        held = "nothing" if values is None else f"a {type(values).__name__}"
        raise ConfigurationError([f"holds {held}; allowed: a mapping of keys such as `study: mine`"], str(path))
    return values


def merged(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Merge as Snakemake does: mappings key by key, everything else (lists too) replaced."""
    result = dict(base)
    for key, value in overlay.items():
        below = result.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            value = merged(below, value)
        result[key] = value
    return result


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML's own loader lets the last of two equal keys win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key must be a word (curly brackets open a mapping)", key.start_mark
                )
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands here twice", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _holds_itself(value: Any, above: tuple[int, ...]) -> bool:
    if id(value) in above:
        return True
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_holds_itself(part, (*above, id(value))) for part in parts)


def _malformed(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "it cannot be read"
    if mark is None:
        return f"not valid YAML: {problem}"
    return f"not valid YAML, line {mark.line + 1}, column {mark.column + 1}: {problem}"


def _with_text_keys(values: Any) -> Any:
    """Plain dicts with text keys: YAML reads some unquoted names as null, true or a number."""
    if isinstance(values, Mapping):
        return {str(key): _with_text_keys(value) for key, value in values.items()}
    return values
