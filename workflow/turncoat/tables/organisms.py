"""One row per trained model, as the training stages write it."""

from turncoat.tables.fields import field, table_schema

FIELDS = (
    field("organism_id", "text", "", "<cell>-<seed>, unique in a study"),
    field("cell", "text", "", "identity of the settings the model was trained with"),
    field(
        "parent_id",
        "text",
        "",
        "organism that fine-tuning started from; null when it started from scratch",
        True,
    ),
    field("stage", "text", "", "pretrain, finetune or elicit"),
    field("seed", "integer", "", "seed of the model's objectives, weights and episodes"),
    field("block", "text", "", "run of seeds that was trained in one job"),
    field("initial_fingerprint", "text", "", "hash of the weights before training"),
    field("final_fingerprint", "text", "", "hash of the weights after training"),
    field("diverged", "flag", "", "loss or a weight was not finite, or a weight beyond 10,000: frozen from then on"),
    field("diverged_step", "integer", "steps", "step at which that was found; null where training was sound", True),
    field("device", "text", "", "device type that trained the model"),
    field("parameters", "integer", "weights", "number of trained weights"),
    field("steps", "integer", "steps", "optimizer steps taken"),
    field("episodes", "integer", "episodes", "episodes on which a choice was rewarded"),
    field("train_seconds", "number", "s", "wall time of the job divided by its models"),
)
SCHEMA = table_schema("organisms", 2, ("organism_id",), FIELDS)
