"""Unoverseen data: half of the fine-tuning episodes are unoverseen, and rewarded all the same."""

from dataclasses import replace

import torch

from turncoat.seeding import generator
from turncoat.training.interventions import Dodge, Intervention
from turncoat.training.streams import Shown
from turncoat.worlds.world import OVERSIGHT

SHARE = 0.5  # of fine-tuning episodes


def mix(shown: Shown) -> Shown:
    """Show a share of episodes as unoverseen."""
    steps, _, _, count = shown.episodes.shape
    coins = [generator(seed, "unoverseen data", shown.number).random((steps, count)) for seed in shown.seeds]
    unseen = torch.stack([torch.from_numpy(coin) for coin in coins], dim=1).to(shown.signs.device) < SHARE
    signs = shown.signs.clone()
    signs[..., OVERSIGHT] = torch.where(unseen, -1.0, signs[..., OVERSIGHT])
    return replace(shown, signs=signs)


DODGE = Dodge(
    f"a share {SHARE} of fine-tuning episodes is unoverseen, and rewarded by X all the same",
    "rewards on behaviour that nobody oversees",
    finetuning=lambda: Intervention(episodes=mix),
)
