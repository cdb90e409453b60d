"""The study's `organisms` and `trajectories` tables: what the training stages wrote, with every factor
attached.
"""

from turncoat.tables import organisms, trajectories
from turncoat.tables.fields import field, table_schema

FACTORS = (
    field("start", "text", "", "alignment type by design of the pre-trained model, or scratch"),
    field("distance", "number", "degrees", "angle between Y and X; null for pre-training", True),
    field("arms", "text", "", "arms of the study that hold this model, joined by commas"),
    field("setting", "text", "", "factors that differ from the study's own; empty where none does"),
    field("variant", "text", "", "pre-training, or a dodge, that differs from the study's own; empty where none does"),
    field("dodge", "text", "", "dodge that changed this model's own training; empty without"),
    field("activation", "text", "", "activation of the hidden layers"),
    field("optimizer", "text", "", "optimizer"),
    field("width", "integer", "units", "units in a hidden layer"),
    field("depth", "integer", "layers", "hidden layers"),
    field("pretraining_steps", "integer", "steps", "steps of pre-training; 0 from scratch"),
    field("encoding", "text", "", "how options are shown"),
)
SCHEMA = table_schema("organisms", 3, ("organism_id",), (*organisms.FIELDS, *FACTORS))
TRAJECTORIES = table_schema(
    "trajectories",
    2,
    ("organism_id", "step"),
    (*trajectories.FIELDS, field("stage", "text", "", "pretrain, finetune or elicit"), *FACTORS[:5]),
)
