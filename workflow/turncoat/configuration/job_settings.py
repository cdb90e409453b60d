"""The settings that each job's tables are made with, by where a table lies in the study's folder."""

from pathlib import Path

from turncoat.configuration import settings
from turncoat.configuration.cells import canonical_json
from turncoat.configuration.models import Config
from turncoat.configuration.plan import Plan


def settings_of(path: Path, config: Config, plan: Plan) -> str | None:
    """Return the settings of the job that writes `path`, as JSON, as the job is given them; None where it has none.

    Raises KeyError where the plan has no such cell.
    """
    stage = path.parts[0]
    if stage == "defection":
        return None
    if stage == "classify":
        return canonical_json(config.evaluation.model_dump())
    if stage == "reinforce":
        return canonical_json(settings.reinforcement(config))
    if stage == "planted":
        return canonical_json(settings.planted(config))
    chosen = plan.cell(path.parts[1]).settings
    return canonical_json(settings.ledger(config, chosen) if stage in ("gating", "gating_sums") else chosen)
