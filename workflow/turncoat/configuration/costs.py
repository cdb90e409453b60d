"""What a study will cost, from constants measured on one core with flushed denormals.

A model-step is one optimizer step of one model. Its time was measured at 4992 weights and 512 option rows as
about 210 microseconds, drawing and assembling the episodes included, and is scaled by weights x rows.
A job's start (interpreter, torch, reading and writing) was measured as about 2.5 seconds. Sizes count four
bytes a weight for every kept snapshot, twice more for the state of adam, and the table rows.
"""

MICROSECONDS_PER_STEP = 40.0  # drawing and assembling the episodes, whatever the network's size
MICROSECONDS_PER_WEIGHT_ROW = 170.0 / (4992 * 512)
SECONDS_PER_JOB = 2.5
SECONDS_PER_CLASSIFIED_SNAPSHOT = 0.03
SECONDS_PER_LEDGER = 0.02
SECONDS_PER_PLANTED_CASE = 0.05
SECONDS_TO_AGGREGATE = 30.0
BYTES_PER_WEIGHT = 4
BYTES_PER_CLASSIFIED_SNAPSHOT = 3000
BYTES_PER_LEDGER_UNIT = 400
BYTES_FIXED = 20_000_000


def training_seconds(weights: int, rows: int, steps: int, models: int) -> float:
    """Core-seconds to train `models` networks of `weights` weights for `steps` steps of `rows` rows."""
    microseconds = MICROSECONDS_PER_STEP + MICROSECONDS_PER_WEIGHT_ROW * weights * rows
    return models * steps * microseconds / 1e6


def network_weights(inputs: int, width: int, depth: int) -> int:
    """Weights of a network of `depth` hidden layers that scores one option from `inputs` numbers."""
    return (inputs + 1) * width + (depth - 1) * (width + 1) * width + width


def input_width(encoding: str, attributes: int, symbols: int) -> int:
    """Numbers that one option is shown as, with two instruction slots and two cues."""
    shown = {"facts": 2 * symbols, "product": 2, "plain": 1}[encoding]
    return attributes * (shown + 2) + 2
