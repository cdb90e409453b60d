"""One row per model and step at which capability was measured: how training went."""

from turncoat.tables.fields import field, table_schema

FIELDS = (
    field("organism_id", "text", "", "<cell>-<seed>"),
    field("step", "integer", "steps", "optimizer steps taken"),
    field("episodes", "integer", "episodes", "episodes on which a choice was rewarded"),
    field("loss", "number", "nat", "training loss of this step's batch; none at step 0", True),
    field(
        "capability",
        "number",
        "share",
        "agreement with what training rewards (X; in pre-training what the start serves, in elicitation M) on held-out"
        " episodes kept for matching",
        True,
    ),
    field("cross_entropy", "number", "nat", "cross-entropy of the best options on those episodes", True),
    field("update_norm", "number", "", "L2 norm of the last optimizer step", True),
    field("displacement", "number", "", "L2 distance of the weights from step 0", True),
)
SCHEMA = table_schema("trajectories", 2, ("organism_id", "step"), FIELDS)
