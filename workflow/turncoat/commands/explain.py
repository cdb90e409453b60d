"""Why a study would run what it would run, in words: which setting, which code, which file.

    python -m turncoat explain [OVERLAY ...]

Snakemake's own answer to what would run is taken as it is; its reasons are put into words. Of a job that follows from
one that would run, Snakemake looks for no more reasons.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from turncoat.commands.dry_run import CODE, Job, planned
from turncoat.configuration.code_record import changed_modules

NEW = "has no results yet"
SENTENCES = {
    "Incomplete output files": "was cut off while it wrote its results",
    "Set of input files has changed": "is made from other files than before: cells, blocks or arms came or went",
    "Code has changed": "its command in workflow/rules is another",
    "Software environment definition has changed": "its conda environment's definition is another",
    "Forced execution": "was asked for by force",
}


def explain(study: str, overlays: Sequence[Path]) -> str:
    """Return what would run and why, a paragraph for each rule."""
    return explained(study, planned(overlays), Path("results") / study)


def explained(study: str, jobs: Sequence[Job], folder: Path) -> str:
    """Put the reasons of `jobs` into words; `folder` keeps what modules each fingerprint stands for."""
    if not jobs:
        return f"study {study}: nothing would run; its results are those of its settings and of this code"
    makers = {output: job.rule for job in jobs for output in job.outputs}
    groups: dict[str, dict[str, list[Job]]] = {}
    for job in jobs:
        for reason in reasons(job, makers, folder):
            groups.setdefault(job.rule, {}).setdefault(reason, []).append(job)
    lines = [f"study {study}: {_counted(len(jobs))} would run"]
    for rule, found in groups.items():
        lines.append(f"{rule}, {_counted(sum(job.rule == rule for job in jobs))}:")
        total = sum(job.rule == rule for job in jobs)
        lines += [f"  - {reason}{_which(concerned, total)}" for reason, concerned in found.items()]
    return "\n".join(lines)


def reasons(job: Job, makers: Mapping[str, str], folder: Path) -> Iterator[str]:
    """Yield why a job would run; `makers` says which rule of the same run writes a file."""
    text = job.reason
    if "Missing output files" in text:
        yield NEW
    for start, sentence in SENTENCES.items():
        if re.search(rf"(?:^|; ){start}", text):
            yield sentence
    touched = re.search(r"Updated input files: (.*?)(?:;|\s*$)", text)
    if touched:
        files = touched[1].strip().split(", ")
        yield f"{files[0]}{f' and {len(files) - 1} more' if len(files) > 1 else ''} is newer than its results"
    remade = re.search(r"Input files updated by another job: (.*?)(?:;|\s*$)", text)
    if remade:
        rules = sorted({makers.get(file, "another job") for file in remade[1].strip().split(", ")})
        yield f"what it is made from is made by {', '.join(rules)} in this run"
    if job.params is not None:
        yield from _params(*job.params, folder)


def _params(before: Sequence[str], now: Sequence[str], folder: Path) -> Iterator[str]:
    """Yield what is different in a job's parameters."""
    old_codes, new_codes = (list(filter(CODE.fullmatch, side)) for side in (before, now))
    old_settings, new_settings = ([value for value in side if value.startswith("{")] for side in (before, now))
    if len(old_settings) == len(new_settings) == 1:
        old, new = _mapping(old_settings[0]), _mapping(new_settings[0])
        for key in sorted({*old, *new}):
            if old.get(key, "not there") != new.get(key, "not there"):
                yield f"setting {key}: {_shown(old, key)} -> {_shown(new, key)}"
    elif old_settings or new_settings:
        yield "its settings are others"
    if old_codes or new_codes:
        yield _code(old_codes, new_codes, folder)
    known = {*old_codes, *new_codes, *old_settings, *new_settings}
    old_rest, new_rest = (", ".join(value for value in side if value not in known) for side in (before, now))
    if old_rest or new_rest:
        yield f"parameter {old_rest or 'none'} -> {new_rest or 'none'}"


def _code(before: Sequence[str], now: Sequence[str], folder: Path) -> str:
    change = f"code {', '.join(before) or 'none'} -> {', '.join(now) or 'none'}"
    modules = changed_modules(folder, before[0], now[0]) if len(before) == len(now) == 1 else None
    return change if modules is None else f"{change}: {', '.join(modules) or 'the modules that it imports'} changed"


def _mapping(text: str) -> dict[str, Any]:
    """A JSON mapping by dotted keys."""

    def walk(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
        if isinstance(value, dict) and value:
            for key, below in value.items():
                yield from walk(below, f"{prefix}.{key}" if prefix else key)
        else:
            yield prefix, value

    return dict(walk(json.loads(text.replace("\\\\", "\\")), ""))


def _shown(settings: Mapping[str, Any], key: str) -> str:
    return json.dumps(settings[key]) if key in settings else "not there"


def _which(jobs: Sequence[Job], total: int) -> str:
    """Which of a rule's jobs, where not all of them."""
    if len(jobs) == total or not jobs[0].wildcards:
        return ""
    cells = sorted({job.wildcards["cell"] for job in jobs if "cell" in job.wildcards})
    blocks = sorted({job.wildcards["block"] for job in jobs if "block" in job.wildcards})
    parts = [
        f"{word} {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
        for word, names in (("cell", cells), ("block", blocks))
        if names
    ]
    return f" ({_counted(len(jobs))}: {'; '.join(parts)})"


def _counted(count: int) -> str:
    return "1 job" if count == 1 else f"{count:,} jobs"
