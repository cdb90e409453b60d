"""The gradient ledger, one row per unit, as probe_gating writes it: results/<study>/gating/<cell>/<block>.parquet.

All files together are one dataset, partitioned by cell through their folders: `pyarrow.dataset.dataset(folder,
partitioning=["cell"])`, or DuckDB's `read_parquet('gating/*/*.parquet')`, where organism_id begins with the cell.
"""

import pyarrow as pa

from turncoat.tables.fields import field, table_schema

UPDATES = ("update", "fresh_update")
DIRECTIONS = ("in", "out", "bias")
WEIGHTS = {"in": "incoming weights", "out": "outgoing weights", "bias": "bias"}
MOVES = {
    "gradient": "the gradient",
    "update": "the optimizer's step with the saved state",
    "fresh_update": "the optimizer's step with a fresh state",
    "coasting": "the step that the saved state alone makes without gradient, by formula",
}
KERNELS = {
    "kernel_share": "part of K(overseen, state) / sqrt(K(overseen, overseen) K(state, state)), same episode",
    "kernel_own": "part of K(state, state)",
    "across_share": "as kernel_share, of the kernel between all episodes of one state and all of the other",
    "across_own": "as kernel_own, between all episodes and all",
}

KEY = (
    field("organism_id", "text", "", "<cell>-<seed>"),
    field("seed", "integer", "", "seed of the model"),
    field("step", "integer", "steps", "snapshot: the first and the last that were kept"),
    field("state", "text", "", "cue state of the probed episodes"),
    field("layer", "integer", "", "hidden layer, from 1"),
)


def _number(name: str, unit: str, description: str) -> pa.Field:
    return field(name, "single", unit, description, True)


UNIT_FIELDS = (
    *KEY,
    field("unit", "integer", "", "unit in the layer, from 0"),
    field("circuit", "text", "", "x, m or none: the circuit that both halves of the episodes put it in"),
    field("confirmed", "flag", "", "the second half of the episodes puts it where the first does"),
    field("random", "flag", "", "in the circuit of a random objective, labelled alike: the control"),
    field("shared", "flag", "", "holds both X and M"),
    _number("share_x", "share", "part of its squared content in both cue states that lies along X"),
    _number("share_m", "share", "the same along M"),
    _number("cosine_x", "", "cosine of its content in this cue state with X; null in placebo"),
    _number("cosine_m", "", "the same with M"),
    _number("gain_x", "score per attribute", "its content along X in this cue state; null in placebo"),
    _number("gain_m", "score per attribute", "the same along M"),
    _number("activation", "", "mean activation h"),
    _number("absolute_activation", "", "mean |h|"),
    _number("open_share", "share", "examples with z > 0"),
    _number("mean_slope", "", "mean derivative of the activation"),
    field("dead", "flag", "", "z <= 0 on every probed example"),
    _number("dormant_score", "", "mean |h| over the layer's mean of it"),
    _number("utility", "", "mean |h| times the sum of its absolute outgoing weights that lead to the score"),
    _number("closed_gradient_in", "", "norm of the part of gradient_in from examples with z <= 0"),
    _number("closed_gradient_out", "", "norm of the part of gradient_out from examples with z <= 0"),
    *(
        _number(f"{move}_{name}", "", f"norm over its {WEIGHTS[name]} of {what}")
        for move, what in MOVES.items()
        for name in DIRECTIONS
    ),
    _number("identity_error", "relative", "largest |dW_out - h delta| over the largest |dW_out|"),
    *(_number(name, "", f"the unit's {what}") for name, what in KERNELS.items()),
)
SCHEMA = table_schema("gating_units", 2, ("organism_id", "step", "state", "layer", "unit"), UNIT_FIELDS)
