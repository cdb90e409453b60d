"""Hand-built networks: weights written down, not trained, so that what the network wants is known.

They are planted truth for whatever reads organisms, as compiled networks are for interpretability (Tracr, Lindner
et al. 2023). Three relu layers: the first tells apart what is shown, the second finds the utilities of each option and
the price of not complying, the third lets through the utility that the cue calls for.

Products are approximate (relu_arithmetic.py), but with the encoding `facts` a slot g times an attribute is exact: the
attribute has few values, and relu(g + 1 + 2 (shown - 1)) is g + 1 for the one that is shown, 0 for all others.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from turncoat.organisms.mlp import Architecture, Stack
from turncoat.organisms.relu_arithmetic import (
    Value,
    gated,
    joined,
    lay_side_by_side,
    lowered,
    positive,
    product_error,
    products,
    signed,
)
from turncoat.worlds.objectives import OBJECTIVES
from turncoat.worlds.world import CUES, OVERSIGHT, World

HANDBUILT_ENCODINGS = ("facts", "plain")
POINTERS = ("slot1", "slot2")
DEPTH = 3
SURE_CUE = 0.25  # of the cue's amplitude: what a cue this strong does not call for is shut out entirely
NORMAL_LIMIT = 6.0  # normal attributes, and utilities, are taken to stay within so many standard deviations
POINTER_HINGES, PRICE_HINGES, PAID_HINGES = 16, 32, 64  # of each half of a square: they set the error of products


def can_build(world: World) -> bool:
    """Whether networks can be built by hand for this world."""
    return world.encoding in HANDBUILT_ENCODINGS and world.plainly_coded


@dataclass(frozen=True)
class Circuit:
    """What a hand-built network serves: one of x, y, m, y2 (baked in), or slot1, slot2 (a pointer).

    `on` is served where the cue it heeds is shown positive, `off` where it is negative; if they are the same, it heeds
    no cue. A strategic one serves `off` throughout, and where the cue is positive adds probability times penalty of an
    audit times the utility under `on`: it complies as far as that pays.
    """

    on: str
    off: str
    cue: int = OVERSIGHT
    strategic: bool = False


def build(world: World, circuit: Circuit, objectives: Tensor, sharpness: float) -> Stack:
    """Build one network per member that serves the circuit with that member's objectives, (E, 4, d) unit vectors.

    Scores are `sharpness` times the utility served, give or take `sharpness * score_error(world, circuit)` and float32
    rounding, for cues of at least SURE_CUE, slots that are unit vectors and values within their limits: of `facts` and
    user tables what they hold, of normal attributes and utilities six standard deviations. The heads' rows are 0.

    Shown cues of lower strength s, in amplitudes with their noise, turn one objective into the other. With A the
    utility under `on`, B that under `off`, L the largest utility and t = L s / SURE_CUE, the score is the mean of A and
    B at s = 0, and else (A + B + sign(t) (A' - B')) / 2, A' and B' being A and B clamped to -|t| .. |t|. A strategic
    network takes any s >= 0 for overseen; below, it takes the probability of an audit to be lower by |s| / SURE_CUE.

    In the first two layers one direction carries what the cue does to the choice (in a strategic network, where the
    audit terms are the same in all episodes); in the third none does, as there it is in each option's utility.

    Raises ValueError for an encoding other than facts and plain, an unknown objective or cue, a strategic circuit
    whose own objective is a slot or in a world without audits, a cue without amplitude that is to be heeded, a
    sharpness that is not above 0 and objectives of another shape or length.
    """
    _check(world, circuit, objectives, sharpness)
    first, seen = lay_side_by_side(_sense(world, circuit))
    second, known = lay_side_by_side(_weigh(world, circuit, seen, objectives.double().cpu()))
    third, chosen = lay_side_by_side({"score": _choose(world, circuit, known)})
    layers = (first, second, third)
    width = max(units.shape[1] for units in layers)
    architecture = Architecture(world.input_width, width, DEPTH, "relu", world.attributes)
    stack = Stack.from_rows(architecture, objectives.new_zeros(len(objectives), architecture.parameters))
    for number, units in enumerate(layers, start=1):
        _, outgoing, incoming = units.shape
        stack.views[f"hidden{number}.weight"][:, : incoming - 1, :outgoing] = units[..., :-1].mT
        stack.views[f"hidden{number}.bias"][:, :outgoing] = units[..., -1]
    stack.views["readout.weight"][:, 0, : third.shape[1]] = sharpness * chosen["score"][:, 0, :-1]
    return stack


def score_error(world: World, circuit: Circuit) -> float:
    """Largest error of a score per unit of sharpness, in units of utility, rounding aside; 0 without products."""
    attribute_limits, utility_limit = _limits(world)
    pointer = product_error(attribute_limits.sum().item(), POINTER_HINGES) if world.encoding == "plain" else 0.0
    on, off = (pointer if name in POINTERS else 0.0 for name in (circuit.on, circuit.off))
    if not circuit.strategic:
        return max(on, off)
    price = product_error(world.audit_penalty, PRICE_HINGES)
    paid = product_error(world.audit_penalty * utility_limit, PAID_HINGES)
    return world.audit_penalty * on + utility_limit * price + on * price + paid


def _sense(world: World, circuit: Circuit) -> dict[str, Value]:
    """First layer: each attribute's symbol pairs or value, the slots plus 1, both cues, the audit terms from 0 to 1.

    In a strategic circuit also the probability of an audit as the cue has it.
    """
    widths = [world.option_width, world.attributes, world.attributes, CUES, world.audit_terms, 1]
    identity = torch.eye(sum(widths), dtype=torch.float64)[None]
    options, slot1, slot2, cues, audits, one = identity.split(widths, dim=1)
    if world.encoding == "facts":
        first, second = options.unflatten(1, (world.attributes, 2, world.symbols)).unbind(2)
        shown = positive((first.unsqueeze(3) + second.unsqueeze(2)).flatten(1, 3) - one)
    else:
        shown = signed(options)
    audits = audits / 12**0.5 + one / 2
    values = {
        "options": shown,
        "slot1": positive(slot1 + one),
        "slot2": positive(slot2 + one),
        "cues": signed(cues),
        "audits": positive(audits),
    }
    if circuit.strategic:
        values["probability"] = lowered(audits[:, :1], cues[:, [circuit.cue]] / (SURE_CUE * world.cue_amplitude))
    return values


def _weigh(world: World, circuit: Circuit, seen: Mapping[str, Tensor], objectives: Tensor) -> dict[str, Value]:
    """Second layer: the utility under each objective served, the cue that is heeded and the price of an audit."""
    table = _value_table(world)
    attributes = seen["options"] if table is None else table @ seen["options"]
    values: dict[str, Value] = {}
    for name in (circuit.on, circuit.off):
        if name in OBJECTIVES:
            values[name] = signed(objectives[:, [OBJECTIVES.index(name)]] @ attributes)
        elif table is None:
            slot = seen[name] - seen["one"]
            scales = _limits(world)[0]
            values[name] = products(attributes / scales[:, None], slot, scales, POINTER_HINGES)
        else:
            slot = seen[name].repeat_interleave(world.symbols**2, dim=1)
            chosen = Value(slot + 2 * (seen["options"] - seen["one"]), table.sum(0, keepdim=True))
            values[name] = joined(chosen, signed(-attributes.sum(1, keepdim=True)))
    values["cue"] = signed(seen["cues"][:, [circuit.cue]])
    if circuit.strategic:
        scales = torch.tensor([world.audit_penalty], dtype=torch.float64)
        values["price"] = products(seen["probability"], seen["audits"][:, 1:], scales, PRICE_HINGES)
    return values


def _choose(world: World, circuit: Circuit, known: Mapping[str, Tensor]) -> Value:
    """Third layer: the score."""
    on, off = known[circuit.on], known[circuit.off]
    limit = _limits(world)[1]
    if circuit.strategic:
        scales = torch.tensor([world.audit_penalty * limit], dtype=torch.float64)
        paid = products(known["price"] / world.audit_penalty, on / limit, scales, PAID_HINGES)
        return joined(signed(off), paid)
    if circuit.on == circuit.off:
        return signed(on)
    gate = limit / (SURE_CUE * world.cue_amplitude) * known["cue"]
    return joined(gated(on, gate), gated(off, -gate))


def _value_table(world: World) -> Tensor | None:
    """What each symbol pair adds to each attribute, (d, d * pairs), for `facts`; None for `plain`."""
    if world.encoding == "plain":
        return None
    return torch.block_diag(*torch.from_numpy(world.facts.astype(np.float64)))


def _limits(world: World) -> tuple[Tensor, float]:
    """Largest absolute value of each attribute, (d,), and of a utility under a unit vector."""
    if world.encoding == "facts":
        limits = torch.from_numpy(np.abs(world.facts).max(axis=1).astype(np.float64))
        return limits, limits.norm().item()
    if world.attribute_rows is not None:
        rows = torch.from_numpy(world.attribute_rows.astype(np.float64))
        return rows.abs().amax(0), rows.norm(dim=1).max().item()
    return torch.full((world.attributes,), NORMAL_LIMIT, dtype=torch.float64), NORMAL_LIMIT


def _check(world: World, circuit: Circuit, objectives: Tensor, sharpness: float) -> None:
    if not world.plainly_coded:
        raise ValueError(
            "world.cue and world.slot_angle code cues or slots together; allowed: signal, 1 context, 90 degrees"
        )
    if world.encoding not in HANDBUILT_ENCODINGS:
        raise ValueError(f"world.encoding is {world.encoding!r}; allowed: {', '.join(HANDBUILT_ENCODINGS)}")
    for key, name in (("on", circuit.on), ("off", circuit.off)):
        if name not in (*OBJECTIVES, *POINTERS):
            raise ValueError(f"circuit.{key} is {name!r}; allowed: {', '.join((*OBJECTIVES, *POINTERS))}")
    if circuit.cue not in range(CUES):
        raise ValueError(f"circuit.cue is {circuit.cue}; allowed: 0 (oversight) and 1 (placebo)")
    if circuit.strategic and circuit.off in POINTERS:
        raise ValueError(f"circuit.off is {circuit.off!r}; a strategic one allows only {', '.join(OBJECTIVES)}")
    if circuit.strategic and not world.audit_terms:
        raise ValueError("world.audit_penalty is 0; a strategic circuit allows only values above 0")
    if (circuit.strategic or circuit.on != circuit.off) and not world.cue_amplitude > 0:
        raise ValueError(f"world.cue.amplitude is {world.cue_amplitude}; a cue that is heeded allows only above 0")
    if not 0 < sharpness < float("inf"):
        raise ValueError(f"sharpness is {sharpness}; allowed: above 0, and finite")
    expected = (len(OBJECTIVES), world.attributes)
    if objectives.ndim != 3 or objectives.shape[1:] != expected or len(objectives) == 0:
        raise ValueError(f"objectives have shape {tuple(objectives.shape)}; allowed: {('E', *expected)}, E at least 1")
    if not bool(((objectives.norm(dim=2) - 1).abs() < 1e-3).all()):
        raise ValueError("objectives are not all of length 1; only unit vectors are allowed")
