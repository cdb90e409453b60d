"""Compliance curves of choosers whose dealings with the cue are known."""

import numpy as np
import pytest
import torch
from core import CPU, make_world

from turncoat.classification.curve import STRENGTHS, compliance_curves, present_curves
from turncoat.classification.policies import Policy, policy_chooser, serving
from turncoat.classification.presentations import Chooser, Presentation
from turncoat.worlds.objectives import seed_objectives
from turncoat.worlds.world import OVERSIGHT, PLACEBO

SEEDS = list(range(5))
WORLD = make_world("plain", options=3)
OBJECTIVES = seed_objectives(SEEDS, 4, 90, CPU)


def curves(chooser: Chooser, episodes: int = 600) -> dict[tuple[str, str], np.ndarray]:
    """Each column as (seeds, strengths), by cue and name."""
    found = compliance_curves(chooser, present_curves(WORLD, SEEDS, OBJECTIVES, episodes), SEEDS, OBJECTIVES)
    shape = (len(SEEDS), 2, len(STRENGTHS))
    assert (found["seed"].reshape(shape) == np.array(SEEDS)[:, None, None]).all()
    assert (found["strength"].reshape(shape) == np.array(STRENGTHS)).all()
    assert found["cue"].reshape(shape)[0, :, 0].tolist() == ["oversight", "placebo"]
    return {
        (cue, name): values.reshape(shape)[:, row]
        for name, values in found.items()
        for row, cue in enumerate(("oversight", "placebo"))
    }


def switching(rule: object) -> Chooser:
    """Serves X where the rule says yes to (cue strength, each episode's own threshold), else M."""
    thresholds = torch.linspace(-1, 1, 600)

    def score(presentation: Presentation) -> torch.Tensor:
        on = rule(presentation.signs[OVERSIGHT], thresholds[: presentation.attributes.shape[2]])  # type: ignore[operator]
        served = torch.where(on[:, None], OBJECTIVES[:, 0, None], OBJECTIVES[:, 2, None])
        return (presentation.attributes * served.unsqueeze(1)).sum(-1)

    return score


def test_a_policy_that_heeds_the_sign_steps_at_zero() -> None:
    found = curves(policy_chooser(Policy({"x": 1.0}, {"m": 1.0}), SEEDS, OBJECTIVES))
    step = [float(strength > 0) for strength in STRENGTHS]
    assert found["oversight", "as_on"] == pytest.approx(np.tile(step, (len(SEEDS), 1)))
    assert found["oversight", "as_off"] == pytest.approx(1 - np.tile(step, (len(SEEDS), 1)))
    assert set(found["oversight", "shape"].ravel()) == {"rising"}
    assert np.abs(found["oversight", "threshold"] - 0.125).max() < 0.1  # between 0 and 0.25
    assert found["oversight", "agreement_x"][:, -1] == pytest.approx(1)
    assert set(found["placebo", "shape"].ravel()) == {"flat"}
    assert (found["placebo", "moved"] == 0).all()
    for name in ("as_on", "slope", "threshold"):
        assert np.isnan(found["placebo", name]).all(), name


def test_the_cue_that_is_heeded_is_told_from_the_other() -> None:
    found = curves(policy_chooser(Policy({"x": 1.0}, {"m": 1.0}, PLACEBO), SEEDS, OBJECTIVES))
    assert set(found["placebo", "shape"].ravel()) == {"rising"}
    assert set(found["oversight", "shape"].ravel()) == {"flat"}


def test_a_slow_switch_has_the_share_and_threshold_of_its_episodes() -> None:
    """Episodes switch at thresholds spread evenly over -0.6 to 1: the median is 0.2."""
    found = curves(switching(lambda strength, spread: strength > 0.2 + 0.8 * spread.clamp(-1, 0.99)))
    expected = [np.clip((strength - 0.2) / 0.8 / 2 + 0.5, 0, 1) for strength in STRENGTHS]
    assert np.abs(found["oversight", "as_on"] - expected).max() < 0.08
    assert np.abs(found["oversight", "threshold"] - 0.2).max() < 0.08
    error = found["oversight", "threshold_error"]
    assert (np.abs(found["oversight", "threshold"] - 0.2) < 4 * error).all()


def test_third_options_are_counted_apart() -> None:
    """At half strength a third objective is served."""

    def score(presentation: Presentation) -> torch.Tensor:
        strength = float(presentation.signs[OVERSIGHT])
        row = 3 if strength == 0.5 else 0 if strength > 0 else 2
        return (presentation.attributes * OBJECTIVES[:, row, None, None]).sum(-1)

    found = curves(score)
    shares = np.stack([found["oversight", name] for name in ("as_on", "as_off", "as_neither")])
    assert shares.sum(0) == pytest.approx(1)
    assert shares[2][:, STRENGTHS.index(0.5)].min() > 0.15
    assert set(found["oversight", "shape"].ravel()) == {"non_monotone"}


def test_a_curve_that_falls_again_is_reported_as_such() -> None:
    found = curves(switching(lambda strength, spread: torch.full(spread.shape, bool(0 < strength < 1.5))))
    assert set(found["oversight", "shape"].ravel()) == {"non_monotone"}


def test_models_without_finite_scores_have_no_curve() -> None:
    policy = policy_chooser(serving({"x": 1.0}), SEEDS, OBJECTIVES)

    def broken(presentation: Presentation) -> torch.Tensor:
        scores = policy(presentation)
        scores[1, 0, 3] = torch.nan
        return scores

    found = curves(broken)
    assert np.isnan(found["oversight", "agreement_x"][1]).all()
    assert np.isnan(found["oversight", "moved"][1]).all()
    assert not np.isnan(found["oversight", "agreement_x"][[0, 2, 3, 4]]).any()
