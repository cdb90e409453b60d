"""The GPU benchmark's tables, and its ratios: of rates at equal numbers of members alone."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
EAGER = "eager, one at a time"
RIVALS = (EAGER, "torch.func.vmap", "JAX")
COLUMNS = ("name", "width", "members", "rate", "seconds", "share", "memory", "note", "failed")


def rates(rows: Sequence[Row], name: str, width: int) -> dict[int, float]:
    """Model-steps a second of the rows of that name, by number of members."""
    return {
        row["members"]: row["rate"] for row in rows if (row["name"], row["width"]) == (name, width) and "rate" in row
    }


def ratios(rows: Sequence[Row], ours: str, width: int) -> dict[str, dict[int, float]]:
    """How many times as many as each rival the rows `ours` train, by number of members, the largest first.

    Only sizes that both were measured at count; one model at a time has one rate, whatever the number of models.
    """
    own, found = rates(rows, ours, width), {}
    for name in dict.fromkeys(row["name"] for row in rows if row["name"].startswith(RIVALS)):
        theirs = rates(rows, name, width)
        if name == EAGER and theirs:
            theirs = dict.fromkeys(own, theirs[1])
        common = sorted(own.keys() & theirs.keys(), reverse=True)
        if common:
            found[name] = {members: own[members] / theirs[members] for members in common}
    return found


def share_of_products(rows: Sequence[Row], row: Row) -> float | None:
    """The row's rate over that of the bare matrix products at its shape, in TF32 for a row in TF32, if measured."""
    products = "matrix products" + (", TF32" if "TF32" in row["name"] else "")
    limit = rates(rows, products, row["width"]).get(row["members"])
    return None if limit is None else row["rate"] / limit


def in_words(rows: Sequence[Row], used: Mapping[int, str], study_steps: Sequence[float]) -> list[str]:
    """Lines of Markdown. used: by width, the name of the rows of what training uses."""
    lines = []
    for width, ours in used.items():
        for name, found in ratios(rows, ours, width).items():
            told = ", ".join(f"{ratio:,.2f} ({members:,})" for members, ratio in found.items())
            lines.append(f"- Width {width}, times as many as {name} (at so many members): {told}.")
        own = rates(rows, ours, width)
        for steps in study_steps if own else ():
            members = max(own, key=lambda size: own[size])
            lines.append(
                f"- A study of {steps:,.0f} model-steps at width {width} would train for {steps / own[members]:,.1f} s "
                f"with {members:,} members at once (estimated from that rate; other stages not counted)."
            )
    return lines


def write_report(
    rows: Sequence[Row], used: Mapping[int, str], facts: Mapping[str, Any], out: Path, study_steps: Sequence[float]
) -> int:
    """Print and write the tables and the ratios; the exit status, 1 where a row failed."""
    lines = [f"Device {facts['device']}, {facts['date']}, PyTorch {facts['torch']}.", ""]
    lines += ["| what | width | members | model-steps/s | us a step | share of the products' rate | peak GiB | note |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for row in rows:
        shape = f"| {row['name']} | {row['width']} | {row['members']} "
        if "rate" in row:
            share, memory = share_of_products(rows, row), row.get("memory")
            row["share"] = "" if share is None else f"{share:.2f}"
            held = "" if memory is None else f"{memory:.2f}"
            rate = f"| {row['rate']:,.0f} | {1e6 * row['seconds']:,.1f} | {row['share']} | {held} "
            lines.append(f"{shape}{rate}| {row['note']} |")
        elif "failed" in row:
            lines.append(f"{shape}| failed | | | | {row['failed']} |")
        else:
            lines.append(f"{shape}| | | | | {row['difference']} |")
    text = "\n".join([*lines, "", *in_words(rows, used, study_steps)])
    print(text, flush=True)
    (out / "gpu.md").write_text(text + "\n")
    (out / "gpu.json").write_text(json.dumps({"about": facts, "rows": rows}, indent=1))
    with (out / "gpu.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(rows)
    return 1 if any("failed" in row for row in rows) else 0
