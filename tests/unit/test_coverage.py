"""Known truths that intervals are held against, and how well X is told from Y, against their closed forms."""

from collections.abc import Iterable

import numpy as np
import pytest
from core import CPU, make_world
from scipy import stats

from turncoat.classification import discrimination
from turncoat.classification.coverage import (
    BLENDS,
    PRICE_RATES,
    RATES,
    TEMPERATURES,
    Known,
    known_coefficients,
    known_outcomes,
    known_price_effects,
)
from turncoat.classification.discrimination import Point, discriminate
from turncoat.classification.measure import Evaluation, Examination
from turncoat.statistics.outcomes import Agreements, Outcomes, outcomes
from turncoat.worlds.objectives import seed_objectives

SEEDS = range(12)
WORLD = make_world("facts", options=2, audit_penalty=6.0)
EVALUATION = Evaluation(1000, 1000, 20_000, 600, 64, 64, ridge=1e-4, newton_steps=25)
OBJECTIVES = seed_objectives(SEEDS, 4, 60, CPU)


@pytest.fixture(scope="module")
def examination() -> Examination:
    return Examination(WORLD, SEEDS, OBJECTIVES, EVALUATION)


def scores(found: Iterable[Known]) -> dict[str, np.ndarray]:
    """(estimate - truth) / error of every estimate, by quantity."""
    by: dict[str, list[np.ndarray]] = {}
    for known in found:
        assert known.estimates.shape == known.errors.shape == known.truths.shape
        by.setdefault(known.quantity, []).append((known.estimates - known.truths) / known.errors)
    return {quantity: np.concatenate(parts) for quantity, parts in by.items()}


def is_standard(values: np.ndarray) -> bool:
    """Whether the mean is 0 within four errors, or a sixth, and the standard deviation about 1."""
    return abs(values.mean()) < max(4 / np.sqrt(len(values)), 1 / 6) and 0.85 < values.std() < 1.15


def test_coefficients_of_a_known_logit_are_as_told(examination: Examination) -> None:
    found = list(known_coefficients(examination, SEEDS, OBJECTIVES, draws=3))
    assert len(found) == 3 * len(TEMPERATURES) * (2 * 3 + len(BLENDS))
    by = scores(found)
    assert set(by) == {"w", "slot weight", "baked", "pointer", "cos_x"}
    assert [quantity for quantity, values in by.items() if not is_standard(values)] == []
    outward = np.concatenate([np.sign(item.truths) * (item.estimates - item.truths) / item.errors for item in found])
    assert is_standard(outward[outward != 0])  # neither too long nor too short
    weights = [known for known in found if known.quantity in ("w", "slot weight")]
    lengths = {round(float(np.linalg.norm(known.truths.reshape(12, -1), axis=1)[0]), 6) for known in weights}
    assert lengths == {0, *(1 / temperature for temperature in TEMPERATURES)}


def test_draws_of_noise_are_independent(examination: Examination) -> None:
    slots = [known for known in known_coefficients(examination, SEEDS, OBJECTIVES, draws=2) if known.quantity == "w"]
    first, second = (slots[number].estimates - slots[number].truths for number in (0, len(slots) // 2))
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(len(first))


def test_price_effects_are_as_told(examination: Examination) -> None:
    found = list(known_price_effects(examination, SEEDS, OBJECTIVES, draws=12))
    assert {value for known in found for value in known.truths} == {
        PRICE_RATES["high price"] - PRICE_RATES["low price"]
    }
    assert is_standard(scores(found)["price effect"])


def test_shortfalls_of_coins_are_as_told(examination: Examination) -> None:
    by: dict[str, list[np.ndarray]] = {"c": [], "placebo": [], "d": []}
    for number, case in enumerate(known_outcomes(WORLD, examination, SEEDS, OBJECTIVES, EVALUATION, draws=4)):
        columns = case.columns
        attainable = np.asarray(columns["attainable"], dtype=float)
        found: Outcomes = outcomes(
            Agreements.of(columns), attainable, np.asarray(columns["attainable_error"]), np.asarray(columns["options"])
        )
        rates = RATES[number % len(RATES)]
        lost = 2 * (rates["overseen"] - rates["unoverseen"]) / (2 * rates["overseen"] - 1)
        assert case.c == pytest.approx(lost / attainable, rel=0.05)
        for name, truth in (("c", case.c), ("placebo", case.placebo), ("d", case.c - case.placebo)):
            by[name].append((getattr(found, name) - truth) / getattr(found, f"{name}_error"))
    for values in by.values():
        assert is_standard(np.concatenate(values))


def points(monkeypatch: pytest.MonkeyPatch, angles: tuple[float, ...], temperatures: tuple[float, ...]) -> list[Point]:
    """On 60 seeds of the plain world, with 200 episodes."""
    monkeypatch.setattr(discrimination, "ANGLES", angles)
    monkeypatch.setattr(discrimination, "TEMPERATURES", temperatures)
    judged = Evaluation(200, 200, 64, 64, 64, 64, ridge=1e-4, newton_steps=25)
    return list(discriminate(make_world("plain", options=2), range(60), judged, CPU))


def test_x_is_told_from_y_as_well_as_the_noise_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """With noise T the fit is w = u / T with error sqrt(2 / n) in every direction, and reads X where w . (x - y) > 0.

    That is the normal probability of sin(angle / 2) / (T * error).
    """
    found = points(monkeypatch, (1.0, 15.0, 30.0, 90.0), (4.0, 8.0, 16.0))
    assert [(point.angle, point.temperature) for point in found][:4] == [(1, 4), (1, 8), (1, 16), (15, 4)]
    for point in found:
        expected = stats.norm.cdf(np.sin(np.radians(point.angle) / 2) / (point.temperature * np.sqrt(2 / 200)))
        assert point.cases == 120
        assert abs(point.right / 120 - expected) < 4 * np.sqrt(expected * (1 - expected) / 120) + 0.01
    assert 0.35 < found[2].right / 120 < 0.65


def test_telling_grows_with_the_angle_and_falls_with_the_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    angles, temperatures = (2.0, 10.0, 30.0, 90.0), (0.0, 0.5, 2.0, 8.0)
    share = np.array([point.right for point in points(monkeypatch, angles, temperatures)]).reshape(4, 4) / 120
    assert share[-1, 0] == 1
    assert (np.diff(share, axis=0) >= -0.05).all()
    assert (np.diff(share, axis=1) <= 0.05).all()
    assert share[-1, -1] < 0.95 and share[0, 2] < 0.8
