"""Labels that aggregate puts beside a job's rows: what the cell of each row is."""

from turncoat.tables.fields import field

LABELS = (
    field("cell", "text", "", "identity of the settings"),
    field("stage", "text", "", "pretrain or finetune"),
    field("start", "text", "", "alignment type by design of the pre-trained model, or scratch"),
    field("distance", "number", "degrees", "angle between Y and X; null for pre-training", True),
    field("setting", "text", "", "factors that differ from the study's own; empty where none does"),
    field("variant", "text", "", "pre-training that differs from the study's own; empty where none does"),
)
