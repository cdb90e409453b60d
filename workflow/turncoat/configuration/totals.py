"""How large a study is: models, jobs, time and space."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from turncoat.configuration import costs, settings
from turncoat.configuration.models import Config
from turncoat.configuration.reinforcement import Reinforcement

PLANTED_DEPTH = 2  # hidden layers of the networks that reinforcement plants


@dataclass(frozen=True)
class Totals:
    """Size of a whole study, whatever part of it exists already."""

    models: int
    jobs: dict[str, int]
    model_steps: int
    core_minutes: float
    megabytes: float


def totals(
    config: Config,
    cells: Sequence[tuple[dict[str, Any], dict[str, Any]]],
    blocks: int,
    reinforced: Sequence[dict[str, Any] | None] = (),
) -> Totals:
    """Return the size of a study of `cells` (settings and labels of each), each trained on `blocks` blocks.

    `reinforced`: settings of the cells whose networks are reinforced, None for planted ones.
    """
    seeds = config.seeds.count
    stages = [chosen["stage"] for chosen, _ in cells]
    tuned = stages.count("finetune")
    elicited = stages.count("elicit")
    pretrained = len(cells) - tuned - elicited
    jobs = {
        "pretrain": pretrained * blocks,
        "finetune": tuned * blocks,
        "elicit": elicited * blocks,
        "classify": (pretrained + tuned) * blocks,
        "probe_gating": tuned * blocks,
        "reinforce_planted": sum(chosen is None for chosen in reinforced) * blocks,
        "reinforce": sum(chosen is not None for chosen in reinforced) * blocks,
        "classify_planted": 1,
        "probe_defection": 1,
        "aggregate": 1,
        "report": 1,
    }
    jobs = {rule: count for rule, count in jobs.items() if count}
    seconds = sum(_seconds(chosen, labels) for chosen, labels in cells) * seeds
    seconds += config.planted.seeds * costs.SECONDS_PER_PLANTED_SEED + costs.SECONDS_TO_AGGREGATE
    seconds += tuned * seeds * costs.SECONDS_PER_PROBED_MODEL
    seconds += sum(_reinforcement_seconds(config, chosen) for chosen in reinforced) * seeds
    seconds += sum(jobs.values()) * costs.SECONDS_PER_JOB
    size = costs.BYTES_FIXED + sum(_bytes(chosen, labels) for chosen, labels in cells) * seeds
    return Totals(
        models=len(cells) * seeds,
        jobs=jobs,
        model_steps=sum(labels["steps"] for _, labels in cells) * seeds,
        core_minutes=seconds / 60,
        megabytes=size / 1e6,
    )


def _weights(chosen: dict[str, Any]) -> int:
    organism = chosen["organism"]
    return costs.network_weights(costs.input_width(chosen["world"]), organism["width"], organism["depth"])


def _snapshots(labels: dict[str, Any]) -> int:
    """Kept snapshots; pre-training keeps its first and last weights."""
    return int(labels["snapshots"] or 2)


def _seconds(chosen: dict[str, Any], labels: dict[str, Any]) -> float:
    stage = chosen["stage"]
    rows = chosen["training"]["batch"] * chosen["world"]["options"]
    if labels["start"] == "scratch_exposed":
        rows *= 2  # as many episodes again, in which the cues vary
    trained = costs.training_seconds(_weights(chosen), rows, labels["steps"], models=1)
    ledger = costs.SECONDS_PER_LEDGER if stage == "finetune" else 0.0
    if stage == "elicit":
        return trained
    return trained + _snapshots(labels) * costs.SECONDS_PER_CLASSIFIED_SNAPSHOT + ledger


def reinforcement_arms(section: Reinforcement, planted: bool) -> int:
    """How many arms each network is trained in."""
    rewarded = len(section.gates) * len(section.optimizers) + len(section.entropies) + 1
    arms = 2 * (2 * rewarded + 1) + 2 * len(section.prompts)
    return arms + (4 * (len(section.activations) - 1 + len(section.strengths)) - 2) * planted


def _reinforcement_seconds(config: Config, chosen: dict[str, Any] | None) -> float:
    section = config.reinforcement
    world = settings.reinforcement(config)["world"] if chosen is None else chosen["world"]
    if chosen is None:
        weights = costs.network_weights(costs.input_width(world), section.width, PLANTED_DEPTH)
    else:
        weights = _weights(chosen)
    arms = reinforcement_arms(section, chosen is None)
    return costs.training_seconds(weights, section.batch * world["options"], section.steps, arms)


def _bytes(chosen: dict[str, Any], labels: dict[str, Any]) -> float:
    kept = _snapshots(labels) + (2 if labels["optimizer"] == "adam" else 0)
    weights = kept * _weights(chosen) * costs.BYTES_PER_WEIGHT
    rows = _snapshots(labels) * costs.BYTES_PER_CLASSIFIED_SNAPSHOT
    units = labels["width"] * labels["depth"] * 3 if labels["distance"] is not None else 0
    return float(weights + rows + units * costs.BYTES_PER_LEDGER_UNIT)
