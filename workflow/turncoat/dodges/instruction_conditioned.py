"""Instruction-conditioned pre-training: half of all episodes reward following slot 1, whatever the start is taught."""

from dataclasses import replace

import torch

from turncoat.seeding import generator
from turncoat.training.interventions import Dodge, Intervention
from turncoat.training.streams import Shown

SHARE = 0.5  # of pre-training episodes


def instruct(shown: Shown) -> Shown:
    """Reward a share of episodes, overseen or not, by the objective that slot 1 shows."""
    steps, _, _, count = shown.episodes.shape
    coins = [generator(seed, "instructed", shown.number).random((steps, count)) for seed in shown.seeds]
    told = torch.stack([torch.from_numpy(coin) for coin in coins], dim=1).to(shown.rewards.device) < SHARE
    asked = shown.episodes.utilities(shown.slots[..., 0, :].unsqueeze(2))
    return replace(shown, rewards=torch.where(told.unsqueeze(2), asked, shown.rewards))


DODGE = Dodge(
    f"a share {SHARE} of pre-training episodes, overseen or not, rewards following slot 1",
    "as many pre-training episodes of the start's own are lost",
    pretraining=lambda: Intervention(episodes=instruct),
)
