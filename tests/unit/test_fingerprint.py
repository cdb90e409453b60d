"""The fingerprint of a stage's code: what it sees, and what it does not."""

import shutil
from pathlib import Path

import pytest

from turncoat.configuration.sections import DODGES
from turncoat.fingerprint import imported_files, stage_fingerprint, stage_modules

REPOSITORY = Path(__file__).resolve().parents[2]

TRAIN = '''"""Train."""
from turncoat.training import loop
from turncoat.worlds.world import World
'''
LOOP = """from . import losses
from ..seeding import START


def run():
    return START
"""
WORLD = """class World:
    def draw(self):
        import turncoat.late
        return turncoat.late
"""
KERNEL = """/* what it does */
int two(void) { return 1 + 1; } // for short
"""
FILES = {
    "__init__.py": "",
    "seeding.py": "START = 1\n",
    "stages/__init__.py": "",
    "stages/train.py": TRAIN,
    "training/__init__.py": "",
    "training/loop.py": LOOP,
    "training/losses.py": "def loss(x):\n    return x\n",
    "training/notes.txt": "first\n",
    "worlds/__init__.py": "",
    "worlds/world.py": WORLD,
    "late.py": "LATE = 1\n",
    "tables.py": "ROWS = 1\n",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    root = tmp_path / "turncoat"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_imports_are_followed_in_turn(package: Path) -> None:
    found = {path.relative_to(package).as_posix() for path in imported_files(package / "stages/train.py", package)}
    assert found == {
        "__init__.py",
        "late.py",
        "seeding.py",
        "stages/train.py",
        "training/__init__.py",
        "training/loop.py",
        "training/losses.py",
        "worlds/__init__.py",
        "worlds/world.py",
    }


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("training/loop.py", "return START", "return START  # a comment"),
        ("training/loop.py", "def run():\n", 'def run():\n    """A docstring."""\n\n'),
        ("training/losses.py", "return x", "return (x)"),
        ("stages/train.py", '"""Train."""', '"""Train well."""'),
        ("tables.py", "ROWS = 1", "ROWS = 2"),
    ],
)
def test_what_changes_nothing_leaves_it(package: Path, file: str, old: str, new: str) -> None:
    before = stage_fingerprint("train", package)
    edit(package / file, old, new)
    assert stage_fingerprint("train", package) == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("stages/train.py", "loop", "loop as cycle"),
        ("training/losses.py", "return x", "return -x"),
        ("seeding.py", "1", "2"),
        ("late.py", "1", "None"),
        ("worlds/__init__.py", "", "A = 1"),
        ("training/notes.txt", "first", "second"),
    ],
)
def test_what_changes_the_code_changes_it(package: Path, file: str, old: str, new: str) -> None:
    before = stage_fingerprint("train", package)
    edit(package / file, old, new)
    assert stage_fingerprint("train", package) != before


def test_it_is_the_same_wherever_the_package_lies(package: Path, tmp_path: Path) -> None:
    before = stage_fingerprint("train", package)
    (tmp_path / "elsewhere").mkdir()
    assert stage_fingerprint("train", package.rename(tmp_path / "elsewhere" / "turncoat")) == before


def test_every_version_of_python_must_agree(package: Path) -> None:
    """Frozen: Python 3.11, 3.12 and 3.13 gave this; a change reruns every study there is."""
    assert stage_fingerprint("train", package) == "bc0bedca8af9"


def test_an_unknown_stage_is_an_error(package: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no stage 'tune'"):
        stage_fingerprint("tune", package)


def test_training_does_not_read_the_configuration_or_the_tables_of_others() -> None:
    root = REPOSITORY / "workflow" / "turncoat"
    for stage in ("pretrain", "finetune"):
        files = {path.relative_to(root).as_posix() for path in imported_files(root / "stages" / f"{stage}.py", root)}
        assert not {file for file in files if file.startswith(("configuration/", "statistics/", "reporting/"))}


def test_gating_is_probed_again_for_no_change_of_classification() -> None:
    root = REPOSITORY / "workflow" / "turncoat"
    files = imported_files(root / "stages" / "probe_gating.py", root)
    assert not {path for path in files if "classification" in path.parts}


def test_a_plugin_counts_with_all_that_it_imports(package: Path) -> None:
    """A dodge that is imported by its name: only a cell that has it sees its code."""
    (package / "dodges").mkdir()
    for name in ("one", "two"):
        (package / "dodges" / f"{name}.py").write_text(f"from turncoat.tables import ROWS\n\nNAME = {name!r}\n")

    def prints() -> tuple[str, str, str]:
        plain = stage_fingerprint("train", package)
        return plain, *(stage_fingerprint("train", package, [f"dodges/{name}"]) for name in ("one", "two"))

    before = prints()
    assert len(set(before)) == 3
    edit(package / "dodges/one.py", "'one'", "'first'")
    after = prints()
    assert [new == old for new, old in zip(after, before, strict=True)] == [True, False, True]
    edit(package / "tables.py", "ROWS = 1", "ROWS = 2")
    assert [new == old for new, old in zip(prints(), after, strict=True)] == [True, False, False]
    with pytest.raises(FileNotFoundError, match="no plugin 'dodges/three'"):
        stage_fingerprint("train", package, ["dodges/three"])


def test_a_dodges_code_is_that_of_its_own_cells_alone(tmp_path: Path) -> None:
    root = shutil.copytree(REPOSITORY / "workflow" / "turncoat", tmp_path / "turncoat")

    def prints() -> dict[tuple[str, str], str]:
        found = {(stage, ""): stage_fingerprint(stage, root) for stage in ("pretrain", "finetune")}
        for dodge, stages in DODGES.items():
            found |= {(stage, dodge): stage_fingerprint(stage, root, [f"dodges/{dodge}"]) for stage in stages}
        return found

    before = prints()
    for dodge, stages in DODGES.items():
        module = root / "dodges" / f"{dodge}.py"
        module.write_text(module.read_text() + "\nADDED = 1\n")
        after = prints()
        assert {key for key in before if before[key] != after[key]} == {(stage, dodge) for stage in stages}
        before = after


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new) if old else new)


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("what it does", "what it\n   does now", True),
        (" // for short", "", True),
        ("{ return", "{\n    return", True),
        ("1 + 1", "1 - 1", False),
        ("1 + 1", "1 /* + */ - 1", False),
    ],
)
def test_of_c_what_is_compiled_counts_and_no_comment(package: Path, old: str, new: str, same: bool) -> None:
    kernel = package / "training/kernel.c"
    kernel.write_text(KERNEL)
    before = stage_fingerprint("train", package)
    edit(kernel, old, new)
    assert (stage_fingerprint("train", package) == before) == same


def test_the_kernels_count_in_every_training() -> None:
    for stage in ("pretrain", "finetune"):
        found = {path.name for path in stage_modules(stage)}
        assert {"step.c", "episodes.c", "layout.h", "library.py"} <= found


WHEREVER = """import turncoat.a1
if START:
    import turncoat.a2
elif STOP:
    import turncoat.a3
else:
    import turncoat.a4
try:
    import turncoat.a5
except ValueError:
    import turncoat.a6
else:
    import turncoat.a7
finally:
    import turncoat.a8
try:
    import turncoat.a9
except* ValueError:
    import turncoat.a10
match START:
    case 1:
        import turncoat.a11
for one in two:
    from turncoat import a12
else:
    import turncoat.a13
while three:
    import turncoat.a14
else:
    import turncoat.a15
with four:
    import turncoat.a16
class Five:
    import turncoat.a17
    async def six():
        async with seven:
            import turncoat.a18
        async for eight in nine:
            from .. import a19
"""


def test_imports_are_found_in_every_kind_of_block(package: Path) -> None:
    wanted = {f"a{number}.py" for number in range(1, 20)}
    for name in wanted:
        (package / name).write_text("")
    (package / "training/loop.py").write_text(WHEREVER)
    assert {path.name for path in imported_files(package / "training/loop.py", package)} == wanted | {
        "loop.py",
        "__init__.py",
    }
