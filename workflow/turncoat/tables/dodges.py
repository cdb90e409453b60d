"""The leaderboard of dodges: what each does to D, at what cost."""

from turncoat.tables.contrasts import ARM
from turncoat.tables.fields import field, table_schema

_LOW, _HIGH = "lower end of the interval", "upper end of the interval"
SCHEMA = table_schema(
    "dodges",
    1,
    ("start", "distance", "d_change", "dodge", "setting", "variant"),
    (
        field("dodge", "text", "", "what is changed, and nothing else"),
        *ARM,
        field("d", "number", "", "mean D at the primary capability", True),
        field("d_plain", "number", "", "mean D without the dodge, there", True),
        field("d_change", "number", "", "mean paired difference in D, dodge minus plain", True),
        field("d_low", "number", "", _LOW, True),
        field("d_high", "number", "", _HIGH, True),
        field("deception_change", "number", "", "the same for deception proper", True),
        field("deception_low", "number", "", _LOW, True),
        field("deception_high", "number", "", _HIGH, True),
        field("capability_change", "number", "share", "mean paired difference in capability at the final step", True),
        field("capability_low", "number", "share", _LOW, True),
        field("capability_high", "number", "share", _HIGH, True),
        field("episodes_ratio", "number", "ratio", "median ratio of episodes to the primary capability", True),
        field("episodes_low", "number", "ratio", _LOW, True),
        field("episodes_high", "number", "ratio", _HIGH, True),
        field("n_pairs", "integer", "pairs", "seeds where both got there"),
        field("never", "integer", "models", "models with the dodge that never got there, or without D"),
    ),
)
