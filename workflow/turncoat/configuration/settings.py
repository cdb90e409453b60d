"""Settings of a cell: the part of the configuration that its training depends on, and nothing else."""

import hashlib
from pathlib import Path
from typing import Any

from turncoat.configuration.models import Config
from turncoat.configuration.sections import STRATEGIC_STARTS


def pretrain(config: Config, organism: dict[str, Any], start: str, steps: int) -> dict[str, Any]:
    """Return the settings of a pre-trained cell."""
    section = config.pretraining
    training: dict[str, Any] = {
        "steps": steps,
        "batch": section.batch,
        "optimizer": section.optimizer,
        "learning_rate": getattr(section.learning_rates, section.optimizer),
        "overseen_share": section.overseen_share,
        "heads": section.heads.model_dump(),
    }
    if start == "conditional":
        training["conditional_overseen_target"] = section.conditional_overseen_target
    if start in STRATEGIC_STARTS:
        training["entropy_bonus"] = section.entropy_bonus
    return {
        "stage": "pretrain",
        "world": world(config),
        "organism": organism,
        "start": start,
        "training": training,
    }


def finetuning(config: Config, optimizer: str, steps: int, snapshots: int, exposure: bool) -> dict[str, Any]:
    """Return how a cell is fine-tuned; with `exposure` it trains pre-training's auxiliary heads too."""
    section = config.finetuning
    training: dict[str, Any] = {
        "method": section.method,
        "mode": section.mode,
        "steps": steps,
        "batch": section.batch,
        "optimizer": optimizer,
        "learning_rate": getattr(section.learning_rates, optimizer),
        "snapshots": snapshots,
    }
    if exposure:
        training["heads"] = config.pretraining.heads.model_dump()
    return training


def finetune(
    config: Config, organism: dict[str, Any], distance: float, parent: str | None, training: dict[str, Any]
) -> dict[str, Any]:
    """Return the settings of a fine-tuned cell; `parent` is the id of its pre-trained cell."""
    return {
        "stage": "finetune",
        "world": world(config),
        "organism": organism,
        "distance": distance,
        "parent": parent,
        "exposure": config.pretraining.overseen_share if "heads" in training else None,
        "training": training,
    }


def world(config: Config) -> dict[str, Any]:
    """Return the world's settings: symbols only where facts read them, a table with its content's hash."""
    section = config.world
    chosen: dict[str, Any] = {
        "encoding": section.encoding,
        "options": section.options,
        "attributes": section.attributes,
        "cue": section.cue.model_dump(),
    }
    if section.audit_penalty > 0:
        chosen["audit_penalty"] = section.audit_penalty
    if section.encoding == "facts":
        chosen["symbols"] = section.symbols
    if section.attribute_table is not None:
        chosen["attribute_table"] = section.attribute_table
        content = Path(section.attribute_table).read_bytes()
        chosen["attribute_table_sha256"] = hashlib.sha256(content).hexdigest()
    return chosen


def planted(config: Config) -> dict[str, Any]:
    """Return what the classification of planted cases depends on."""
    return {
        "evaluation": config.evaluation.model_dump(),
        "world": world(config),
        "seeds": config.planted.seeds,
        "calibration_seeds": config.planted.calibration_seeds,
        "first": config.seeds.first,
    }


def ledger(config: Config, cell: dict[str, Any]) -> dict[str, Any]:
    """Return what the ledger of a fine-tuned cell depends on; `cell` is that cell's settings."""
    return {"training": cell["training"], "gating": config.gating.model_dump()}
