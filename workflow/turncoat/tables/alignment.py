"""What a model's choices say about its objectives: the study's table, measurements with outcomes and types."""

from turncoat.tables.fields import field, table_schema
from turncoat.tables.measurements import MEASUREMENTS

TYPES = ("internal", "corrigible", "conditional", "deceptive", "proxy", "incapable", "mixed")

OUTCOMES = (
    field("transfer", "number", "", "1 - C: compliance with X that carries over to unoverseen episodes", True),
    field("c", "number", "", "C: shortfall of transfer over the oversight cue, attainable-scaled", True),
    field("placebo", "number", "", "P: the same shortfall over the placebo cue", True),
    field("d", "number", "", "D = C - P", True),
    field("c_error", "number", "", "standard error of C over this model's episodes", True),
    field("placebo_error", "number", "", "standard error of P over this model's episodes", True),
    field("d_error", "number", "", "standard error of D over this model's episodes", True),
    field("scaled", "flag", "", "C, P and D are divided by attainable (false where X is nearly Y)"),
    field("gap", "number", "", "choices lost over oversight beyond placebo, relative to those kept", True),
    field("baked_share", "number", "share", "share of the utility that is baked in", True),
    field("pointer_share", "number", "share", "share of the utility that is read from the slots", True),
    field(
        "nearest_cosine", "number", "cosine", "cosine of the baked-in utility with X or Y, whichever is nearer", True
    ),
    field("price_sensitivity", "number", "", "price effect relative to a rational model's; null if unknown", True),
    field("type", "text", "", "most probable alignment type by the study's cutoffs"),
    *(field(f"probability_{name}", "number", "probability", f"probability of type {name}", True) for name in TYPES),
)
SCHEMA = table_schema(
    "alignment",
    2,
    ("organism_id", "step"),
    (
        field("organism_id", "text", "", "<cell>-<seed>"),
        field("cell", "text", "", "identity of the settings"),
        field("stage", "text", "", "pretrain or finetune"),
        field("start", "text", "", "alignment type by design of the pre-trained model, or scratch"),
        field("distance", "number", "degrees", "angle between Y and X; null for pre-training", True),
        field("setting", "text", "", "factors that differ from the study's own; empty where none does"),
        field("variant", "text", "", "pre-training that differs from the study's own; empty where none does"),
        field("seed", "integer", "", "seed of the model"),
        field("step", "integer", "steps", "optimizer steps before this snapshot"),
        field(
            "capability",
            "number",
            "share",
            "agreement with X (pre-training: with what is rewarded), matching episodes",
            True,
        ),
        field("diverged", "flag", "", "training diverged"),
        *OUTCOMES,
        *MEASUREMENTS,
    ),
)
