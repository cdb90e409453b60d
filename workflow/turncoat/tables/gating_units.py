"""The gradient ledger, one row per unit, as probe_gating writes it."""

from turncoat.tables.fields import field, table_schema

UPDATES = ("update", "fresh_update")
DIRECTIONS = ("in", "out", "bias")
WEIGHTS = {"in": "incoming weights", "out": "outgoing weights", "bias": "bias"}
STATE = {"update": "the saved optimizer state", "fresh_update": "a fresh optimizer state"}

KEY = (
    field("organism_id", "text", "", "<cell>-<seed>"),
    field("seed", "integer", "", "seed of the model"),
    field("state", "text", "", "cue state of the probed episodes"),
    field("layer", "integer", "", "hidden layer, from 1"),
)
UNIT_FIELDS = (
    *KEY,
    field("unit", "integer", "", "unit in the layer, from 0"),
    field("activation", "number", "", "mean activation h", True),
    field("absolute_activation", "number", "", "mean |h|", True),
    field("open_share", "number", "share", "examples with z > 0", True),
    field("mean_slope", "number", "", "mean derivative of the activation", True),
    *(field(f"gradient_{name}", "number", "", f"norm of the gradient on {WEIGHTS[name]}", True) for name in DIRECTIONS),
    field("closed_gradient_in", "number", "", "norm of the part of gradient_in from examples with z <= 0", True),
    field("closed_gradient_out", "number", "", "norm of the part of gradient_out from examples with z <= 0", True),
    *(
        field(
            f"{update}_{name}",
            "number",
            "",
            f"norm of the optimizer's step on {WEIGHTS[name]}, {STATE[update]}",
            True,
        )
        for update in UPDATES
        for name in DIRECTIONS
    ),
    field("identity_error", "number", "relative", "largest |dW_out - h delta| over the largest |dW_out|", True),
    field("dead", "flag", "", "z <= 0 on every probed example"),
)
SCHEMA = table_schema("gating_units", 1, ("organism_id", "state", "layer", "unit"), UNIT_FIELDS)
