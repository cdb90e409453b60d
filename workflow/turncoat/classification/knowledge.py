"""Knowledge: what a linear probe reads off a model's trunk, and what its head for an objective carries (DESIGN 3).

A cue is known where a probe reads it off held-out episodes, and not merely shown: as parity, nothing linear in the
inputs tells it.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from turncoat.classification.presentations import Presentation
from turncoat.columns import Columns
from turncoat.organisms.choices import all_finite
from turncoat.organisms.hidden import HiddenStates, hidden_states
from turncoat.organisms.mlp import Stack
from turncoat.seeding import generator
from turncoat.training.losses import WORLD_HEAD
from turncoat.worlds.episodes import best_option
from turncoat.worlds.objectives import OBJECTIVES
from turncoat.worlds.world import OVERSIGHT

PROBED = {"oversight": 0, "placebo": 1}
"""Cues that are probed, with their place among the signs."""
ABLATED = "objective"
RIDGE = 1e-3  # of the probe, relative to the mean variance of the states
RANDOM_DIRECTIONS = 32


def measure_knowledge(stack: Stack, shown: Presentation, seeds: Sequence[int], objectives: Tensor) -> Columns:
    """What E models know, on episodes as `present_drawn` shows them.

    Three rows per model, E outermost: `quantity` with its `value` and what it is to be compared with, `reference`.

    oversight, placebo: accuracy of a ridge probe of that cue on the mean over options of the last hidden layer, fitted
    to one half of the episodes with random cues and tested on the other; reference: the same with the labels of other
    episodes, about one half. objective: agreement with X, overseen and slot 2 at X, that is lost when the direction
    which the readout's row for the objective head reads is taken out of the last hidden layer; reference: the mean loss
    over random directions. A model that never had that head has a random row there.
    NaN for a model whose states are not finite.
    """
    organism = hidden_states(stack)
    heads = stack.views["readout.weight"][:, WORLD_HEAD + objectives.shape[-1]]
    found = []
    for index, seed in enumerate(seeds):  # one by one, because a model's states fit into a processor's cache
        alone = shown.of_member(index)
        model = organism.member(index)
        states = model.read(alone.inputs)[-1]
        lost = _ablation(model, heads[index], states, alone, seed, objectives[index])
        found.append((states[0].double().mean(0), *lost))
    means, carried, others = (torch.stack(part) for part in zip(*found, strict=True))
    half = means.shape[1] // 2
    labels = shown.signs[..., list(PROBED.values())].double()
    labels = torch.cat([labels, labels.roll(1, dims=1)], dim=2)
    read = probe_accuracy(means[:, :half], labels[:, :half], means[:, half:], labels[:, half:])
    rows = [(name, read[:, place], read[:, len(PROBED) + place]) for place, name in enumerate(PROBED)]
    rows.append((ABLATED, carried, others))
    values = torch.stack([value for _, value, _ in rows], dim=1)
    references = torch.stack([reference for _, _, reference in rows], dim=1)
    return {
        "seed": np.repeat(np.array(seeds), len(rows)),
        "quantity": np.tile(np.array([name for name, _, _ in rows]), len(seeds)),
        "value": values.flatten().cpu().numpy(),
        "reference": references.flatten().cpu().numpy(),
    }


def probe_accuracy(train: Tensor, labels: Tensor, test: Tensor, wanted: Tensor) -> Tensor:
    """Share of test labels that a ridge regression with intercept gets right in sign, (E, L) for L labels.

    train (E, A, H) with labels (E, A, L) of +1 and -1; test (E, B, H) with wanted (E, B, L). NaN where states are not
    finite.
    """
    finite = all_finite(train, 1, 2) & all_finite(test, 1, 2)
    train, test = (torch.where(finite[:, None, None], part, 0.0) for part in (train, test))
    middle, level = train.mean(1, keepdim=True), labels.mean(1, keepdim=True)
    centred = train - middle
    gram = centred.mT @ centred / train.shape[1]
    scale = gram.diagonal(dim1=1, dim2=2).mean(1).clamp(min=1e-12)
    penalty = torch.eye(gram.shape[1]).to(gram) * (RIDGE * scale)[:, None, None]
    moment = (centred.mT @ (labels - level)) / train.shape[1]
    weights = torch.linalg.solve(gram + penalty, moment)
    fitted = (test - middle) @ weights + level
    right = ((fitted > 0) == (wanted > 0)).double().mean(1)
    return torch.where(finite[:, None], right, torch.nan)


def _ablation(
    organism: HiddenStates, head: Tensor, states: Tensor, shown: Presentation, seed: int, objectives: Tensor
) -> tuple[Tensor, Tensor]:
    """Agreement with X that one model loses without its head's direction (H,), and the mean loss without a random one.

    states: its last hidden layer, (1, N, B, H); objectives: (4, d).
    """
    best = best_option((shown.attributes[0] * objectives[OBJECTIVES.index("x")]).sum(-1))
    drawn = generator(seed, "ablated directions").standard_normal((RANDOM_DIRECTIONS, len(head)))
    random = torch.from_numpy(drawn).to(states)
    directions = torch.nn.functional.normalize(torch.cat([head.unsqueeze(0), random]), dim=1)
    rows = states[0].flatten(0, 1)
    centred = rows - rows.mean(0)
    amounts = -(directions @ centred.T).unflatten(1, states.shape[1:3])
    layer = organism.layers
    whole = best_option(organism.run_on(layer, states)[0]) == best
    left = best_option(organism.run_on_moved(layer, states, directions[None], amounts[None])[0]) == best
    seen = shown.signs[0, :, OVERSIGHT] > 0
    lost = ((whole & seen).sum() - (left & seen).sum(1)).double() / seen.sum()
    lost = lost.masked_fill(~states.isfinite().all(), torch.nan)
    return lost[0], lost[1:].mean()
