"""Reading all models at once against one model at a time, with numpy's interpolation and scikit-learn's smoothing."""

from itertools import pairwise

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from turncoat.statistics.matching import crossings, interpolate, match, smooth_each, values_at
from turncoat.statistics.times import half_lives

Array = np.ndarray
LEVELS = [0.3037, 0.6071, 0.9013]  # no mean of rounded capabilities


def courses(seed: int) -> tuple[Array, Array, Array, Array]:
    """Offsets, steps, capability and an outcome of 60 models of 1 to 12 checks.

    Some models are missing a check, some begin above every level, some climb in ties, and outcomes have gaps.
    """
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 13, 60)
    offsets = np.append(0, np.cumsum(lengths))
    steps = np.concatenate([np.append(0, np.cumsum(random.integers(1, 200, length - 1))) for length in lengths])
    slopes = np.repeat(random.uniform(-0.2, 0.4, 60), lengths)
    capability = slopes * np.log1p(steps) + np.repeat(random.uniform(0, 1, 60), lengths)
    capability = np.round(capability + 0.1 * random.standard_normal(len(steps)), 1 + seed % 2)
    capability[random.random(len(steps)) < 0.01] = np.nan
    outcome = np.where(random.random(len(steps)) < 0.4, np.nan, random.standard_normal(len(steps)))
    outcome[: offsets[3]] = np.nan
    return offsets, steps, capability, outcome


def step_at(steps: Array, capability: Array, level: float) -> float:
    """Where one model first reaches a level; NaN where it never does."""
    smoothed = IsotonicRegression().fit_transform(np.arange(len(steps)), capability)
    reached = np.flatnonzero(smoothed >= level)
    if len(reached) == 0 or reached[0] == 0:
        return steps[0] if len(reached) else np.nan
    pair = slice(reached[0] - 1, reached[0] + 1)
    return float(np.expm1(np.interp(level, smoothed[pair], np.log1p(steps[pair]))))


def value_at(step: float, steps: Array, values: Array) -> float:
    known = ~np.isnan(values)
    if not known.any() or (step == 0 and not known[0]):
        return np.nan
    return float(np.interp(np.log1p(step), np.log1p(steps[known]), values[known]))


@pytest.mark.parametrize("seed", range(8))
def test_all_models_at_once_are_each_alone(seed: int) -> None:
    offsets, steps, capability, outcome = courses(seed)
    found = match(offsets, steps, steps * 128.0, capability, {"c": outcome}, LEVELS)
    arrived = gaps = 0
    for level in LEVELS:
        for model, (first, end) in enumerate(pairwise(offsets)):
            rows = slice(first, end)
            at = np.nan if np.isnan(capability[rows]).any() else step_at(steps[rows], capability[rows], level)
            expected = [at, np.nan, np.nan]
            if not np.isnan(at):
                expected[1] = np.interp(at, steps[rows], steps[rows] * 128.0)
                expected[2] = value_at(at, steps[rows], outcome[rows])
            one = found[level]
            assert one.arrived[model] == (not np.isnan(at))
            seen = [one.steps[model], one.episodes[model], one.values["c"][model]]
            assert seen == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True)
            arrived, gaps = arrived + int(one.arrived[model]), gaps + int(np.isnan(expected[2]))
    assert 40 < arrived < 160 and gaps > 10


def test_a_point_is_read_as_numpy_reads_it() -> None:
    offsets = np.array([0, 3, 4, 4, 7])
    places, values = np.array([0.0, 1, 5, 2, 0, 1, 3]), np.array([4.0, 8, 0, 7, 1, 2, 3])
    for points in ([-1.0, 2, 0, 0], [0, 1, 1, 1], [5, 3, 1, 9], [np.nan, 2, 1, np.nan], [1, -2, 1, 2.5]):
        at, found = np.array(points), interpolate(np.array(points), offsets, places, values)
        for model in (0, 1, 3):
            rows = slice(offsets[model], offsets[model + 1])
            expected = np.interp(at[model], places[rows], values[rows])
            assert np.array_equal(found[model], expected, equal_nan=True)
        assert np.isnan(found[2])  # a model without rows


def test_values_that_are_known_for_nobody() -> None:
    unknown = values_at(np.array([1.0, 0.0]), np.array([0, 2, 4]), np.array([0, 5, 0, 5]), np.full(4, np.nan))
    assert np.isnan(unknown).all()


def test_no_models() -> None:
    none, nothing = np.zeros(1, int), np.zeros(0)
    assert len(match(none, nothing, nothing, nothing, {"c": nothing}, [0.5])[0.5].arrived) == 0
    assert len(half_lives(none, nothing, nothing, nothing)) == 0


@pytest.mark.parametrize("seed", range(4))
def test_half_lives_are_of_each_model_alone(seed: int) -> None:
    offsets, steps, capability, _ = courses(seed)
    kept = 1 - capability
    found = half_lives(offsets, steps, steps * 2.0, kept)
    for model, (first, end) in enumerate(pairwise(offsets)):
        rows = slice(first, end)
        at = np.nan if np.isnan(kept[rows]).any() else step_at(steps[rows], -kept[rows], -0.5)
        expected = np.inf if np.isnan(at) else np.interp(at, steps[rows], steps[rows] * 2.0)
        if np.isnan(kept[rows]).any():
            expected = np.nan
        assert found[model] == pytest.approx(expected, rel=1e-9, nan_ok=True)
    assert np.isinf(found).any() and np.isnan(found).any() and np.isfinite(found).any()


def test_a_model_with_a_missing_check_is_smoothed_to_nothing() -> None:
    smoothed = smooth_each(np.array([0, 2, 5]), np.array([1.0, np.nan, 3, 1, 4]))
    assert np.array_equal(smoothed, [np.nan, np.nan, 2, 2, 4], equal_nan=True)
    at = crossings(np.array([0, 2, 5]), np.arange(5), smoothed, 1.0)
    assert at == pytest.approx([np.nan, 2], nan_ok=True)
