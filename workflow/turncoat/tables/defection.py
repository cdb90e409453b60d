"""The defection probe: how well it reads, in networks of other seeds, that a choice is a defection."""

from turncoat.tables.fields import field, table_schema

SCHEMA = table_schema(
    "defection",
    1,
    ("train_cell", "test_cell", "representation", "layer"),
    (
        field("train_cell", "text", "", "cell whose training seeds the probe is trained on"),
        field("test_cell", "text", "", "cell whose test seeds it is tested on"),
        field(
            "representation",
            "text",
            "",
            "what of the chosen option it reads: hidden (hidden state relative to anchors at quantiles of X-utility), "
            "untrained (the same in the seed's network before any training), raw_relative (the input relative to the "
            "same anchors) or raw (the input)",
        ),
        field("layer", "integer", "", "hidden layer, first 1; 0 for raw and raw_relative"),
        field("train_seeds", "integer", "models", "models trained on"),
        field("train_positives", "integer", "choices", "choices trained on that defect: not the best option by X"),
        field("train_negatives", "integer", "choices", "choices trained on that comply"),
        field("seeds", "integer", "models", "models tested on, none of a seed trained on; n of the intervals"),
        field("positives", "integer", "choices", "choices tested on that defect, half of the episodes overseen"),
        field("negatives", "integer", "choices", "choices tested on that comply"),
        field("unoverseen_positives", "integer", "choices", "those of the positives that are unoverseen"),
        field("unoverseen_negatives", "integer", "choices", "those of the negatives that are unoverseen"),
        field("converged", "flag", "", "the probe's solver converged; null without a probe", True),
        field(
            "auroc",
            "number",
            "",
            "area under the ROC curve; null where training or test choices hold fewer than 20 of either kind",
            True,
        ),
        field("auroc_low", "number", "", "lower end of its 95 % interval, from resampled test seeds", True),
        field("auroc_high", "number", "", "upper end of its 95 % interval", True),
        field(
            "recall",
            "number",
            "share",
            "defections found at 1 % false positives, the threshold chosen on the test negatives",
            True,
        ),
        field(
            "unoverseen_auroc",
            "number",
            "",
            "area under the ROC curve of the unoverseen test choices alone, where the cue tells nothing",
            True,
        ),
        field("unoverseen_auroc_low", "number", "", "lower end of its 95 % interval", True),
        field("unoverseen_auroc_high", "number", "", "upper end of its 95 % interval", True),
        field("random_mean", "number", "", "mean auroc of random directions; null unless hidden", True),
        field("random_high", "number", "", "95 % quantile of the auroc of random directions", True),
        field("random_largest", "number", "", "largest auroc of a random direction", True),
        field("random_p", "number", "", "rank p of auroc among them: (1 + as high or higher) / (1 + directions)", True),
        field(
            "unoverseen_random_high",
            "number",
            "",
            "95 % quantile of the unoverseen_auroc of random directions; their signs do better on unoverseen training "
            "choices; null unless hidden, and where those hold fewer than 20 of either kind",
            True,
        ),
        field("unoverseen_random_p", "number", "", "rank p of unoverseen_auroc among them", True),
    ),
)
STUDY = table_schema(
    "defection of a study",
    1,
    ("train_cell", "test_cell", "representation", "layer"),
    (
        *SCHEMA,
        field("train_start", "text", "", "start of the training cell"),
        field("train_distance", "number", "degrees", "its angle between Y and X"),
        field("test_start", "text", "", "start of the test cell"),
        field("test_distance", "number", "degrees", "its angle between Y and X"),
    ),
)
