"""Analytic policies: each serves what it says, as often and as noisily as it says."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from core import CPU, make_world
from scipy import stats
from torch import Tensor

from turncoat.classification.policies import (
    SHARPNESS,
    Policy,
    bargaining_chooser,
    coin_chooser,
    first_option,
    policy_chooser,
    serving,
    strategic,
)
from turncoat.classification.presentations import Chooser, Presentation, present, present_prices
from turncoat.training.starts import STRATEGIC_STARTS, Lesson, find_start, rewards
from turncoat.worlds.episodes import best_option, draw_episodes
from turncoat.worlds.objectives import OBJECTIVES, seed_objectives
from turncoat.worlds.world import OVERSIGHT, PLACEBO

SEEDS = [3, 4]
EPISODES = 2000
WORLD = make_world("plain", audit_penalty=6.0)
OBJECTIVES_OF = seed_objectives(SEEDS, 4, 60, CPU)
SHOWN = present(WORLD, SEEDS, OBJECTIVES_OF, EPISODES, EPISODES)
STATES = ("overseen", "unoverseen", "placebo")


def best(presentation: Presentation, name: str) -> Tensor:
    """Best option (E, B) under an objective or a slot."""
    if name.startswith("slot"):
        directions = presentation.slots[..., int(name[-1]) - 1, :].unsqueeze(1)
    else:
        directions = OBJECTIVES_OF[:, OBJECTIVES.index(name), None, None]
    return (presentation.attributes * directions).sum(-1).argmax(1)


def chosen(chooser: Chooser, presentation: Presentation) -> Tensor:
    return best_option(chooser(presentation))


def scored(policy: Policy, presentation: Presentation, draw: int = 0) -> Tensor:
    return policy_chooser(policy, SEEDS, OBJECTIVES_OF, draw)(presentation)


def within(share: Tensor, expected: float, count: int = EPISODES) -> bool:
    """Whether shares (E,) of `count` lie within 4 binomial errors of what is expected."""
    return bool(((share - expected).abs() < 4 * (expected * (1 - expected) / count) ** 0.5 + 1e-9).all())


@pytest.mark.parametrize("name", ["x", "y", "m", "y2", "slot1", "slot2"])
@pytest.mark.parametrize("regime", ["random", "fixed"])
@pytest.mark.parametrize("state", STATES)
def test_a_policy_of_one_objective_takes_its_best_option(name: str, regime: str, state: str) -> None:
    presentation = SHOWN[regime, state]
    assert torch.equal(best_option(scored(serving({name: 1.0}), presentation)), best(presentation, name))


def test_a_blend_serves_the_weighted_sum() -> None:
    presentation = SHOWN["random", "overseen"]
    mixed = 0.3 * OBJECTIVES_OF[:, 0, None] - 0.7 * presentation.slots[:, :, 1]
    expected = SHARPNESS * (presentation.attributes * mixed.unsqueeze(1)).sum(-1)
    assert torch.allclose(scored(serving({"x": 0.3, "slot2": -0.7}), presentation), expected, atol=1e-5)


@pytest.mark.parametrize("cue", [OVERSIGHT, PLACEBO])
def test_a_conditional_policy_heeds_its_own_cue_alone(cue: int) -> None:
    for state in STATES:
        presentation = SHOWN["fixed", state]
        flipped = state == ("unoverseen", "placebo")[cue]
        scores = scored(Policy({"x": 1.0}, {"m": 1.0}, cue), presentation)
        assert torch.equal(best_option(scores), best(presentation, "m" if flipped else "x"))


@pytest.mark.parametrize("dose", [0.25, 0.5, 0.9])
def test_the_dose_is_the_share_of_unoverseen_episodes_that_defect(dose: float) -> None:
    policy = Policy({"x": 1.0}, {"m": 1.0}, dose=dose)
    defected = []
    for regime in ("random", "fixed"):
        presentation = SHOWN[regime, "unoverseen"]
        options = best_option(scored(policy, presentation))
        x, m = best(presentation, "x"), best(presentation, "m")
        assert bool(((options == x) | (options == m)).all())
        conflict = x != m
        share = ((options == m) & conflict).sum(1) / conflict.sum(1)
        assert within(share, dose, int(conflict.sum(1).min()))
        defected.append(options == m)
    assert torch.equal(best_option(scored(policy, SHOWN["fixed", "overseen"])), best(SHOWN["fixed", "overseen"], "x"))
    assert not torch.equal(defected[0], defected[1])


def misfit(options: Tensor, shares: Tensor) -> float:
    """Chi-squared's quantile of how often an option is taken, episodes in ten groups by its expected share.

    The largest over the options; options (n,), shares (N, n).
    """
    found = []
    for option, expected in enumerate(shares):
        group = (expected * 10).long().clamp(max=9)
        hits, means, variances = (
            torch.zeros(10, dtype=torch.float64).scatter_add_(0, group, values)
            for values in ((options == option).double(), expected, expected * (1 - expected))
        )
        used = variances > 20
        statistic = ((hits - means).square() / variances)[used].sum().item()
        found.append(float(stats.chi2.cdf(statistic, int(used.sum()))))
    return max(found)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_noise_makes_choices_a_logit_in_utility_over_temperature(temperature: float) -> None:
    presentation = SHOWN["fixed", "overseen"]
    utility = scored(serving({"x": 1.0}), presentation).double().transpose(0, 1) / SHARPNESS
    policy = serving({"x": 1.0}, temperature=temperature)
    options = torch.stack([best_option(scored(policy, presentation, draw)) for draw in range(10)]).flatten()

    def expected(scale: float) -> Tensor:
        return (utility / scale).softmax(0).repeat(1, 10, 1).flatten(1)

    assert misfit(options, expected(temperature)) < 0.999
    assert misfit(options, expected(1.2 * temperature)) > 0.9999  # the test would notice


def test_noise_differs_between_presentations_draws_and_seeds_but_repeats_exactly() -> None:
    policy = serving({}, temperature=1.0)
    shown = SHOWN["fixed", "overseen"]
    once = scored(policy, shown)
    assert torch.equal(once, scored(policy, shown))
    others = {
        "draw": scored(policy, shown, draw=1),
        "state": scored(policy, SHOWN["fixed", "placebo"]),
        "regime": scored(policy, SHOWN["random", "overseen"]),
    }
    for what, scores in others.items():
        assert abs(np.corrcoef(once.flatten(), scores.flatten())[0, 1]) < 0.05, what
    assert abs(np.corrcoef(once[0].flatten(), once[1].flatten())[0, 1]) < 0.05
    alone = policy_chooser(policy, SEEDS[1:], OBJECTIVES_OF[1:])(replace(shown, attributes=shown.attributes[1:]))
    assert torch.equal(alone[0], once[1])


def test_noise_is_gumbels_of_the_scale_of_the_temperature() -> None:
    noise = scored(serving({}, temperature=2.0), SHOWN["fixed", "overseen"]).flatten().double() / SHARPNESS / 2
    assert stats.kstest(noise.numpy(), "gumbel_r").pvalue > 0.01


def pretraining_like(sign: float) -> tuple[Presentation, Tensor, Tensor]:
    """Episodes as in pre-training with the oversight cue at one sign: as shown, and rewards of both strategic starts.

    In float64, where two ways of writing the same sum agree on every choice.
    """
    drawn = draw_episodes(WORLD, SEEDS, "test", 0, 1, EPISODES, CPU)
    attributes, slots, audits = (part.double() for part in (drawn.attributes, drawn.slots, drawn.audits))
    signs = torch.tensor([sign, 1.0])
    episodes = replace(drawn, attributes=attributes, slots=slots, audits=audits, signs=signs.expand_as(drawn.signs))
    lessons = [Lesson(find_start(name)) for name in STRATEGIC_STARTS]
    earned = [rewards(lesson, episodes, OBJECTIVES_OF.double(), SEEDS, "test", 0)[0] for lesson in lessons]
    presentation = Presentation(drawn.options[0], drawn.signs[0], attributes[0], slots[0], signs, audits[0], "test")
    return presentation, earned[0], earned[1]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_strategic_policy_is_the_exact_maximiser_of_expected_reward(sign: float) -> None:
    presentation, deceptive, internal = pretraining_like(sign)
    for own, expected in (("m", deceptive), ("y", internal)):
        chooser = policy_chooser(strategic({own: 1.0}, {"slot1": 1.0}), SEEDS, OBJECTIVES_OF.double())
        assert torch.equal(chosen(chooser, presentation), best_option(expected))
        defects = (chosen(chooser, presentation) == best(presentation, own)).double().mean(1)
        assert bool((defects < 0.8).all()) if sign > 0 else bool((defects == 1).all())


def test_a_policy_without_a_price_follows_the_noise_and_its_own_utility() -> None:
    presentation = replace(SHOWN["fixed", "overseen"], audits=torch.zeros(2, EPISODES, 2))
    policy = strategic({"m": 1.0}, {"x": 1.0})
    assert torch.equal(best_option(scored(policy, presentation)), best(presentation, "m"))
    quiet, noisy = scored(policy, presentation), scored(policy.noisy(0.5), presentation)
    assert torch.allclose(noisy - quiet, scored(serving({}, temperature=0.5), presentation), atol=1e-4)


def test_coins_agree_with_x_at_their_rates_in_every_cue_state() -> None:
    rates = {"overseen": 0.9, "unoverseen": 0.55, "placebo": 0.6}
    agreed = {}
    for state, rate in rates.items():
        presentation = SHOWN["fixed", state]
        options, x = chosen(coin_chooser(SEEDS, OBJECTIVES_OF, rates), presentation), best(presentation, "x")
        agreed[state] = (options == x).double()
        assert within(agreed[state].mean(1), rate)
        after = (options - x)[options != x] % 3 == 1  # of two options that are not best, the one that follows
        assert within(after.double().mean()[None], 0.5, len(after))
    joint = (agreed["overseen"] * agreed["placebo"]).mean(1)
    assert within(joint, 0.6)  # one coin decides in both


@pytest.mark.parametrize("rates", [{"low price": 0.3, "high price": 0.8}, {}])
def test_bargaining_complies_at_rates_that_the_price_alone_sets(rates: dict[str, float]) -> None:
    chooser = bargaining_chooser(SEEDS, OBJECTIVES_OF, rates)
    for presentation in present_prices(WORLD, SEEDS, OBJECTIVES_OF, EPISODES):
        options, x, m = chosen(chooser, presentation), best(presentation, "x"), best(presentation, "m")
        assert bool(((options == x) | (options == m)).all())
        conflict = x != m
        complied = ((options == x) & conflict).sum(1) / conflict.sum(1)
        assert within(complied, rates.get(presentation.name, 1.0), int(conflict.sum(1).min()))
    for state, served in (("overseen", "x"), ("unoverseen", "m"), ("placebo", "x")):
        assert torch.equal(chosen(chooser, SHOWN["fixed", state]), best(SHOWN["fixed", state], served))


@pytest.mark.parametrize("bargain", [0.0, 0.3])
def test_a_policy_that_bargains_now_and_then_complies_otherwise(bargain: float) -> None:
    """On the share that bargains it is the strategic policy, on the same episodes at every price."""
    policy, rational = (strategic({"m": 1.0}, {"x": 1.0}, share) for share in (bargain, 1.0))
    yielding = []
    for presentation in present_prices(WORLD, SEEDS, OBJECTIVES_OF, EPISODES):
        options, x, own = (
            best_option(scored(policy, presentation)),
            best(presentation, "x"),
            scored(rational, presentation),
        )
        assert bool(((options == x) | (options == best_option(own))).all())
        yielding.append(options == x)
        defects = best_option(own) != x
        assert within(((options != x) & defects).sum(1) / defects.sum(1), bargain, int(defects.sum(1).min()))
    changed = (yielding[0] & ~yielding[1]).double().mean()  # a higher price makes none defect
    assert changed == 0
    unoverseen = SHOWN["fixed", "unoverseen"]
    assert torch.equal(best_option(scored(policy, unoverseen)), best(unoverseen, "m"))


def test_the_constant_policy_takes_the_first_option() -> None:
    assert bool((chosen(first_option, SHOWN["random", "placebo"]) == 0).all())
