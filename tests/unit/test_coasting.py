"""Adam's motion without gradient: predictions against the optimizer itself and against closed forms."""

import math

import pytest
import torch
from torch import Tensor

from turncoat.gating.coasting import Coasting
from turncoat.training.optimizers import make_optimizer

SETTLED = 10**7  # steps after which running means need no correction
SIZES = [1.0, 1e-2, 1e-4, 1e-6]
BETAS = [0.999, 0.99, 0.9, 0.9999]


def moved(mean: Tensor, square: Tensor, taken: int, gradients: list[Tensor], beta2: float) -> list[Tensor]:
    """How far each step of the real optimizer moves weights, in learning rates, from a state."""
    flat = torch.zeros(64, dtype=torch.float64)
    state = {"mean": mean, "square": square, "steps": torch.tensor(float(taken))}
    optimizer = make_optimizer("adam", flat, 1.0, state, beta2)
    steps = []
    for gradient in gradients:
        before = flat.clone()
        optimizer.step(flat, gradient)
        steps.append((before - flat).abs())
    return steps


def filled(value: float) -> Tensor:
    return torch.full((64,), value, dtype=torch.float64)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("beta2", BETAS)
def test_predictions_hold_for_the_real_optimizer(size: float, beta2: float) -> None:
    coasting = Coasting(beta2=beta2)
    rest = [filled(0)] * 700
    steady = moved(filled(size), filled(size**2), SETTLED, rest, beta2)
    assert sum(steady)[0].item() == pytest.approx(coasting.distance(size), rel=1e-6)
    single = moved(filled(0), filled(0), SETTLED, [filled(size), *rest], beta2)
    assert single[0][0].item() == pytest.approx(coasting.first_step(size), rel=1e-6)
    assert sum(single)[0].item() == pytest.approx(coasting.total(size), rel=1e-6)


@pytest.mark.parametrize("beta2", BETAS)
def test_predictions_hold_after_few_steps(beta2: float) -> None:
    """Where bias correction still counts: from the optimizer's own first step."""
    coasting, size = Coasting(beta2=beta2), 1e-3
    silence = [filled(0)] * 700
    found = moved(filled(0), filled(0), 0, [filled(size)] * 150 + silence, beta2)
    assert sum(found[:150])[0].item() == pytest.approx(150, rel=1e-3)  # a steady gradient: one learning rate a step
    assert sum(found[150:])[0].item() == pytest.approx(coasting.distance(size, 150), rel=1e-5)
    found = moved(filled(0), filled(0), 0, [*silence[:150], filled(size), *silence], beta2)
    assert found[150][0].item() == pytest.approx(coasting.first_step(size, 150), rel=1e-5)
    assert sum(found[150:])[0].item() == pytest.approx(coasting.total(size, 150), rel=1e-5)


@pytest.mark.parametrize("beta2", BETAS)
def test_far_above_epsilon_they_are_closed_forms(beta2: float) -> None:
    coasting, ratio = Coasting(beta2=beta2), 0.9 / math.sqrt(beta2)
    first = 0.1 / math.sqrt(1 - beta2)
    assert coasting.distance(1e3) == pytest.approx(ratio / (1 - ratio))
    assert coasting.first_step(1e3) == pytest.approx(first)
    assert coasting.total(1e3) == pytest.approx(first / (1 - ratio))


def test_the_usual_betas_coast_nine_learning_rates_and_start_with_three() -> None:
    coasting = Coasting()
    assert coasting.distance(1.0) == pytest.approx(9.0, abs=0.05)
    assert coasting.first_step(1.0) == pytest.approx(3.16, abs=0.005)
    assert coasting.total(1.0) == pytest.approx(31.77, abs=0.005)
    assert coasting.total(1e-4) == pytest.approx(31.7, abs=0.05)
    # The size ceases not to matter where it nears epsilon / sqrt(1 - beta2), 3e-7.
    assert coasting.first_step(1e-5) == pytest.approx(3.16, rel=0.04)
    assert coasting.first_step(1e-6) == pytest.approx(2.40, abs=0.005)
    assert coasting.total(1e-6) == pytest.approx(24.1, abs=0.05)
    # In a run of 1,200 steps bias correction makes silence seem shorter.
    assert coasting.first_step(1.0, 1200) == pytest.approx(2.64, abs=0.005)


def test_the_edges() -> None:
    assert Coasting().distance(0.0) == Coasting().total(0.0) == 0
    assert Coasting(beta1=0.0).distance(1.0) == 0
    short = Coasting(beta2=0.5, epsilon=1e-3)  # only epsilon ends it
    steps = moved_with(short, 1.0)
    assert steps == pytest.approx(short.distance(1.0), rel=1e-9)
    assert steps > 100
    for name, value in (("beta1", 1.0), ("beta2", -0.1), ("epsilon", 0.0)):
        with pytest.raises(ValueError, match=f"{name} is"):
            Coasting(**{name: value})


def moved_with(coasting: Coasting, size: float) -> float:
    """The sum by hand, step by step."""
    mean, square, total = size, size * size, 0.0
    for _ in range(2000):
        mean, square = coasting.beta1 * mean, coasting.beta2 * square
        total += mean / (math.sqrt(square) + coasting.epsilon)
    return total
