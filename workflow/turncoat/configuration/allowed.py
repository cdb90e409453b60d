"""What a key of the configuration allows, in words, read from the JSON schema of the models."""

from collections.abc import Sequence
from typing import Any

Schema = dict[str, Any]


def resolve(schema: Schema, root: Schema) -> Schema:
    """Return `schema` with its reference into `root` followed; a nullable schema stays as it is."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        described: Schema = root["$defs"][name]
        return described
    return schema


def schema_at(path: Sequence[str | int], root: Schema) -> Schema | None:
    """Return the schema of the key at `path`, or None where the configuration has no such key."""
    schema = root
    for part in path:
        schema = resolve(_not_null(schema), root)
        if isinstance(part, int):
            schema = schema.get("items", {})
        elif part in schema.get("properties", {}):
            schema = schema["properties"][part]
        else:
            named = _named(schema)
            if named is None:
                return None
            schema = named
    return schema


def allowed(schema: Schema, root: Schema) -> str:
    """Say in words what `schema` allows: `a whole number from 1 to 16, or null`."""
    nullable = _is_nullable(schema)
    plain = resolve(_not_null(schema), root)
    text = _allowed_plain(plain, root)
    return f"{text}, or null" if nullable else text


def keys(schema: Schema, root: Schema) -> list[str]:
    """Return the keys that a section allows, none where its names are free."""
    return list(resolve(_not_null(schema), root).get("properties", {}))


def choices(schema: Schema, root: Schema) -> list[str]:
    """Return the words that a key allows, none where it is no choice between words."""
    plain = resolve(_not_null(schema), root)
    return list(plain.get("enum", [plain["const"]] if "const" in plain else []))


def _allowed_plain(schema: Schema, root: Schema) -> str:
    if options := choices(schema, root):
        return " or ".join(options) if len(options) < 3 else f"one of {', '.join(options)}"
    kind = schema.get("type")
    if kind == "array":
        least = schema.get("minItems", 0)
        size = f" of at least {least}" if least else ""
        return f"a list{size}: each {allowed(schema['items'], root)}" if schema["items"] else f"a list{size}"
    if kind == "object":
        names = keys(schema, root)
        if names:
            return f"a section with the keys {', '.join(names)}"
        if schema.get("additionalProperties"):
            return "a mapping from keys to lists, at least one"
        return "a mapping from names to sections, at least one" if schema.get("minProperties") else "a mapping"
    if kind == "boolean":
        return "true or false"
    if kind == "string":
        return "a name of small letters, digits, _ and - (at most 64)" if "pattern" in schema else "text"
    return ("a whole number" if kind == "integer" else "a number") + _range(schema)


def _range(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}" if high < 100_000 else f" from {low:g} to {int(high):,}"
    parts = [
        f"{word} {bound:g}"
        for word, bound in (("at least", low), ("above", above), ("at most", high), ("below", below))
        if bound is not None
    ]
    return f" {' and '.join(parts)}" if parts else ""


def _named(schema: Schema) -> Schema | None:
    """The schema of the values of a mapping whose names are free."""
    patterns = schema.get("patternProperties", {})
    return next(iter(patterns.values()), schema.get("additionalProperties") or None)


def _is_nullable(schema: Schema) -> bool:
    return any(option.get("type") == "null" for option in schema.get("anyOf", []))


def _not_null(schema: Schema) -> Schema:
    for option in schema.get("anyOf", []):
        if option.get("type") != "null":
            found: Schema = option
            return found
    return schema
