"""Write what the configuration's models say for people and for editors: run it after a change of a model.

    python -m turncoat.configuration.document [FOLDER]

writes `workflow/schemas/config.schema.json` and `docs/configuration.md` under FOLDER (the repository).
"""

import argparse
import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

from turncoat.configuration.allowed import Schema, allowed, keys, resolve
from turncoat.configuration.loading import config_schema
from turncoat.configuration.models import Config

REPOSITORY = Path(__file__).resolve().parents[3]
SCHEMA_PATH = Path("workflow/schemas/config.schema.json")
KEYS_PATH = Path("docs/configuration.md")

OPENING = """# Keys of the configuration

`config.yaml` holds the default study. Another study is an overlay: a YAML file that names itself
(`study: mine`) and the keys it changes, run with

    snakemake --cores all --configfile workflow/studies/mine.yaml

Sections merge key by key; a list replaces the list below it; an arm set to `null` is dropped. Everything is
checked before the first job starts, and the merged configuration is saved as `results/<study>/config.yaml`.
Changing a key under `seeds`, `arms` or the training sections trains the models that this adds and leaves the
others; `evaluation` and `gating` measure again; `types` and `statistics` only write the tables and the report
again.

The device is no key: the environment variable `TURNCOAT_DEVICE` is `auto` (a GPU where there is one), `cpu`
or `cuda`.

`python -m turncoat.configuration.check [OVERLAY ...]` checks a study and prints what it would run.

This page is written by `python -m turncoat.configuration.document` from the models in
`workflow/turncoat/configuration`.
"""


def schema_text() -> str:
    """Return the JSON schema for editors: overlays pass too, so no key is required and an arm may be null."""
    schema = deepcopy(config_schema())
    for section in (schema, *schema["$defs"].values()):
        section.pop("required", None)
    arms = schema["properties"]["arms"]["patternProperties"]
    for pattern, arm in arms.items():
        arms[pattern] = {"anyOf": [arm, {"type": "null"}]}
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "turncoat study"
    return json.dumps(_with_defaults(schema), indent=2) + "\n"


def keys_text() -> str:
    """Return the documentation of every key as Markdown."""
    root = config_schema()
    defaults = Config().model_dump()
    parts = [OPENING, "## Top level\n", _table(root, root, {"study": defaults["study"]}, only=["study"])]
    for name in keys(root, root):
        section = root["properties"][name]
        if name == "arms":
            arm = resolve(next(iter(section["patternProperties"].values())), root)
            parts += [f"## arms.NAME\n\n{_sentence(section['description'])}\n", _table(arm, root, {})]
        elif keys(section, root):
            described = resolve(section, root)
            parts += [
                f"## {name}\n\n{_sentence(section['description'])}\n",
                _table(described, root, defaults[name]),
            ]
    return "\n".join(parts)


def write(folder: Path = REPOSITORY) -> None:
    """Write the schema and the documentation of the keys under `folder`."""
    for path, text in ((SCHEMA_PATH, schema_text()), (KEYS_PATH, keys_text())):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def _table(section: Schema, root: Schema, defaults: dict[str, Any], only: list[str] | None = None) -> str:
    lines = ["| key | default | unit | allowed | what it is |", "|---|---|---|---|---|"]
    for path, schema in _leaves(section, root):
        if only is not None and path[0] not in only:
            continue
        default = _shown(defaults, path, schema)
        cells = (
            f"`{'.'.join(path)}`",
            default,
            schema.get("unit", ""),
            allowed(schema, root),
            schema["description"],
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _leaves(section: Schema, root: Schema, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Schema]]:
    for name, schema in section.get("properties", {}).items():
        below = resolve(schema, root)
        if keys(schema, root):
            yield from _leaves(below, root, (*path, name))
        else:
            yield (*path, name), schema


def _shown(defaults: dict[str, Any], path: tuple[str, ...], schema: Schema) -> str:
    value: Any = defaults
    for part in path:
        value = value.get(part, schema.get("default")) if isinstance(value, dict) else None
    if value is None and path[-1] != "attribute_table" and "default" not in schema:
        return "must be given"
    return f"`{json.dumps(value)}`"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _with_defaults(schema: Schema) -> Schema:
    """Give the keys whose default pydantic makes anew (lists, sections) their default in the schema."""
    defaults = Config().model_dump()
    for name, value in defaults.items():
        schema["properties"][name]["default"] = value
    return schema


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m turncoat.configuration.document", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=REPOSITORY, help="repository that is written to")
    write(parser.parse_args().folder)
