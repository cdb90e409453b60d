"""Check a study without Snakemake and print what it would run:

    python -m turncoat.configuration.check [OVERLAY ...]

Snakemake reads an overlay before this code can, and says less about one that is malformed.
"""

import sys
from pathlib import Path

from turncoat.configuration.console import plan_text
from turncoat.configuration.errors import ConfigurationError
from turncoat.configuration.loading import merged, read_yaml
from turncoat.configuration.plan import expand
from turncoat.configuration.studies import DEFAULT_FILE, open_study

REPOSITORY = Path(__file__).resolve().parents[3]


def main(overlays: list[str]) -> int:
    """Print the plan of config.yaml with `overlays`, or the problems on stderr; return the exit status."""
    try:
        values = read_yaml(REPOSITORY / DEFAULT_FILE)
        for overlay in overlays:
            values = merged(values, read_yaml(Path(overlay)))
        config = open_study(values, REPOSITORY, [Path(overlay) for overlay in overlays])
        print(plan_text(config, expand(config)))
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
