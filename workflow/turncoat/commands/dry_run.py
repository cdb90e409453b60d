"""What Snakemake would run, as it says itself: each job's files, command and reason, read from its dry run."""

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from turncoat.configuration.check import REPOSITORY

CODE = re.compile(r"[0-9a-f]{12}")
HEADER = re.compile(r"^(?:local)?rule (\w+):$")
FIELD = re.compile(r"^    (\w+): (.*)$")
COMMAND = "Shell command: "
PARAMS = re.compile(r"Params have changed since last execution: .*? before: (.*?) now: (.*?) (?:;|$)")
TEXT = re.compile(r"'((?:[^'\\]|\\.)*)'")


class DryRunError(RuntimeError):
    """Snakemake could not plan the study; the message is what it said."""


@dataclass(frozen=True)
class Job:
    """A job that would run. `reason` is Snakemake's; wildcards such as cell and block by name."""

    rule: str
    wildcards: dict[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    reason: str
    command: str

    @property
    def params(self) -> tuple[list[str], list[str]] | None:
        """The parameters that it had and no longer has, and those that it has now; None where none differ."""
        found = PARAMS.search(self.reason)
        if found is None:
            return None
        return _values(found[1]), _values(found[2])

    @property
    def codes(self) -> tuple[str, str] | None:
        """Fingerprints of the code that made its results and of the code now, where code and nothing else differs."""
        if self.params is None:
            return None
        before, now = self.params
        if len(before) != 1 or len(now) != 1 or not (CODE.fullmatch(before[0]) and CODE.fullmatch(now[0])):
            return None
        return before[0], now[0]


def planned(overlays: Sequence[Path]) -> list[Job]:
    """Return the jobs that the study would start now, in Snakemake's order. Raises DryRunError."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), "--nocolor"]
    command += ["--dry-run", "--printshellcmds"]
    if overlays:
        command += ["--configfile", *map(str, overlays)]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise DryRunError(done.stdout.strip())
    return read_jobs(done.stdout)


def read_jobs(text: str) -> list[Job]:
    """Return the jobs in what a dry run prints."""
    jobs = []
    for part in text.split("\n\n"):
        rule, fields, command = "", {}, ""
        for line in part.splitlines():
            header, field = HEADER.match(line), FIELD.match(line)
            if header:
                rule = header[1]
            elif rule and field:
                fields[field[1]] = field[2]
            elif rule and line.startswith(COMMAND):
                command = line.removeprefix(COMMAND)
        if rule and "output" in fields:
            wildcards = dict(item.split("=", 1) for item in _listed(fields.get("wildcards")))
            inputs, outputs = _listed(fields.get("input")), _listed(fields["output"])
            jobs.append(Job(rule, wildcards, inputs, outputs, fields.get("reason", "").strip() + " ", command))
    return jobs


def _values(text: str) -> list[str]:
    """Parameters as Snakemake lists them: texts in quotes, numbers bare, or that there are none."""
    texts: list[str] = TEXT.findall(text)
    return texts or [word for word in text.split(",") if "<" not in word]


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(text.split(", ")) if text else ()
