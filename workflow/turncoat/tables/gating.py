"""The gradient ledger and the tangent kernel by snapshot, cue state, layer and circuit: sums over units.

Jobs write them to results/<study>/gating_sums/<cell>/<block>.parquet; with factors they are the study's table.
"""

import pyarrow as pa

from turncoat.tables.fields import field, table_schema
from turncoat.tables.gating_units import DIRECTIONS, KERNELS, KEY, MOVES, WEIGHTS


def _closed(name: str, text: str) -> pa.Field:
    return field(name, "number", "share", text, True)


CIRCUITS = ("all", "none", "x", "m", "random")
DORMANT = 0.025  # dormant score up to which a unit counts as dormant (Sokar et al. 2023)
SORT = ("organism_id", "step", "state", "layer", "circuit")
NUMBERS = (
    field("units", "integer", "units", "units of the circuit in the layer"),
    field("unconfirmed_units", "integer", "units", "units that the second half of the episodes labels otherwise"),
    field("dead_units", "integer", "units", "units with z <= 0 on every probed example"),
    field("dormant_units", "integer", "units", f"units with a dormant score of at most {DORMANT}"),
    field("gain_x", "number", "score per attribute", "sum of the units' content along X; null in placebo", True),
    field("gain_m", "number", "score per attribute", "the same along M", True),
    field("activation", "number", "", "mean over units of the mean activation", True),
    field("absolute_activation", "number", "", "mean over units of mean |h|", True),
    field("open_share", "number", "share", "mean over units of the open share", True),
    field("mean_slope", "number", "", "mean over units of the mean slope", True),
    field("utility", "number", "", "mean over units of the contribution utility", True),
    *(
        field(f"{move}_{name}", "number", "", f"norm over all units' {WEIGHTS[name]} of {what}", True)
        for move, what in MOVES.items()
        for name in DIRECTIONS
    ),
    _closed(
        "closed_share_in",
        "squared incoming gradient, summed over units, that comes from examples with z <= 0, "
        "over the squared incoming gradient of all examples; above 1 where the two parts cancel",
    ),
    _closed("closed_share_out", "the same for outgoing weights"),
    field("largest_closed_gradient_in", "number", "", "largest closed_gradient_in of a unit", True),
    field(
        "largest_dead_gradient_in",
        "number",
        "",
        "largest gradient_in of a dead unit; null without dead units",
        True,
    ),
    _closed("dead_share_gradient_in", "squared incoming gradient that falls on dead units"),
    _closed("dead_share_update_in", "squared incoming update (saved state) that falls on dead units"),
    _closed("dead_share_fresh_update_in", "squared incoming update (fresh state) that falls on dead units"),
    *(
        field(
            f"{move}_closed_{name}", "number", "", f"norm over the dead units' {WEIGHTS[name]} of {MOVES[move]}", True
        )
        for move in ("update", "coasting")
        for name in ("in", "out")
    ),
    field(
        "rank_gradient_out",
        "number",
        "",
        "Spearman correlation over units of mean |h| and gradient_out; circuit all only",
        True,
    ),
    field("rank_update_out", "number", "", "Spearman correlation of mean |h| and update_out; circuit all only", True),
    field(
        "rank_fresh_update_out",
        "number",
        "",
        "Spearman correlation of mean |h| and fresh_update_out; circuit all only",
        True,
    ),
    field("identity_error", "number", "relative", "largest identity_error of a unit", True),
    *(field(name, "number", "", f"the units' {what}", True) for name, what in KERNELS.items()),
)
CIRCUIT = field("circuit", "text", "", "units summed over: all, none, x, m, or those of a random objective's circuit")
SUMS = table_schema("gating_sums", 1, SORT, (*KEY, CIRCUIT, *NUMBERS))
SCHEMA = table_schema(
    "gating",
    2,
    SORT,
    (
        *KEY,
        CIRCUIT,
        field("cell", "text", "", "identity of the settings"),
        field("start", "text", "", "kind of start"),
        field("distance", "number", "degrees", "angle between Y and X"),
        field("setting", "text", "", "factors that differ from the study's own"),
        field("variant", "text", "", "pre-training that differs from the study's own"),
        field("steps", "integer", "steps", "steps of fine-tuning"),
        field("width", "integer", "units", "units per hidden layer"),
        field("depth", "integer", "layers", "hidden layers"),
        field("activation_function", "text", "", "activation of the hidden layers"),
        field("optimizer", "text", "", "optimizer that fine-tuned the model"),
        field("diverged", "flag", "", "training diverged"),
        field("last_layer", "flag", "", "this layer feeds the linear readout"),
        *NUMBERS,
    ),
)
