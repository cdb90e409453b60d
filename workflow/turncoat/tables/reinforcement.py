"""Reinforcement on episodes on which X and M want the same: gains of both motives before and after, by arm."""

import pyarrow as pa

from turncoat.tables.fields import field, table_schema

STATES = {
    "overseen": "with the cue at 1",
    "unoverseen": "with the cue at -1",
    "neutral": "with the cue at 0",
    "prompt": "with the cue as it stood in training",
}
TIMES = ("before", "after")
ARM = (
    field("kind", "text", "", "planted (two-block networks) or trained"),
    field("activation", "text", "", "activation of the hidden layers"),
    field("m_strength", "number", "", "strength with which M was planted, X's being 1; null where trained", True),
    field("optimizer", "text", "", "optimizer"),
    field("optimizer_state", "text", "", "what it starts with: fresh, or warmed"),
    field("gate", "text", "", "gate control of the backward pass, gradients norm-matched"),
    field("method", "text", "", "policy_gradient or supervised"),
    field(
        "signal",
        "text",
        "",
        "what choices are moved to: reward (the best option by X), own_choice (what the unmoved model chooses) or "
        "own_sampled (what the model as it then is samples: no change is expected)",
    ),
    field("selected", "flag", "", "only episodes on which X and M want the same option"),
    field("prompt", "number", "", "strength of the oversight cue in training"),
    field("matched_at", "number", "", "strength of the cue at which the initial entropy is matched"),
    field("entropy_share", "number", "share of log N", "initial choice entropy that is matched"),
)
NUMBERS = (
    field("scale", "number", "", "factor on the score's weights that matches the entropy", True),
    field("entropy", "number", "nats", "initial mean choice entropy at the training prompt", True),
    field(
        "own_agreement",
        "number",
        "share",
        "training episodes on which the unmoved model chooses the best option by X; at 1, reward and own_choice are "
        "the same signal",
        True,
    ),
    field(
        "selection_correlation",
        "number",
        "",
        "correlation over options of utility by X and by M, each less its episode's mean, among training episodes",
        True,
    ),
    *(
        field(
            f"gain_{motive}_{state}_{time}",
            "number",
            "score per unit of utility",
            f"{motive.upper()}'s gain {shown}, {time} training",
            True,
        )
        for state, shown in STATES.items()
        for motive in ("x", "m")
        for time in TIMES
    ),
    *(
        field(f"neutral_share_{time}", "number", "share", f"gain_x / (|gain_x| + |gain_m|) at cue 0, {time}", True)
        for time in TIMES
    ),
    field("rotation", "number", "degrees", "angle between the motive vectors at the training prompt", True),
    *(
        field(
            f"{guest}_through_{host}_{time}",
            "number",
            "score per unit of utility",
            f"{guest.upper()}'s gain with the cue at {cue} through last-layer units of the {host.upper()} circuit, "
            f"{time}; null without such units",
            True,
        )
        for guest, host, cue in (("m", "x", "1"), ("x", "m", "-1"))
        for time in TIMES
    ),
    field(
        "initial_woken_gain",
        "number",
        "score per unit of utility",
        "initial size of the woken motive's gain at the full prompt that wakes it; null where nothing is woken or it "
        "is below a tenth of the other motive's",
        True,
    ),
    field("woken_change", "number", "", "change of the woken motive's gain there, over initial_woken_gain", True),
    field(
        "dormant_change",
        "number",
        "",
        "change of the dormant motive's gain at the prompt that wakes that one, over initial_woken_gain",
        True,
    ),
    field(
        "contamination",
        "number",
        "",
        "change of the dormant motive's gain at the woken one's prompt through the woken circuit's units, over "
        "initial_woken_gain",
        True,
    ),
    field(
        "dormant_units_moved",
        "number",
        "share",
        "the dormant circuit's units whose incoming weights moved by more than 1/1000 of the woken units' median",
        True,
    ),
)
KEY = (
    "organism_id",
    "optimizer",
    "optimizer_state",
    "gate",
    "method",
    "signal",
    "selected",
    "prompt",
    "matched_at",
    "entropy_share",
)
FIELDS = (
    field("organism_id", "text", "", "<cell>-<seed>; planted-<activation>-<m_strength>-<seed>"),
    field("seed", "integer", "", "seed of the model"),
    *ARM,
    field("steps", "integer", "steps", "steps of training"),
    field("learning_rate", "number", "", "learning rate"),
    field("woken", "text", "", "motive that the training prompt wakes: x, m, or none at cue 0"),
    field("matched", "flag", "", "some factor matches the entropy; the numbers are null without one"),
    field(
        "diverged",
        "flag",
        "",
        "weights exploded or gains are not finite, here or in earlier training; the numbers are null",
    ),
    *NUMBERS,
)
SCHEMA = table_schema("reinforcement", 1, KEY, FIELDS)
STUDY: pa.Schema = table_schema(
    "reinforcement of a study",
    1,
    KEY,
    (
        *FIELDS,
        *(
            field(name, "text", "", f"{text}; null where planted", True)
            for name, text in (
                ("cell", "identity of the settings"),
                ("start", "kind of start"),
                ("setting", "how the settings differ from the study's own"),
                ("variant", "how the pre-training differs"),
            )
        ),
        field("distance", "number", "degrees", "angle between Y and X; null where planted", True),
    ),
)
