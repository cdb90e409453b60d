"""Which arms the reinforcement figure shows, and that it draws their rows."""

import numpy as np
import pandas
import pytest
from scipy import stats

from turncoat.reporting.gating_figures import _changes, _reinforced_groups
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


def test_bars_are_means_over_seeds_of_the_motive_that_the_prompt_wakes_or_leaves() -> None:
    changes = {0: (0.7, 0.1), 1: (0.8, 0.0), 2: (0.6, 0.2)}  # woken and dormant, by seed
    rows = [
        PLANTED | {"seed": seed, "prompt": prompt, "woken_change": prompt * woken, "dormant_change": dormant}
        for seed, (woken, dormant) in changes.items()
        for prompt in (1.0, -1.0)
    ]
    rows += [row | {"seed": 1} for row in rows if row["seed"] == 1]  # a seed twice is one seed
    x, m = (series.data for series in _changes("planted", pandas.DataFrame(rows), 0.95).series)
    woken, dormant = np.transpose(list(changes.values()))
    assert x.y.tolist() == pytest.approx([woken.mean(), dormant.mean()])  # overseen, then unoverseen
    assert m.y.tolist() == pytest.approx([dormant.mean(), -woken.mean()])
    assert (x.low[0], x.high[0]) == pytest.approx(stats.t.interval(0.95, 2, woken.mean(), stats.sem(woken)))
    assert x.n.tolist() == m.n.tolist() == [3, 3]
