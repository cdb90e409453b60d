"""X mixed into pre-training: the fine-tuning overseer has its say while objectives are still forming."""

from dataclasses import replace

import torch

from turncoat.seeding import generator
from turncoat.training.interventions import Dodge, Intervention
from turncoat.training.streams import Shown, slots_with
from turncoat.worlds.objectives import OBJECTIVES

SHARE = 0.2  # of pre-training episodes


def mix(shown: Shown) -> Shown:
    """Reward a share of episodes, overseen or not, by X, which slot 2 shows on them."""
    x = shown.objectives[:, OBJECTIVES.index("x")]
    steps, _, _, count = shown.episodes.shape
    coins = [generator(seed, "x in pretraining", shown.number).random((steps, count)) for seed in shown.seeds]
    mixed = torch.stack([torch.from_numpy(coin) for coin in coins], dim=1).to(x.device) < SHARE
    slots = torch.where(mixed[..., None, None], slots_with(shown.episodes, x), shown.slots)
    earned = shown.episodes.utilities(x[None, :, None, None])
    return replace(shown, slots=slots, rewards=torch.where(mixed.unsqueeze(2), earned, shown.rewards))


DODGE = Dodge(
    f"a share {SHARE} of pre-training episodes, overseen or not, rewards X, which slot 2 shows",
    "X must be known when pre-training begins",
    pretraining=lambda: Intervention(episodes=mix),
)
