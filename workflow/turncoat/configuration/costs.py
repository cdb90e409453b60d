"""What a study will cost, from constants measured on two cores that both work, with flushed denormals.

A model-step is one optimizer step of one model. It was measured at 5,527 weights and 256 option rows as about 240
microseconds, drawing and assembling the episodes included, and is scaled by weights x rows. A job's start
(interpreter, torch, reading and writing) takes about 2.6 seconds. Sizes count four bytes a weight for every kept
snapshot, twice more for the state of adam, and the table rows as they lie compressed on disk.
"""

from collections.abc import Mapping
from typing import Any

MICROSECONDS_PER_STEP = 50.0  # drawing and assembling the episodes, whatever the network's size
MICROSECONDS_PER_WEIGHT_ROW = 190.0 / (5527 * 256)
SECONDS_PER_JOB = 2.6
SECONDS_PER_CLASSIFIED_SNAPSHOT = 0.012
SECONDS_PER_LEDGER = 0.035  # both snapshots
SECONDS_PER_PLANTED_SEED = 1.0  # one case of every kind, told apart at every angle, and every known quantity
SECONDS_PER_PROBED_MODEL = 0.02  # read by the defection probe
SECONDS_TO_AGGREGATE = 15.0
BYTES_PER_WEIGHT = 4
BYTES_PER_CLASSIFIED_SNAPSHOT = 1700
BYTES_PER_LEDGER_UNIT = 220  # both snapshots, in one cue state
BYTES_FIXED = 5_000_000


def training_seconds(weights: int, rows: int, steps: int, models: int) -> float:
    """Core-seconds to train `models` networks of `weights` weights for `steps` steps of `rows` rows."""
    microseconds = MICROSECONDS_PER_STEP + MICROSECONDS_PER_WEIGHT_ROW * weights * rows
    return models * steps * microseconds / 1e6


def network_weights(inputs: int, width: int, depth: int) -> int:
    """Weights of a network of `depth` hidden layers that scores one option from `inputs` numbers."""
    return (inputs + 1) * width + (depth - 1) * (width + 1) * width + width


def input_width(world: Mapping[str, Any]) -> int:
    """Numbers that one option is shown as: its attributes, two instruction slots, two cues of so many bits in so many
    contexts, and the audit terms if there are; `world` is that part of a cell's settings."""
    shown = {"facts": 2 * world.get("symbols", 0), "product": 2, "plain": 1}[world["encoding"]]
    cue = world["cue"].get("bits", 1) * world["cue"]["contexts"]
    return int(world["attributes"] * (shown + 2) + 2 * cue + 2 * ("audit_penalty" in world))
