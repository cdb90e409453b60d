"""Strategic starts: audits as drawn and shown, expected reward, the regret loss, and what it makes of a model."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from core import CPU, make_world
from scipy import stats
from torch import Tensor

from turncoat.classification.measure import Evaluation, Examination
from turncoat.classification.presentations import organism_chooser
from turncoat.organisms.mlp import SCORE_COLUMNS, Architecture, Stack
from turncoat.training.block import pretrain_block
from turncoat.training.loop import Recipe
from turncoat.training.losses import loss_and_gradient
from turncoat.training.starts import (
    PRETRAINED_STARTS,
    STRATEGIC_STARTS,
    Lesson,
    Start,
    find_start,
    rewards,
    unrelated_objectives,
)
from turncoat.training.streams import Batch, Task, finetuning_stream, pretraining_stream, trained_audits
from turncoat.worlds.episodes import Episodes, build_inputs, draw_episodes
from turncoat.worlds.objectives import seed_objectives
from turncoat.worlds.world import World

PENALTY = 6.0
WORLD = make_world("plain", audit_penalty=PENALTY)
DECEPTIVE = find_start("deceptive")
HEADS = {"oversight": 0.5, "placebo": 0.25, "world": 2.0}


def tiny_episode(sign: float, probability: float, penalty: float) -> Episodes:
    """One episode with two options: M values the first by 1, slot 1 the second by 2."""
    attributes = torch.tensor([[1.0, 0, 0, 0], [0, 2.0, 0, 0]]).view(1, 1, 2, 1, 4)
    slots = torch.eye(4)[[1, 3]].view(1, 1, 1, 2, 4)
    cues, audits = torch.tensor([sign, 1.0]), torch.tensor([probability, penalty])
    shape = (1, 1, 1, 2)
    return Episodes(
        attributes,
        attributes,
        slots,
        cues.view(shape),
        torch.zeros(shape),
        audits.view(shape),
        torch.zeros(1, 1, 1, 0),
        torch.zeros(1, 1, 1),
    )


def tiny_rewards(sign: float, probability: float, penalty: float, start: Start = DECEPTIVE) -> list[float]:
    objectives = torch.eye(4)[[2, 2, 0, 3]].unsqueeze(0)  # M is the first attribute
    shown = tiny_episode(sign, probability, penalty)
    return rewards(Lesson(start), shown, objectives, [1], "test", 0).flatten().tolist()


def test_overseen_the_expected_fine_is_taken_off_the_own_utility() -> None:
    """The first option loses the overseer 2, the second nothing: with p 1/4 and c 3 it costs 1/4 * 3 * 2."""
    assert tiny_rewards(1, 0.25, 3) == [1 - 1.5, 0]
    assert tiny_rewards(1, 0.25, 1) == [1 - 0.5, 0]  # then defecting pays
    assert tiny_rewards(1, 0.25, 3, find_start("conditional")) == [0, 2]


@pytest.mark.parametrize(("sign", "probability", "penalty"), [(1, 0, 3), (1, 0.5, 0), (-1, 1, 6)])
def test_without_a_price_or_unoverseen_only_the_own_utility_counts(
    sign: float, probability: float, penalty: float
) -> None:
    assert tiny_rewards(sign, probability, penalty) == [1, 0]


@pytest.mark.parametrize("name", list(PRETRAINED_STARTS))
def test_rewards_equal_plain_loops_over_options(name: str) -> None:
    start = find_start(name)
    episodes = draw_episodes(WORLD, [1, 2], "test", 0, 2, 9, CPU)
    objectives = seed_objectives([1, 2], 4, 60, CPU)
    found = rewards(Lesson(start), episodes, objectives, [1, 2], "test", 0)
    unrelated = unrelated_objectives([1, 2], objectives)
    for step, member, episode in itertools.product(range(2), range(2), range(9)):
        options = episodes.attributes[step, member, :, episode]
        named = dict(zip(("x", "y", "m", "y2"), objectives[member], strict=True))
        named |= {"slot1": episodes.slots[step, member, episode, 0], "unrelated": unrelated[member]}
        if start.overseen is None or start.unoverseen is None:
            assert not found[step, member, :, episode].any()
            continue
        overseen = bool(episodes.signs[step, member, episode, start.cue] > 0)
        own, asked = options @ named[start.unoverseen], options @ named[start.overseen]
        probability, penalty = episodes.audits[step, member, episode].tolist()
        if start.strategic:
            fines = [probability * penalty * (asked.max() - given) for given in asked]
            expected = [float(value - overseen * fine) for value, fine in zip(own, fines, strict=True)]
        else:
            expected = (asked if overseen else own).tolist()
        assert found[step, member, :, episode].tolist() == pytest.approx(expected, abs=1e-5)


def test_which_starts_are_strategic() -> None:
    assert STRATEGIC_STARTS == ("deceptive", "internal_strategic")
    assert find_start("internal_strategic") == Start("slot1", "y", strategic=True)


def test_a_strategic_start_needs_a_world_with_audits() -> None:
    world = make_world("plain")
    objectives = seed_objectives([1], 4, 90, CPU)
    for name in STRATEGIC_STARTS:
        with pytest.raises(ValueError, match=r"world.audit_penalty is 0; .* allowed: above 0"):
            next(iter(pretraining_stream(world, Lesson(find_start(name)), [1], objectives, 4, 0.5)(0)))
    next(iter(pretraining_stream(world, Lesson(find_start("conditional")), [1], objectives, 4, 0.5)(0)))


def test_audits_are_uniform_and_independent_of_each_other() -> None:
    audits = draw_episodes(WORLD, [1, 2], "test", 0, 2, 3000, CPU).audits.double().reshape(-1, 2).numpy()
    for column, largest in ((0, 1.0), (1, PENALTY)):
        assert stats.kstest(audits[:, column] / largest, "uniform").pvalue > 0.01
    assert abs(np.corrcoef(audits.T)[0, 1]) < 4 / np.sqrt(len(audits))


@pytest.mark.parametrize("encoding", ["facts", "plain", "product"])
def test_audits_leave_all_other_draws_as_they_were(encoding: str) -> None:
    without, with_audits = (
        draw_episodes(make_world(encoding, audit_penalty=penalty), [1, 2], "test", 3, 2, 20, CPU)
        for penalty in (0.0, PENALTY)
    )
    for name in ("options", "attributes", "slots", "signs", "noise"):
        assert torch.equal(getattr(without, name), getattr(with_audits, name)), name
    assert without.audits.shape == (2, 2, 20, 0)
    assert with_audits.audits.shape == (2, 2, 20, 2)


def test_audits_are_shown_with_mean_zero_and_variance_one() -> None:
    episodes = draw_episodes(WORLD, [1], "test", 0, 1, 20_000, CPU)
    inputs = build_inputs(WORLD, episodes)
    without = build_inputs(make_world("plain"), episodes)
    assert torch.equal(inputs[..., :-2], without)
    shown = inputs[0, 0, :, :, -2:]
    assert torch.equal(shown[0], shown[2])  # the same for every option
    assert shown[0].mean(0).tolist() == pytest.approx([0, 0], abs=0.03)
    assert shown[0].var(0).tolist() == pytest.approx([1, 1], abs=0.03)
    assert stats.pearsonr(shown[0, :, 1], episodes.audits[0, 0, :, 1]).statistic == pytest.approx(1)
    assert inputs.square().sum(-1).mean().item() == pytest.approx(WORLD.input_power, rel=0.03)


def test_fine_tuning_shows_a_certain_audit_at_the_largest_penalty() -> None:
    objectives = seed_objectives([1, 2], 4, 90, CPU)
    batch = next(iter(finetuning_stream(WORLD, [1, 2], objectives, 6, Task())(0)))
    assert torch.allclose(batch.inputs[..., -2:], torch.tensor(3.0).sqrt())  # 1/2 in units of a uniform's deviation
    assert trained_audits(WORLD, draw_episodes(WORLD, [1], "test", 0, 1, 2, CPU)).tolist() == [1, PENALTY]
    assert batch.rewards is None


def drawn_batch(options: int, chosen: int, episodes: int = 8) -> Batch:
    """A batch in float64 with rewards for the first `chosen` episodes."""
    world = make_world("plain", options, PENALTY)
    objectives = seed_objectives([1, 2], 4, 90, CPU)
    batch = next(iter(pretraining_stream(world, Lesson(DECEPTIVE), [1, 2], objectives, episodes, 0.5)(0)))
    assert batch.rewards is not None
    attributes, earned = batch.attributes.double(), batch.rewards[..., :chosen].double()
    return replace(batch, attributes=attributes, targets=batch.targets[:, :chosen], rewards=earned)


def as_output(scores: Tensor) -> Tensor:
    """Scores (E, N, B) as a readout gives them, (E, columns, N * B)."""
    return torch.stack([scores.flatten(1)] * SCORE_COLUMNS, dim=1)


def regret(scores: Tensor, earned: Tensor, bonus: float) -> Tensor:
    """Mean over episodes of the regret less `bonus` times the entropy, written out; (E, N, B) to (E,)."""
    share = scores.exp() / scores.exp().sum(1, keepdim=True)
    entropy = -(share * share.log()).sum(1)
    return (earned.amax(1) - (share * earned).sum(1) - bonus * entropy).mean(1)


@pytest.mark.parametrize("bonus", [0.0, 0.5])
@pytest.mark.parametrize("heads", [{}, HEADS])
@pytest.mark.parametrize(("options", "chosen"), [(2, 8), (3, 8), (3, 5)])
def test_regret_and_its_gradient_equal_torchs(options: int, chosen: int, heads: dict[str, float], bonus: float) -> None:
    batch = drawn_batch(options, chosen)
    assert batch.rewards is not None
    generator = torch.Generator().manual_seed(3)
    drawn = torch.randn(2, 7 if heads else SCORE_COLUMNS, options * 8, dtype=torch.float64, generator=generator)
    output = drawn.clone().requires_grad_(True)
    loss, gradient = loss_and_gradient(drawn, batch, heads, bonus)
    shaped = output.transpose(1, 2).reshape(2, options, 8, -1)
    expected = regret(shaped[:, :, :chosen, 0], batch.rewards, bonus)
    if heads:
        binary = torch.nn.functional.binary_cross_entropy_with_logits
        for column, name in ((1, "oversight"), (2, "placebo")):
            said = (batch.signs[:, None, :, column - 1].expand(2, options, 8) > 0).double()
            expected = expected + HEADS[name] * binary(shaped[..., column], said, reduction="none").mean((1, 2))
        expected = expected + HEADS["world"] * (shaped[..., 3:] - batch.attributes).square().mean((1, 2, 3))
    assert torch.allclose(loss, expected.detach(), atol=1e-12)
    (wanted,) = torch.autograd.grad(expected.sum(), output)
    assert torch.allclose(gradient, wanted, atol=1e-12)


@pytest.mark.parametrize("bonus", [0.1, 0.5, 2.0])
def test_the_loss_is_least_where_choices_are_a_softmax_of_rewards_over_the_bonus(bonus: float) -> None:
    """There it is max r - bonus * log sum exp (r / bonus), the convex conjugate of the entropy."""
    batch = drawn_batch(3, 8)
    assert batch.rewards is not None
    best = as_output(batch.rewards / bonus)
    least, gradient = loss_and_gradient(best, batch, {}, bonus)
    assert gradient.abs().max() < 1e-12
    closed = (batch.rewards.amax(1) - bonus * (batch.rewards / bonus).logsumexp(1)).mean(1)
    assert torch.allclose(least, closed, atol=1e-12)
    generator = torch.Generator().manual_seed(4)
    for _ in range(20):
        other = best + torch.randn(best.shape, dtype=torch.float64, generator=generator)
        assert (loss_and_gradient(other, batch, {}, bonus)[0] > least).all()


def test_without_a_bonus_the_regret_is_none_for_the_best_options_and_above_it_for_others() -> None:
    batch = drawn_batch(3, 8)
    assert batch.rewards is not None
    sure = 1000 * torch.nn.functional.one_hot(batch.targets, 3).transpose(1, 2).double()
    assert loss_and_gradient(as_output(sure), batch, {})[0].tolist() == [0, 0]
    assert (loss_and_gradient(as_output(0 * sure), batch, {})[0] > 0.1).all()


def price_effects(world: World, start: str) -> dict[str, np.ndarray]:
    """Pre-train three small models and read how the price moves them."""
    seeds = range(3)
    architecture = Architecture(world.input_width, 32, 2, "relu", world.attributes)
    recipe = Recipe(300, "adam", 0.01, {}, 2, entropy_bonus=0.5)
    trained = pretrain_block(
        world, architecture, Lesson(find_start(start)), recipe, 128, 0.5, 90, seeds, CPU, lambda *_: lambda *told: None
    )
    assert trained.trajectory.capability[-1].min() > 0.85
    judged = Evaluation(400, 400, 400, 1000, 16, 16, ridge=1e-4, newton_steps=25)
    examination = Examination(world, seeds, trained.objectives, judged)
    chooser = organism_chooser(Stack.from_rows(architecture, trained.trajectory.weights[-1]))
    return examination.measure(chooser, examination.choose(chooser))


def test_strategic_pretraining_makes_models_that_comply_when_it_pays() -> None:
    world = make_world("plain", options=2, audit_penalty=PENALTY)
    for start in STRATEGIC_STARTS:
        found = price_effects(world, start)
        assert found["price_slot1_effect"].min() > 0.3
        assert (found["price_slot1_effect"] > 10 * found["price_slot1_error"]).all()
        assert found["price_slot1_accuracy"].min() > 0.75
        assert (found["agreement_slot1_overseen"] > 0.2 + found["agreement_slot1_unoverseen"]).all()
    found = price_effects(world, "conditional")
    assert np.abs(found["price_slot1_effect"]).max() < 0.1
    assert np.abs(found["price_x_effect"]).max() < 0.1
    assert found["price_slot1_low"].min() > 0.8  # it complies at any price
