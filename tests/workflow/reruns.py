"""What a change starts again: one scenario a row, with the jobs that must run and no others.

PYTHONPATH=workflow python tests/workflow/reruns.py writes docs/reruns.md from them; a test holds it to them.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from runs import REPOSITORY, SMOKE, Workspace
from study_jobs import Job, every_job, nothing, of, of_cells

from turncoat.configuration.plan import Plan

LIBRARY = "workflow/turncoat"
PAGE = REPOSITORY / "docs" / "reruns.md"
ARMS = "main: {starts: [internal, scratch], distances: [90], elicit: true, reinforce: true}"
DODGED = "dodged: {starts: [internal], distances: [90], dodges: [l2_to_start]}"


@dataclass(frozen=True)
class Scenario:
    """A change, what it changes by itself (the rest follows from what is made of what), and why."""

    name: str
    change: Callable[[Workspace], object]
    roots: Callable[[Plan], Iterable[Job]]
    jobs: dict[str, int]
    why: str
    arguments: tuple[str, ...] = ()


def edit(path: str, old: str, new: str) -> Callable[[Workspace], object]:
    return lambda workspace: workspace.edit(path, old, new)


def add_code(module: str) -> Callable[[Workspace], object]:
    """Append a statement to a module of the library."""

    def change(workspace: Workspace) -> None:
        path = workspace.root / LIBRARY / module
        path.write_text(path.read_text() + "\nADDED = 1\n")

    return change


def add_factor(workspace: Workspace) -> None:
    """A new key of the configuration, which cells are told of where it has not its legacy value."""
    workspace.edit(
        f"{LIBRARY}/configuration/sections.py",
        "    samples: int",
        '    added: int = setting(0, "added")\n    samples: int',
    )
    told = '    if section.added:\n        training["added"] = section.added\n'
    workspace.edit(f"{LIBRARY}/configuration/settings.py", "    if section.budget", f"{told}    if section.budget")


def result(workspace: Workspace, pattern: str) -> Path:
    return min((workspace.root / "results" / "smoke").glob(pattern))


def delete(pattern: str) -> Callable[[Workspace], object]:
    return lambda workspace: result(workspace, pattern).unlink()


def touch(pattern: str) -> Callable[[Workspace], object]:
    return lambda workspace: os.utime(result(workspace, pattern))


def check_out(workspace: Workspace) -> None:
    """Every file of the repository is newer than every result."""
    for folder in ("workflow", "profiles", "envs"):
        for path in (workspace.root / folder).rglob("*"):
            os.utime(path)
    for name in ("Snakefile", "config.yaml"):
        os.utime(workspace.root / name)


OPENING = """\
# What a change starts again

A job runs again where its settings, the code that it can reach, or what it is made from are others; never for a time
stamp. `snakemake -n` lists the jobs, and `python -m turncoat explain [OVERLAY]` says why, key by key and module by
module. A refactoring that changes no bit need not start anything: `python -m turncoat accept-code [OVERLAY]` makes one
job of every touched stage again in a temporary folder, compares every bit, and keeps the results
([extending](extending.md)).

Each row is a test (`tests/workflow/test_reruns.py`): the smoke study, with elicitation, reinforcement and a dodge, has
run; then the change is made. Jobs are compared by rule, cell and block, and must be exactly these.

| change | jobs that run | why |
|---|---|---|
"""
LAST = {"aggregate": 1, "report": 1}
TUNED = {"classify": 1, "probe_gating": 1}
SCENARIOS = [
    Scenario("nothing", lambda _: None, nothing, {}, "results are those of these settings and this code"),
    Scenario(
        "more seeds",
        edit(SMOKE, "count: 4", "count: 8"),
        lambda plan: {job for job in every_job(plan) if job[2] == plan.blocks[1].name},
        {"pretrain": 2, "finetune": 5, "elicit": 2, "classify": 7, "probe_gating": 5, "reinforce": 2}
        | {"reinforce_planted": 1, "probe_defection": 1, **LAST},
        "new blocks, in which every cell is trained; the probe for defection compares all seeds",
    ),
    Scenario(
        "another distance",
        edit(SMOKE, "scratch], distances: [90]", "scratch], distances: [90, 45]"),
        of_cells(lambda labels: labels["distance"] == 45),
        {"finetune": 2, "elicit": 2, "classify": 2, "probe_gating": 2, "reinforce": 2, "probe_defection": 1, **LAST},
        "its cells; what they start from is there",
    ),
    Scenario(
        "another start",
        edit(SMOKE, "starts: [deceptive]", "starts: [deceptive, internal_strategic]"),
        of_cells(lambda labels: labels["start"] == "internal_strategic", "pretrain"),
        {"pretrain": 1, "finetune": 1, "classify": 2, "probe_gating": 1, "probe_defection": 1, **LAST},
        "its pre-trained cell and what is fine-tuned from it",
    ),
    Scenario(
        "another optimizer in an arm",
        edit(SMOKE, "optimizers: [sgd]", "optimizers: [sgd, adam]"),
        of_cells(lambda labels: labels["optimizer"] == "adam" and labels["activation"] == "gelu"),
        {"finetune": 1, **TUNED, **LAST},
        "its cell; the probe for defection compares the study's own settings only",
    ),
    Scenario(
        "a cutoff of the types",
        edit(SMOKE, "statistics:", "types: {cosine: 0.8}\nstatistics:"),
        of("aggregate"),
        LAST,
        "jobs keep measurements; types are read off them where the tables are made",
    ),
    Scenario(
        "how much is measured",
        edit(SMOKE, "{episodes: 64, fit_episodes: 64,", "{episodes: 96, fit_episodes: 64,"),
        of("classify", "classify_planted"),
        {"classify": 7, "classify_planted": 1, **LAST},
        "classification, of trained and of planted models",
    ),
    Scenario(
        "the same value, written otherwise", edit(SMOKE, "[90]", "[90.0]"), nothing, {}, "values count, not texts"
    ),
    Scenario(
        "a comment or a docstring in the library",
        lambda workspace: (
            workspace.edit(f"{LIBRARY}/seeding.py", "\n\n", "\n# A comment.\n\n"),
            workspace.edit(f"{LIBRARY}/worlds/world.py", '"""', '"""Another opening. '),
        ),
        nothing,
        {},
        "fingerprints are of the syntax tree without either",
    ),
    Scenario(
        "code of pre-training",
        add_code("stages/pretrain.py"),
        of("pretrain"),
        {"pretrain": 2, "finetune": 3, "elicit": 1, "classify": 5, "probe_gating": 3, "reinforce": 1}
        | {"probe_defection": 1, **LAST},
        "its jobs and all that starts from them; models from scratch stay",
    ),
    Scenario(
        "code of fine-tuning",
        add_code("stages/finetune.py"),
        of("finetune", "elicit"),
        {"finetune": 5, "elicit": 2, "classify": 5, "probe_gating": 5, "reinforce": 2, "probe_defection": 1, **LAST},
        "fine-tuning and elicitation, and what is measured of them; pre-trained models stay",
    ),
    Scenario(
        "code of classification", add_code("stages/classify.py"), of("classify"), {"classify": 7, **LAST}, "no training"
    ),
    Scenario(
        "code that measures planted models",
        add_code("stages/classify_planted.py"),
        of("classify_planted"),
        {"classify_planted": 1, **LAST},
        "its one job",
    ),
    Scenario(
        "code of the gating probe",
        add_code("stages/probe_gating.py"),
        of("probe_gating"),
        {"probe_gating": 5, **LAST},
        "no training",
    ),
    Scenario(
        "code of the probe for defection",
        add_code("stages/probe_defection.py"),
        of("probe_defection"),
        {"probe_defection": 1, **LAST},
        "its one job",
    ),
    Scenario(
        "code of reinforcement",
        add_code("stages/reinforce.py"),
        of("reinforce", "reinforce_planted"),
        {"reinforce": 2, "reinforce_planted": 1, **LAST},
        "trained and planted networks alike",
    ),
    Scenario("code of the aggregate stage", add_code("stages/aggregate.py"), of("aggregate"), LAST, "no job before it"),
    Scenario("code of the report stage", add_code("stages/report.py"), of("report"), {"report": 1}, "the report alone"),
    Scenario(
        "a module that two stages share (gating/circuits.py)",
        add_code("gating/circuits.py"),
        of("probe_gating", "reinforce", "reinforce_planted"),
        {"probe_gating": 5, "reinforce": 2, "reinforce_planted": 1, **LAST},
        "the stages that import it, in turn",
    ),
    Scenario(
        "a module of all training (training/losses.py)",
        add_code("training/losses.py"),
        of("pretrain", "finetune", "elicit", "reinforce_planted"),
        {"pretrain": 2, "finetune": 5, "elicit": 2, "classify": 7, "probe_gating": 5, "reinforce": 2}
        | {"reinforce_planted": 1, "probe_defection": 1, **LAST},
        "all models, and reinforcement, which imports it; planted models stay",
    ),
    Scenario(
        "a dodge's code",
        add_code("dodges/l2_to_start.py"),
        of_cells(lambda labels: labels["dodge"] == "l2_to_start"),
        {"finetune": 1, **TUNED, **LAST},
        "the cells that have this dodge",
    ),
    Scenario(
        "the code of a dodge that no cell has", add_code("dodges/inoculation.py"), nothing, {}, "no cell reaches it"
    ),
    Scenario(
        "the report's template",
        edit("workflow/report/report.html.j2", "<body", "<!-- --><body"),
        of("report"),
        {"report": 1},
        "templates count byte for byte",
    ),
    Scenario("code of a figure", add_code("reporting/figures.py"), of("report"), {"report": 1}, "the report alone"),
    Scenario(
        "code of the claims",
        add_code("statistics/claims.py"),
        of("aggregate"),
        LAST,
        "verdicts are made with the tables",
    ),
    Scenario(
        "a new factor, at the value that stands for what was before it",
        add_factor,
        of("aggregate", "report"),
        LAST,
        "cells leave it out at that value, so none is another; the tables say the whole configuration",
    ),
    Scenario(
        "another name of the study",
        edit(SMOKE, "study: smoke", "study: renamed"),
        every_job,
        {"pretrain": 2, "finetune": 5, "elicit": 2, "classify": 7, "probe_gating": 5, "reinforce": 2}
        | {"reinforce_planted": 1, "classify_planted": 1, "probe_defection": 1, **LAST},
        "another study, in a folder of its own; the old one stays as it is",
    ),
    Scenario(
        "an arm less",
        edit(SMOKE, "  gates: {activations: [gelu], optimizers: [sgd]}", "  gates: null"),
        of("aggregate"),
        LAST,
        "no model; the tables are of fewer cells, and `python -m turncoat orphans` lists what is left over",
    ),
    Scenario(
        "a table of a job deleted",
        delete("classify/*/*/knowledge.parquet"),
        nothing,
        {},
        "what was made from it is there; it is made again where that has to be, or where it is asked for by name",
    ),
    Scenario("the report deleted", delete("report.html"), of("report"), {"report": 1}, "the job that makes it"),
    Scenario(
        "a result touched",
        touch("pretrain/*/*/weights.safetensors"),
        nothing,
        {},
        "newer, but the same: its checksum says so",
    ),
    Scenario("a git checkout", check_out, nothing, {}, "times of source files do not count"),
    Scenario(
        "other threads and cores",
        lambda _: None,
        nothing,
        {},
        "results do not depend on them",
        ("--cores", "7", "--set-threads", "classify=3", "--set-resources", "finetune:mem_mb=9000"),
    ),
]


def document() -> str:
    """docs/reruns.md."""
    lines = []
    for scenario in SCENARIOS:
        ran = ", ".join(f"{rule} {count}" for rule, count in scenario.jobs.items()) or "none"
        lines.append(f"| {scenario.name} | {ran} | {scenario.why} |")
    return OPENING + "\n".join(lines) + "\n"


def counted(jobs: Iterable[Job]) -> dict[str, int]:
    return dict(Counter(rule for rule, _, _ in jobs))


if __name__ == "__main__":
    PAGE.write_text(document())
