"""Episodes drawn where they are used: one step at a time, by counters, with the distributions of `draw_episodes`.

Host and device draw other numbers for the same seed; which of them a cell is trained on is part of its settings.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from turncoat.worlds.episodes import Episodes
from turncoat.worlds.philox import LARGEST_SEED, below, normal, uniform, words
from turncoat.worlds.world import CUES, SLOTS, World


class DeviceEpisodes:
    """Draws steps of `episodes` episodes for the members with these seeds.

    What is drawn is split in two, so that the second half can be compiled: `draw` gives random words, `read` makes
    episodes of them by operations on single numbers. Raises ValueError for a seed of more than 32 bits.
    """

    def __init__(self, world: World, seeds: Sequence[int], episodes: int, device: torch.device) -> None:
        if min(seeds) < 0 or max(seeds) > LARGEST_SEED:
            raise ValueError(f"seeds are {min(seeds)} to {max(seeds)}; allowed with draws on the device: 0 to 2^32 - 1")
        self.world, self.episodes, self.members = world, episodes, len(seeds)
        self.seeds = torch.tensor(list(seeds), dtype=torch.int64, device=device)
        self.facts = torch.from_numpy(world.facts).to(device) if world.encoding == "facts" else None
        rows = world.attribute_rows
        self.rows = None if rows is None else torch.from_numpy(rows).to(device)
        self.shapes = self._shapes()
        self.count = sum(_words(shape) for shape in self.shapes.values())

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of what is drawn for each part of a step, the episodes last; those of normal numbers start with 2."""
        world, episodes = self.world, self.episodes
        options = (world.options, episodes)
        if world.encoding == "facts":
            shapes: dict[str, tuple[int, ...]] = {"pairs": (world.attributes, *options)}
        elif world.attribute_rows is not None:
            shapes = {"rows": options}
        else:
            shapes = {"values": _paired(world.attributes, *options)}
        if world.encoding == "product":
            shapes |= {"split": _paired(world.attributes, *options), "side": (world.attributes, *options)}
        return shapes | {
            "slots": _paired(SLOTS, world.attributes, episodes),
            "noise": _paired(CUES * world.cue_bits, episodes),
            "coins": (CUES, episodes),
            "audits": (world.audit_terms, episodes),
            "bits": (CUES * (world.cue_bits - 1), episodes),
            "contexts": (episodes if world.cue_contexts > 1 else 0,),
        }

    def draw(self, purpose: str, window: Tensor, step: Tensor) -> Tensor:
        """Random words of a step, int32 (E, count)."""
        return words(self.seeds, purpose, window, step, self.count)

    def coins(self, purpose: str, window: Tensor, step: Tensor) -> Tensor:
        """Words for a uniform number an episode, int32 (E, B)."""
        return words(self.seeds, purpose, window, step, self.episodes)

    def read(self, drawn: Tensor, overseen_share: float) -> Episodes:
        """The step's episodes, as a window of one step; options of facts stay pairs of symbols."""
        world = self.world
        sizes = [_words(shape) for shape in self.shapes.values()]
        parts = {
            name: part.view(self.members, *shape)
            for (name, shape), part in zip(self.shapes.items(), drawn.split(sizes, 1), strict=True)
        }
        options, attributes = self._options(parts)
        slots = _normal(parts["slots"], (SLOTS, world.attributes, self.episodes))
        slots = slots / slots.square().sum(2, keepdim=True).sqrt().clamp_min(1e-12)
        terms = [
            uniform(part) * top for part, top in zip(parts["audits"].unbind(1), (1, world.audit_penalty), strict=False)
        ]
        audits = torch.stack(terms, 1) if terms else slots.new_empty(self.members, 0, self.episodes)
        contexts = parts["contexts"]
        if world.cue_contexts > 1:
            used = below(contexts, world.cue_contexts - 1)
        else:
            used = torch.zeros(self.members, self.episodes, dtype=torch.int64, device=drawn.device)
        by_episode = (
            torch.where(uniform(parts["coins"]) < overseen_share, 1.0, -1.0),
            _normal(parts["noise"], (CUES * world.cue_bits, self.episodes)),
            audits,
            torch.where(parts["bits"] < 0, 1.0, -1.0),
        )
        signs, noise, audits, bits = (part.transpose(1, 2) for part in by_episode)
        found = (options, attributes, slots.permute(0, 3, 1, 2), signs, noise, audits, bits, used)
        return Episodes(*(part.unsqueeze(0) for part in found))

    def _options(self, parts: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Options and their attributes, (E, N, B, numbers) each."""
        world = self.world
        shape = (world.attributes, world.options, self.episodes)
        if self.facts is not None:
            pairs = below(parts["pairs"], self.facts.shape[1])
            offsets = torch.arange(world.attributes, device=pairs.device).view(-1, 1, 1) * self.facts.shape[1]
            values = self.facts.flatten()[pairs + offsets]
            return pairs.permute(0, 2, 3, 1), values.permute(0, 2, 3, 1)
        if self.rows is not None:
            values = self.rows[below(parts["rows"], len(self.rows))].permute(0, 3, 1, 2)
        else:
            values = _normal(parts["values"], shape)
        if world.encoding == "plain":
            return values.permute(0, 2, 3, 1), values.permute(0, 2, 3, 1)
        root = values.abs().sqrt()
        half = _normal(parts["split"], shape) / 2
        sign = torch.where(parts["side"] < 0, 1.0, -1.0)
        factors = torch.cat([sign * root * half.exp(), sign * values.sign() * root * (-half).exp()], dim=1)
        return factors.permute(0, 2, 3, 1), values.permute(0, 2, 3, 1)


def _paired(*shape: int) -> tuple[int, ...]:
    """Shape of the words of so many normal numbers, which come in twos."""
    return (2, -(-math.prod(shape) // 2))


def _words(shape: tuple[int, ...]) -> int:
    return math.prod(shape)


def _normal(drawn: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Normal numbers (E, *shape) of their words (E, 2, n)."""
    return normal(drawn).flatten(1)[:, : math.prod(shape)].view(len(drawn), *shape)
