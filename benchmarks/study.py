"""Where a finished study's core time went, by stage and by cause: python -m benchmarks.study results/default

Read from the study's benchmarks/*.tsv and logs, and Snakemake's own log beside its results. How training divides into
drawing episodes and taking steps is measured here, on the study's own world and network.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

Row = dict[str, Any]
TRAINING = ("pretrain", "finetune", "elicit")
CAUSES = {"classify": "classification", "planted": "classification", "gating": "gating", "reinforce": "gating"}
STATISTICS = "statistics and report"
START = "start, imports, reading, writing"
WORKED = re.compile(r"^\d\d:\d\d:\d\d (?:trained|measured|wrote) .* in ([0-9.]+) s")
STAMP = re.compile(r"^(\d\d:\d\d:\d\d) ")


@dataclass(frozen=True)
class Job:
    """One finished job: seconds that it took, and those of its own work after start and before writing."""

    stage: str
    name: str
    seconds: float
    worked: float

    @property
    def cause(self) -> str:
        """What its work is counted as."""
        return "training" if self.stage in TRAINING else CAUSES.get(self.stage, STATISTICS)


def jobs_of(study: Path) -> Iterator[Job]:
    """Every job of a study; raises ValueError where there are none."""
    files = sorted((study / "benchmarks").rglob("*.tsv"))
    if not files:
        raise ValueError(f"{study / 'benchmarks'} holds no *.tsv; needed: a study that ran to its end")
    for path in files:
        relative = path.relative_to(study / "benchmarks").with_suffix("")
        header, values = (line.split("\t") for line in path.read_text().splitlines()[:2])
        seconds = float(dict(zip(header, values, strict=True))["s"])
        log = study / "logs" / relative.with_suffix(".log")
        worked = _worked(log.read_text().splitlines()) if log.exists() else 0.0
        yield Job(relative.parts[0], relative.as_posix(), seconds, min(worked, seconds))


def _worked(lines: list[str]) -> float:
    """Seconds of work that a log states, or else those between its first and its last line, to a second."""
    stated = [float(found[1]) for line in lines if (found := WORKED.match(line))]
    if stated:
        return stated[-1]
    times = [datetime.strptime(found[1], "%H:%M:%S") for line in lines if (found := STAMP.match(line))]
    return (times[-1] - times[0]).seconds if times else 0.0


def elapsed_seconds(study: Path) -> float | None:
    """Seconds that Snakemake says the study took, of the run with most jobs; None where its log is not there."""
    found: list[tuple[int, float]] = []
    for log in (study.resolve().parents[1] / ".snakemake" / "log").glob("*.log"):
        text = log.read_text(errors="replace")
        steps = re.findall(r"^\d+ of (\d+) steps \(100%\) done", text, re.M)
        elapsed = re.findall(r"^Elapsed time: (?:(\d+) days?, )?(\d+):(\d+):([0-9.]+)", text, re.M)
        ours = not steps or str(study.name) in text
        if steps and elapsed and ours:
            days, hours, minutes, seconds = elapsed[-1]
            total = ((int(days or 0) * 24 + int(hours)) * 60 + int(minutes)) * 60 + float(seconds)
            found.append((int(steps[-1]), total))
    return max(found)[1] if found else None


def episodes_share(study: Path) -> float:
    """Share of a training step's time that drawing and laying out its episodes takes here, on the study's network."""
    import torch

    from benchmarks.timing import measure
    from turncoat.organisms.mlp import Architecture, initialise
    from turncoat.training.devices import CPU_CHUNK, settle_process
    from turncoat.training.loop import Recipe, train
    from turncoat.training.starts import Lesson, find_start
    from turncoat.training.streams import WINDOW, pretraining_stream
    from turncoat.worlds.objectives import seed_objectives
    from turncoat.worlds.world import World

    settle_process(1)
    config = yaml.safe_load((study / "config.yaml").read_text())
    world, device, seeds = World.from_settings(config["world"]), torch.device("cpu"), range(CPU_CHUNK)
    architecture = Architecture.from_settings(config["organism"], world.input_width, world.attributes)
    stack = initialise(architecture, seeds, world.input_power, device)
    batch, heads = config["pretraining"]["batch"], config["pretraining"]["heads"]
    objectives = seed_objectives(seeds, world.attributes, 90, device)
    lesson = Lesson(find_start("conditional"))
    stream = pretraining_stream(world, lesson, seeds, objectives, batch, 0.5, valued=heads["objective"] > 0)
    unknown = torch.zeros(CPU_CHUNK, dtype=torch.float64)

    def draw(steps: int) -> None:
        for window in range(steps // WINDOW):
            for _ in stream(window):
                pass

    def step(steps: int) -> None:
        recipe = Recipe(steps, "adam", 0.003, heads, 2)
        train(stack, stream, recipe, lambda _: (unknown, unknown))

    steps = 2 * WINDOW
    timings = measure({"draw": draw, "all": step}, {"draw": steps, "all": steps}, 5)
    return timings["draw"].median / timings["all"].median


def report(study: Path, share: float) -> tuple[list[Row], list[Row]]:
    """Core-seconds by stage, and by cause; `share` of training is drawing episodes."""
    jobs = list(jobs_of(study))
    whole = sum(job.seconds for job in jobs)
    manifest = json.loads((study / "manifest.json").read_text())
    elapsed, cores = elapsed_seconds(study), manifest.get("cores") or 1
    by_stage = []
    for stage in dict.fromkeys(job.stage for job in jobs):
        own = [job for job in jobs if job.stage == stage]
        spent, worked = sum(job.seconds for job in own), sum(job.worked for job in own)
        by_stage.append(
            {"stage": stage, "jobs": len(own), "core_seconds": spent, "work": worked, "rest": spent - worked}
        )
    causes: dict[str, float] = {}
    for job in jobs:
        causes[job.cause] = causes.get(job.cause, 0.0) + job.worked
        causes[START] = causes.get(START, 0.0) + job.seconds - job.worked
    trained = causes.pop("training", 0.0)
    causes = {"training: episodes": share * trained, "training: steps": (1 - share) * trained} | causes
    if elapsed is not None:
        causes["Snakemake, and cores without a job"] = max(0.0, cores * elapsed - whole)
        whole = max(whole, cores * elapsed)
    by_cause = [{"cause": cause, "core_seconds": spent, "share": spent / whole} for cause, spent in causes.items()]
    total = {"cause": "all", "core_seconds": whole, "share": 1.0}
    models = manifest.get("models")
    if models and elapsed is not None:
        total |= {"models": models, "minutes": elapsed / 60, "models_a_minute": 60 * models / elapsed}
    return by_stage, [*by_cause, total]


def main() -> None:
    """Print both tables and write them beside the other benchmarks."""
    from benchmarks.table import where_and_when, write

    parser = argparse.ArgumentParser(prog="python -m benchmarks.study", description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="folder of a finished study")
    parser.add_argument("--output", type=Path, default=Path("results/bench"))
    options = parser.parse_args()
    try:
        by_stage, by_cause = report(options.study, episodes_share(options.study))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"{options.study} cannot be read: {error}")
    about = where_and_when()
    write(options.output, "study-stages", by_stage, about)
    write(options.output, "study-causes", by_cause, about)


if __name__ == "__main__":
    main()
