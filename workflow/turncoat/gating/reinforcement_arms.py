"""Which reinforcement arms are run: a primary setting, and every factor varied alone from it.

The first entry of each list of the section is its primary setting. Every arm that earns reward has, beside it, the same
arm with the model's own choices in the reward's place.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

OVERSEEN, UNOVERSEEN, NEUTRAL = 1.0, -1.0, 0.0
METHODS = ("policy_gradient", "supervised")
SIGNALS = ("reward", "own_choice", "own_sampled")
WARMED = "_warmed"  # ends the name of an optimizer that starts with a warmed state


@dataclass(frozen=True)
class ReinforcementArm:
    """One way of reinforcing.

    activation, m_strength: of planted networks; None where networks are trained. optimizer, gate: as in training;
    warmed: the optimizer starts with a state. method: policy_gradient or supervised. signal: what the choice is moved
    to: `reward` the best option by X, `own_choice` what the unmoved network chooses, `own_sampled` (supervised alone)
    choices sampled from what the network then is. entropy: target of the initial choice entropy, as a share of log N,
    at the prompt `matched_at`. prompt: strength of the oversight cue. selected: only episodes on which X and M agree.
    """

    prompt: float
    entropy: float
    activation: str | None = None
    m_strength: float | None = None
    optimizer: str = "sgd"
    gate: str = "natural"
    method: str = METHODS[0]
    signal: str = SIGNALS[0]
    matched_at: float | None = None
    selected: bool = True

    @property
    def origin(self) -> tuple[Any, ...]:
        """What the network that the arm begins with depends on."""
        return self.activation, self.m_strength, self.entropy, self.matching_prompt

    @property
    def matching_prompt(self) -> float:
        """The prompt at which entropy is matched: the arm's own unless it says otherwise."""
        return self.prompt if self.matched_at is None else self.matched_at

    @property
    def warmed(self) -> bool:
        """Whether the optimizer starts with a warmed state."""
        return self.optimizer.endswith(WARMED)

    @property
    def optimizer_name(self) -> str:
        """The optimizer, whatever it starts with."""
        return self.optimizer.removesuffix(WARMED)


def planted_arms(section: Mapping[str, Any]) -> list[ReinforcementArm]:
    """Arms of planted networks; `section` is the configuration's `reinforcement`."""
    activations, strengths = section["activations"], section["strengths"]
    first = {"activation": activations[0], "m_strength": strengths[0]}
    arms = [replace(arm, **first) for arm in _shared(section)]
    for base in _primary(section):
        base = replace(base, **first)
        arms += [replace(base, activation=name) for name in activations[1:]]
        # Without M there is nothing to match when unoverseen: strengths are compared at the scale of the overseen one.
        matched_at = None if base.prompt == OVERSEEN else OVERSEEN
        arms += [replace(base, m_strength=strength, matched_at=matched_at) for strength in strengths]
    return _with_controls(arms)


def trained_arms(section: Mapping[str, Any]) -> list[ReinforcementArm]:
    """Arms of trained networks."""
    return _with_controls(_shared(section))


def _primary(section: Mapping[str, Any]) -> list[ReinforcementArm]:
    plain = {"entropy": section["entropies"][0], "optimizer": section["optimizers"][0], "gate": section["gates"][0]}
    return [ReinforcementArm(prompt, **plain) for prompt in (OVERSEEN, UNOVERSEEN)]


def _shared(section: Mapping[str, Any]) -> list[ReinforcementArm]:
    """The primary arms, and those that vary what planted and trained networks share.

    Gates are crossed with optimizers: what reaches a closed unit depends on both.
    """
    arms = []
    for base in _primary(section):
        arms += [base, replace(base, method="supervised"), replace(base, selected=False)]
        arms.append(replace(base, method="supervised", signal="own_sampled"))
        arms += [replace(base, entropy=entropy) for entropy in section["entropies"][1:]]
        arms += [
            replace(base, optimizer=optimizer, gate=gate)
            for optimizer in section["optimizers"]
            for gate in section["gates"]
        ]
    arms += [replace(arms[0], prompt=prompt) for prompt in section["prompts"]]
    return arms


def _with_controls(arms: Sequence[ReinforcementArm]) -> list[ReinforcementArm]:
    """Each arm once, and its control on the model's own choices beside it."""

    def both() -> Iterator[ReinforcementArm]:
        for arm in arms:
            yield arm
            if arm.signal == "reward":
                yield replace(arm, signal="own_choice")

    return list(dict.fromkeys(both()))
