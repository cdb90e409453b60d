"""The kernels' library: compiled once by what it is made of, and done without, audibly, where it cannot be had."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import turncoat.native.library as library
from turncoat.native.library import SOURCES, borrowed, compiled, library_folder, load, native_library, without_kernels
from turncoat.native.structures import STRUCTURES
from turncoat.worlds import native_episodes
from turncoat.worlds.native_episodes import NativeWriter, can_scale, can_value, has_kernels, value_options

COMPILER = shutil.which("cc")
needs_compiler = pytest.mark.skipif(COMPILER is None or borrowed() is None, reason="no C compiler, or no MKL")


@pytest.fixture
def unloaded() -> Iterator[None]:
    """As in a process that has not asked for the kernels yet."""
    library._loaded.cache_clear()
    yield
    library._loaded.cache_clear()


def test_where_there_are_a_compiler_and_mkl_there_are_kernels() -> None:
    assert (native_library() is not None) == (COMPILER is not None and borrowed() is not None)
    known = torch.backends.cpu.get_cpu_capability() in library.LANES
    assert (borrowed() is not None) == (torch.backends.mkl.is_available() and known)


@needs_compiler
def test_compiling_leaves_one_library_named_by_its_sources(tmp_path: Path) -> None:
    compiler = Path(str(COMPILER))
    made = compiled(SOURCES, compiler, tmp_path)
    written = made.stat().st_mtime_ns
    assert compiled(SOURCES, compiler, tmp_path) == made and made.stat().st_mtime_ns == written
    assert [path.name for path in tmp_path.iterdir()] == [made.name]
    made.write_bytes(b"")  # cut short
    assert compiled(SOURCES, compiler, tmp_path) == made and load(made).learn.argtypes
    changed = []
    for source in SOURCES:
        changed.append(tmp_path / "changed" / source.name)
        changed[-1].parent.mkdir(exist_ok=True)
        shutil.copy(source, changed[-1])
    changed[-1].write_text(changed[-1].read_text() + "\nint added;\n")
    other = compiled(changed, compiler, tmp_path)
    assert other != made and other.parent == tmp_path


@needs_compiler
def test_what_does_not_compile_leaves_nothing_and_is_said(
    tmp_path: Path, unloaded: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken.c"
    broken.write_text("int x = ;")
    folder = tmp_path / "made"
    with pytest.raises(subprocess.CalledProcessError):
        compiled([broken], Path(str(COMPILER)), folder)
    assert list(folder.iterdir()) == []
    monkeypatch.setattr(library, "SOURCES", (broken,))
    monkeypatch.setattr(library, "library_folder", lambda: folder)
    with caplog.at_level(logging.WARNING, "turncoat"):
        assert native_library() is None
    assert "slower and gives the same bits: the kernels do not compile" in caplog.text and "broken.c:1" in caplog.text


@needs_compiler
def test_a_folder_that_cannot_be_written_is_said(
    tmp_path: Path, unloaded: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(library, "library_folder", lambda: tmp_path / "file" / "folder")
    with caplog.at_level(logging.WARNING, "turncoat"):
        assert native_library() is None
    assert "same bits: [Errno" in caplog.text


@needs_compiler
def test_no_folder_at_all_is_said(
    tmp_path: Path, unloaded: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(sys, "prefix", str(tmp_path / "missing"))
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setattr(Path, "home", homeless)
    with caplog.at_level(logging.WARNING, "turncoat"):
        assert native_library() is None
    assert "same bits: Could not determine home directory" in caplog.text


def test_the_library_goes_with_the_environment_or_else_with_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    (tmp_path / "lib").mkdir()
    assert library_folder() == tmp_path / "lib" / "turncoat"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert library_folder() == tmp_path / "cache" / "turncoat"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert library_folder() == tmp_path / ".cache" / "turncoat"


@pytest.mark.parametrize(
    ("lacking", "told"), [("compiler", "no C compiler (cc) is found"), ("functions", "this PyTorch lacks functions")]
)
def test_what_is_lacking_is_said(
    lacking: str, told: str, unloaded: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if lacking == "compiler" else "/usr/bin/cc")
    if lacking == "functions":
        monkeypatch.setattr(library, "borrowed", lambda: None)
    with caplog.at_level(logging.INFO, "turncoat"):
        assert native_library() is None and native_library() is None
    assert caplog.text.count(told) == 1
    assert not has_kernels(torch.zeros(2))


@needs_compiler
def test_a_structure_of_another_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made = compiled(SOURCES, Path(str(COMPILER)), library_folder())
    shorter = type("Step", (STRUCTURES[0].__base__,), {"_fields_": STRUCTURES[0]._fields_[:-1]})
    monkeypatch.setattr(library, "STRUCTURES", (shorter,))
    with pytest.raises(OSError, match=r"Step has \d+ bytes, not \d+"):
        load(made)


@needs_compiler
def test_utilities_are_sums_of_products_in_pytorchs_order() -> None:
    for count in (1, 2, 3, 4):
        attributes = torch.randn(3, 5, count, 2, 77).movedim(2, -1).transpose(0, 1)  # (S, E, N, B, d)
        for objectives in (torch.randn(1, 3, 1, 1, count), torch.randn(5, 3, 1, 77, count)):
            assert can_value(attributes, objectives)
            found, expected = value_options(attributes, objectives), (attributes * objectives).sum(-1)
            assert torch.equal(found, expected) and found.stride() == expected.stride()
    assert not can_value(attributes.contiguous(), objectives)
    assert not can_value(attributes, objectives.expand(-1, -1, 2, -1, -1))
    assert not can_value(attributes, objectives.double()) and not can_value(attributes, objectives[0, 0, 0, 0])
    eight = torch.randn(3, 5, 8, 2, 77).movedim(2, -1).transpose(0, 1)
    assert not can_value(eight, torch.randn(1, 3, 1, 1, 8))


@needs_compiler
def test_where_pytorch_rounds_otherwise_it_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = torch.randn(2, 3, 4)
    assert can_scale(vectors) and not can_scale(vectors.transpose(0, 1))
    for kind in (native_episodes._scales_alike, native_episodes._values_alike):
        kind.cache_clear()
    monkeypatch.setattr(torch.nn.functional, "normalize", lambda given, dim: given * 1.0001)
    assert not can_scale(vectors)
    native_episodes._scales_alike.cache_clear()
    monkeypatch.undo()
    assert can_scale(vectors)


@needs_compiler
def test_a_buffer_of_another_shape_is_refused() -> None:
    pairs = torch.zeros(2, 3, 4, 2, 8, dtype=torch.uint8).movedim(2, -1)  # (S, E, N, B, d)
    write = NativeWriter(pairs, 6, [torch.randn(2, 3, 1, 8, 5)], 2)
    write(1, torch.empty(3, 4 * 12 + 5, 2, 8))
    for shape in ((2, 53, 2, 8), (3, 53, 3, 8), (3, 53, 2, 7), (3, 52, 2, 8)):
        with pytest.raises(ValueError, match="a buffer has shape"):
            write(1, torch.empty(shape))
    with pytest.raises(ValueError, match="a buffer has shape"):
        write(1, torch.empty(3, 53, 2, 8, dtype=torch.float64))
    for step in (-1, 2):
        with pytest.raises(IndexError, match="allowed: 0 to 1"):
            write(step, torch.empty(3, 53, 2, 8))
    with without_kernels(), pytest.raises(RuntimeError, match="ask has_kernels first"):
        NativeWriter(pairs, 6, [torch.randn(2, 3, 1, 8, 5)], 2)
