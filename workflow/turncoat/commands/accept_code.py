"""Keep the results of earlier code where the present code is shown to make the same bits.

    python -m turncoat accept-code [OVERLAY ...] [--every-job]

After a refactoring, Snakemake would make again whatever its code made. This makes one job's files of every touched
stage, and of each code that made its results, in a temporary folder, or with --every-job those of all touched jobs, and
compares them with the results bit by bit. Where all are equal the study's manifest says so, and the results stay; where
one is not, nothing is changed.
"""

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

from turncoat.commands.compare import WALL_TIMES, difference
from turncoat.commands.dry_run import Job, planned
from turncoat.configuration.check import REPOSITORY
from turncoat.configuration.code_record import changed_modules
from turncoat.configuration.device import has_gpu
from turncoat.configuration.manifest import BACK_AGAIN, FROZEN, claims_sha256
from turncoat.configuration.study_file import NAME, read_manifest, replace_text, write_manifest
from turncoat.fingerprint import stage_fingerprint
from turncoat.stages.common import plugins
from turncoat.tables.atomic import read_provenance

LIBRARY = REPOSITORY / "workflow"
EXCEPTED = [*(f"column {name}" for name in WALL_TIMES), "provenance", "logs", "benchmarks"]
"""What may differ, as the manifest says it."""
DECLARED = "statistics/claims.yaml"


class NotAcceptedError(RuntimeError):
    """The present code was not shown to make the same bits; the study is as it was."""


@dataclass(frozen=True)
class Touched:
    """A job whose results other code made: fingerprints as Snakemake recorded it, and of the code as it is."""

    job: Job
    stage: str
    before: str
    now: str


def accept_code(study: str, overlays: Sequence[Path], every_job: bool, say: Callable[[str], None]) -> None:
    """Accept the present code for the study, or raise NotAcceptedError and leave everything as it was.

    The study's lock must be held.
    """
    folder = Path("results") / study
    path = folder / NAME
    manifest, kept = read_manifest(path), path.read_text(encoding="utf-8")
    entries: list[dict[str, Any]] = []
    try:
        # Of a job below one that would run, Snakemake does not say whether its code is another too: it does next time.
        while found := touched(planned(overlays)):
            _check_origins(found, entries)
            chosen = found if every_job else samples(found)
            for one in reversed(chosen):
                _check(one, folder, say)
            entries += _entries(found, chosen)
            write_manifest(path, manifest | {"accepted": [*manifest.get("accepted", []), *entries]})
    except BaseException:
        replace_text(path, kept)
        raise
    if not entries:
        raise NotAcceptedError("no results were made by other code than the present, or their settings changed as well")


def samples(found: Sequence[Touched]) -> list[Touched]:
    """Return one job of each stage, and of each code that made its results: after an earlier acceptance Snakemake calls
    those of both codes by one fingerprint, and only the files say which made them."""
    return list({(one.job.rule, one.now, _maker(one.job)): one for one in reversed(found)}.values())


def _maker(job: Job) -> str:
    tables = [output for output in job.outputs if output.endswith(".parquet")]
    return read_provenance(Path(tables[0])).get("code", "") if tables else ""


def _check_origins(found: Sequence[Touched], entries: Sequence[dict[str, Any]]) -> None:
    """Raise NotAcceptedError where one code would stand for several: then results of one stage were made by several."""
    known = {entry["to"]: entry["from"] for entry in entries}
    for one in found:
        other = known.setdefault(one.now, one.before)
        if other != one.before or one.now in {entry["to"] for entry in entries}:
            raise NotAcceptedError(
                f"some results of {one.job.rule} were made by code {one.before}, others by {other} or by the present; "
                "run the study first"
            )


def touched(jobs: Sequence[Job]) -> list[Touched]:
    """Return the jobs whose results other code made, with the same settings from files of the same names."""
    found = []
    for job in jobs:
        if job.codes is None or "Missing output" in job.reason or "Set of input files" in job.reason:
            continue
        words = shlex.split(job.command)
        stage = words[words.index("-m") + 1].rpartition(".")[2]
        given = stage_options(words)
        found.append(Touched(job, stage, job.codes[0], stage_fingerprint(stage, plugins=plugins(given))))
    return found


def stage_options(words: Sequence[str]) -> Any:
    """What a stage's command says of its settings."""
    settings = words[words.index("--settings") + 1] if "--settings" in words else None
    return type("Options", (), {"settings": settings})()


def _check(one: Touched, folder: Path, say: Callable[[str], None]) -> None:
    """Raise NotAcceptedError unless the present code makes the job's files as they are."""
    where = " ".join(f"{name} {value}" for name, value in one.job.wildcards.items())
    edited = changed_modules(folder, one.before, one.now)
    if one.stage == "aggregate" and edited is None:
        raise NotAcceptedError(f"the study has no record of code {one.before}: what it declared cannot be compared")
    if one.stage == "aggregate" and DECLARED in (edited or []):
        raise NotAcceptedError(f"{DECLARED} was edited: what claims declare is no refactoring. Nothing was changed.")
    say(f"{one.job.rule} {where}: code {one.before} -> {one.now}, made again to compare")
    with tempfile.TemporaryDirectory(prefix="turncoat-accept-") as name:
        root = Path(name)
        _mirror(folder, root, set(one.job.outputs))
        if one.stage == "aggregate":
            _declare_present(folder, root / folder / NAME)
        done = subprocess.run(
            _command(one), shell=True, cwd=root, env=_environment(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            ending = "\n".join(done.stderr.strip().splitlines()[-10:])
            raise NotAcceptedError(f"{one.job.rule} {where} failed with the present code:\n{ending}")
        for output in one.job.outputs:
            found = difference(Path(output), root / output)
            if found:
                raise NotAcceptedError(
                    f"{output} is another with the present code: {found}. Nothing was changed; running the study "
                    f"makes it again with code {one.now}."
                )
    say(f"  {len(one.job.outputs)} files equal")


def _mirror(folder: Path, root: Path, outputs: set[str]) -> None:
    """Show the job all of the working folder under `root` by links, its own outputs and all logs apart."""
    for path in Path().iterdir():
        if path.name not in {folder.parts[0], ".snakemake"}:
            (root / path.name).symlink_to(path.resolve())
    for path in folder.rglob("*"):
        place = root / path
        if path.is_dir():
            place.mkdir(parents=True, exist_ok=True)
        elif str(path) not in outputs and path.relative_to(folder).parts[0] not in {"logs", "benchmarks"}:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(path.resolve())


def _declare_present(folder: Path, mirrored: Path) -> None:
    """Let the job's manifest call the present judging code declared where the kept verdicts were judged by declared
    code: that it is another is known, asked is whether it makes the same bits. The study's own manifest is not told, so
    verdicts that this code gives later, on seeds that nobody compared, are exploratory.
    """
    status = " ".join(set(parquet.read_table(folder / "tables" / "claims.parquet", columns=["status"])[0].to_pylist()))
    if FROZEN["claims_sha256"] in status:
        return
    manifest, now = read_manifest(folder / NAME), claims_sha256()
    declared = {"claims_sha256": now, "first": manifest["first"] | {"claims_sha256": now}}
    mirrored.unlink()  # the link, not the manifest
    write_manifest(mirrored, manifest | declared | {"edited": BACK_AGAIN in status})


def _command(one: Touched) -> str:
    """The job's own command, its log on stderr, held to the fingerprint of the code as it is."""
    words = shlex.split(one.job.command.rpartition(" > ")[0])
    words[words.index("--code") + 1] = one.now
    words[0] = sys.executable
    return shlex.join(words)


def _environment() -> dict[str, str]:
    device = "cuda" if has_gpu() else "cpu"
    kept = {name: value for name, value in os.environ.items() if name not in ("TURNCOAT_RUN", "TURNCOAT_ACCEPTED")}
    return kept | {"PYTHONPATH": str(LIBRARY), "TURNCOAT_DEVICE": device}


def _entries(found: Sequence[Touched], chosen: Sequence[Touched]) -> list[dict[str, Any]]:
    """What the manifest says of each fingerprint that was accepted."""
    when = datetime.now(UTC).isoformat(timespec="seconds")
    pairs = {(one.now, one.before): one.stage for one in found}
    return [
        {
            "stage": stage,
            "from": before,
            "to": now,
            "when": when,
            "compared": sorted(output for one in chosen if one.now == now for output in one.job.outputs),
            "excepted": EXCEPTED,
        }
        for (now, before), stage in pairs.items()
    ]
