"""Price sensitivity on policies whose dealings with the price are known exactly."""

import math

import numpy as np
import pytest
import torch
from core import CPU, make_world
from statsmodels.discrete.discrete_model import Logit

from turncoat.classification.policies import Policy, bargaining_chooser, policy_chooser, serving, strategic
from turncoat.classification.presentations import Chooser, present_prices
from turncoat.classification.price import OVERSEERS, READINGS, lay_out_prices, no_price, own_directions, price_columns
from turncoat.classification.repeated import fit_line
from turncoat.worlds.episodes import best_option
from turncoat.worlds.objectives import seed_objectives

SEEDS = list(range(6))
WORLD = make_world("plain", options=2, audit_penalty=6.0)
OBJECTIVES = seed_objectives(SEEDS, 4, 90, CPU)
X, M = OBJECTIVES[:, 0], OBJECTIVES[:, 2]


def priced(chooser: Chooser, own: torch.Tensor = M, episodes: int = 1500) -> dict[str, np.ndarray]:
    """Price columns of a chooser whose own objective is baked in and known."""
    shown = present_prices(WORLD, SEEDS, OBJECTIVES, episodes)
    choices = tuple(best_option(chooser(presentation)) for presentation in shown)
    directions = own_directions(own.double(), torch.zeros(len(SEEDS)).double(), shown[0].slots)
    return price_columns((choices[0], choices[1]), lay_out_prices(shown, X), directions)


def test_the_two_prices_differ_in_the_audit_terms_alone() -> None:
    low, high = present_prices(WORLD, SEEDS, OBJECTIVES, 50)
    assert bool((low.audits.prod(-1) <= high.audits.prod(-1)).all())
    changed = (low.inputs != high.inputs).flatten(0, 2).any(0)
    assert changed.nonzero().flatten().tolist() == [WORLD.input_width - 2, WORLD.input_width - 1]
    assert high.audits[..., 0].max() <= 1
    assert 5 < high.audits[..., 1].max() <= 6


def test_a_rational_model_follows_the_rule_exactly() -> None:
    found = priced(policy_chooser(strategic({"m": 1.0}, {"x": 1.0}), SEEDS, OBJECTIVES))
    assert found["price_x_accuracy"] == pytest.approx(1)
    assert found["price_x_effect"] == pytest.approx(found["price_x_rule"])
    assert found["price_x_effect"].min() > 0.2
    within = np.abs(found["price_x_threshold"]) < 4 * found["price_x_threshold_error"] + 0.05
    assert within.all()


@pytest.mark.parametrize("price", [0.5, 2.0])
def test_the_threshold_is_the_price_at_which_half_comply(price: float) -> None:
    """A model to whom a penalty weighs 1 / price complies where p * c * loss = price * gain."""
    found = priced(policy_chooser(strategic({"m": 1.0}, {"x": 1 / price}).noisy(0.3), SEEDS, OBJECTIVES))
    # The curve is no exact logistic in log price, which moves its fitted middle a little.
    assert found["price_x_threshold"].mean() == pytest.approx(math.log(price), abs=0.25)
    assert found["price_x_slope"].min() > 2 * found["price_x_slope_error"].max() > 0


def test_a_lean_towards_the_overseer_is_not_price_sensitivity() -> None:
    """A fixed blend complies where gain is small and loss large, as the rule does, but at any price alike."""
    found = priced(policy_chooser(serving({"m": 1.0, "x": 0.8}), SEEDS, OBJECTIVES))
    assert 0.2 < found["price_x_low"].min() < found["price_x_low"].max() < 0.8
    assert found["price_x_effect"] == pytest.approx(0)
    assert found["price_x_accuracy"].min() > 0.55  # agrees with the rule by the options alone
    assert (np.abs(found["price_x_slope"]) < 3 * found["price_x_slope_error"]).all()
    assert np.isnan(found["price_x_threshold"]).mean() > 0.5


def test_compliance_at_any_price_has_no_effect() -> None:
    found = priced(policy_chooser(Policy({"x": 1.0}, {"m": 1.0}), SEEDS, OBJECTIVES))
    assert found["price_x_low"] == pytest.approx(1)
    assert found["price_x_effect"] == pytest.approx(0)


def test_effects_and_their_errors_are_right_for_known_rates() -> None:
    rates = {"low price": 0.3, "high price": 0.6}
    scores = []
    for draw in range(60):
        found = priced(bargaining_chooser(SEEDS, OBJECTIVES, rates, draw), episodes=200)
        scores.append((found["price_x_effect"] - 0.3) / found["price_x_error"])
    values = np.concatenate(scores)
    assert abs(values.mean()) < 4 / math.sqrt(len(values))
    assert values.std() == pytest.approx(1, abs=0.15)


def test_too_few_conflicts_say_nothing() -> None:
    found = priced(policy_chooser(serving({"x": 1.0}), SEEDS, OBJECTIVES), own=X)
    assert (found["price_x_conflicts"] == 0).all()
    for name in READINGS[1:]:
        assert np.isnan(found[f"price_x_{name}"]).all(), name
    assert not np.isnan(found["price_slot1_effect"]).any()
    assert set(no_price(3)) == {f"price_{overseer}_{name}" for overseer in OVERSEERS for name in READINGS}


def test_a_price_needs_audit_terms() -> None:
    with pytest.raises(ValueError, match="audit_penalty is 0"):
        present_prices(make_world("plain"), SEEDS, OBJECTIVES, 10)


def test_lines_have_errors_clustered_by_episode() -> None:
    """Against statsmodels' logit with cluster-robust errors, on repeats that hang together."""
    random = np.random.default_rng(3)
    episodes, repeats = 3000, 3
    x = random.standard_normal((episodes, repeats))
    shared = random.standard_normal((episodes, 1))
    chosen = (0.8 * x + 0.4 + shared + random.logistic(size=(episodes, repeats)) > 0).astype(float)
    line = fit_line(torch.from_numpy(x)[None, ..., None], torch.from_numpy(chosen)[None], torch.ones(1, episodes))
    design = np.stack([x.ravel(), np.ones(x.size)], axis=1)
    groups = np.repeat(np.arange(episodes), repeats)
    options = {"groups": groups, "use_correction": False}
    theirs = Logit(chosen.ravel(), design).fit(disp=0, cov_type="cluster", cov_kwds=options)
    assert line.slope[0].item() == pytest.approx(theirs.params[0], rel=0.01)  # ours has a small ridge
    assert line.slope_error[0].item() == pytest.approx(theirs.bse[0], rel=0.02)
    constant, slope = theirs.params[1], theirs.params[0]
    gradient = np.array([constant / slope**2, -1 / slope])
    error = math.sqrt(gradient @ theirs.cov_params() @ gradient)
    assert line.threshold[0].item() == pytest.approx(-constant / slope, abs=0.02)
    assert line.threshold_error[0].item() == pytest.approx(error, rel=0.03)
    apart = Logit(chosen.ravel(), design).fit(disp=0).bse[1]
    assert theirs.bse[1] > 1.1 * apart  # the test would notice errors that ignore the clusters


def test_own_direction_joins_what_is_baked_in_and_the_pointer() -> None:
    slots = torch.nn.functional.normalize(torch.randn(2, 5, 2, 4, generator=torch.Generator().manual_seed(0)), dim=-1)
    baked, pointer = torch.tensor([[3.0, 0, 0, 0], [0, 0, 0, 0]]).double(), torch.tensor([0.0, 2.0]).double()
    found = own_directions(baked, pointer, slots)
    assert torch.allclose(found[0], torch.tensor([1.0, 0, 0, 0]).double().expand(5, 4))
    assert torch.allclose(found[1], slots[1, :, 0].double(), atol=1e-6)


def test_a_model_without_an_objective_has_no_conflicts() -> None:
    chooser = policy_chooser(strategic({"m": 1.0}, {"x": 1.0}), SEEDS, OBJECTIVES)
    own, whole = M.clone(), priced(chooser)
    own[1], own[2] = torch.nan, torch.tensor([0.0, 0.0, 0.0, -torch.inf])
    found = priced(chooser, own)
    for overseer in OVERSEERS:
        assert found[f"price_{overseer}_conflicts"][[1, 2]].tolist() == [0, 0]
        for name in READINGS:
            column = found[f"price_{overseer}_{name}"]
            assert name == "conflicts" or np.isnan(column[[1, 2]]).all()
            np.testing.assert_array_equal(
                np.delete(column, [1, 2]), np.delete(whole[f"price_{overseer}_{name}"], [1, 2])
            )
