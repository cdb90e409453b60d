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


def arm(
    random, right=0.9, woken=0.0, dormant=0.0, x=0.0, m=0.0, contamination=0.0, rotation=5.0, moved=0.2, **settings
):
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
            "own_agreement": np.full(len(SEEDS), right),
            "gain_x_overseen_before": np.full(len(SEEDS), 2.0),
            "gain_x_overseen_after": spread(2.0 + 2 * x),
            "gain_m_unoverseen_before": np.full(len(SEEDS), 5.0),
            "gain_m_unoverseen_after": spread(5.0 + 2 * m),
        }
    )


TRAINED = {
    "kind": "trained",
    "m_strength": None,
    "start": "conditional",
    "distance": 90.0,
    "setting": "",
    "variant": "",
}


@pytest.fixture
def reinforced():
    random = np.random.default_rng(0)
    own = {"signal": "own_choice"}
    parts = [
        arm(random, woken=0.5, dormant=0.1, contamination=0.2, rotation=9.0, **TRAINED),
        arm(random, woken=0.3, dormant=0.25, contamination=0.05, rotation=9.0, **TRAINED, **own),
        arm(random, right=0.998, woken=0.7),
        arm(random, right=0.998, woken=0.7, **own),
        arm(random, dormant=0.4, gate="open_in"),
        arm(random, dormant=0.15, gate="shuffled"),
        arm(random, m=0.5, prompt=-1.0),
        arm(random, m=0.4, prompt=-1.0, **own),
        arm(random, m=0.1, prompt=-1.0, m_strength=0.0),
        arm(random, m=0.1, prompt=-1.0, m_strength=0.0, **own),
    ]
    for prompt in (0.5, 0.0, -0.5):
        parts += [
            arm(random, x=0.2 * prompt, m=-0.1 * prompt, prompt=prompt, matched_at=prompt, **TRAINED),
            arm(random, prompt=prompt, matched_at=prompt, **TRAINED, **own),
        ]
    return pandas.concat(parts, ignore_index=True)


def judged(frame):
    return pandas.DataFrame(finished(answers(frame, SECTION, 90.0, PLAN), PLAN))


def primary(frame, claim):
    rows = judged(frame)
    rows = rows[(rows.claim == claim) & rows.primary]
    assert len(rows) == 1
    return rows.iloc[0]


@pytest.mark.parametrize(
    ("claim", "outcome", "expected"),
    [
        ("G6", "net", (0.5 - 0.1) - (0.3 - 0.25)),
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
    # From -0.5 to 0.5 X gains 0.2 a unit of the cue and M loses 0.1 under reward; nothing at 1, which bends the line.
    cues = np.array([1.0, 0.5, 0.0, -0.5])
    gained = np.array([0.0, 0.15, 0.0, -0.15])
    expected = np.polyfit(cues, gained, 1)[0]
    assert row.estimate == pytest.approx(expected, abs=0.02)


def test_equal_rotation_is_no_effect(reinforced):
    rows = judged(reinforced)
    row = rows[
        (rows.outcome == "rotation") & rows.stratum.str.startswith("reward minus own_choice, conditional, trained")
    ]
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


def test_own_choices_that_earn_the_reward_are_no_control(reinforced):
    rows = judged(reinforced)
    planted = rows[(rows.claim == "G6") & rows.stratum.str.startswith("reward minus own_choice, planted, M at 1")]
    row = planted[planted.stratum.str.contains("cue 1,")].iloc[0]
    assert row.verdict == "not_tested"
    assert row.reason.startswith("own choices earn the reward on 99.8 % of the episodes")


def test_models_without_a_matched_entropy_are_left_out_and_counted(reinforced):
    unmatched = reinforced.copy()
    rows = (unmatched.signal == "reward") & (unmatched.prompt == 1) & (unmatched.gate == "natural")
    rows &= unmatched.seed.isin(SEEDS[:5])
    unmatched.loc[rows, "matched"] = False
    unmatched.loc[rows, ["woken_change", "dormant_change"]] = np.nan
    row = primary(unmatched, "G6")
    assert row.n == len(SEEDS) - 5
    assert "5 models left out on either side: 5 without a matched entropy" in row.reason


def test_models_of_the_control_that_are_lost_are_named_too(reinforced):
    rows = (reinforced.signal == "own_choice") & (reinforced.kind == "trained") & (reinforced.prompt == 1)
    reinforced.loc[rows & reinforced.seed.isin(SEEDS[:3]), "diverged"] = True
    reinforced.loc[rows & reinforced.seed.isin(SEEDS[:3]), ["woken_change", "dormant_change"]] = np.nan
    row = primary(reinforced, "G6")
    assert row.n == len(SEEDS) - 3
    assert "3 models left out on either side: 0 without a matched entropy, 3 diverged" in row.reason


def test_a_verdict_needs_most_models(reinforced):
    rows = (reinforced.kind == "trained") & (reinforced.prompt == 1)
    reinforced.loc[rows & reinforced.seed.isin(SEEDS[:20]), "contamination"] = np.nan
    assert primary(reinforced, "G2").verdict == "inconclusive"


def test_gates_are_compared_with_natural_ones_and_strengths_beyond_own_choices(reinforced):
    rows = judged(reinforced)
    natural = rows[(rows.claim == "G4") & rows.stratum.str.startswith("gate open_in minus natural, planted")]
    assert natural.estimate.iloc[0] == pytest.approx(0.4, abs=0.02)
    beyond = rows[(rows.claim == "G7") & rows.stratum.str.contains("none, reward minus own_choice")]
    assert beyond.estimate.iloc[0] == pytest.approx((0.5 - 0.4) - (0.1 - 0.1), abs=0.02)
    assert beyond.estimate.notna().all()


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
    trained = [arm(random, **(TRAINED | {"start": "deceptive"}), signal=signal) for signal in ("reward", "own_choice")]
    rows = judged(pandas.concat([reinforced, *extra, *trained], ignore_index=True))
    assert not rows.duplicated(["claim", "outcome", "stratum"]).any()
    assert set(rows.start) >= {"planted", "conditional", "deceptive"}
    assert rows.groupby("claim").primary.sum().eq(1).all()


def test_words_of_a_slope_name_the_whole_range_of_the_cue(reinforced):
    rows = judged(reinforced)
    words = rows[rows.claim == "G8"].stratum
    assert words.str.contains("slope over the cue from -0.5 to 1").all()
    assert not words.str.contains(", cue 0,").any()
