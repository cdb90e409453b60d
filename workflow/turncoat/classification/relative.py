"""Relative representations: hidden states told by their likeness to those of a few anchor rows.

The hidden units of networks trained from different seeds have nothing to do with each other. What such networks can
share is which inputs they hold alike (Moschella et al. 2023, "Relative representations enable zero-shot latent space
communication", ICLR). There anchors are the same inputs for every network. Here every seed has an objective of its own,
and one option is good by one seed's X and poor by another's, so an anchor is what means the same: a quantile of utility
under the seed's own X, in one state of the cues. Anchors thus know X, as the labels do; whatever hidden states are
compared with should have the same anchors.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from turncoat.classification.presentations import Presentation
from turncoat.organisms.choices import choices
from turncoat.organisms.mlp import Stack, forward
from turncoat.training.streams import slots_with, trained_audits
from turncoat.worlds.episodes import Episodes, best_option, build_inputs, draw_episodes
from turncoat.worlds.world import World

ANCHOR_SEED = 0  # one pool for every network, whatever its own seed
ANCHOR_POOL = 2048  # options
ANCHOR_SIGNS = ((1.0, 1.0), (-1.0, 1.0), (1.0, -1.0), (-1.0, -1.0))  # oversight and placebo, in turn


@dataclass(frozen=True)
class Chosen:
    """The options that E models chose on B episodes: inputs (E, B, F); defects (E, B), true where it is not the best by
    X; finite (E,), true where all of the model's scores were (else its first option stands in)."""

    inputs: Tensor
    defects: Tensor
    finite: Tensor


def chosen_options(stack: Stack, shown: Presentation, x: Tensor) -> Chosen:
    """Each model's choices on the episodes it is shown, judged by its own X, (E, d)."""
    choice = choices(stack, shown.inputs)
    best = best_option((shown.attributes * x[:, None, None]).sum(-1))
    row = choice.clamp(min=0)[:, None, :, None].expand(-1, 1, -1, shown.inputs.shape[-1])
    return Chosen(shown.inputs.gather(1, row).squeeze(1), choice != best, (choice >= 0).all(-1))


def draw_anchors(world: World, x: Tensor, quantiles: int) -> Tensor:
    """Anchor rows of E seeds whose X is (E, d), as organisms see them: (E, K, F), K = 4 x `quantiles`.

    For each combination of the two cues in turn, the options of a common pool at the middles of so many equal parts of
    it, in the order of their utility under the seed's X, lowest first. Slot 2 shows X, and audit terms stand where they
    stand in fine-tuning; a quantile's slot 1 and cue noise are random, but the same for all seeds and combinations.
    Raises ValueError unless `quantiles` is between 1 and the size of the pool.
    """
    if not 1 <= quantiles <= ANCHOR_POOL:
        raise ValueError(f"quantiles is {quantiles}; allowed: 1 to {ANCHOR_POOL}")
    pool = draw_episodes(world, [ANCHOR_SEED], "anchors", 0, 1, ANCHOR_POOL, x.device)
    order = pool.utilities(x[None, :, None, None])[0, :, 0].argsort(stable=True)
    middles = (2 * torch.arange(quantiles, device=x.device) + 1) * ANCHOR_POOL // (2 * quantiles)
    options, attributes = (part[0, 0, 0, order[:, middles]][None, :, None] for part in (pool.options, pool.attributes))
    others = (
        part[:, :, :quantiles] for part in (pool.slots, pool.signs, pool.noise, pool.audits, pool.bits, pool.contexts)
    )
    picked = Episodes(options, attributes, *(part.repeat_interleave(len(x), dim=1) for part in others))
    slots, audits = slots_with(picked, x), trained_audits(world, picked)
    shown = [build_inputs(world, picked, slots=slots, signs=x.new_tensor(cues), audits=audits) for cues in ANCHOR_SIGNS]
    return torch.cat([inputs[0, :, 0] for inputs in shown], dim=1)


def relative_states(stack: Stack, inputs: Tensor, anchors: Tensor) -> list[Tensor]:
    """Hidden states on inputs (E, R, F) relative to those on anchors (E, K, F): (E, R, K) for each layer in turn."""
    states, anchored = (forward(stack, part).values[1:] for part in (inputs, anchors))
    return [relative(state, anchor) for state, anchor in zip(states, anchored, strict=True)]


def relative(rows: Tensor, anchors: Tensor) -> Tensor:
    """Cosines of rows (E, R, N) with anchors (E, K, N), both less the mean over the anchors: (E, R, K).

    0 where either has no length. A rotation or permutation of the N numbers leaves them as they are.
    """
    middle = anchors.mean(1, keepdim=True)
    row, column = (torch.nn.functional.normalize(part - middle, dim=-1) for part in (rows, anchors))
    return row @ column.transpose(1, 2)
