"""Commands on a study, beside running it:

    python -m turncoat explain [OVERLAY ...]                 why Snakemake would run what it would run
    python -m turncoat accept-code [OVERLAY ...]             keep results that the present code makes bit for bit
    python -m turncoat orphans [OVERLAY ...] [--remove]      results that the configuration no longer owns

OVERLAY is what `snakemake --configfile` gets. Run them where snakemake is run.
"""

import argparse
import sys
from pathlib import Path

from turncoat.commands import orphans
from turncoat.commands.accept_code import NotAcceptedError, accept_code
from turncoat.commands.dry_run import DryRunError
from turncoat.commands.explain import explain
from turncoat.configuration.check import REPOSITORY
from turncoat.configuration.errors import ConfigurationError
from turncoat.configuration.loading import merged, read_yaml
from turncoat.configuration.models import Config
from turncoat.configuration.plan import expand
from turncoat.configuration.studies import DEFAULT_FILE, open_study
from turncoat.run_lock import RunLockError, hold_lock, new_run


def main(arguments: list[str]) -> int:
    """Run a command; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        config = _study(options.overlays)
        if options.command == "explain":
            print(explain(config.study, options.overlays))
        elif options.command == "accept-code":
            hold_lock(new_run(Path("results", config.study)))
            accept_code(config.study, options.overlays, options.every_job, print)
            print(f"accepted; results/{config.study}/manifest.json says so")
        else:
            print(_orphans(config, options.remove))
    except (ConfigurationError, RunLockError, DryRunError, NotAcceptedError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m turncoat", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("explain", "accept-code", "orphans"):
        command = commands.add_parser(name)
        command.add_argument("overlays", nargs="*", type=Path, metavar="OVERLAY")
        if name == "accept-code":
            command.add_argument("--every-job", action="store_true", help="compare all touched jobs, not one a stage")
        if name == "orphans":
            command.add_argument("--remove", action="store_true", help="remove what is listed")
    return parser


def _study(overlays: list[Path]) -> Config:
    values = read_yaml(REPOSITORY / DEFAULT_FILE)
    for overlay in overlays:
        values = merged(values, read_yaml(overlay))
    return open_study(values, REPOSITORY, overlays)


def _orphans(config: Config, remove: bool) -> str:
    folder = Path("results") / config.study
    if remove and folder.is_dir():
        hold_lock(new_run(folder))
    found = orphans.orphans(folder, expand(config))
    text = orphans.listed(found)
    if remove:
        orphans.remove(found)
    return f"{text}{', removed' if remove else '; --remove removes them'}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
