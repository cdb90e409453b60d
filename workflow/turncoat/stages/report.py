"""Draw the study's figures and write its report.

    python -m turncoat.stages.report --config JSON --results results/<study> --threads N --code FINGERPRINT

Reads tables/*.parquet under --results; writes report.html and figures/*.svg, *.png.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from turncoat.configuration.cells import canonical_json, digest
from turncoat.reporting.page import READ, write_report
from turncoat.stages.common import begin, read_settings, run_program, stage_parser
from turncoat.tables.origins import check_configuration

log = logging.getLogger("turncoat")


def main() -> None:
    """Run the stage from the command line."""
    parser = stage_parser("report", "Draw the study's figures and write its report.")
    parser.add_argument("--config", required=True, help="the merged configuration as JSON")
    parser.add_argument("--results", required=True, type=Path, help="the study's folder")
    options = begin("report", parser)
    config = json.loads(read_settings(options.config))
    check_configuration(options.results, digest(canonical_json(config)), READ)
    report(config, options.results)


def report(config: Mapping[str, Any], folder: Path) -> None:
    """Write report.html and the figures of the study in `folder`."""
    log.info("report: %s", write_report(config, folder))


if __name__ == "__main__":
    run_program(main)
