"""Causal test: does one direction per hidden layer carry what the oversight cue does to the choice? (DESIGN 5)

A direction that merely tells overseen from unoverseen states need not be used. So it is found on one half of the
episodes, and the hidden states of the other half are moved along it while the network runs on: interchange
interventions (Geiger et al. 2021), activation addition and directional ablation (Arditi et al. 2024).

What a share can and cannot say:
- The direction is a mean over options, but a choice depends on what differs between options. The readout is linear:
  in the last layer `add` moves all scores of an episode alike and carries 0 whatever the direction, and swap and ablate
  may carry nothing of a gap that passes through that layer whole. A small share there is no evidence against gating;
  the earlier layers, where the cue still has to be combined with the options, are the ones to read.
- Untrained networks have gaps too, and as a cue enters them along one direction, theirs outdoes random directions
  in the first layer: swapped, it carries 0.13 to 0.20 on average (two layers of 48 units, all encodings but `product`,
  two or three options), with p < 0.05 in six networks of ten. Not p but the size of the share shows learning.
- Ablating a random direction mixes what the options hold into a gate, and may close or widen a gap by much: read its
  share beside the random directions' largest.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from turncoat.columns import Columns
from turncoat.organisms.choices import agreement, chosen_option
from turncoat.organisms.hidden import HiddenStates
from turncoat.seeding import generator

STATES = ("overseen", "unoverseen", "placebo")
INTERVENTIONS = ("swap", "add", "ablate")
SMALLEST_GAP = 0.1  # of a smaller gap a share is noise: with two options and 128 episodes, it is six choices
LOW, HIGH = 0.05, 0.95
SHARES = (
    "carried",
    "placebo_carried",
    "random_mean",
    "random_low",
    "random_high",
    "random_largest",
    "random_p",
)


def causal_test(
    organism: HiddenStates, inputs: Mapping[str, Tensor], seeds: Sequence[int], random_directions: int = 200
) -> Columns:
    """Share of the oversight gap that one direction of each hidden layer carries, beside placebo and random ones.

    `inputs` shows the same B episodes to E organisms in the states overseen, unoverseen and placebo, each
    (E, N, B, F). The first half finds the directions: the oversight direction is the mean over options and episodes of
    h overseen - h unoverseen, the placebo direction that of h overseen - h placebo. Random directions are isotropic.
    Placebo and random directions are given the oversight direction's length. The second half measures. `gap` is
    1 - kappa of the unoverseen with the overseen choice, kappa = (a - 1/N) / (1 - 1/N) of their agreement a. Along the
    unit vector of each direction,

    - swap: the unoverseen run gets the component that the overseen run has on the same option;
    - add: the unoverseen run gets the whole direction added;
    - ablate: both runs get the component's mean over both states of the first half.

    `carried` is the share of the gap that is then closed, 1 - (1 - a after) / (1 - a before): 1 all of it, 0 nothing,
    below 0 it grew. (Kappa would give the same.) The agreement is with the model's own overseen choice; for ablate,
    of both ablated runs with each other.

    Returns one row per member, layer and intervention, in that order: seed, layer, intervention, gap, carried,
    placebo_carried, random_mean, random_low and random_high (5 % and 95 % quantile), random_largest, random_p, norm and
    placebo_norm (lengths as found), directions (how many random ones). random_p is (1 + random directions that
    carry at least as much) / (1 + all), the Monte Carlo p of Phipson and Smyth (2010). Shares are NaN where the gap is
    below SMALLEST_GAP or NaN, or a moved score is not finite; gap and lengths are NaN where a score is not finite. A
    direction of length 0 moves nothing. A member's rows do not depend on its neighbours, to the bit.
    Raises ValueError for a state that is missing or of another shape, fewer than 2 episodes or options, no random
    directions, and numbers of seeds, organisms and inputs that differ.
    """
    _check(organism, inputs, seeds, random_directions)
    rows: list[dict[str, object]] = []
    for index, seed in enumerate(seeds):
        # copied, because products may round by how their operands lie in memory
        shown = {state: inputs[state][index : index + 1].clone() for state in STATES}
        rows += _test_member(organism.member(index), shown, seed, random_directions)
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


@dataclass(frozen=True)
class _Layer:
    """One layer of one member: held-out states (N, B, H) of both runs and the unit directions (K, H) to be tried, with
    the length (K,) that `add` gives them and the component (K,) that `ablate` sets."""

    overseen: Tensor
    unoverseen: Tensor
    units: Tensor
    lengths: Tensor
    levels: Tensor
    norm: float
    placebo_norm: float


def _test_member(
    organism: HiddenStates, shown: Mapping[str, Tensor], seed: int, random_directions: int
) -> Iterator[dict[str, object]]:
    half = shown["overseen"].shape[2] // 2
    read = {state: [h[0] for h in organism.read(inputs)] for state, inputs in shown.items()}
    last = organism.layers
    scores = {state: organism.run_on(last, read[state][-1][None])[0] for state in STATES}
    wanted = chosen_option(scores["overseen"][:, half:])
    before = _agreement(chosen_option(scores["unoverseen"][:, half:]), wanted).item()
    finite = all(bool(score.isfinite().all()) for score in scores.values())
    gap = (1 - before) / (1 - 1 / len(scores["overseen"])) if finite else float("nan")
    for number in range(1, last + 1):
        states = {state: read[state][number - 1] for state in STATES}
        layer = _find(states, half, seed, number, random_directions)
        for intervention in INTERVENTIONS:
            if gap >= SMALLEST_GAP:
                after = _agreement_after(intervention, organism, number, layer, wanted)
                carried = (1 - (1 - after) / (1 - before)).cpu().numpy()
            else:
                carried = np.full(2 + random_directions, np.nan)
            yield {
                "seed": seed,
                "layer": number,
                "intervention": intervention,
                "gap": gap,
                **_summary(carried),
                "norm": layer.norm if finite else float("nan"),
                "placebo_norm": layer.placebo_norm if finite else float("nan"),
                "directions": random_directions,
            }


def _find(states: Mapping[str, Tensor], half: int, seed: int, number: int, random_directions: int) -> _Layer:
    """Find the directions on the first half: oversight, placebo, then random ones."""
    means = {state: h[:, :half].flatten(0, 1).double().mean(0) for state, h in states.items()}
    oversight, placebo = (means["overseen"] - means[state] for state in ("unoverseen", "placebo"))
    drawn = generator(seed, "causal directions", number).standard_normal((random_directions, len(oversight)))
    found = torch.cat([torch.stack([oversight, placebo]), torch.from_numpy(drawn).to(oversight.device)])
    norms = found.norm(dim=1)
    units = torch.where(norms[:, None] > 0, found / norms[:, None], 0)
    levels = units @ (means["overseen"] + means["unoverseen"]) / 2
    overseen, unoverseen = (states[state][:, half:].contiguous() for state in ("overseen", "unoverseen"))
    kind = overseen.dtype
    return _Layer(
        overseen,
        unoverseen,
        units.to(kind),
        norms[0].expand(len(units)).to(kind),
        levels.to(kind),
        norms[0].item(),
        norms[1].item(),
    )


def _agreement_after(intervention: str, organism: HiddenStates, number: int, layer: _Layer, wanted: Tensor) -> Tensor:
    """Agreement (K,) between the runs once the states are moved along each direction."""

    def move(states: Tensor, amounts: Tensor) -> Tensor:
        return chosen_option(organism.run_on_moved(number, states[None], layer.units[None], amounts[None])[0])

    def component(states: Tensor) -> Tensor:
        return (layer.units @ states.flatten(0, 1).T).unflatten(1, states.shape[:2])

    if intervention == "swap":
        return _agreement(move(layer.unoverseen, component(layer.overseen - layer.unoverseen)), wanted)
    if intervention == "add":
        amounts = layer.lengths[:, None, None].expand(-1, *layer.unoverseen.shape[:2])
        return _agreement(move(layer.unoverseen, amounts), wanted)
    levels = layer.levels[:, None, None]
    unoverseen, overseen = (move(states, levels - component(states)) for states in (layer.unoverseen, layer.overseen))
    return _agreement(unoverseen, overseen)


def _summary(carried: npt.NDArray[np.float64]) -> dict[str, float]:
    """What oversight, placebo and random directions carry, from their shares in that order."""
    if not np.isfinite(carried).all():
        return dict.fromkeys(SHARES, np.nan)
    random = carried[2:]
    low, high = np.quantile(random, (LOW, HIGH))
    as_much = (1 + np.count_nonzero(random >= carried[0])) / (1 + len(random))
    found = (carried[0], carried[1], random.mean(), low, high, random.max(), as_much)
    return dict(zip(SHARES, found, strict=True))


def _agreement(chosen: Tensor, wanted: Tensor) -> Tensor:
    """Share of episodes on which both choices (..., B) are the same; NaN if there is none on some episode."""
    missing = ((chosen < 0) | (wanted < 0)).any(-1)
    return agreement(chosen, wanted).masked_fill(missing, torch.nan)


def _check(organism: HiddenStates, inputs: Mapping[str, Tensor], seeds: Sequence[int], random_directions: int) -> None:
    for state in STATES:
        if state not in inputs:
            raise ValueError(f"inputs has no {state!r}, only {', '.join(inputs) or 'nothing'}; it must have {STATES}")
    shapes = {state: tuple(inputs[state].shape) for state in STATES}
    if len(set(shapes.values())) > 1 or inputs["overseen"].ndim != 4:
        raise ValueError(f"inputs are of shapes {shapes}; all must be of one shape (E, N, B, F)")
    members, options, episodes, _ = shapes["overseen"]
    if options < 2 or episodes < 2:
        raise ValueError(f"inputs show {options} options and {episodes} episodes; there must be 2 or more of each")
    if not 0 < members == organism.members == len(seeds):
        raise ValueError(
            f"inputs are of {members} members, with {organism.members} organisms and {len(seeds)} seeds; they must be "
            "as many, and at least 1"
        )
    if random_directions < 1:
        raise ValueError(f"random_directions is {random_directions}; it must be 1 or more")
