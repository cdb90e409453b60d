"""What a run says on the terminal: the plan before it starts, and which job failed after it stopped."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from turncoat.configuration.disk import clock_warning
from turncoat.configuration.manifest import merged_yaml
from turncoat.configuration.models import Config
from turncoat.configuration.plan import Plan
from turncoat.configuration.sections import PRETRAINED_STARTS

LAST_LINES = 15
FAILED_JOB = re.compile(
    r"^( *)Error in rule (\w+):$(.*?)^ *log: ([^\n]+?)(?: \(check log file[^\n]*)?$", re.MULTILINE | re.DOTALL
)


def plan_text(config: Config, plan: Plan) -> str:
    """Return the merged configuration and the size of the whole study."""
    totals = plan.totals
    jobs = ", ".join(f"{count} {rule}" for rule, count in totals.jobs.items())
    seeds = f"{config.seeds.count} seeds in {len(plan.blocks)} block{'s' if len(plan.blocks) > 1 else ''}"
    return (
        f"{_indented(merged_yaml(config))}\n"
        f"study {config.study}: results/{config.study}\n"
        f"  models        {totals.models:,} ({len(plan.cells)} cells x {seeds})\n"
        f"  jobs          {sum(totals.jobs.values()):,} ({jobs})\n"
        f"  model-steps   {totals.model_steps:,}\n"
        f"  core-minutes  about {totals.core_minutes:,.0f} on a CPU\n"
        f"  megabytes     about {totals.megabytes:,.0f}\n"
        "This is the whole study; what exists already is not run again."
        f"{_warnings(config, plan)}"
    )


def _warnings(config: Config, plan: Plan) -> str:
    """What is allowed, and hardly meant."""
    found = []
    distance = config.statistics.premise_distance
    arms = list(config.arms.values())
    pretrained = any(set(arm.starts) & set(PRETRAINED_STARTS) for arm in arms)
    gated = any("scratch" in arm.starts and distance in arm.distances for arm in arms) and any(
        set(arm.starts) & set(PRETRAINED_STARTS) and distance in arm.distances for arm in arms
    )
    if pretrained and not gated:
        found.append(
            f"no arm has pre-trained starts, and one scratch, at statistics.premise_distance = {distance:g}: the "
            "premise is not measured, and P1 and P3 get no verdict"
        )
    worlds = [cell.settings["world"] for cell in plan.cells]
    if any(world["cue"].get("bits") == 3 and world["encoding"] == "plain" for world in worlds):
        found.append(
            "world.cue.bits = 3 with coding parity and encoding plain: a linear probe reads such a cue in untrained "
            "networks at up to 0.73, where P4b and P11 allow 0.6 without a head; take 4 bits"
        )
    megabytes = plan.totals.megabytes
    free = shutil.disk_usage(Path.cwd()).free / 1e6
    if megabytes > free:
        found.append(f"about {megabytes:,.0f} megabytes will be written, and {free:,.0f} are free here")
    early = clock_warning(Path("results") / config.study)
    if early:
        found.append(early)
    return "".join(f"\nWARNING: {text}." for text in found)


def failed_jobs_text(snakemake_logs: Iterable[str | Path], last_lines: int = LAST_LINES) -> str:
    """Return the rule, the log file and its last lines for each job that failed by `snakemake_logs`.

    Of a group's jobs, those that began; of a job on Slurm, how Slurm says that it ended, and Slurm's own log where
    the job wrote none.
    """
    text = "\n".join(Path(path).read_text(encoding="utf-8", errors="replace") for path in snakemake_logs)
    parts: dict[tuple[str, str], str] = {}  # the last try of each job
    for indent, rule, told, logs in FAILED_JOB.findall(text):
        paths = [Path(path) for path in logs.split(", ")]
        written = [path for path in paths if path.is_file() and path.stat().st_size]
        if indent and not written:
            continue  # a group's job that had not begun
        path = written[0] if written else paths[0]
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if written else []
        ending = "\n".join(lines[-last_lines:]) or "(the job wrote no log)"
        heading = f"{rule} failed{_slurm_state(rule, told)}; its log is {path} and ends:"
        parts[rule, str(paths[0])] = f"{heading}\n{_indented(ending)}"
    return "\n".join(parts.values()) or "The run stopped; see the messages above."


def _slurm_state(rule: str, told: str) -> str:
    """How Slurm ended a job, by Snakemake's message, and what would let it run on."""
    state = re.search(r"SLURM status is: '(\w+)'", told)
    if state is None or state[1] == "FAILED":
        return ""
    more = {"TIMEOUT": f"--set-resources {rule}:runtime=MINUTES", "OUT_OF_MEMORY": f"--set-resources {rule}:mem_mb=MB"}
    return f" (Slurm: {state[1]}{f'; {more[state[1]]} grants more' if state[1] in more else ''})"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
