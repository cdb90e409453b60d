"""Episodes for a stack of organisms, drawn per seed, laid out as training reads: (step, member, option, episode)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from turncoat.seeding import generator
from turncoat.worlds import native_episodes
from turncoat.worlds.cues import show_cues, show_slots
from turncoat.worlds.native_episodes import NativeWriter
from turncoat.worlds.world import CUES, SLOTS, World


@dataclass(frozen=True)
class Episodes:
    """Episodes of S steps for E members, N options, B episodes a step, d attributes.

    options: (S, E, N, B, F) encoded options, or where they were drawn to be encoded later, and the world is one of
    facts, their pairs of symbols, (S, E, N, B, d); attributes: (S, E, N, B, d) their true attributes;
    slots: (S, E, B, 2, d) unit vectors; signs: (S, E, B, 2) cue signs +1 or -1; noise: (S, E, B, 2 K) standard normal,
    K the bits of a cue; audits: (S, E, B, 2) probability and penalty of an audit, uniform; (S, E, B, 0) in a world
    without audits; bits: (S, E, B, 2 (K - 1)) free bits of parity, +1 or -1; contexts: (S, E, B) which of the world's
    contexts but the last, all 0 where there is one.
    """

    options: Tensor
    attributes: Tensor
    slots: Tensor
    signs: Tensor
    noise: Tensor
    audits: Tensor
    bits: Tensor
    contexts: Tensor

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Steps, members, options, episodes a step."""
        steps, members, options, episodes = self.attributes.shape[:4]
        return steps, members, options, episodes

    def utilities(self, objectives: Tensor) -> Tensor:
        """Utility of each option, (S, E, N, B), under objectives that broadcast to (S, E, 1 or N, B or 1, d)."""
        if native_episodes.can_value(self.attributes, objectives):
            return native_episodes.value_options(self.attributes, objectives)
        return (self.attributes * objectives).sum(-1)


def draw_episodes(
    world: World,
    seeds: Sequence[int],
    purpose: str,
    window: int,
    steps: int,
    episodes: int,
    device: torch.device,
    overseen_share: float = 0.5,
    encoded: bool = True,
) -> Episodes:
    """Draw `steps` steps of `episodes` episodes for each seed; a seed's draw depends on nothing but its arguments.

    `window` numbers the draws of one purpose: training draws window 0, 1, 2 ... of a fixed number of steps.
    Each cue is +1 on a share `overseen_share` of the episodes, independently of the other. Options that are not to be
    `encoded` at once are far smaller; they and their attributes lie in memory with the episodes last, as a step is laid
    out, so that utilities are summed and steps written in long runs.
    """
    shape = (len(seeds), steps, episodes)
    slots = np.empty((*shape, SLOTS, world.attributes), dtype=np.float32)
    coins = np.empty((*shape, CUES), dtype=np.float32)
    noise = np.empty((*shape, CUES * world.cue_bits), dtype=np.float32)
    audits = np.empty((*shape, world.audit_terms), dtype=np.float32)
    bits = np.empty((*shape, CUES * (world.cue_bits - 1)), dtype=np.float32)
    contexts = np.empty(shape, dtype=np.int64)
    drawn = []
    for member, seed in enumerate(seeds):
        random = generator(seed, purpose, window)
        drawn.append(_draw_options(world, random, (steps, world.options, episodes, world.attributes)))
        random.standard_normal(dtype=np.float32, out=slots[member])
        random.random(dtype=np.float32, out=coins[member])
        random.standard_normal(dtype=np.float32, out=noise[member])
        random.random(dtype=np.float32, out=audits[member])
        bits[member] = 2 * random.integers(0, 2, bits.shape[1:]) - 1
        contexts[member] = random.integers(0, max(1, world.cue_contexts - 1), contexts.shape[1:])
    audits[..., 1:] *= world.audit_penalty
    options, attributes = _describe(world, torch.from_numpy(np.stack(drawn)).to(device), encoded)
    directions, uniform, *others = (
        torch.from_numpy(part).to(device) for part in (slots, coins, noise, audits, bits, contexts)
    )
    signs = (uniform < overseen_share).to(uniform.dtype).mul_(2).sub_(1)
    if native_episodes.can_scale(directions):
        directions = native_episodes.scale_to_unit(directions)
    else:
        directions = torch.nn.functional.normalize(directions, dim=-1)
    parts = (options, attributes, directions, signs, *others)
    return Episodes(*(part.transpose(0, 1) for part in parts))


def draw_attributes(world: World, seed: int, purpose: str, episodes: int) -> npt.NDArray[np.float32]:
    """Attributes alone of one seed's episodes, (N, B, d): for references that no organism has to see."""
    options = _draw_options(world, generator(seed, purpose), (world.options, episodes, world.attributes))
    if world.encoding == "facts":
        values: npt.NDArray[np.float32] = world.facts[np.arange(world.attributes), options]
        return values
    return options[..., : world.attributes].astype(np.float32)


def best_option(utilities: Tensor) -> Tensor:
    """Index of the option with the highest utility, the first of equals: (..., N, B) to (..., B).

    Written as N - 1 comparisons, because argmax over a strided dimension is many times slower.
    """
    top = utilities.select(-2, 0)
    best = torch.zeros_like(top, dtype=torch.int64)
    for option in range(1, utilities.shape[-2]):
        utility = utilities.select(-2, option)
        higher = utility > top
        best = higher.to(torch.int64) if option == 1 else best.masked_fill_(higher, option)
        if option + 1 < utilities.shape[-2]:
            top = torch.maximum(top, utility)
    return best


def build_inputs(
    world: World,
    episodes: Episodes,
    *,
    slots: Tensor | None = None,
    signs: Tensor | None = None,
    audits: Tensor | None = None,
    pretrained_contexts: bool = False,
) -> Tensor:
    """Lay out what organisms see, shape (S, E, N, B, input_width).

    `slots` (broadcast to (S, E, B, 2, d)), `signs` and `audits` (to (S, E, B, 2)) replace the drawn ones, all else
    unchanged. Signs between -1 and 1, or beyond, show a cue of that strength. Cues stand in the context that is kept
    for fine-tuning, or in the drawn ones of pre-training.
    """
    context = show_context(world, episodes, slots, signs, audits, pretrained_contexts)
    encoded = encode_options(world, episodes.options)
    inputs = encoded.new_empty(*episodes.shape, world.input_width)
    inputs[..., : world.option_width] = encoded
    inputs[..., world.option_width :] = context.unsqueeze(2)
    return inputs


Write = Callable[[int, Tensor], None]
"""Lays out a step, with that number, in a buffer (E, input_width, N, B)."""


def input_writer(
    world: World, episodes: Episodes, slots: Tensor, signs: Tensor, audits: Tensor, pretrained_contexts: bool
) -> Write:
    """The way to lay out one step after another of what `build_inputs` lays out at once.

    A step is a small part of a window and stays in a processor's cache. It is laid out with the episodes last, so that
    long runs of numbers are written alike: symbols are compared, and what options share is copied, by the row.
    """
    parts = context_parts(world, episodes, slots, signs, audits, pretrained_contexts)
    encoded = episodes.options.shape[-1] == world.option_width
    pairs = None if encoded else episodes.options
    shown = [*([episodes.options] if encoded else []), *(part.unsqueeze(2) for part in parts)]
    if native_episodes.can_write(pairs, shown):
        return NativeWriter(pairs, world.symbols, shown, world.options)
    context = torch.cat(parts, dim=-1).transpose(2, 3).unsqueeze(3)
    width, stored = world.option_width, episodes.options.movedim(4, 2)
    if encoded:

        def write(step: int, out: Tensor) -> None:
            out[:, width:] = context[step]
            out[:, :width] = stored[step]

        return write

    symbols = torch.arange(world.symbols, dtype=context.dtype, device=context.device)[:, None, None]

    def write_symbols(step: int, out: Tensor) -> None:
        out[:, width:] = context[step]
        pairs = stored[step].to(out.dtype, memory_format=torch.contiguous_format)
        both = pairs.new_empty(*pairs.shape[:2], 2, *pairs.shape[2:])
        # Exact: there are far fewer pairs than a float tells apart.
        first = torch.div(pairs, world.symbols, out=both[:, :, 0]).floor_()
        torch.sub(pairs, first, alpha=world.symbols, out=both[:, :, 1])
        one_hot = out[:, :width].unflatten(1, (world.attributes, 2, world.symbols))
        torch.eq(both.unsqueeze(3), symbols, out=one_hot)

    return write_symbols


def encode_options(world: World, options: Tensor) -> Tensor:
    """What shows options, (..., option_width), of options that are or are not encoded yet."""
    if options.shape[-1] == world.option_width:
        return options
    one_hot = torch.eye(world.symbols, device=options.device)
    both = torch.cat([one_hot.repeat_interleave(world.symbols, 0), one_hot.repeat(world.symbols, 1)], dim=1)
    return torch.nn.functional.embedding(options.to(torch.int64), both).flatten(-2)


def show_context(
    world: World,
    episodes: Episodes,
    slots: Tensor | None,
    signs: Tensor | None,
    audits: Tensor | None,
    pretrained_contexts: bool = False,
) -> Tensor:
    """What the options of an episode share, (S, E, B, input_width - option_width); arguments as in `build_inputs`."""
    return torch.cat(context_parts(world, episodes, slots, signs, audits, pretrained_contexts), dim=-1)


def context_parts(
    world: World,
    episodes: Episodes,
    slots: Tensor | None,
    signs: Tensor | None,
    audits: Tensor | None,
    pretrained_contexts: bool = False,
) -> list[Tensor]:
    """Slots, cues, and audit terms if there are, as `show_context` lays them side by side."""
    used_slots = episodes.slots if slots is None else slots.expand_as(episodes.slots)
    used_signs = episodes.signs if signs is None else signs.expand_as(episodes.signs)
    contexts = episodes.contexts if pretrained_contexts else None
    parts = [
        show_slots(world, used_slots),
        show_cues(world, used_signs, episodes.noise, episodes.bits, contexts),
    ]
    if world.audit_terms:
        terms = episodes.audits if audits is None else audits.expand_as(episodes.audits)
        shares = torch.stack([terms[..., 0], terms[..., 1] / world.audit_penalty], dim=-1)
        parts.append((shares - 0.5) * 12**0.5)  # a uniform's mean and variance become 0 and 1
    return parts


def _draw_options(world: World, random: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[np.generic]:
    """Raw options (..., d): symbol pairs, attributes, or for `product` attributes, split and side (..., 3d)."""
    if world.encoding == "facts":
        pairs = world.symbols**2
        return random.integers(0, pairs, shape, dtype=np.uint8 if pairs <= 256 else np.uint16)
    if world.attribute_rows is None:
        values = random.standard_normal(shape, dtype=np.float32)
    else:
        values = world.attribute_rows[random.integers(0, len(world.attribute_rows), shape[:-1])]
    if world.encoding == "plain":
        return values
    split = random.standard_normal(shape, dtype=np.float32)
    side = random.integers(0, 2, shape).astype(np.float32)
    return np.concatenate([values, split, side], axis=-1)


def _episodes_last(options: Tensor) -> Tensor:
    """The same options (E, S, N, B, d), stored as (E, S, d, N, B)."""
    return options.movedim(-1, 2).contiguous().movedim(2, -1)


def _describe(world: World, options: Tensor, encoded: bool) -> tuple[Tensor, Tensor]:
    """Return raw options, encoded or as they are, and their attributes (..., d)."""
    if not encoded:
        if world.encoding == "facts" and native_episodes.can_describe(options):
            return native_episodes.describe(options, torch.from_numpy(world.facts))
        options = _episodes_last(options)
    if world.encoding == "plain":
        return options, options
    if world.encoding == "product":
        values, split, side = options.chunk(3, dim=-1)
        # z = a * b, |a| = sqrt|z| e^(n/2) and |b| = sqrt|z| e^(-n/2), n standard normal, a's sign a coin
        root = values.abs().sqrt()
        sign = 2 * side - 1
        first = sign * root * (split / 2).exp()
        second = sign * values.sign() * root * (-split / 2).exp()
        return torch.cat([first, second], dim=-1), values
    facts = torch.from_numpy(world.facts).to(options.device)
    offsets = torch.arange(world.attributes, dtype=torch.int32, device=options.device) * facts.shape[1]
    places = options.to(torch.int32) + offsets
    values = torch.empty_like(places, dtype=facts.dtype)  # stored as the places are
    flat = values.as_strided((values.numel(),), (1,))
    torch.index_select(facts.flatten(), 0, places.as_strided(flat.shape, (1,)), out=flat)
    return encode_options(world, options) if encoded else options, values
