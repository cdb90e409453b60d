"""Set two or more studies side by side.

    python -m turncoat.compare results/a results/b [--output compare.html]

Prints each claim's verdict, estimate, interval and n by study, and where configuration and code differ; with --output
also writes that as one HTML file that opens offline. Ends with 2 where a folder is no study or cannot be compared.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from turncoat.reporting.comparison import Study, compared, differing, read_study
from turncoat.reporting.summary import VERDICT_WORDS
from turncoat.reporting.templates import environment
from turncoat.tables.atomic import TableError, write_text

AGREEMENT = {"same": "same verdict", "differ": "VERDICTS DIFFER", "one": "tested by one", "none": "tested by none"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m turncoat.compare", description="Set studies side by side.")
    parser.add_argument("studies", nargs="+", type=Path, metavar="results/STUDY", help="folders of two or more studies")
    parser.add_argument("--output", type=Path, help="also write an HTML file")
    options = parser.parse_args(arguments)
    if len({folder.resolve() for folder in options.studies}) < 2:
        parser.error("give the folders of two or more different studies")
    try:
        studies = [read_study(folder) for folder in options.studies]
    except (ValueError, TableError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    print(as_text(studies))
    if options.output:
        write_text(options.output, as_page(studies))
        print(f"\nwritten: {options.output.resolve()}")


def labels(studies: Sequence[Study]) -> list[str]:
    """A name for each study: its own where that tells them apart, else its folder."""
    names = [study.name for study in studies]
    return names if len(set(names)) == len(names) else [str(study.folder) for study in studies]


def as_text(studies: Sequence[Study]) -> str:
    """The comparison for a terminal."""
    names = labels(studies)
    width = max(len(name) for name in names)
    lines = []
    for row in compared(studies):
        meets = {True: "; intervals overlap", False: "; INTERVALS DO NOT OVERLAP", None: ""}[row["overlap"]]
        lines.append(f"{row['claim'].id}: {row['claim'].sentence} [{AGREEMENT[row['agreement']]}{meets}]")
        reasons = {answer and answer["reason"] for answer in row["answers"]}
        estimated = any(answer and answer["estimate"] == answer["estimate"] for answer in row["answers"])
        if row["agreement"] == "none" and not estimated and len(reasons) == 1:
            lines.append(f"  {'all':{width}}  {VERDICT_WORDS['not_tested']:12}  ({reasons.pop()})")
            continue
        for name, answer in zip(names, row["answers"], strict=True):
            if answer is None:
                lines.append(f"  {name:{width}}  not among its claims")
                continue
            words = f"  {name:{width}}  {VERDICT_WORDS[answer['verdict']]:12}"
            if answer["estimate"] != answer["estimate"]:
                lines.append(f"{words}  ({answer['reason']})")
                continue
            ratio = f", as a ratio {answer['ratio']}" if answer["ratio"] else ""
            lines.append(f"{words}  {answer['number']}{ratio}, n {answer['n']}  ({answer['what']})")
    for title, columns in (("Configuration", [s.config for s in studies]), ("Code", [s.code for s in studies])):
        rows = differing(columns)
        lines += ["", f"{title}: {f'{len(rows)} differ' if rows else 'no difference'}"]
        lines += [f"  {key}: {' | '.join(value or '-' for value in values)}" for key, values in rows]
    return "\n".join(lines)


def as_page(studies: Sequence[Study]) -> str:
    """The comparison as one HTML file."""
    return (
        environment()
        .get_template("compare.html.j2")
        .render(
            studies=studies,
            names=labels(studies),
            rows=compared(studies),
            agreement=AGREEMENT,
            differences={
                "Configuration": differing([study.config for study in studies]),
                "Code and environment": differing([study.code for study in studies]),
            },
        )
    )


if __name__ == "__main__":
    main()
