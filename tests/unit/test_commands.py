"""The commands beside running a study: what they say, and what they never touch."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from turncoat.commands.accept_code import NotAcceptedError, Touched, _check, _declare_present, samples
from turncoat.commands.compare import difference
from turncoat.commands.dry_run import Job, read_jobs
from turncoat.commands.explain import explained
from turncoat.commands.orphans import listed, orphans, remove
from turncoat.configuration.code_record import changed_modules, save_code
from turncoat.configuration.errors import ConfigurationError
from turncoat.configuration.loading import load_config
from turncoat.configuration.manifest import BACK_AGAIN, FROZEN, claims_sha256
from turncoat.configuration.plan import expand
from turncoat.configuration.study_file import read_manifest, write_manifest
from turncoat.fingerprint import ROOT, module_hashes, stage_fingerprint
from turncoat.tables.atomic import write_table
from turncoat.tables.fields import field, table_schema
from turncoat.tables.seal import UNSEALED, seal

PRINTED = """\
Job stats:
job      count
report       1


[Thu Nov 26 02:27:52 2026]
rule classify:
    input: results/s/finetune/aaaaaaaaaa/0-3/weights.safetensors
    output: results/s/classify/aaaaaaaaaa/0-3/curves.parquet, results/s/classify/aaaaaaaaaa/0-3/causes.parquet
    jobid: 10
    reason: Params have changed since last execution: Union of exclusive params before and now across all output: \
before: '{"episodes":64,"world":{"noise":0.1}}','aaaaaaaaaaaa' now: '{"episodes":96,"world":{"noise":0.1}}',\
'bbbbbbbbbbbb'
    wildcards: cell=aaaaaaaaaa, block=0-3
Shell command: python -m turncoat.stages.classify --code bbbbbbbbbbbb > results/s/logs/x.log 2>&1

[Thu Nov 26 02:27:52 2026]
rule aggregate:
    input: results/s/classify/aaaaaaaaaa/0-3/curves.parquet
    output: results/s/tables/claims.csv
    reason: Input files updated by another job: results/s/classify/aaaaaaaaaa/0-3/curves.parquet; \
Set of input files has changed since last execution; Params have changed since last execution: Union of exclusive \
params before and now across all output: before: 'aaaaaaaaaaaa' now: 'cccccccccccc'
Shell command: python -m turncoat.stages.aggregate --code cccccccccccc > results/s/logs/aggregate.log 2>&1

[Thu Nov 26 02:27:52 2026]
localrule all:
    input: results/s/report.html
    reason: Input files updated by another job: results/s/report.html
"""


def test_a_dry_run_is_read() -> None:
    classify, aggregate = read_jobs(PRINTED)
    assert (classify.rule, classify.wildcards) == ("classify", {"cell": "aaaaaaaaaa", "block": "0-3"})
    assert classify.inputs == ("results/s/finetune/aaaaaaaaaa/0-3/weights.safetensors",)
    assert [Path(output).name for output in classify.outputs] == ["curves.parquet", "causes.parquet"]
    assert classify.command.startswith("python -m turncoat.stages.classify")
    assert classify.codes is None  # its settings are others too
    assert aggregate.codes == ("aaaaaaaaaaaa", "cccccccccccc")


def test_reasons_are_put_into_words(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    for code, held in (("aaaaaaaaaaaa", {"a.py": "1", "b.py": "1"}), ("bbbbbbbbbbbb", {"a.py": "1", "b.py": "2"})):
        (tmp_path / "code" / f"{code}.json").write_text(json.dumps(held))
    said = explained("s", read_jobs(PRINTED), tmp_path)
    assert "study s: 2 jobs would run" in said
    assert "  - setting episodes: 64 -> 96" in said and "noise" not in said
    assert "  - code aaaaaaaaaaaa -> bbbbbbbbbbbb: b.py changed" in said
    assert "  - what it is made from is made by classify in this run" in said
    assert "  - is made from other files than before" in said
    assert "nothing would run" in explained("s", [], tmp_path)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Missing output files: a, b", "has no results yet"),
        ("Updated input files: x/a, x/b", "x/a and 1 more is newer than its results"),
        ("Incomplete output files: a", "was cut off"),
        ("Code has changed since last execution", "its command in workflow/rules is another"),
        ("Software environment definition has changed since last execution", "conda environment"),
        (
            "Params have changed since last execution: Union: before: <nothing exclusive> now: 12 ",
            "parameter none -> 12",
        ),
    ],
)
def test_every_reason_has_words(reason: str, words: str, tmp_path: Path) -> None:
    job = Job("report", {}, (), ("a",), f"{reason} ", "")
    assert words in explained("s", [job], tmp_path)


def test_modules_of_a_fingerprint_are_kept(tmp_path: Path) -> None:
    save_code(tmp_path, [("report", ())])
    code = stage_fingerprint("report")
    path = tmp_path / "code" / f"{code}.json"
    kept = json.loads(path.read_text())
    assert {"stages/report.py", "reporting/page.py"} <= kept.keys()
    (tmp_path / "code" / "000000000000.json").write_text(json.dumps(kept | {"reporting/page.py": "x", "gone.py": "y"}))
    assert changed_modules(tmp_path, "000000000000", code) == ["gone.py", "reporting/page.py"]
    path.unlink()  # what the code is now is read off the modules
    assert changed_modules(tmp_path, "000000000000", code) == ["gone.py", "reporting/page.py"]
    assert changed_modules(tmp_path, "111111111111", code) is None


def test_orphans_are_what_the_plan_does_not_name_and_nothing_else(tmp_path: Path) -> None:
    arms = dict.fromkeys(("strategic", "control", "drift", "gates"))
    main = {"starts": ["internal", "scratch"], "distances": [90], "elicit": True, "reinforce": True}
    values = {"study": "s", "seeds": {"first": 0, "count": 4, "block": 4}, "arms": arms | {"main": main}}
    plan = expand(load_config(values | {"reinforcement": {"enabled": True}}))
    pretrained, tuned, elicited = (plan.ids(stage)[0] for stage in ("pretrain", "finetune", "elicit"))
    owned = [
        f"pretrain/{pretrained}/0-3/weights.safetensors",
        f"finetune/{tuned}/0-3/weights.safetensors",
        f"elicit/{elicited}/0-3/weights.safetensors",
        f"classify/{pretrained}/0-3/curves.parquet",
        f"gating/{tuned}/0-3.parquet",
        f"gating_sums/{tuned}/0-3.parquet",
        f"reinforce/{tuned}/0-3.parquet",
        "reinforce/planted/0-3.parquet",
        f"logs/finetune/{tuned}/0-3.log",
        "planted/planted.parquet",
        "tables/claims.csv",
    ]
    foreign = [
        "finetune/notes.txt",
        f"finetune/{tuned}/notes.txt",
        f"finetune/{tuned}/mine/weights.safetensors",
        f"gating/{tuned}/4-7.csv",
        "classify/not-a-cell/0-3/curves.parquet",
        "notebook.ipynb",
        "tables/my.parquet",
    ]
    left = [
        "pretrain/0000000000/0-3",
        f"finetune/{tuned}/4-7",
        f"finetune/{pretrained}/0-3",
        f"classify/{elicited}/0-3",
        f"gating/{pretrained}/0-3.parquet",
        f"gating_sums/{tuned}/4-7.parquet",
        "reinforce/0000000000/0-3.parquet",
        "reinforce/planted/4-7.parquet",
        "logs/pretrain/0000000000/0-3.log",
        "benchmarks/gating/0000000000/0-3.tsv",
    ]
    half = [f"finetune/{tuned}/0-3/.weights.safetensors.host.77.tmp", f"finetune/{tuned}/0-3/.mine.tmp"]
    inside = [f"{path}/weights.safetensors" if "." not in path else path for path in left]
    for path in (*owned, *foreign, *inside, *half):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("12345")
    found = orphans(tmp_path, plan)
    assert [str(path.relative_to(tmp_path)) for path in found] == sorted([*left, half[0]])
    assert listed(found).endswith(f"0.00 MB in {len(found)} places")
    remove(found)
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {*owned, *foreign, half[1]}
    assert not (tmp_path / "pretrain" / "0000000000").exists()
    assert orphans(tmp_path, plan) == []


def test_links_are_not_followed(tmp_path: Path) -> None:
    plan = expand(load_config({"study": "s"}))
    (tmp_path / "elsewhere" / "0-3").mkdir(parents=True)
    (tmp_path / "elsewhere" / "0-3" / "weights").touch()
    (tmp_path / "finetune").mkdir()
    (tmp_path / "finetune" / "0000000000").symlink_to(tmp_path / "elsewhere")
    assert orphans(tmp_path, plan) == []


def test_an_edited_declaration_is_no_refactoring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where no number moves: what was declared is not what is."""
    record = tmp_path / "code" / "000000000000.json"
    record.parent.mkdir()
    names = ("statistics/claims.yaml", "statistics/rows.py")
    now = module_hashes([ROOT / name for name in names])
    job = Job("aggregate", {}, (), (), "", "")
    one = Touched(job, "aggregate", "000000000000", stage_fingerprint("aggregate"))
    record.write_text(json.dumps(now | {"statistics/claims.yaml": "another"}))
    with pytest.raises(NotAcceptedError, match=r"statistics/claims.yaml was edited"):
        _check(one, tmp_path, print)
    record.unlink()
    with pytest.raises(NotAcceptedError, match=r"no record of code 000000000000"):
        _check(one, tmp_path, print)


@pytest.mark.parametrize(
    ("edit", "first", "edited", "shown"),
    [
        ("", "old", False, ("now", "now", False)),  # judged by declared code, which is now another
        ("", "older", True, ("now", "now", False)),  # likewise, and the study was started since
        (BACK_AGAIN, "old", True, ("now", "now", True)),
        (FROZEN["claims_sha256"], "older", True, ("old", "older", True)),  # was undeclared code, as the present is
    ],
)
def test_verdicts_are_compared_as_if_the_present_code_had_been_declared(
    tmp_path: Path, edit: str, first: str, edited: bool, shown: tuple[str, str, bool]
) -> None:
    """Or else no refactoring of judging code could be accepted: its verdicts are exploratory."""
    folder, mirrored = tmp_path / "kept", tmp_path / "mirror" / "manifest.json"
    content = {"config_sha256": "c", "claims_sha256": "old", "edited": edited, "first": {"claims_sha256": first}}
    (folder / "tables").mkdir(parents=True)
    write_manifest(folder / "manifest.json", content)
    status = f"exploratory: edited since the first start: {edit}" if edit else "confirmatory"
    pq.write_table(pa.table({"status": [status, "exploratory: not primary"]}), folder / "tables" / "claims.parquet")
    mirrored.parent.mkdir()
    mirrored.symlink_to(folder / "manifest.json")
    _declare_present(folder, mirrored)
    found = read_manifest(mirrored)
    said = [found["claims_sha256"], found["first"]["claims_sha256"]]
    assert (*("now" if value == claims_sha256() else value for value in said), found["edited"]) == shown
    assert found["config_sha256"] == "c" and read_manifest(folder / "manifest.json") == content


FIELDS = [
    field("name", "text", "", "what"),
    field("x", "number", "m", "where", True),
    field("train_seconds", "number", "s", "how long"),
]
SCHEMA = table_schema("example", 1, ("name",), FIELDS)


def test_results_of_two_codes_are_sampled_apart(tmp_path: Path) -> None:
    """Which an earlier acceptance made one in Snakemake's eyes."""
    found = []
    for name, code in (("a", "old"), ("b", "old"), ("c", "accepted"), ("d", "accepted")):
        path = tmp_path / f"{name}.parquet"
        write_table(path, {"name": [name], "x": [1.0], "train_seconds": [2.0]}, SCHEMA, {"code": code})
        job = Job("finetune", {"cell": name}, (), (str(tmp_path / "weights.safetensors"), str(path)), "", "")
        found.append(Touched(job, "finetune", "old", "now"))
    assert [one.job.wildcards["cell"] for one in samples(found)] == ["c", "a"]
    page = Touched(Job("report", {}, (), (str(tmp_path / "report.html"),), "", ""), "report", "old", "now")
    assert samples([page, page]) == [page]


def table(path: Path, x: float, seconds: float = 1.0, code: str = "a") -> Path:
    columns = {"name": ["b", "a"], "x": np.array([x, np.nan]), "train_seconds": np.array([seconds, 1.0])}
    write_table(path, columns, SCHEMA, {"code": code})
    return path


def test_tables_are_compared_by_bits(tmp_path: Path) -> None:
    first = table(tmp_path / "a.parquet", 0.0)
    assert difference(first, table(tmp_path / "b.parquet", 0.0, seconds=2.0, code="b")) is None
    assert difference(first, table(tmp_path / "c.parquet", -0.0)) == "column x, row 1: 0.0 became -0.0"
    assert "column x, row 1" in str(difference(first, table(tmp_path / "d.parquet", 5e-324)))


def test_weights_are_compared_by_bits(tmp_path: Path) -> None:
    def save(name: str, values: torch.Tensor, metadata: str = "{}") -> Path:
        path = tmp_path / f"{name}.safetensors"
        save_file({"w": values}, path, metadata={"turncoat": metadata + UNSEALED})
        seal(path)
        return path

    numbers = torch.tensor([1.0, torch.nan, 0.0])
    first = save("first", numbers)
    assert difference(first, save("same", numbers.clone())) is None
    other = numbers.clone()
    other[2] = -0.0
    assert "tensor w, number 2" in str(difference(first, save("other", other)))
    assert "metadata" in str(difference(first, save("told", numbers, '{"a":1}')))
    assert "became" in str(difference(first, save("longer", torch.zeros(4))))


def test_texts_are_compared_by_lines(tmp_path: Path) -> None:
    for name, text in (("a.csv", "x\n1\n"), ("b.csv", "x\n2\n")):
        (tmp_path / name).write_text(text)
    assert difference(tmp_path / "a.csv", tmp_path / "a.csv") is None
    assert difference(tmp_path / "a.csv", tmp_path / "b.csv") == "line 2: '1' became '2'"


def test_a_damaged_manifest_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    content = {"study": "s", "first": {"started": "then"}, "edited": False, "accepted": []}
    write_manifest(path, content)
    assert read_manifest(path) == content
    sound = path.read_bytes()
    for place in range(len(sound) - 1):  # the last byte ends the line
        damaged = bytearray(sound)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        try:
            assert read_manifest(path) == content, place  # a blank became another, or a letter of nothing
        except ConfigurationError as error:
            assert str(path) in str(error)
    path.write_bytes(sound[:-9])
    with pytest.raises(ConfigurationError, match=r"manifest.json is cut or damaged; put back a copy"):
        read_manifest(path)
    path.write_bytes(sound.replace(b"false", b"true"))
    with pytest.raises(ConfigurationError, match="its checksum is not that of its content"):
        read_manifest(path)
    path.write_text('{"overlays": []}')  # from before manifests had a checksum
    assert read_manifest(path) == {"overlays": []}
