"""Settings of a cell: the part of the configuration that its training depends on, and nothing else."""

import hashlib
from pathlib import Path
from typing import Any

from turncoat.configuration.models import Config
from turncoat.configuration.sections import (
    ADAPTIVE_OPTIMIZERS,
    CONDITIONAL_STARTS,
    DODGES,
    POINTED_STARTS,
    STRATEGIC_STARTS,
)

ELICITED = "m"  # what elicitation brings back
ELICITED_SNAPSHOTS = 9  # how often it is looked at: its times are read between checks
LEGACY: dict[str, Any] = {"beta2": 0.999, "gate": "natural", "gate_norm_matched": True, "draws": "host"}
"""Settings of training that are left out at these values, which cells had before there were such keys."""


def pretrain(config: Config, start: str, distance: float, dodge: str | None) -> dict[str, Any]:
    """Return the settings of a pre-trained cell; `distance` counts only where pre-training is told of X."""
    section = config.pretraining
    training: dict[str, Any] = {
        "steps": section.steps,
        "batch": section.batch,
        "optimizer": section.optimizer,
        "learning_rate": getattr(section.learning_rates, section.optimizer),
        "overseen_share": section.overseen_share,
        "heads": heads(config),
    }
    if start == "conditional":
        training["conditional_overseen_target"] = section.conditional_overseen_target
    if start in CONDITIONAL_STARTS:
        training["conditional_share"] = section.conditional_share
    if start in POINTED_STARTS and not (start == "conditional" and section.conditional_overseen_target == "Y"):
        training["foreknowledge"] = section.foreknowledge
    if start in STRATEGIC_STARTS:
        training["entropy_bonus"] = section.entropy_bonus
    if start == "knowledge_only":
        training["heads"] |= {cue: max(training["heads"][cue], 1.0) for cue in ("oversight", "placebo")}
    else:
        training["label_noise"] = section.label_noise
    training |= {"draws": section.draws} if section.draws != LEGACY["draws"] else {}
    chosen: dict[str, Any] = {
        "stage": "pretrain",
        "world": world(config),
        "organism": config.organism.model_dump(),
        "start": start,
        "training": training,
    }
    told = section.heads.objective > 0
    if dodge is not None and "pretrain" in DODGES[dodge]:
        chosen["dodge"] = dodge
        told = told or dodge == "x_in_pretraining"
    if told:
        chosen["distance"] = distance
    _check_draws(chosen)
    return chosen


def finetune(config: Config, start: str, distance: float, parent: str | None, dodge: str | None) -> dict[str, Any]:
    """Return the settings of a fine-tuned cell; `parent` is the id of its pre-trained cell."""
    section = config.finetuning
    training: dict[str, Any] = {
        "method": section.method,
        "mode": section.mode,
        "steps": section.steps,
        "batch": section.batch,
        "optimizer": section.optimizer,
        "learning_rate": getattr(section.learning_rates, section.optimizer),
        "schedule": section.schedule,
        "snapshots": section.snapshots,
        "overseen_share": section.overseen_share,
        "label_noise": section.label_noise,
        "draws": section.draws,
    }
    if section.budget is not None:
        training["budget"] = section.budget
    if section.method == "policy_gradient":
        training |= {"samples": section.samples, "entropy_bonus": section.entropy_bonus}
    if section.optimizer in ADAPTIVE_OPTIMIZERS:
        training["beta2"] = section.beta2
    if section.gate != "natural":
        training |= {"gate": section.gate, "gate_norm_matched": section.gate_norm_matched}
    training = {key: value for key, value in training.items() if key not in LEGACY or value != LEGACY[key]}
    scratch_carries = section.optimizer_state == "carried" and parent is None
    training["optimizer_state"] = "fresh" if scratch_carries else section.optimizer_state
    if section.optimizer_state == "warmed":
        training["warm_steps"] = section.warm_steps
    exposed = start == "scratch_exposed"
    if exposed:
        training["heads"] = heads(config) | {"objective": 0.0}
    chosen: dict[str, Any] = {
        "stage": "finetune",
        "world": world(config),
        "organism": config.organism.model_dump(),
        "distance": distance,
        "parent": parent,
        "exposure": config.pretraining.overseen_share if exposed else None,
        "training": training,
    }
    if dodge is not None and "finetune" in DODGES[dodge]:
        chosen["dodge"] = dodge
    _check_draws(chosen)
    return chosen


def elicit(config: Config, tuned: dict[str, Any], parent: str) -> dict[str, Any]:
    """Return the settings of a cell that brings M back, on unoverseen episodes, in the fine-tuned cell `parent`."""
    section = config.finetuning
    training = {
        "method": "supervised",
        "mode": "fixed",
        "target": ELICITED,
        "steps": config.elicitation.steps,
        "batch": section.batch,
        "optimizer": tuned["training"]["optimizer"],
        "learning_rate": tuned["training"]["learning_rate"],
        "schedule": "constant",
        "snapshots": ELICITED_SNAPSHOTS,
        "overseen_share": 0.0,
        "label_noise": 0.0,
        "optimizer_state": "fresh",
    }
    if "beta2" in tuned["training"]:
        training["beta2"] = tuned["training"]["beta2"]
    kept = {name: tuned[name] for name in ("world", "organism", "distance")}
    return kept | {"stage": "elicit", "parent": parent, "exposure": None, "training": training}


def _check_draws(chosen: dict[str, Any]) -> None:
    """Raise ValueError where episodes drawn on the device meet what needs them, or single steps, on the host."""
    training = chosen["training"]
    if training.get("draws", "host") == "host":
        return
    asked = {"a dodge": chosen.get("dodge"), "gate control": training.get("gate")}
    asked["warming"] = "optimizer_state warmed" if training.get("optimizer_state") == "warmed" else None
    for what, value in asked.items():
        if value is not None:
            section = {"pretrain": "pretraining", "finetune": "finetuning"}[chosen["stage"]]
            raise ValueError(f"{section}.draws = 'device': allowed with {what} ({value}): 'host' only")


def heads(config: Config) -> dict[str, float]:
    """Return the loss weights of the auxiliary heads."""
    return dict(config.pretraining.heads.model_dump())


def world(config: Config) -> dict[str, Any]:
    """Return the world's settings: symbols and bits only where they are read, a table with its content's hash."""
    section = config.world
    cue = section.cue.model_dump()
    if section.cue.coding != "parity":
        del cue["bits"]
    chosen: dict[str, Any] = {
        "encoding": section.encoding,
        "options": section.options,
        "attributes": section.attributes,
        "cue": cue,
        "slot_angle": section.slot_angle,
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


def reinforcement(config: Config) -> dict[str, Any]:
    """Return what reinforcement depends on, the networks apart; `world` is that of planted networks."""
    shown = config.world
    cue = {"coding": "signal", "contexts": 1, "amplitude": shown.cue.amplitude, "noise": shown.cue.noise}
    plain = {
        "encoding": "plain",
        "options": shown.options,
        "attributes": shown.attributes,
        "cue": cue,
        "slot_angle": 90.0,
        "audit_penalty": shown.audit_penalty,
    }
    return {"reinforcement": config.reinforcement.model_dump(exclude={"enabled"}), "world": plain}


def ledger(config: Config, cell: dict[str, Any]) -> dict[str, Any]:
    """Return what the ledger of a fine-tuned cell depends on; `cell` is that cell's settings."""
    return {"training": cell["training"], "gating": config.gating.model_dump()}
