"""Same answer, different motive: what training on agreeing episodes at one prompt does to the gains of X and M.

Every arm of a seed sees the same episodes. `reward` pays 1 for the best option by X, which on agreeing episodes is M's
too; `own_choice` pays 1 for what the network chose before it was moved. What reward does beyond being trained on such
inputs is the difference of the two (DESIGN 6).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from turncoat.gating.agreement import PURPOSE, Window, best_by_x, draw_window, prompted_inputs, selection_correlation
from turncoat.gating.gains import Gains, HeldOut, measure_gains
from turncoat.gating.reinforcement_arms import NEUTRAL, OVERSEEN, UNOVERSEEN, ReinforcementArm
from turncoat.gating.temperature import choice_entropy, matching_scale, scaled
from turncoat.organisms.choices import option_scores
from turncoat.organisms.gates import GateControl, GatedBackward, gated_backward_of
from turncoat.organisms.mlp import SCORE_COLUMNS, Stack
from turncoat.training.divergence import exploded
from turncoat.training.loop import Recipe, train_step, warmed_state
from turncoat.training.optimizers import Optimizer, make_optimizer
from turncoat.training.streams import WINDOW, Batch
from turncoat.worlds.episodes import best_option
from turncoat.worlds.world import OVERSIGHT, World

PROMPTS = (OVERSEEN, UNOVERSEEN, NEUTRAL)  # at which every arm's gains are measured
WARM_STEPS = 6 * WINDOW
"""Steps that warm an optimizer's state: rewarded, on agreeing episodes of which half are overseen, at natural gates."""


@dataclass(frozen=True)
class Setting:
    """What all arms share: the world, E seeds with objectives (E, 4, d), whether X and M read separate blocks of
    attributes, steps, episodes a step, choices sampled an episode, learning rate by optimizer."""

    world: World
    seeds: Sequence[int]
    objectives: Tensor
    separate: bool
    steps: int
    batch: int
    samples: int
    learning_rates: Mapping[str, float]

    def window(self, number: int, purpose: str = PURPOSE) -> Window:
        """A window of training episodes."""
        return draw_window(
            self.world, self.seeds, self.objectives, purpose, number, WINDOW, self.batch, self.samples, self.separate
        )

    def recipe(self, arm: ReinforcementArm) -> Recipe:
        """How an arm is trained, gates apart."""
        return Recipe(self.steps, arm.optimizer_name, self.learning_rates[arm.optimizer_name], {}, 2)


@dataclass(frozen=True)
class Reinforced:
    """What became of E members in one arm.

    before, after: the stacks; gains_before, gains_after: by prompt, at PROMPTS and at the arm's own. scale: factor of
    the scores that matched the entropy, (E,), NaN where there is none; entropy: what it then was at the arm's prompt,
    in nats. own_agreement: share of the training episodes on which the unmoved network chooses the best option by X;
    correlation: of X's and M's utility among them, (E,) all.
    """

    arm: ReinforcementArm
    before: Stack
    after: Stack
    gains_before: Mapping[float, Gains]
    gains_after: Mapping[float, Gains]
    scale: Tensor
    entropy: Tensor
    own_agreement: Tensor
    correlation: Tensor

    @property
    def diverged(self) -> Tensor:
        """Members whose weights have exploded in the end, or whose gains are not finite, (E,)."""
        vectors = torch.stack([gains.vectors for gains in self.gains_after.values()])
        return exploded(self.after) | ~vectors.isfinite().all(2).all(0)


@dataclass
class _Run:
    arm: ReinforcementArm
    origin: Stack
    scale: Tensor
    stack: Stack
    recipe: Recipe
    optimizer: Optimizer
    gradient: Stack
    gated: GatedBackward | None
    right: Tensor


def reinforce(
    setting: Setting,
    arms: Sequence[ReinforcementArm],
    make_stack: Callable[[ReinforcementArm], Stack],
    held_out: HeldOut,
) -> Iterator[Reinforced]:
    """Train every arm from the network that `make_stack` gives for it, and measure it before and after.

    `held_out` has the gains' prompts. Neither members nor arms ever mix: each result is that of training it alone.
    """
    first = setting.window(0)
    origins: dict[tuple[Any, ...], tuple[Stack, Tensor]] = {}
    states: dict[tuple[Any, ...], dict[str, Tensor]] = {}
    runs = []
    for arm in arms:
        if arm.origin not in origins:
            origins[arm.origin] = _matched(setting, arm, make_stack(arm), first)
        origin, scale = origins[arm.origin]
        stack = origin.with_flat(origin.flat.clone())
        recipe = setting.recipe(arm)
        state = None
        if arm.warmed:
            key = (*arm.origin, arm.optimizer, arm.method)
            states[key] = states.get(key) or _warmed(setting, arm, stack, recipe)
            state = states[key]
        runs.append(
            _Run(
                arm,
                origin,
                scale,
                stack,
                recipe,
                make_optimizer(recipe.optimizer, stack.flat, recipe.learning_rate, state),
                stack.with_flat(torch.zeros_like(stack.flat)),
                gated_backward_of(GateControl(arm.gate), setting.seeds, stack, f"{PURPOSE} gate shuffle"),
                scale.new_zeros(len(scale)),
            )
        )
    for number in range(-(-setting.steps // WINDOW)):
        window = first if number == 0 else setting.window(number)
        _train_window(setting, runs, window, min(WINDOW, setting.steps - number * WINDOW))
    yield from _measured(setting, runs, first, held_out)


def _matched(setting: Setting, arm: ReinforcementArm, stack: Stack, window: Window) -> tuple[Stack, Tensor]:
    """The network at the arm's temperature, and the factor that took it there."""
    inputs = prompted_inputs(setting.world, window.agreeing, setting.objectives, arm.matching_prompt)
    scale = matching_scale(option_scores(stack, _together(inputs)), arm.entropy)
    return scaled(stack, scale), scale


def _train_window(setting: Setting, runs: Sequence[_Run], window: Window, steps: int) -> None:
    """Train every run on the first `steps` steps of a window."""
    shown: dict[tuple[float, bool], Tensor] = {}
    own: dict[tuple[Any, ...], Tensor] = {}
    for run in runs:
        arm = run.arm
        episodes = window.episodes(arm.selected)
        key = (arm.prompt, arm.selected)
        if key not in shown:
            shown[key] = prompted_inputs(setting.world, episodes, setting.objectives, arm.prompt)
        if (*key, arm.origin) not in own:
            scores = option_scores(run.origin, _together(shown[key]))
            own[*key, arm.origin] = best_option(scores).unflatten(1, (WINDOW, -1)).transpose(0, 1)
        best, chosen = best_by_x(episodes, setting.objectives), own[*key, arm.origin]
        run.right += (best[:steps] == chosen[:steps]).double().mean(2).sum(0) / setting.steps
        labels = chosen if arm.signal == "own_choice" else best
        for step in range(steps):
            batch = Batch(shown[key][step], episodes.attributes[step], episodes.signs[step], labels[step])
            if arm.signal == "own_sampled":
                batch = sampled_labels(run.stack, batch, window.draws[step])
            elif arm.method == "policy_gradient":
                batch = rewarded(batch, window.draws[step])
            train_step(run.stack, batch, run.recipe, SCORE_COLUMNS, run.optimizer, run.gradient, gated=run.gated)


def rewarded(batch: Batch, draws: Tensor) -> Batch:
    """The batch with reward 1 for its targets and 0 for other options, sampled with draws (E, K, B)."""
    options = batch.inputs.shape[1]
    earned = torch.nn.functional.one_hot(batch.targets, options).transpose(1, 2).to(batch.inputs)
    return Batch(batch.inputs, batch.attributes, batch.signs, batch.targets, earned, draws)


def sampled_labels(stack: Stack, batch: Batch, draws: Tensor) -> Batch:
    """The batch with targets sampled from the network's own choice probabilities: their expected gradient is zero."""
    below = option_scores(stack, batch.inputs).softmax(1).cumsum(1)[:, :-1]
    return Batch(batch.inputs, batch.attributes, batch.signs, (draws[:, :1] >= below).sum(1))


def _warmed(setting: Setting, arm: ReinforcementArm, stack: Stack, recipe: Recipe) -> dict[str, Tensor]:
    def serve(number: int) -> Iterator[Batch]:
        window = setting.window(number, f"{PURPOSE} warming")
        episodes = window.agreeing
        inputs = prompted_inputs(setting.world, episodes, setting.objectives, episodes.signs[..., OVERSIGHT])
        best = best_by_x(episodes, setting.objectives)
        for step in range(WINDOW):
            batch = Batch(inputs[step], episodes.attributes[step], episodes.signs[step], best[step])
            yield rewarded(batch, window.draws[step]) if arm.method == "policy_gradient" else batch

    return warmed_state(stack, serve, recipe, WARM_STEPS)


def _measured(setting: Setting, runs: Sequence[_Run], window: Window, held_out: HeldOut) -> Iterator[Reinforced]:
    before: dict[tuple[Any, ...], Gains] = {}
    entropies: dict[tuple[Any, ...], Tensor] = {}
    correlations: dict[bool, Tensor] = {}
    for run in runs:
        arm = run.arm
        episodes, prompts = window.episodes(arm.selected), (*PROMPTS, arm.prompt)
        for prompt in prompts:
            if (*arm.origin, prompt) not in before:
                before[*arm.origin, prompt] = measure_gains(run.origin, held_out, setting.objectives, [prompt])[prompt]
        key = (*arm.origin, arm.prompt, arm.selected)
        if key not in entropies:
            inputs = prompted_inputs(setting.world, episodes, setting.objectives, arm.prompt)
            entropies[key] = choice_entropy(option_scores(run.origin, _together(inputs)))
        if arm.selected not in correlations:
            correlations[arm.selected] = selection_correlation(episodes, setting.objectives)
        yield Reinforced(
            arm,
            run.origin,
            run.stack,
            {prompt: before[*arm.origin, prompt] for prompt in prompts},
            measure_gains(run.stack, held_out, setting.objectives, prompts),
            run.scale,
            entropies[key],
            run.right,
            correlations[arm.selected],
        )


def _together(inputs: Tensor) -> Tensor:
    """All steps' episodes of a window side by side: (S, E, N, B, F) to (E, N, S * B, F)."""
    return inputs.permute(1, 2, 0, 3, 4).flatten(2, 3)
