"""Claims on reinforcement: what they are computed from is drawn with known effects, and each must be found."""

from itertools import product

import numpy as np
import pandas
import pytest

from turncoat.statistics.contrasts import Plan
from turncoat.statistics.reinforcement_claims import answers
from turncoat.statistics.rows import finished

PLAN = Plan(confidence=0.95, resamples=300, margin=0.05, minimum_seeds=12)
SECTION = {
    "activations": ["relu", "gelu"],
    "optimizers": ["sgd", "adam"],
    "gates": ["natural", "open_in", "shuffled"],
    "entropies": [0.5, 0.2],
    "strengths": [1.0, 0.0],
}
SEEDS = np.arange(1000, 1040)
BASE = {
    "kind": "planted",
    "activation": "relu",
    "m_strength": 1.0,
    "optimizer": "sgd",
    "optimizer_state": "fresh",
    "gate": "natural",
    "method": "policy_gradient",
    "selected": True,
    "prompt": 1.0,
    "matched_at": 1.0,
    "entropy_share": 0.5,
    "signal": "reward",
    "setting": None,
    "variant": None,
    "start": None,
    "distance": None,
    "matched": True,
    "diverged": False,
}


def arm(random, woken=0.0, dormant=0.0, x=0.0, m=0.0, contamination=0.0, rotation=5.0, moved=0.2, **settings):
    """One arm's rows, with mean changes as told and a small spread over seeds."""

    def spread(mean):
        return mean + 0.01 * random.standard_normal(len(SEEDS))

    return pandas.DataFrame(
        {name: [value] * len(SEEDS) for name, value in (BASE | settings).items()}
        | {
            "seed": SEEDS,
            "woken_change": spread(woken),
            "dormant_change": spread(dormant),
            "contamination": spread(contamination),
            "rotation": spread(rotation),
            "dormant_units_moved": spread(moved),
            "gain_x_overseen_before": np.full(len(SEEDS), 2.0),
            "gain_x_overseen_after": spread(2.0 + 2 * x),
            "gain_m_unoverseen_before": np.full(len(SEEDS), 2.0),
            "gain_m_unoverseen_after": spread(2.0 + 2 * m),
        }
    )


@pytest.fixture
def reinforced():
    random = np.random.default_rng(0)
    own = {"signal": "own_choice"}
    parts = [
        arm(random, woken=0.5, dormant=0.1, contamination=0.2, rotation=9.0),
        arm(random, woken=0.3, dormant=0.1, contamination=0.05, rotation=9.0, **own),
        arm(random, dormant=0.4, gate="open_in"),
        arm(random, dormant=0.15, gate="shuffled"),
        arm(random, m=0.5, prompt=-1.0),
        arm(random, m=0.4, prompt=-1.0, **own),
        arm(random, m=0.1, prompt=-1.0, m_strength=0.0),
        arm(random, m=0.1, prompt=-1.0, m_strength=0.0, **own),
    ]
    for prompt in (0.5, 0.0, -0.5):
        parts += [
            arm(random, x=0.2 * prompt, prompt=prompt, matched_at=prompt),
            arm(random, prompt=prompt, matched_at=prompt, **own),
        ]
    return pandas.concat(parts, ignore_index=True)


def judged(frame):
    return pandas.DataFrame(finished(answers(frame, SECTION, PLAN), PLAN, True))


def primary(frame, claim):
    rows = judged(frame)
    rows = rows[(rows.claim == claim) & rows.primary]
    assert len(rows) == 1
    return rows.iloc[0]


@pytest.mark.parametrize(
    ("claim", "outcome", "expected"),
    [
        ("G6", "net", (0.5 - 0.1) - (0.3 - 0.1)),
        ("G2", "contamination", 0.15),
        ("G4", "dormant_change", 0.4 - 0.15),
        ("G7", "m_growth", 0.5 - 0.1),
    ],
)
def test_primary_rows_find_what_was_put_in(reinforced, claim, outcome, expected):
    row = primary(reinforced, claim)
    assert (row.outcome, row.verdict, row.n) == (outcome, "supported", len(SEEDS))
    assert row.estimate == pytest.approx(expected, abs=0.02)
    assert row.low < expected < row.high or abs(row.estimate - expected) < 0.01


def test_the_slope_over_cues_is_of_reward_minus_own_choices(reinforced):
    row = primary(reinforced, "G8")
    # x gains 0.2 a unit of the cue from -0.5 to 0.5 under reward alone; the arms at 1 and -1 are matched at cue 1 or
    # gain nothing (at 1), and so bend the line: least squares of (0, 0.1, 0, -0.1) over (1, 0.5, 0, -0.5)
    cues = np.array([1.0, 0.5, 0.0, -0.5])
    gained = np.array([0.0, 0.1, 0.0, -0.1])
    expected = np.polyfit(cues, gained, 1)[0]
    assert row.estimate == pytest.approx(expected, abs=0.02)


def test_equal_rotation_is_no_effect(reinforced):
    rows = judged(reinforced)
    row = rows[(rows.outcome == "rotation") & rows.stratum.str.startswith("reward minus own_choice, planted, M at 1")]
    first = row[row.stratum.str.contains("cue 1,")].iloc[0]
    assert (first.verdict, first.margin) == ("no_effect", 1.0)


def test_labels_that_do_as_much_leave_nothing_of_reward(reinforced):
    same = reinforced.copy()
    for column in ("woken_change", "dormant_change"):
        reward, own = (
            (same.signal == signal) & (same.prompt == 1) & (same.gate == "natural")
            for signal in ("reward", "own_choice")
        )
        same.loc[reward, column] = same.loc[own, column].to_numpy()
    row = primary(same, "G6")
    assert (row.verdict, row.estimate) == ("no_effect", 0.0)


def test_models_without_a_matched_entropy_are_left_out_and_counted(reinforced):
    unmatched = reinforced.copy()
    rows = (unmatched.signal == "reward") & (unmatched.prompt == 1) & (unmatched.gate == "natural")
    rows &= unmatched.seed.isin(SEEDS[:5])
    unmatched.loc[rows, "matched"] = False
    unmatched.loc[rows, ["woken_change", "dormant_change"]] = np.nan
    row = primary(unmatched, "G6")
    assert row.n == len(SEEDS) - 5
    assert "5 models left out: 5 without a matched entropy" in row.reason


def test_too_few_models_get_no_verdict(reinforced):
    few = reinforced[reinforced.seed.isin(SEEDS[:8])]
    for claim in ("G2", "G4", "G6", "G7", "G8"):
        assert primary(few, claim).verdict == "not_tested"


def test_a_study_without_reinforcement_says_so():
    rows = judged(pandas.DataFrame())
    assert list(rows.claim) == ["G2", "G4", "G6", "G7", "G8"]
    assert set(rows.verdict) == {"not_tested"}
    assert rows.reason.str.startswith("the study has no models for it").all()


def test_every_arm_keeps_words_of_its_own(reinforced):
    random = np.random.default_rng(1)
    extra = [
        arm(random, **settings, signal=signal)
        for signal, settings in product(
            ("reward", "own_choice"),
            (
                {"entropy_share": 0.2},
                {"activation": "gelu"},
                {"optimizer": "adam"},
                {"selected": False},
                {"optimizer": "adam", "optimizer_state": "warmed"},
                {"method": "supervised"},
            ),
        )
    ]
    trained = [
        arm(random, kind="trained", m_strength=None, start=start, distance=90.0, setting="", variant="", signal=signal)
        for signal, start in product(("reward", "own_choice"), ("conditional", "deceptive"))
    ]
    rows = judged(pandas.concat([reinforced, *extra, *trained], ignore_index=True))
    assert not rows.duplicated(["claim", "outcome", "stratum"]).any()
    assert set(rows.start) >= {"planted", "conditional", "deceptive"}
    assert rows.groupby("claim").primary.sum().eq(1).all()
