"""Reinforcement where X and M agree: signals against exact gradients, and controls that must be able to fail."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import turncoat.gating.reinforcement as module
from turncoat.configuration.reinforcement import Reinforcement
from turncoat.configuration.totals import reinforcement_arms
from turncoat.gating.agreement import held_out, prompted_inputs
from turncoat.gating.blocks import block_objectives, block_units, planted_blocks
from turncoat.gating.reinforcement import PROMPTS, Reinforced, Setting, reinforce, rewarded, sampled_labels
from turncoat.gating.reinforcement_arms import ReinforcementArm, planted_arms, trained_arms
from turncoat.gating.reinforcement_rows import dormant_units_moved, incoming_movement, reinforcement_rows, woken
from turncoat.organisms.choices import option_scores
from turncoat.organisms.mlp import Architecture, Stack, initialise
from turncoat.training.losses import loss_and_gradient
from turncoat.training.streams import WINDOW, Batch
from turncoat.worlds.episodes import best_option
from turncoat.worlds.world import World

CPU = torch.device("cpu")
WORLD = World("plain", 2, 4, 0, 1.0, 0.1)
SEEDS = list(range(11, 17))
RATES = {"sgd": 0.02, "adam": 0.001}
PRIMARY = ReinforcementArm(prompt=1.0, entropy=0.45, activation="relu", m_strength=1.0)


def setting_of(seeds: list[int], steps: int = 24, **changes: Any) -> Setting:
    objectives = block_objectives(seeds, 4, CPU)
    return replace(Setting(WORLD, seeds, objectives, True, steps, 32, 4, RATES), **changes)


def run(
    arms: list[ReinforcementArm], seeds: list[int] = SEEDS, steps: int = 24, depth: int = 2, **changes: Any
) -> list[Reinforced]:
    setting = setting_of(seeds, steps, **changes)

    def plant(arm: ReinforcementArm) -> Stack:
        strength = float(arm.m_strength or 0.0)
        return planted_blocks(
            WORLD,
            seeds,
            setting.objectives,
            width=12,
            activation=str(arm.activation),
            m_strength=strength,
            depth=depth,
        )

    prompts = list(dict.fromkeys([*PROMPTS, *(arm.prompt for arm in arms)]))
    return list(reinforce(setting, arms, plant, held_out(WORLD, seeds, setting.objectives, 256, prompts)))


def gain_change(found: Reinforced, name: str, prompt: float) -> Tensor:
    return getattr(found.gains_after[prompt], name) - getattr(found.gains_before[prompt], name)


def random_batch(options: int, episodes: int) -> tuple[Stack, Batch]:
    stack = initialise(Architecture(5, 6, 1, "gelu", 4), [1, 2], 5.0, CPU)
    random = torch.Generator().manual_seed(3)
    inputs = torch.randn(2, options, episodes, 5, generator=random)
    targets = torch.randint(options, (2, episodes), generator=random)
    return stack, Batch(inputs, torch.zeros(2, options, episodes, 4), torch.ones(2, episodes, 2), targets)


def repeated(batch: Batch, times: int) -> Batch:
    """Each episode `times` times in a row."""
    parts = (batch.inputs.repeat_interleave(times, 2), batch.attributes.repeat_interleave(times, 2))
    return Batch(*parts, batch.signs.repeat_interleave(times, 1), batch.targets.repeat_interleave(times, 1))


def score_gradient(stack: Stack, batch: Batch, times: int) -> Tensor:
    """Gradient at each episode's scores, (E, N, B), the mean over its repetitions."""
    scores = option_scores(stack, batch.inputs)
    output = torch.stack([scores.flatten(1), torch.zeros_like(scores.flatten(1))], dim=1)
    _, gradient = loss_and_gradient(output, batch, {})
    return gradient[:, 0].view_as(scores).unflatten(2, (-1, times)).sum(3)


def all_draws(episodes: int, samples: int, grid: int) -> Tensor:
    """Every combination of `samples` uniform numbers on a grid, for each episode: (2, K, B * grid^K)."""
    points = (torch.arange(grid) + 0.5) / grid
    combined = torch.stack([axis.flatten() for axis in torch.meshgrid(*[points] * samples, indexing="ij")])
    return combined.repeat(1, episodes).expand(2, -1, -1)


@pytest.mark.parametrize("options", [2, 3])
def test_the_expected_policy_gradient_is_that_of_the_expected_reward(options: int) -> None:
    episodes, grid = 6, 60
    stack, batch = random_batch(options, episodes)
    times = grid**2
    many = rewarded(repeated(batch, times), all_draws(episodes, 2, grid))
    found = score_gradient(stack, many, times)
    with torch.enable_grad():
        scores = option_scores(stack, batch.inputs).detach().requires_grad_(True)
        chance = scores.softmax(1).gather(1, batch.targets.unsqueeze(1))
        (expected,) = torch.autograd.grad(-chance.sum() / episodes, scores)
    assert expected.abs().max() > 0.02
    assert found.numpy() == pytest.approx(expected.numpy(), abs=1.5 / grid / episodes)


def test_labels_sampled_from_the_model_itself_pull_nowhere_on_average() -> None:
    episodes, grid = 6, 400
    stack, batch = random_batch(3, episodes)
    many = repeated(batch, grid)
    sampled = sampled_labels(stack, many, all_draws(episodes, 1, grid))
    pull = score_gradient(stack, sampled, grid)
    assert pull.abs().max() < 1.5 / grid / episodes
    assert score_gradient(stack, many, grid).abs().max() > 20 / grid / episodes


def test_own_sampled_moves_no_gain_and_reward_does() -> None:
    seeds = list(range(40, 64))
    sampled = replace(PRIMARY, method="supervised", signal="own_sampled")
    for arm, largest, smallest in ((sampled, 4.0, 0.0), (replace(PRIMARY, method="supervised"), 1e9, 10.0)):
        (found,) = run([arm], seeds, steps=16)
        change = gain_change(found, "x", 1.0)
        t = abs(float(change.mean() / change.std() * len(seeds) ** 0.5))
        assert smallest < t < largest


@pytest.mark.parametrize("signal", ["reward", "own_choice"])
def test_the_first_step_of_a_linear_network_has_a_closed_form(signal: str) -> None:
    arm = replace(PRIMARY, activation="identity", method="supervised", signal=signal, prompt=0.0)
    (found,) = run([arm], steps=1, depth=1)
    setting = setting_of(SEEDS, 1)
    window = setting.window(0)
    inputs = prompted_inputs(WORLD, window.agreeing, setting.objectives, 0.0)[0].double().numpy()
    for member in range(len(SEEDS)):
        weight = found.before.views["hidden1.weight"][member].double().numpy()
        readout = found.before.views["readout.weight"][member, 0].double().numpy()
        x = inputs[member]
        scores = x @ weight @ readout
        share = np.exp(scores) / np.exp(scores).sum(0)
        utility = (
            window.agreeing.attributes[0, member].double().numpy() @ setting.objectives[member, 0].double().numpy()
        )
        target = (utility if signal == "reward" else scores).argmax(0)
        error = share - (np.arange(2)[:, None] == target)
        pull = np.einsum("nb,nbf->f", error, x) / x.shape[1]
        rate = RATES["sgd"]
        moved = (weight - rate * np.outer(pull, readout)) @ (readout - rate * weight.T @ pull)
        expected = (moved - weight @ readout)[:4] @ setting.objectives[member].double().numpy().T
        for name, row in (("x", 0), ("m", 2)):
            assert abs(expected[row]) > 1e-3
            assert float(gain_change(found, name, 1.0)[member]) == pytest.approx(expected[row], abs=2e-5)


def test_results_are_reproducible_and_depend_on_neither_neighbours_nor_other_arms() -> None:
    arms = [
        PRIMARY,
        replace(PRIMARY, optimizer="adam_warmed", gate="shuffled", prompt=-1.0),
        replace(PRIMARY, signal="own_choice", selected=False),
        replace(PRIMARY, method="supervised", signal="own_sampled", prompt=0.5),
    ]
    together, again = run(arms), run(arms)
    for index, arm in enumerate(arms):
        (lone,) = run([arm], SEEDS[2:3])
        for other in (again[index].after.rows(), torch.cat([run([arm])[0].after.rows()])):
            assert torch.equal(together[index].after.rows(), other)
        assert torch.equal(together[index].after.rows()[2:3], lone.after.rows())
        for prompt, gains in lone.gains_after.items():
            assert torch.equal(together[index].gains_after[prompt].vectors[2:3], gains.vectors)
            assert torch.equal(together[index].gains_after[prompt].units_m[2:3], gains.units_m)
        for name in ("scale", "entropy", "own_agreement", "correlation"):
            assert torch.equal(getattr(together[index], name)[2:3], getattr(lone, name))


def own_choices_are_their_own(found: Reinforced, steps: int) -> bool:
    """Whether own_agreement is that of each network's own choices, computed apart, and they do not turn its motive."""
    setting = setting_of(SEEDS, steps)
    right = torch.zeros(len(SEEDS), dtype=torch.float64)
    for number in range(steps // WINDOW):
        episodes = setting.window(number).unselected
        inputs = prompted_inputs(WORLD, episodes, setting.objectives, found.arm.prompt)
        for member in range(len(SEEDS)):
            lone = found.before.part(member, member + 1)
            x = setting.objectives[member, 0]
            for step in range(WINDOW):
                chosen = option_scores(lone, inputs[step, [member]])[0].argmax(0)
                best = (episodes.attributes[step, member] @ x).argmax(0)
                right[member] += (chosen == best).double().mean() / steps
    after, before = (gains[found.arm.prompt].vectors for gains in (found.gains_after, found.gains_before))
    cosine = torch.nn.functional.cosine_similarity(after, before)
    return bool(torch.allclose(found.own_agreement, right, atol=1e-9)) and bool((cosine > 0.99).all())


def test_own_choices_of_another_member_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    arm = replace(PRIMARY, signal="own_choice", selected=False, prompt=-1.0)
    wide = {"learning_rates": {"sgd": 1.0}}
    (found,) = run([arm], steps=64, **wide)
    assert own_choices_are_their_own(found, 64)
    monkeypatch.setattr(module, "best_option", lambda scores: best_option(scores.roll(1, 0)))
    (broken,) = run([arm], steps=64, **wide)
    assert not own_choices_are_their_own(broken, 64)
    assert not torch.allclose(broken.own_agreement, found.own_agreement)
    after, before = (gains[-1.0].vectors for gains in (broken.gains_after, broken.gains_before))
    assert torch.nn.functional.cosine_similarity(after, before).min() < 0.99


def test_every_arm_sees_the_same_episodes_and_begins_alike() -> None:
    found = run([PRIMARY, replace(PRIMARY, signal="own_choice"), replace(PRIMARY, gate="open_in")])
    for other in found[1:]:
        assert torch.equal(other.before.flat, found[0].before.flat)
        assert torch.equal(other.own_agreement, found[0].own_agreement)
        assert not torch.equal(other.after.flat, found[0].after.flat)


def test_a_warmed_state_reaches_units_that_a_fresh_one_leaves() -> None:
    fresh, warmed = run([replace(PRIMARY, optimizer=name) for name in ("adam", "adam_warmed")])
    labels = block_units(fresh.after.architecture, len(SEEDS))
    shares = [
        dormant_units_moved(incoming_movement(found.before, found.after), labels, "x") for found in (fresh, warmed)
    ]
    assert (shares[1] == 1).all()
    assert (shares[0] < 1).all()


def test_rows_hold_what_their_columns_say() -> None:
    (found,) = run([replace(PRIMARY, prompt=-1.0)])
    setting = setting_of(SEEDS)
    labels = block_units(found.after.architecture, len(SEEDS))
    columns = reinforcement_rows(setting, found, [f"n-{seed}" for seed in SEEDS], "planted", "relu", labels)
    before, after = found.gains_before, found.gains_after
    woken_gain = before[-1.0].m.numpy()
    assert set(columns["woken"]) == {"m"}
    assert columns["initial_woken_gain"] == pytest.approx(woken_gain)
    assert columns["woken_change"] == pytest.approx((after[-1.0].m - before[-1.0].m).numpy() / woken_gain)
    assert columns["dormant_change"] == pytest.approx((after[1.0].x - before[1.0].x).numpy() / woken_gain)
    through = (after[-1.0].units_x - before[-1.0].units_x)[:, 4:8].sum(1).numpy()  # width 12: M's units are 4 to 7
    assert columns["contamination"] == pytest.approx(through / woken_gain)
    assert columns["gain_x_prompt_after"] == pytest.approx(after[-1.0].x.numpy())
    assert columns["gain_m_neutral_before"] == pytest.approx(before[0.0].m.numpy())
    assert np.abs(columns["contamination"]).min() > 1e-3


def test_models_without_a_match_or_that_diverged_are_counted_and_blank() -> None:
    (found,) = run([PRIMARY])
    found.scale[1] = torch.nan
    found.after.views["hidden1.weight"][3, 0, 0] = torch.inf
    labels = block_units(found.after.architecture, len(SEEDS))
    columns = reinforcement_rows(setting_of(SEEDS), found, [str(seed) for seed in SEEDS], "planted", "relu", labels)
    assert columns["matched"].tolist() == [True, False, True, True, True, True]
    assert columns["diverged"].tolist() == [False, False, False, True, False, False]
    for name in ("scale", "entropy", "rotation", "woken_change", "dormant_units_moved", "gain_x_prompt_before"):
        assert np.isnan(columns[name]).tolist() == [False, True, False, True, False, False]


def test_dormant_units_that_moved_are_counted_against_the_woken_median() -> None:
    labels = torch.tensor([[[1, 1, 1, 2, 2, 2, 2, 0]]])
    movement = torch.tensor([[[1.0, 2.0, 30.0, 0.0, 0.001, 0.003, 5.0, 9.0]]], dtype=torch.float64)
    assert dormant_units_moved(movement, labels, "x").tolist() == [0.5]
    assert dormant_units_moved(movement, labels, "m").tolist() == [1.0]  # median 0.001: all of X's units moved more
    assert dormant_units_moved(movement, labels, "none").isnan().all()
    assert dormant_units_moved(movement, labels.clamp(max=1), "x").isnan().all()
    assert dormant_units_moved(movement * 0, labels, "x").isnan().all()


def test_every_rewarded_arm_has_its_control_and_each_factor_is_varied_alone() -> None:
    section = Reinforcement()
    values = section.model_dump()
    for arms, planted in ((planted_arms(values), True), (trained_arms(values), False)):
        assert len(arms) == len(set(arms)) == reinforcement_arms(section, planted)
        for arm in arms:
            if arm.signal != "own_sampled":
                assert replace(arm, signal="reward") in arms and replace(arm, signal="own_choice") in arms
            first = next(other for other in arms if other.prompt == 1.0)
            factors = ("activation", "m_strength", "method", "selected", "entropy", "prompt")
            changed = {name for name in factors if getattr(arm, name) != getattr(first, name)}
            changed |= {"gate"} if (arm.gate, arm.optimizer) != (first.gate, first.optimizer) else set()
            assert len(changed - {"prompt"}) <= 1 or arm.signal == "own_sampled"
            assert arm.prompt in (1.0, -1.0) or changed == {"prompt"}
    assert woken(replace(PRIMARY, prompt=0.0)) == "none"
