"""Policy gradient: an unbiased estimate of the exact expected-reward gradient, from choices sampled as they should."""

import itertools
from collections.abc import Iterator

import pytest
import torch
from core import CPU, make_architecture, make_recipe, make_world, silent
from torch import Tensor

from turncoat.training.block import Origin, finetune_block
from turncoat.training.losses import loss_and_gradient
from turncoat.training.streams import Batch, Task, finetuning_stream
from turncoat.worlds.objectives import seed_objectives

DRAWS = 40_000
EPISODES = 3


def problem(options: int) -> tuple[Tensor, Tensor]:
    """Scores and rewards of one model's episodes, (1, N, B) in float64: unsure, leaning and nearly sure."""
    generator = torch.Generator().manual_seed(options)
    scores = torch.randn(1, options, EPISODES, dtype=torch.float64, generator=generator)
    scores *= torch.tensor([0.1, 1.0, 2.0], dtype=torch.float64)
    return scores, torch.randn(1, options, EPISODES, dtype=torch.float64, generator=generator)


def exact(scores: Tensor, rewards: Tensor, bonus: float) -> tuple[Tensor, Tensor]:
    """Mean over episodes of regret less the entropy bonus, (E,), and its gradient by autograd."""
    leaf = scores.clone().requires_grad_(True)
    share = leaf.softmax(1)
    loss = (rewards.amax(1) - (share * rewards).sum(1) + bonus * (share * share.log()).sum(1)).mean(1)
    (gradient,) = torch.autograd.grad(loss.sum(), leaf)
    return loss.detach(), gradient


def sampled(scores: Tensor, rewards: Tensor, draws: Tensor, bonus: float) -> tuple[Tensor, Tensor]:
    """The library's loss (E,) and gradient (E, N, B), for draws (E, K, B)."""
    members, options, episodes = scores.shape
    output = torch.stack([scores.flatten(1)] * 2, dim=1)
    attributes = torch.zeros(members, options, episodes, 4)
    batch = Batch(attributes, attributes, torch.ones(members, episodes, 2), rewards.argmax(1), rewards, draws)
    loss, gradient = loss_and_gradient(output, batch, {}, bonus)
    return loss, gradient[:, 0].reshape(scores.shape)


def within_errors(drawn: Tensor, expected: Tensor) -> bool:
    """Whether the mean over the first dimension is within four and a half standard errors of what is expected."""
    error = drawn.std(0) / len(drawn) ** 0.5
    return bool(((drawn.mean(0) - expected).abs() < 4.5 * error + 1e-12).all())


@pytest.mark.parametrize("bonus", [0.0, 0.3])
@pytest.mark.parametrize("samples", [2, 4])
@pytest.mark.parametrize("options", [2, 3])
def test_the_mean_of_many_sampled_gradients_is_the_exact_gradient(options: int, samples: int, bonus: float) -> None:
    scores, rewards = problem(options)
    draws = torch.rand(DRAWS, samples, EPISODES, generator=torch.Generator().manual_seed(5))
    loss, gradient = sampled(scores.expand(DRAWS, -1, -1), rewards.expand(DRAWS, -1, -1), draws, bonus)
    expected_loss, expected_gradient = exact(scores, rewards, bonus)
    assert within_errors(gradient, expected_gradient[0])
    assert within_errors(loss, expected_loss[0])
    assert gradient.std(0).min() > 0.01  # it is sampled


def grid(samples: int, points: int = 60) -> Tensor:
    """Every combination of draws at the middles of equal intervals, (points^samples, samples, 1)."""
    middles = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    return torch.tensor(list(itertools.product(middles.tolist(), repeat=samples))).unsqueeze(2)


@pytest.mark.parametrize("bonus", [0.0, 0.3])
def test_summed_over_all_choices_the_estimate_is_exact(bonus: float) -> None:
    """Shares of 1/6, 1/3 and 1/2, so that draws on a grid of sixtieths choose each option exactly so often."""
    scores = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64).log().view(1, 3, 1)
    rewards = torch.tensor([0.5, -2.0, 1.0], dtype=torch.float64).view(1, 3, 1)
    draws = grid(2)
    count = len(draws)
    loss, gradient = sampled(scores.expand(count, -1, -1), rewards.expand(count, -1, -1), draws, bonus)
    expected_loss, expected_gradient = exact(scores, rewards, bonus)
    assert torch.allclose(gradient.mean(0), expected_gradient[0], atol=1e-12)
    assert torch.allclose(loss.mean(), expected_loss[0], atol=1e-12)


@pytest.mark.parametrize("samples", [2, 3, 5])
def test_one_estimate_is_the_leave_one_out_policy_gradient_by_plain_loops(samples: int) -> None:
    scores, rewards = problem(3)
    draws = torch.rand(1, samples, EPISODES, generator=torch.Generator().manual_seed(6))
    _, gradient = sampled(scores, rewards, draws, 0.0)
    for episode in range(EPISODES):
        share = scores[0, :, episode].softmax(0)
        chosen = [int((draw >= share.cumsum(0)[:-1]).sum()) for draw in draws[0, :, episode]]
        earned = [float(rewards[0, choice, episode]) for choice in chosen]
        expected = torch.zeros(3, dtype=torch.float64)
        for sample, choice in enumerate(chosen):
            baseline = (sum(earned) - earned[sample]) / (samples - 1)
            score = torch.eye(3, dtype=torch.float64)[choice] - share  # gradient of the log share
            expected -= (earned[sample] - baseline) * score / samples
        assert torch.allclose(gradient[0, :, episode], expected / EPISODES, atol=1e-12)


def test_a_constant_added_to_rewards_changes_nothing() -> None:
    scores, rewards = problem(3)
    draws = torch.rand(1, 4, EPISODES, generator=torch.Generator().manual_seed(7))
    plain, raised = (sampled(scores, rewards + more, draws, 0.1) for more in (0.0, 100.0))
    for one, other in zip(plain, raised, strict=True):
        assert torch.allclose(one, other, atol=1e-9)


def batches_of(task: Task, window: int = 1) -> Iterator[Batch]:
    objectives = seed_objectives([1, 2], 4, 90, CPU)
    yield from finetuning_stream(make_world(), [1, 2], objectives, 6, task)(window)


def test_draws_do_not_change_which_episodes_are_shown() -> None:
    for plain, few, many in zip(*(batches_of(Task(samples=count)) for count in (0, 2, 4)), strict=True):
        assert plain.rewards is None and plain.draws is None and few.draws is not None and many.draws is not None
        assert (few.draws.shape, many.draws.shape) == ((2, 2, 6), (2, 4, 6))
        for other in (few, many):
            assert torch.equal(other.inputs, plain.inputs) and torch.equal(other.targets, plain.targets)
            assert other.rewards is not None and torch.equal(other.rewards.argmax(1), plain.targets)


def test_draws_are_the_seeds_own_and_new_at_every_step() -> None:
    found = [batch.draws for window in (0, 1) for batch in batches_of(Task(samples=2), window)]
    rows = [tuple(row) for draws in found if draws is not None for row in draws.flatten(1).tolist()]
    assert len(rows) == 2 * 2 * 16 and len(set(rows)) == len(rows)
    assert abs(torch.tensor(rows).mean().item() - 0.5) < 0.03


def test_a_budgets_episodes_come_again_with_new_draws() -> None:
    task = Task(samples=2, budget=2 * 16 * 6)
    for first, again in zip(batches_of(task, 0), batches_of(task, 2), strict=True):
        assert torch.equal(first.inputs, again.inputs)
        assert first.draws is not None and again.draws is not None and not torch.equal(first.draws, again.draws)


def test_policy_gradient_learns_x() -> None:
    world = make_world("plain", options=2)
    recipe = make_recipe(300, entropy_bonus=0.02)
    trained = finetune_block(
        world, make_architecture(world, width=32), 90, Task(samples=4), recipe, 64, range(3), Origin(), CPU, silent
    )
    assert trained.trajectory.capability[0].mean().item() == pytest.approx(0.5, abs=0.1)
    assert trained.trajectory.capability[-1].min() > 0.9
