"""Time to verdict: how long this machine takes until P3's contrasts are known to +-0.01.

python -m benchmarks.verdict results/default [--write docs/performance.md]

From a finished study: the half-widths of the intervals that P3's contrasts have in C and D, of every start at every
distance, at the primary capability; the seeds at which each would be 0.01, as half-widths fall with the root of the
number of seeds; the core-seconds that a seed's models took in the cells that P3 compares, their classification and
probes among them; and the time that this comes to on the study's cores.

Assumed: a study of those cells alone. Jobs of models and of planted cases keep all cores at work; then the aggregate
stage runs, and then the report, one process each on one core. The aggregate's time grows in proportion to the number of
models in its tables, the report's is what it was. Snakemake's own time is not counted.
"""

import argparse
import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from benchmarks.study import Job, jobs_of

Row = dict[str, Any]
HALF_WIDTH = 0.01
OUTCOMES = ("c", "d")
REFERENCES = ("scratch_exposed", "unrelated")
"""Those of P3 that can bear it out; beside them it lists what scratch itself does, which never saw a cue move."""
MARKS = ("<!-- time to verdict -->", "<!-- /time to verdict -->")
PER_SEED = ("pretrain", "finetune", "classify", "gating")
SHARED = ("planted", "aggregate", "report")


@dataclass(frozen=True)
class Verdict:
    """What it takes: `contrasts` rows with half-width and seeds, seeds of the widest, models, core-seconds a seed by
    stage, core-seconds of planted cases, seconds of the aggregate stage and of the report, cores of the machine."""

    contrasts: list[Row]
    seeds: int
    models: int
    seconds_a_seed: dict[str, float]
    planted: float
    aggregate: float
    report: float
    cores: int

    @property
    def minutes(self) -> float:
        """Minutes on the study's cores: all of them at work, then one."""
        shared = self.seeds * sum(self.seconds_a_seed.values()) + self.planted
        return (shared / self.cores + self.aggregate + self.report) / 60


def seeds_needed(half_width: float, seeds: int, wanted: float = HALF_WIDTH) -> int:
    """Seeds at which an interval would be that narrow, as half-widths fall with the root of the number of seeds."""
    return math.ceil(seeds * (half_width / wanted) ** 2 - 1e-9)


def contrasts_of(claims: pd.DataFrame, match: str, seeds: int) -> list[Row]:
    """P3's contrasts in C and D at this match, widest first. Raises ValueError where there is none, or no interval."""
    rows = claims[
        (claims["claim"] == "P3")
        & claims["outcome"].isin(OUTCOMES)
        & claims["reference"].isin(REFERENCES)
        & (claims["match"] == match)
        & (claims["setting"] == "")
        & (claims["variant"] == "")
    ]
    found = []
    for row in rows.itertuples():
        half = (row.high - row.low) / 2
        if not math.isfinite(half):
            raise ValueError(f"P3, {row.stratum}, {row.outcome}: has no interval; needed: a study with more seeds")
        names = {"start": row.start, "reference": row.reference, "distance": row.distance, "outcome": row.outcome}
        found.append(names | {"pairs": row.n_pairs, "half_width": half, "seeds": seeds_needed(half, seeds)})
    if not found:
        raise ValueError(f"tables/claims.parquet has no contrast of P3 in C or D at {match}")
    return sorted(found, key=lambda row: -row["half_width"])


def cells_of(organisms: pd.DataFrame, contrasts: Sequence[Row]) -> set[str]:
    """Cells whose models the contrasts compare, and the pre-trained ones that those start from."""
    plain = organisms[(organisms["setting"] == "") & (organisms["variant"] == "") & (organisms["dodge"] == "")]
    tuned = plain[plain["stage"] == "finetune"]
    compared = {(row[arm], row["distance"]) for row in contrasts for arm in ("start", "reference")}
    used = tuned[[pair in compared for pair in zip(tuned["start"], tuned["distance"], strict=True)]]
    parents = {str(parent).rpartition("-")[0] for parent in used["parent_id"].dropna()}
    return set(used["cell"]) | {parent for parent in parents if parent}


def costs(
    jobs: Sequence[Job], cells: set[str], seeds: int, first_seeds: set[str]
) -> tuple[dict[str, float], dict[str, float]]:
    """Core-seconds a seed by stage in these cells' blocks that begin with these seeds (a folder may hold others, of
    earlier settings), and those of the whole study's stages that seeds share."""
    a_seed, shared = dict.fromkeys(PER_SEED, 0.0), dict.fromkeys(SHARED, 0.0)
    for job in jobs:
        parts = job.name.split("/")
        if job.stage in PER_SEED:
            if parts[1] in cells and parts[2].partition("-")[0] in first_seeds:
                a_seed[job.stage] += job.seconds / seeds
        elif job.stage in SHARED:
            shared[job.stage] += job.seconds
    return a_seed, shared


def time_to_verdict(study: Path) -> Verdict:
    """Read a finished study; raises ValueError where it does not tell."""
    config = yaml.safe_load((study / "config.yaml").read_text())
    manifest = json.loads((study / "manifest.json").read_text())
    organisms = pd.read_parquet(study / "tables" / "organisms.parquet")
    claims = pd.read_parquet(study / "tables" / "claims.parquet")
    seeds = int(config["seeds"]["count"])
    match = f"capability {config['statistics']['primary_capability']:.2f}"
    contrasts = contrasts_of(claims, match, seeds)
    cells = cells_of(organisms, contrasts)
    block, first = int(config["seeds"]["block"]), int(config["seeds"]["first"])
    first_seeds = {str(seed) for seed in range(first, first + seeds, block)}
    a_seed, shared = costs(list(jobs_of(study)), cells, seeds, first_seeds)
    needed = max(row["seeds"] for row in contrasts)
    models = needed * len(cells)
    shared["aggregate"] *= models / (seeds * organisms["cell"].nunique())
    return Verdict(contrasts, needed, models, a_seed, **shared, cores=manifest.get("cores") or 1)


def headline(verdict: Verdict) -> str:
    """The figure in words."""
    widest = verdict.contrasts[0]
    narrow = sum(row["half_width"] <= HALF_WIDTH for row in verdict.contrasts)
    a_model = sum(verdict.seconds_a_seed.values()) * verdict.seeds / verdict.models
    return (
        f"**Time to verdict: {verdict.minutes:.0f} minutes on {verdict.cores} cores** until every contrast of P3 with "
        f"{' and '.join(REFERENCES)}, in C and D, has an interval of half-width {HALF_WIDTH}: {verdict.seeds:,} seeds, "
        f"{verdict.models:,} models, {a_model:.2f} core-seconds a model. The widest is {widest['outcome'].upper()} of "
        f"{widest['start']} minus {widest['reference']} at {widest['distance']:g} degrees, "
        f"+-{widest['half_width']:.3f} in the study measured; {narrow} of {len(verdict.contrasts)} were within "
        f"+-{HALF_WIDTH} there already."
    )


def rows_of(verdict: Verdict) -> tuple[list[Row], list[Row]]:
    """The contrasts, and core-seconds by stage: a seed's, or those of what seeds share."""
    spent: list[Row] = [
        {"stage": stage, "core_seconds_a_seed": value} for stage, value in verdict.seconds_a_seed.items()
    ]
    return verdict.contrasts, [*spent, *({"stage": stage, "core_seconds": getattr(verdict, stage)} for stage in SHARED)]


def insert(page: str, text: str) -> str:
    """The page with the text between its marks; raises ValueError where it has none."""
    first, last = MARKS
    if first not in page or last not in page:
        raise ValueError(f"the page has no {first} ... {last}")
    return re.sub(f"{re.escape(first)}.*?{re.escape(last)}", lambda _: f"{first}\n{text}\n{last}", page, flags=re.S)


def main() -> None:
    """Print the figure and what it rests on; with --write, put it into a page."""
    from benchmarks.table import where_and_when, write

    parser = argparse.ArgumentParser(prog="python -m benchmarks.verdict", description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="folder of a finished study")
    parser.add_argument("--write", type=Path, help="page whose headline to replace")
    parser.add_argument("--output", type=Path, default=Path("results/bench"))
    options = parser.parse_args()
    try:
        verdict = time_to_verdict(options.study)
        about: Mapping[str, str] = where_and_when()
        contrasts, spent = rows_of(verdict)
        write(options.output, "verdict-contrasts", contrasts, about)
        write(options.output, "verdict-costs", spent, about)
        text = f"{headline(verdict)} ({about['date']}, {about['processor']}, study `{options.study.name}`)"
        print(text)
        if options.write is not None:
            options.write.write_text(insert(options.write.read_text(), text))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"no time to verdict from {options.study}: {error}")


if __name__ == "__main__":
    main()
