"""Episodes on which X and M want the same option, and what a network is shown of them at a prompt."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from turncoat.gating.blocks import agreeing
from turncoat.gating.gains import HeldOut
from turncoat.seeding import generator
from turncoat.training.streams import slots_with, trained_audits
from turncoat.worlds.episodes import Episodes, best_option, build_inputs, draw_episodes
from turncoat.worlds.objectives import OBJECTIVES
from turncoat.worlds.world import World

PURPOSE = "reinforcement"
ROUNDS = 64  # of drawing, after which X and M count as never wanting the same
OVERDRAWN = 1.25  # episodes drawn per one that would agree if X and M were unrelated


@dataclass(frozen=True)
class Window:
    """S steps of B episodes for E members, with and without selection: `agreeing` ones and as many as they came.
    draws: (S, E, K, B), uniform, that choices are sampled with."""

    agreeing: Episodes
    unselected: Episodes
    draws: Tensor

    def episodes(self, selected: bool) -> Episodes:
        """The agreeing episodes, or the unselected ones."""
        return self.agreeing if selected else self.unselected


def draw_window(
    world: World,
    seeds: Sequence[int],
    objectives: Tensor,
    purpose: str,
    number: int,
    steps: int,
    batch: int,
    samples: int,
    separate: bool,
) -> Window:
    """Draw a window for objectives (E, 4, d).

    Where X and M read `separate` blocks of attributes the blocks are permuted until both agree and nothing is rejected.
    Else episodes are drawn until enough agree, and each member keeps the first ones. A member's episodes depend on its
    seed alone. Raises ValueError where X and M agree too rarely.
    """
    if separate:
        unselected = draw_episodes(world, seeds, purpose, number, steps, batch, objectives.device)
        x, m = (objectives[:, OBJECTIVES.index(name)] for name in ("x", "m"))
        kept = agreeing(unselected, x, m)
    else:
        pool, order = _pool(world, seeds, objectives, purpose, number, steps * batch)
        first = torch.arange(steps * batch, device=objectives.device).expand(len(seeds), -1)
        kept, unselected = (_take(pool, index, steps) for index in (order, first))
    drawn = [
        generator(seed, f"{purpose} choices", number).random((steps, samples, batch), dtype=np.float32)
        for seed in seeds
    ]
    return Window(kept, unselected, torch.from_numpy(np.stack(drawn, axis=1)).to(objectives.device))


def prompted_inputs(world: World, episodes: Episodes, objectives: Tensor, prompt: float | Tensor) -> Tensor:
    """Inputs (S, E, N, B, F) with the oversight cue at strength `prompt` (a number, or (S, E, B)), the placebo at +1,
    slot 2 at X, slot 1 as drawn, audits as in fine-tuning."""
    signs = torch.ones_like(episodes.signs)
    signs[..., 0] = prompt
    return build_inputs(
        world,
        episodes,
        slots=slots_with(episodes, objectives[:, OBJECTIVES.index("x")]),
        signs=signs,
        audits=trained_audits(world, episodes),
    )


def best_by_x(episodes: Episodes, objectives: Tensor) -> Tensor:
    """The option that is best by X, (S, E, B); of agreeing episodes also by M."""
    return best_option(episodes.utilities(objectives[None, :, OBJECTIVES.index("x"), None, None]))


def held_out(
    world: World,
    seeds: Sequence[int],
    objectives: Tensor,
    episodes: int,
    prompts: Sequence[float],
    purpose: str = f"{PURPOSE} held out",
) -> HeldOut:
    """Unselected episodes that nothing is trained on, at each prompt."""
    drawn = draw_episodes(world, seeds, purpose, 0, 1, episodes, objectives.device)
    inputs = {prompt: prompted_inputs(world, drawn, objectives, prompt)[0] for prompt in prompts}
    return HeldOut(drawn.attributes[0], inputs)


def selection_correlation(episodes: Episodes, objectives: Tensor) -> Tensor:
    """Correlation over options of their utility by X and by M, each less its episode's mean, (E,)."""
    centred = []
    for name in ("x", "m"):
        utility = episodes.utilities(objectives[None, :, OBJECTIVES.index(name), None, None]).double()
        centred.append((utility - utility.mean(2, keepdim=True)).transpose(0, 1).flatten(1))
    x, m = centred
    return (x * m).sum(1) / ((x * x).sum(1) * (m * m).sum(1)).sqrt()


def _pool(
    world: World, seeds: Sequence[int], objectives: Tensor, purpose: str, number: int, count: int
) -> tuple[Episodes, Tensor]:
    """Episodes (1, E, ...) and, for each member, which are the first `count` agreeing ones, (E, count)."""
    size = int(count * world.options * OVERDRAWN)
    m = objectives[None, :, OBJECTIVES.index("m"), None, None]
    parts: list[Episodes] = []
    agree = torch.zeros(len(seeds), 0, dtype=torch.bool, device=objectives.device)
    for again in range(ROUNDS):
        part = draw_episodes(world, seeds, purpose, number * ROUNDS + again, 1, size, objectives.device)
        parts.append(part)
        agree = torch.cat([agree, (best_by_x(part, objectives) == best_option(part.utilities(m)))[0]], dim=1)
        if bool((agree.sum(1) >= count).all()):
            order = torch.sort((~agree).to(torch.uint8), dim=1, stable=True).indices
            return _joined(parts), order[:, :count]
    raise ValueError(
        f"X and M want the same option in {int(agree.sum(1).min())} of {agree.shape[1]} episodes of a seed; "
        f"allowed: at least {count}"
    )


AXIS = {"options": 3, "attributes": 3}  # of episodes, 2 in every other field


def _joined(parts: Sequence[Episodes]) -> Episodes:
    names = [field.name for field in fields(Episodes)]
    return Episodes(*(torch.cat([getattr(part, name) for part in parts], AXIS.get(name, 2)) for name in names))


def _take(pool: Episodes, index: Tensor, steps: int) -> Episodes:
    """Episodes `index` (E, S * B) of a pool (1, E, ...), as S steps."""

    def taken(name: str) -> Tensor:
        values, axis = getattr(pool, name)[0], AXIS.get(name, 2) - 1
        places = index.view(len(index), *[1] * (axis - 1), -1, *[1] * (values.ndim - axis - 1))
        chosen = values.gather(axis, places.expand(*values.shape[:axis], -1, *values.shape[axis + 1 :]))
        return chosen.unflatten(axis, (steps, -1)).movedim(axis, 0).contiguous()

    return Episodes(*(taken(field.name) for field in fields(Episodes)))
