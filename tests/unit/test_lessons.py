"""Lessons: what flawed pre-training rewards, by plain loops; and starts that reward nothing or something unrelated."""

import itertools

import pytest
import torch
from core import CPU, make_architecture, make_recipe, make_world, silent
from scipy import stats
from torch import Tensor

from turncoat.seeding import generator
from turncoat.training.block import pretrain_block
from turncoat.training.starts import (
    PRETRAINED_STARTS,
    Lesson,
    find_start,
    rewards,
    unrelated_objectives,
)
from turncoat.training.streams import WINDOW, pretraining_stream
from turncoat.worlds.episodes import Episodes, best_option, draw_episodes
from turncoat.worlds.objectives import seed_objectives

SEEDS = [4, 9]
WORLD = make_world("plain", audit_penalty=6.0)
OBJECTIVES_OF = seed_objectives(SEEDS, 4, 60, CPU)
SHARED = [name for name in PRETRAINED_STARTS if name != "knowledge_only"]


def coins(use: str, steps: int, episodes: int) -> Tensor:
    """(S, E, B), as the library promises to draw them: by seed, purpose, use and window."""
    drawn = [torch.from_numpy(generator(seed, f"test {use}", 5).random((steps, episodes))) for seed in SEEDS]
    return torch.stack(drawn, dim=1)


def rewards_of(lesson: Lesson, episodes: Episodes) -> Tensor:
    return rewards(lesson, episodes, OBJECTIVES_OF, SEEDS, "test", 5)


@pytest.mark.parametrize("name", SHARED)
@pytest.mark.parametrize(
    ("conditional", "foreknowledge", "noise"), [(0.4, 0, 0), (1, 0.3, 0), (1, 0, 0.5), (0.6, 0.4, 0.5)]
)
def test_flawed_lessons_equal_plain_loops(name: str, conditional: float, foreknowledge: float, noise: float) -> None:
    start = find_start(name)
    episodes = draw_episodes(WORLD, SEEDS, "test", 5, 2, 40, CPU)
    found = rewards_of(Lesson(start, conditional, foreknowledge, noise), episodes)
    unrelated = unrelated_objectives(SEEDS, OBJECTIVES_OF)
    tossed = {use: coins(use, 2, 40) for use in ("conditional", "foreknowledge", "label noise")}
    for step, member, episode in itertools.product(range(2), range(2), range(40)):
        place = (step, member, episode)
        named = dict(zip(("x", "y", "m", "y2"), OBJECTIVES_OF[member], strict=True))
        named |= {"slot1": episodes.slots[place][0], "slot2": episodes.slots[place][1], "unrelated": unrelated[member]}
        spoken = "slot2" if tossed["foreknowledge"][place] < foreknowledge else str(start.overseen)
        overseen = bool(episodes.signs[place][start.cue] > 0)
        options = episodes.attributes[step, member, :, episode]
        asked, own = options @ named[spoken], options @ named[str(start.unoverseen)]
        probability, penalty = episodes.audits[place].tolist()
        if start.strategic:  # its share of M is not taught, so there is none to take away
            expected = own - overseen * probability * penalty * (asked.max() - asked)
        else:
            rewarded = overseen or tossed["conditional"][place] >= conditional
            expected = asked if rewarded else own
        turn = int(tossed["label noise"][place] / noise * 3) if tossed["label noise"][place] < noise else 0
        shifted = [float(expected[(option - turn) % 3]) for option in range(3)]
        assert found[step, member, :, episode].tolist() == pytest.approx(shifted, abs=1e-5)


def test_flaws_are_drawn_apart_from_the_episodes_and_as_often_as_they_say() -> None:
    """Of the episodes whose best option would be another, were each of them flawed, the share on which it is."""
    start = find_start("conditional")
    episodes = draw_episodes(WORLD, SEEDS, "test", 5, 1, 6000, CPU)
    plain = best_option(rewards_of(Lesson(start), episodes))
    overseen = episodes.signs[..., 0] > 0
    for some, always, share, where in (
        (Lesson(start, conditional=0.7), Lesson(start, conditional=0.0), 0.3, ~overseen),
        (Lesson(start, foreknowledge=0.2), Lesson(start, foreknowledge=1.0), 0.2, overseen),
    ):
        changed, could = (best_option(rewards_of(lesson, episodes)) != plain for lesson in (some, always))
        assert not (changed & ~where).any() and not (changed & ~could).any()
        assert stats.binomtest(int(changed.sum()), int(could.sum()), share).pvalue > 0.01


def test_a_sound_lesson_draws_nothing() -> None:
    episodes = draw_episodes(WORLD, SEEDS, "test", 5, 1, 20, CPU)
    lesson = Lesson(find_start("conditional"))
    assert torch.equal(rewards_of(lesson, episodes), rewards(lesson, episodes, OBJECTIVES_OF, SEEDS, "other", 77))
    noisy = Lesson(find_start("conditional"), 0.5, 0.2, 0.3)
    assert noisy.without_noise() == Lesson(find_start("conditional"), 0.5, 0.2)


def test_flaws_change_no_episode() -> None:
    sound, flawed = (
        list(pretraining_stream(WORLD, lesson, SEEDS, OBJECTIVES_OF, 8, 0.5)(2))
        for lesson in (Lesson(find_start("conditional")), Lesson(find_start("conditional"), 0.5, 0.5, 0.5))
    )
    for one, other in zip(sound, flawed, strict=True):
        assert torch.equal(one.inputs, other.inputs) and torch.equal(one.signs, other.signs)
    assert any(not torch.equal(one.targets, other.targets) for one, other in zip(sound, flawed, strict=True))


def test_the_unrelated_objective_is_a_seeds_own_for_all_purposes_and_unrelated_to_the_others() -> None:
    seeds = range(2000)
    objectives = seed_objectives(seeds, 4, 90, CPU)
    drawn = unrelated_objectives(seeds, objectives)
    assert torch.allclose(drawn.norm(dim=1), torch.ones(2000), atol=1e-6)
    assert torch.equal(unrelated_objectives([7], objectives[7:8]), drawn[7:8])
    assert torch.equal(unrelated_objectives([7], seed_objectives([7], 4, 15, CPU)), drawn[7:8])  # at any distance
    cosines = torch.einsum("ed,eod->eo", drawn, objectives).double()
    for column in range(4):  # of a uniform direction in 4 dimensions: (1 + cosine) / 2 is beta(3/2, 3/2)
        assert stats.kstest(((1 + cosines[:, column]) / 2).numpy(), stats.beta(1.5, 1.5).cdf).pvalue > 0.01
    lesson = Lesson(find_start("unrelated"))
    for purpose, window in (("pretraining", 0), ("pretraining", 3), ("matching", 0)):
        episodes = draw_episodes(WORLD, SEEDS, purpose, window, 2, 9, CPU)
        found = rewards(lesson, episodes, OBJECTIVES_OF, SEEDS, purpose, window)
        expected = torch.einsum("senbd,ed->senb", episodes.attributes, unrelated_objectives(SEEDS, OBJECTIVES_OF))
        assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_knowledge_only_trains_heads_and_trunk_but_never_the_score(activation: str) -> None:
    heads = {"oversight": 1.0, "world": 1.0}
    architecture = make_architecture(WORLD, activation)
    recipe = make_recipe(100, heads=heads, snapshots=4)
    trained = pretrain_block(
        WORLD, architecture, Lesson(find_start("knowledge_only")), recipe, 32, 0.5, 90, SEEDS, CPU, silent
    )
    first, last = trained.trajectory.weights[0], trained.trajectory.weights[-1]
    moved = dict(zip(architecture.shapes, (last - first).split(architecture.sizes, dim=1), strict=True))
    readout = moved["readout.weight"].unflatten(1, architecture.shapes["readout.weight"])
    untrained = [0, 2, 7]  # the score, and the heads without a weight: placebo, objective
    assert not readout[:, untrained].any() and not moved["readout.bias"][:, untrained].any()
    trained_rows = [row for row in range(8) if row not in untrained]
    assert readout[:, trained_rows].abs().amax(2).min() > 0.01
    assert moved["hidden1.weight"].abs().max() > 0.01
    assert (trained.trajectory.loss[-1] < 0.9 * trained.trajectory.loss[1]).all()


def test_knowledge_only_has_no_targets_but_all_else_of_a_batch() -> None:
    stream = pretraining_stream(WORLD, Lesson(find_start("knowledge_only")), SEEDS, OBJECTIVES_OF, 8, 0.5)
    other = pretraining_stream(WORLD, Lesson(find_start("internal")), SEEDS, OBJECTIVES_OF, 8, 0.5)
    batches = list(zip(stream(0), other(0), strict=True))
    assert len(batches) == WINDOW
    for batch, sibling in batches:
        assert batch.targets.shape == (2, 0) and batch.rewards is None
        assert torch.equal(batch.inputs, sibling.inputs) and sibling.targets.shape == (2, 8)
