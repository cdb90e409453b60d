"""Code that was shown to make the results of earlier code bit for bit, as jobs are told of it.

Snakemake compares fingerprints with those that it recorded, so a study goes on with the recorded one. TURNCOAT_ACCEPTED
says which fingerprint stands for which: jobs still refuse to run code that is neither, and tables say what ran.
"""

import os
from collections.abc import Mapping

VARIABLE = "TURNCOAT_ACCEPTED"  # running=recorded, by commas


def accepted_text(codes: Mapping[str, str]) -> str:
    """Write the recorded fingerprint by the running one as the variable holds it."""
    return ",".join(f"{running}={recorded}" for running, recorded in codes.items())


def accepted_in(text: str) -> dict[str, str]:
    """Read what `accepted_text` wrote."""
    return dict(pair.split("=", 1) for pair in text.split(",") if pair)


def stands_for(running: str, planned: str) -> bool:
    """Whether a job may run code `running` where the plan says `planned`."""
    return planned in (running, accepted_in(os.environ.get(VARIABLE, "")).get(running))
