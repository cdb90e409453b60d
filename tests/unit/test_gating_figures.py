"""Which arms the reinforcement figure shows."""

import numpy as np
import pandas

from turncoat.reporting.gating_figures import _reinforced_groups
from turncoat.statistics.reinforcement_arms import Primary

PRIMARY = Primary("relu", "sgd", "natural", 0.45, 1.0)
PLANTED = {
    "kind": "planted",
    "activation": "relu",
    "m_strength": 1.0,
    "optimizer": "sgd",
    "optimizer_state": "fresh",
    "gate": "natural",
    "entropy_share": 0.45,
    "method": "policy_gradient",
    "selected": True,
    "prompt": 1.0,
    "matched_at": 1.0,
    "setting": None,
    "variant": None,
    "start": None,
    "distance": np.nan,
    "signal": "reward",
}
TRAINED = PLANTED | {"kind": "trained", "m_strength": np.nan, "setting": "", "variant": "", "distance": 90.0}


def test_the_figure_shows_the_arms_of_the_primary_rows() -> None:
    rows = [
        PLANTED | {"optimizer": "adam"},  # first in the table's order
        PLANTED | {"activation": "gelu"},
        PLANTED,
        PLANTED | {"signal": "own_choice"},
        PLANTED | {"prompt": 0.5, "matched_at": 0.5},
        TRAINED | {"start": "conditional"},
        TRAINED | {"start": "conditional", "distance": 45.0},
        TRAINED | {"start": "conditional", "setting": "gate open_in"},
        TRAINED | {"start": "deceptive"},
    ]
    found = _reinforced_groups(pandas.DataFrame(rows), PRIMARY, 90.0)
    assert {name: list(group.index) for name, group in found.items()} == {
        "planted": [2, 3],
        "trained, conditional": [5],
        "trained, deceptive": [8],
    }
