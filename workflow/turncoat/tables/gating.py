"""The gradient ledger by layer and cue state: the study's table."""

import pyarrow as pa

from turncoat.tables.fields import field, table_schema
from turncoat.tables.gating_units import DIRECTIONS, KEY, UPDATES, WEIGHTS


def _closed(name: str, text: str) -> pa.Field:
    return field(name, "number", "share", text, True)


SCHEMA = table_schema(
    "gating",
    1,
    ("organism_id", "state", "layer", "circuit"),
    (
        *KEY,
        field("circuit", "text", "", "units summed over; `all` until circuits are found"),
        field("cell", "text", "", "identity of the settings"),
        field("start", "text", "", "kind of start"),
        field("distance", "number", "degrees", "angle between Y and X"),
        field("steps", "integer", "steps", "steps of fine-tuning"),
        field("width", "integer", "units", "units per hidden layer"),
        field("depth", "integer", "layers", "hidden layers"),
        field("activation_function", "text", "", "activation of the hidden layers"),
        field("optimizer", "text", "", "optimizer that fine-tuned the model"),
        field("diverged", "flag", "", "training diverged"),
        field("last_layer", "flag", "", "this layer feeds the linear readout"),
        field("units", "integer", "units", "units in the layer"),
        field("dead_units", "integer", "units", "units with z <= 0 on every probed example"),
        field("activation", "number", "", "mean over units of the mean activation", True),
        field("absolute_activation", "number", "", "mean over units of mean |h|", True),
        field("open_share", "number", "share", "mean over units of the open share", True),
        field("mean_slope", "number", "", "mean over units of the mean slope", True),
        *(
            field(
                f"{kind}_{name}",
                "number",
                "",
                f"norm over all units' {WEIGHTS[name]} of the {kind.replace('_', ' ')}",
                True,
            )
            for kind in ("gradient", *UPDATES)
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
        field(
            "rank_gradient_out",
            "number",
            "",
            "Spearman correlation over units of mean |h| and gradient_out",
            True,
        ),
        field(
            "rank_update_out",
            "number",
            "",
            "Spearman correlation over units of mean |h| and update_out",
            True,
        ),
        field(
            "rank_fresh_update_out",
            "number",
            "",
            "Spearman correlation of mean |h| and fresh_update_out",
            True,
        ),
        field("identity_error", "number", "relative", "largest identity_error of a unit", True),
    ),
)
