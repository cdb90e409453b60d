"""Fingerprint of a stage's code: what it runs, read as source, so that results know which code made them.

The fingerprint covers the syntax trees of the stage and of all that it imports of this package, in turn,
without comments, docstrings and positions, and the data files (such as templates, or C without its comments) beside
those modules.
It is the same on every Python from 3.11 on. Imports by name at run time are not seen.
"""

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
PACKAGE = ROOT.name
BLOCKS = ("body", "orelse", "handlers", "finalbody", "cases")
"""Fields of statements that hold statements."""


def stage_fingerprint(stage: str, root: Path = ROOT, plugins: Sequence[str] = ()) -> str:
    """Return 12 hex digits for the code of `stages/<stage>.py` under the package folder `root`.

    `plugins` are modules that it imports by name at run time, such as `dodges/inoculation`: they count with all that
    they import. Raises FileNotFoundError where there is no such stage or plugin, SyntaxError where code does not parse.
    """
    return files_fingerprint(stage_modules(stage, root, plugins), root)[:12]


def stage_modules(stage: str, root: Path = ROOT, plugins: Sequence[str] = ()) -> set[Path]:
    """Return the files behind `stage_fingerprint`, which says what the arguments are and what is raised."""
    start = root / "stages" / f"{stage}.py"
    if not start.is_file():
        raise FileNotFoundError(f"no stage {stage!r}: {start} does not exist")
    files = imported_files(start, root)
    for plugin in plugins:
        module = (root / plugin).with_suffix(".py")
        if not module.is_file():
            raise FileNotFoundError(f"no plugin {plugin!r}: {module} does not exist")
        files |= imported_files(module, root)
    return files | _data_files(files)


def files_fingerprint(files: Iterable[Path], root: Path = ROOT) -> str:
    """Return the sha256 of `files` under `root`: what Python files mean, and data files byte for byte."""
    hashed = hashlib.sha256()
    for file in sorted(files):
        hashed.update(f"{file.relative_to(root).as_posix()}\n{_content(file)}\n".encode())
    return hashed.hexdigest()


def module_hashes(files: Iterable[Path], root: Path = ROOT) -> dict[str, str]:
    """Return 12 hex digits of the sha256 of what each of `files` under `root` means, by its path."""
    return {
        file.relative_to(root).as_posix(): hashlib.sha256(_content(file).encode()).hexdigest()[:12]
        for file in sorted(files)
    }


def _content(file: Path) -> str:
    source = file.read_bytes()
    if file.suffix == ".py":
        return _meaning(source)
    return hashlib.sha256(_without_comments(source) if file.suffix in (".c", ".h") else source).hexdigest()


def _without_comments(source: bytes) -> bytes:
    """C without comments, and with single spaces. No string of ours looks like a comment."""
    return b" ".join(re.sub(rb"/\*.*?\*/|//[^\n]*", b" ", source, flags=re.DOTALL).split())


def imported_files(start: Path, root: Path = ROOT) -> set[Path]:
    """Return `start` and every file of the package that it imports, in turn, `__init__` files included."""
    found: set[Path] = set()
    waiting = [start]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found.add(file)
        for name in _imported_names(file.read_bytes(), _package_of(file, root)):
            waiting.extend(_files_of(name, root))
    return found


@cache
def _tree(source: bytes) -> ast.Module:
    return ast.parse(source)


def _package_of(file: Path, root: Path) -> tuple[str, ...]:
    return (root.name, *file.relative_to(root).parts[:-1])


@cache
def _imported_names(source: bytes, package: tuple[str, ...]) -> list[list[str]]:
    """Return the dotted names that a module of `package` imports, those in functions too."""
    names: list[list[str]] = []
    for node in _statements(_tree(source)):
        if isinstance(node, ast.Import):
            names += (alias.name.split(".") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            base += node.module.split(".") if node.module else []
            names += ([*base, alias.name] for alias in node.names)
    return names


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the statements within a module or statement: expressions, most of a tree, hold no import."""
    for block in BLOCKS:
        for child in getattr(node, block, ()):
            yield child
            yield from _statements(child)


def _files_of(name: list[str], root: Path) -> Iterator[Path]:
    """Yield the files that importing a dotted name runs: `__init__` files on the way, then the module."""
    if name[0] != root.name:
        return
    folder = root
    for part in ["", *name[1:]]:
        folder = folder / part
        initial, module = folder / "__init__.py", folder.with_suffix(".py")
        if initial.is_file():
            yield initial
        elif part and module.is_file():
            yield module
            return


def _data_files(modules: set[Path]) -> set[Path]:
    folders = {module.parent for module in modules}
    beside = (file for folder in folders for file in folder.iterdir() if file.is_file())
    return {file for file in beside if file.suffix not in {".py", ".pyc"} and not file.name.startswith(".")}


@cache
def _meaning(source: bytes) -> str:
    return _written(_tree(source))


def _written(node: object) -> str:
    """Write a syntax tree without positions, docstrings and empty fields, which differ between Pythons."""
    if isinstance(node, list):
        return f"[{','.join(map(_written, node))}]"
    if isinstance(node, ast.Constant):
        return f"{type(node.value).__name__}:{node.value!r}"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = []
    for name in node._fields:
        value: Any = getattr(node, name, None)
        if name == "body" and _has_docstring(node):
            value = value[1:]
        if not (value is None or value == "" or value == []):
            fields.append(f"{name}={_written(value)}")
    return f"{type(node).__name__}({','.join(fields)})"


def _has_docstring(node: ast.AST) -> bool:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None
