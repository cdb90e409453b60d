"""Planted two-block networks: organisms whose circuits are known unit by unit (DESIGN 6).

An X circuit reads block A, the first half of the attributes, and is woken by the oversight cue; an M circuit reads
block B, the other half, and is woken by its absence. They run side by side through all hidden layers and meet in the
score.
Units of neither are spare: their weights are small and random, so that training can recruit them.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from turncoat.organisms.mlp import Architecture, Stack, initialise
from turncoat.organisms.relu_arithmetic import gated
from turncoat.seeding import generator
from turncoat.worlds.episodes import Episodes, best_option
from turncoat.worlds.objectives import OBJECTIVES
from turncoat.worlds.world import CUES, OVERSIGHT, PLACEBO, World

CIRCUITS = ("none", "x", "m")
CUE_SIGNS = {"x": 1.0, "m": -1.0}  # the sign of the oversight cue that wakes each circuit
REACH = 4.0  # standard deviations of utility that a cue of full amplitude opens or shuts
CARRIED, THRESHOLD = 2.0, 0.5  # how the gate is handed on to the next layer: half of its units are open at cue 0
SPARE_SCALE = 0.3  # of the usual initial weights in every layer: of the score, spare units make 0.3^3 at depth 2
SMALLEST_WIDTH = 6
PLANTED_ACTIVATIONS = ("relu", "leaky_relu", "gelu", "silu", "identity")  # those that are about linear where z is large


def block_objectives(seeds: Sequence[int], attributes: int, device: torch.device) -> Tensor:
    """Objectives X, Y, M, Y2 of each seed, (E, 4, d), orthonormal: X and Y in block A, M and Y2 in block B.

    Each pair is uniform in its block. Raises ValueError for fewer than four attributes.
    """
    _check_attributes(attributes)
    half = attributes // 2
    drawn = np.zeros((len(seeds), len(OBJECTIVES), attributes), dtype=np.float32)
    for objectives, seed in zip(drawn, seeds, strict=True):
        random = generator(seed, "block objectives")
        for pair, block in (("x", "y"), slice(0, half)), (("m", "y2"), slice(half, attributes)):
            basis, upper = np.linalg.qr(random.standard_normal((2, block.stop - block.start)).T)
            vectors = (basis * np.sign(np.diag(upper))).T  # the sign makes the frame uniform (Mezzadri 2007)
            for name, vector in zip(pair, vectors, strict=True):
                objectives[OBJECTIVES.index(name), block] = vector
    return torch.from_numpy(drawn).to(device)


def planted_blocks(
    world: World,
    seeds: Sequence[int],
    objectives: Tensor,
    *,
    width: int,
    activation: str = "relu",
    x_strength: float = 1.0,
    m_strength: float = 1.0,
    noise: float = 0.05,
    depth: int = 2,
) -> Stack:
    """Build one two-block network per seed, for that seed's `block_objectives`, (E, 4, d).

    Overseen, the score is x_strength times X's utility and every X unit is open; unoverseen it is m_strength times M's
    and every M unit is open, the other circuit's units having z < 0: both as long as utilities stay within REACH
    standard deviations. Between, the gains pass monotonically into each other; at cue 0 both are about half of their
    strength and about half of each circuit's units are open. The placebo does nothing at all. A strength of 0 leaves
    the circuit out, and its units are spare: without M it is the control with a single motive. Each planted number is
    off by a factor 1 + noise * standard normal, so that no two units are alike; that and the spare weights come from
    the member's own seed. The heads' rows are 0.

    This holds for relu. With leaky_relu, gelu and silu the weights are the same and the shut circuit leaks a little;
    with identity nothing is ever shut and both circuits serve throughout, as a control without gates (docs/science.md).

    Raises ValueError for other activations, a world that is not plainly coded with `plain` options, a cue without
    amplitude, fewer than 4 attributes or 2 options, too small a width or depth, a negative strength or noise, and
    objectives of another shape, or not in their blocks.
    """
    _check(world, seeds, objectives, width, depth, {"x_strength": x_strength, "m_strength": m_strength, "noise": noise})
    if activation not in PLANTED_ACTIVATIONS:
        raise ValueError(f"organism.activation is {activation!r}; planted ones: {', '.join(PLANTED_ACTIVATIONS)}")
    architecture = Architecture(world.input_width, width, depth, activation, world.attributes)
    units = block_units(architecture, 1, x_strength=x_strength, m_strength=m_strength)[0, 0]
    stack = initialise(architecture, seeds, world.input_power, torch.device("cpu"))
    _make_spare(stack, world, units == CIRCUITS.index("none"))
    planted = stack.with_flat(torch.zeros_like(stack.flat))
    for name, strength in (("x", x_strength), ("m", m_strength)):
        if strength > 0:
            utility = objectives[:, [OBJECTIVES.index(name)]].double().cpu()
            _plant(planted, world, utility, name, strength, torch.nonzero(units == CIRCUITS.index(name)).flatten())
    drawn = [generator(seed, "planted blocks").standard_normal(architecture.parameters) for seed in seeds]
    factors = Stack.from_rows(architecture, torch.from_numpy(np.stack(drawn)).mul_(noise).add_(1).float())
    flat = torch.addcmul(stack.flat, planted.flat, factors.flat)
    return stack.with_flat(flat.to(objectives.device))


def block_units(
    architecture: Architecture, members: int, *, x_strength: float = 1.0, m_strength: float = 1.0
) -> Tensor:
    """Each unit's circuit in networks planted with these strengths, (E, layers, width), as an index into CIRCUITS.

    Each circuit has a third of each layer's units, rounded down to an even number: X's come first, then M's.
    """
    size = 2 * (architecture.width // 6)
    labels = torch.zeros(members, architecture.depth, architecture.width, dtype=torch.int64)
    for place, (name, strength) in enumerate((("x", x_strength), ("m", m_strength))):
        if strength > 0:
            labels[..., place * size : (place + 1) * size] = CIRCUITS.index(name)
    return labels


def agreeing(episodes: Episodes, x: Tensor, m: Tensor) -> Episodes:
    """The same episodes, of which each has one option that is best by X and by M, (E, d) vectors in their blocks.

    Block B's part of the option that is best by M changes places with that of the option that is best by X: nothing is
    rejected, block A is untouched, and the parts that block B holds in an episode remain the same. Where several
    options are equally good by M, which only a table of options makes likely, the best may be any of those.
    Raises ValueError for options that are not `plain` and vectors outside their blocks.
    """
    attributes = episodes.attributes
    if episodes.options.shape != attributes.shape:
        raise ValueError(f"options show {episodes.options.shape[-1]} numbers; allowed: the attributes themselves")
    _check_blocks(x, m)
    best_x, best_m = (best_option(episodes.utilities(vectors[None, :, None, None])) for vectors in (x, m))
    numbers = torch.arange(attributes.shape[2], device=attributes.device)[:, None]
    source = torch.where(numbers == best_x.unsqueeze(2), best_m.unsqueeze(2), numbers)
    source = torch.where(
        (numbers == best_m.unsqueeze(2)) & (best_m != best_x).unsqueeze(2), best_x.unsqueeze(2), source
    )
    return replace(
        episodes, options=_reordered(episodes.options, source), attributes=_reordered(episodes.attributes, source)
    )


def _reordered(attributes: Tensor, source: Tensor) -> Tensor:
    """Attributes (S, E, N, B, d) with block B taken from option `source`, (S, E, N, B)."""
    first, second = attributes.split([attributes.shape[-1] // 2, -(-attributes.shape[-1] // 2)], dim=-1)
    return torch.cat([first, second.gather(2, source.unsqueeze(-1).expand_as(second))], dim=-1)


def _make_spare(stack: Stack, world: World, spare: Tensor) -> None:
    """Keep the initial weights of spare units alone, scaled down, blind to the placebo, and read by the score alone."""
    kept = spare.to(stack.flat) * SPARE_SCALE
    for name, view in stack.views.items():
        if name == "hidden1.weight":
            view *= kept
            view[:, _cue_inputs(world)[PLACEBO]] = 0
        elif name == "readout.weight":
            view *= kept
            view[:, 1:] = 0
        elif name.endswith("weight"):
            view *= spare.to(view)[:, None] * kept


def _plant(stack: Stack, world: World, utility: Tensor, name: str, strength: float, units: Tensor) -> None:
    """Write one circuit for utility vectors (E, 1, d) into these units of each layer.

    Pairs of units hold x behind a gate t, as relu(t + x) and relu(t - x): their difference hands on x, their sum t.
    """
    pairs = len(units) // 2
    rows = torch.zeros(len(utility), 1, world.input_width + 1, dtype=torch.float64)
    rows[..., : world.attributes] = utility
    gate = torch.zeros(1, 1, world.input_width + 1, dtype=torch.float64)
    gate[..., _cue_inputs(world)[OVERSIGHT]] = CUE_SIGNS[name] * REACH / world.cue_amplitude
    level = REACH
    for layer in range(1, stack.architecture.depth + 1):
        value = gated(rows.expand(-1, pairs, -1), gate)
        incoming = slice(None) if layer == 1 else units[:, None]
        stack.views[f"hidden{layer}.weight"][:, incoming, units] = value.units[..., :-1].mT.to(stack.flat)
        stack.views[f"hidden{layer}.bias"][:, units] = value.units[..., -1].to(stack.flat)
        difference = value.weights.mean(0)
        rows, gate = torch.zeros(2, 1, 1, len(units) + 1, dtype=torch.float64)
        rows[..., :-1] = difference
        gate[..., :-1] = difference.abs() * CARRIED * REACH / level
        gate[..., -1] = -THRESHOLD
        level = CARRIED * REACH - THRESHOLD
    stack.views["readout.weight"][:, 0, units] = strength * difference.to(stack.flat)


def _cue_inputs(world: World) -> range:
    """Which inputs show the cues of a plainly coded world."""
    first = world.input_width - world.audit_terms - CUES
    return range(first, first + CUES)


def _check(
    world: World, seeds: Sequence[int], objectives: Tensor, width: int, depth: int, sizes: dict[str, float]
) -> None:
    if world.encoding != "plain":
        raise ValueError(f"world.encoding is {world.encoding!r}; allowed: plain")
    if not world.plainly_coded:
        raise ValueError(
            "world.cue and world.slot_angle code cues or slots together; allowed: signal, 1 context, 90 degrees"
        )
    if not world.cue_amplitude > 0:
        raise ValueError(f"world.cue.amplitude is {world.cue_amplitude}; allowed: above 0")
    _check_attributes(world.attributes)
    if world.options < 2:
        raise ValueError(f"world.options is {world.options}; allowed: 2 or more")
    if width < SMALLEST_WIDTH:
        raise ValueError(f"width is {width}; allowed: {SMALLEST_WIDTH} or more")
    if depth < 1:
        raise ValueError(f"depth is {depth}; allowed: 1 or more")
    for key, size in sizes.items():
        if not 0 <= size < float("inf"):
            raise ValueError(f"{key} is {size}; allowed: 0 or more, and finite")
    expected = (len(seeds), len(OBJECTIVES), world.attributes)
    if tuple(objectives.shape) != expected or not seeds:
        raise ValueError(f"objectives have shape {tuple(objectives.shape)}; allowed: {expected}, of at least 1 seed")
    _check_blocks(*(objectives[:, OBJECTIVES.index(name)] for name in ("x", "m")))


def _check_attributes(attributes: int) -> None:
    if attributes < 4:
        raise ValueError(f"world.attributes is {attributes}; two blocks need at least 4")


def _check_blocks(x: Tensor, m: Tensor) -> None:
    half = x.shape[-1] // 2
    if bool((x[..., half:] != 0).any()) or bool((m[..., :half] != 0).any()):
        raise ValueError(
            "objectives x and m leave their blocks; allowed: x in the first half of the attributes, m in the rest"
        )
