"""Do the statistics keep their word? Simulated studies of known truth through the code that judges real ones.

    python -m turncoat.statistics.selftest [--studies 1000] [--table FILE.parquet] [--document docs/statistics.md]

Writes a table of type I error, coverage, power beside what was predicted, and false verdicts, one row per case, and
replaces the part of the document between its two marks. Ends with an error where a verdict is given to too few models.
"""

import argparse
import gc
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas

from turncoat.seeding import generator
from turncoat.statistics.intervals import paired_p, t_interval, wilson
from turncoat.statistics.rows import Row, finished
from turncoat.statistics.selftest_cases import MARGIN, MINIMUM, PLAN, Case, cases
from turncoat.statistics.simulated import SPREAD, differences

TYPE_I, COVERAGE = (0.03, 0.07), (0.93, 0.97)
MARKS = ("<!-- self-test -->", "<!-- end of self-test -->")
DECIDED = ("supported", "contradicted", "no_effect")

COLUMNS = [
    "method", "case", "seeds", "truth", "studies", "type_i", "coverage", "power", "predicted_power", "false_verdicts",
    "supported", "contradicted", "no_effect", "inconclusive", "not_tested", "judgement",
]  # fmt: skip


def measured(case: Case, studies: int) -> dict[str, object]:
    """What the verdicts of that many simulated studies come to.

    `power` is the share that find what is there: a difference in the right direction at 0.05 (whatever the verdict
    says of its size), or, where there is none, the verdict `no_effect`; `false_verdicts` the share that say a direction
    where there is none, the wrong one, or no effect of one that is as large as the margin or larger.
    """
    rows = case.simulate(f"{case.method} {case.name} {case.seeds}", studies)
    table = pandas.DataFrame([finished([row], PLAN)[0] for row in rows])
    tested = table.n >= MINIMUM
    share = {verdict: float((table.verdict == verdict).mean()) for verdict in (*DECIDED, "inconclusive", "not_tested")}
    towards = np.sign(table.estimate - (case.truth - case.distance)) == np.sign(case.distance)
    detected = float(((table.p < 0.05) & towards & tested).mean())
    right = "no_effect" if case.distance == 0 else "supported" if case.distance > 0 else "contradicted"
    false = {"supported", "contradicted"} - {right}
    if abs(case.distance) >= case.margin and "level" not in case.method:
        false |= {"no_effect"}
    known = table[tested & table.low.notna()]
    coverage = float(((known.low <= case.truth) & (case.truth <= known.high)).mean()) if len(known) else np.nan
    type_i = float((table.p[tested] < 0.05).mean()) if case.distance == 0 and tested.any() else np.nan
    values = {
        "method": case.method,
        "case": case.name,
        "seeds": case.seeds,
        "truth": case.truth,
        "studies": len(table),
        "type_i": type_i,
        "coverage": coverage,
        "power": np.nan if not tested.any() else detected if case.distance else share["no_effect"],
        "predicted_power": case.predicted,
        "false_verdicts": sum(share[verdict] for verdict in false),
    } | share
    return values | {"judgement": judgement(case, type_i, coverage, len(table))}


def judgement(case: Case, type_i: float, coverage: float, studies: int) -> str:
    """Whether type I error and coverage keep to their bars, chance (three standard errors) allowed for."""
    chance = 3 * np.sqrt(0.05 * 0.95 / studies)
    found = []
    if type_i > max(TYPE_I[1], 0.05 + chance) or coverage < min(COVERAGE[0], 0.95 - chance):
        found.append("outside")
    elif type_i < TYPE_I[0] or coverage > COVERAGE[1]:
        found.append("conservative")
    return "".join(found) or ("within" if not np.isnan(coverage) else "no verdict")


def looks(studies: int, seeds: tuple[int, ...] = (24, 48, 96), effect: float = 0.0) -> list[dict[str, object]]:
    """Studies that are looked at whenever seeds are added: wrong verdicts with and without paying for the looks."""
    drawn = SPREAD * generator(0, f"simulated looks {effect}").standard_normal((2, studies, seeds[-1]))
    values = drawn[0] + effect - drawn[1]
    found: list[dict[str, object]] = []
    for paid in (True, False):
        decided = np.zeros(studies, bool)
        for look, count in enumerate(seeds):
            fractions = tuple(each / seeds[-1] for each in seeds[: look + 1]) if paid else ()
            decided |= [_directed(row[:count], fractions) for row in values]
        wrong = float(decided.mean())
        row: dict[str, object] = dict.fromkeys(COLUMNS, np.nan)
        row["method"] = f"looks at {', '.join(map(str, seeds))} seeds"
        row["case"] = f"effect {effect:g}, {'error spent over looks' if paid else 'not paid for'}"
        row |= {"seeds": seeds[-1], "truth": effect, "studies": studies, "power" if effect else "type_i": wrong}
        bar = "within" if wrong <= TYPE_I[1] else "outside"
        row["judgement"] = bar if paid and not effect else "for comparison"
        found.append(row)
    return found


def _directed(values: np.ndarray, fractions: tuple[float, ...]) -> bool:
    """Whether a study with these differences ends in a direction."""
    found = t_interval(values, PLAN.confidence)
    row = Row("P3", "d", "looks", "", "difference", MARGIN, found, paired_p(values), 1.0, primary=True, values=values)
    return finished([row], replace(PLAN, fractions=fractions))[0]["verdict"] in ("supported", "contradicted")


def family(studies: int, claims: int = 8) -> dict[str, object]:
    """Eight primary claims, none of them true: how often any is called true or its contrary (Holm).

    None can be called no effect, which would be settled before a direction is.
    """
    plan = replace(PLAN, resamples=200)
    parts = [differences(f"family {number}", studies, 24, plan) for number in range(claims)]
    tables = [finished([replace(row, equivalence_p=1.0) for row in rows], plan) for rows in zip(*parts, strict=True)]
    wrong = np.mean([any(row["verdict"] in ("supported", "contradicted") for row in table) for table in tables])
    return (
        dict.fromkeys(COLUMNS, np.nan)
        | {"method": "Holm over primary claims", "case": f"{claims} claims without effect, any called", "seeds": 24}
        | {"truth": 0.0, "studies": studies, "type_i": float(wrong)}
        | {"judgement": "within" if wrong <= TYPE_I[1] else "outside"}
    )


def selftest(studies: int) -> pandas.DataFrame:
    """The whole table, with the columns COLUMNS."""
    rows = []
    for case in cases():
        rows.append(measured(case, studies))
        print(f"{case.method}: {case.name}, {case.seeds} seeds", file=sys.stderr)
    rows += looks(studies) + looks(studies, effect=0.014) + [family(studies)]
    return pandas.DataFrame(rows, columns=COLUMNS)


def too_few_judged(table: pandas.DataFrame) -> pandas.DataFrame:
    """Rows in which a study of fewer seeds than the minimum was given a verdict: there must be none."""
    return table[(table.seeds < MINIMUM) & ~(table.not_tested == 1.0)]


def markdown(table: pandas.DataFrame) -> str:
    """The table for people: one section per method."""
    parts = []
    for method, rows in table.groupby("method", sort=False):
        parts.append(f"**{method}**\n")
        parts.append("| case | seeds | type I | coverage | power | predicted | false verdicts | judgement |")
        parts.append("|---|---:|---:|---:|---:|---:|---:|---|")
        for row in rows.itertuples():
            names = ("type_i", "coverage", "power", "predicted_power", "false_verdicts")
            numbers = ["" if np.isnan(getattr(row, name)) else f"{getattr(row, name):.3f}" for name in names]
            parts.append(f"| {row.case} | {row.seeds} | {' | '.join(numbers)} | {row.judgement} |")
        parts.append("")
    return "\n".join(parts)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m turncoat.statistics.selftest", description=__doc__.split("\n")[0])
    parser.add_argument("--studies", type=int, default=1000, help="simulated studies of each case")
    parser.add_argument("--table", type=Path, help="write the table here, as Parquet")
    parser.add_argument("--document", type=Path, help="put the table between the marks of this Markdown file")
    options = parser.parse_args()
    gc.freeze()  # Holm's adjustment, by statsmodels, collects garbage at every call
    table = selftest(options.studies)
    if options.table:
        options.table.parent.mkdir(parents=True, exist_ok=True)
        table.to_parquet(options.table)
    if options.document:
        text = options.document.read_text(encoding="utf-8")
        before, after = text.split(MARKS[0])[0], text.split(MARKS[1])[1]
        inside = f"{MARKS[0]}\n\n{markdown(table)}\n{MARKS[1]}"
        options.document.write_text(before + inside + after, encoding="utf-8")
    print(table.to_string(index=False, float_format=lambda value: f"{value:.3f}"))
    outside = table[table.judgement == "outside"]
    low, high = wilson(round(0.05 * options.studies), options.studies, 0.95).low, TYPE_I[1]
    print(f"{len(outside)} of {len(table)} cases outside the bars (an error of 0.05 shows as {low:.3f} to {high:.3f})")
    if len(too_few_judged(table)):
        sys.exit("a study with too few models was given a verdict")


if __name__ == "__main__":
    main()
