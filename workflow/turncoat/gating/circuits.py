"""Circuits by content: which units carry the score along X, and which along M (DESIGN 6).

Labels by activity or by ablation in one cue state are circular: they find units that are open there, in untrained
networks too. Here only what a unit's contribution says counts, and both cue states enter alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from turncoat.columns import Columns, stack_rows
from turncoat.gating.blocks import CIRCUITS
from turncoat.organisms.hidden import HiddenStates
from turncoat.seeding import generator

STATES = ("overseen", "unoverseen")
HALVES = 2  # episodes that find a unit's circuit, and those that confirm it
MAJORITY = 0.5  # share of a unit's content that makes it a circuit's; two orthogonal objectives cannot both exceed it
SHARED = 0.25  # a unit that holds at least so much of both carries both
MATERIAL = 0.1  # of the layer's mean squared content: units below it belong to nothing
SIGNIFICANT = 3.0  # standard errors above 0


@dataclass(frozen=True)
class Contents:
    """What units contribute to the score: E members, L layers, S cue states, H units, d attributes.

    vectors: (2, E, L, S, H, d), content on each half of the episodes, in score per unit of attribute; covariances:
    (2, E, L, S, H, d, d), its sampling covariance; opened: (E, L, S, H), share of options on which the unit is open;
    NaN where a member's scores are not finite.
    """

    vectors: Tensor
    covariances: Tensor
    opened: Tensor


@dataclass(frozen=True)
class Circuits:
    """Which circuit each unit belongs to, as an index into CIRCUITS, and how clearly.

    labels: (E, L, H), those that both halves of the episodes give, all others being none; found, confirming: (E, L, H),
    the labels of either half; shares: (E, L, H, 2), part of the unit's squared content in both cue states that lies
    along X and along M; cosines: (E, L, S, H, 2), of its content with X and M by cue state; gains: (E, L, S, H, 2), its
    content along X and M; shared: (E, L, H), whether it carries both. The last four are of all episodes. Shares and
    cosines are NaN where a unit has no content.
    """

    labels: Tensor
    found: Tensor
    confirming: Tensor
    shares: Tensor
    cosines: Tensor
    gains: Tensor
    shared: Tensor

    @property
    def confirmation(self) -> Tensor:
        """Share of the units found in a circuit that the other half puts in the same, (E, L); NaN if none is found."""
        return (self.labels > 0).double().sum(2) / (self.found > 0).double().sum(2)


def unit_contents(organism: HiddenStates, inputs: Mapping[str, Tensor], attributes: Tensor) -> Contents:
    """Content of every hidden unit in both cue states, on each half of the episodes.

    `inputs` shows the same B episodes overseen and unoverseen, (E, N, B, F); `attributes` are their options', (E, N, B,
    d). A unit contributes h times the slope of the score by h: in the last layer exactly its part of the score, below
    to first order. Its content is the least-squares fit of that on the attributes, both centred over an episode's
    options; the covariance is robust and clustered by episode (Liang and Zeger 1986). A unit is open where h > 0, which
    for every activation is where z > 0. Raises ValueError for inputs that lack a state, are of other shapes than the
    attributes, or show too few episodes.
    """
    _check_inputs(organism, inputs, attributes)
    half = attributes.shape[2] // 2
    parts = [(attributes[:, :, part].double(), part) for part in (slice(0, half), slice(half, None))]
    designs = [_design(seen) for seen, _ in parts]
    fits, opened = [], []
    for state in STATES:
        for contributions, is_open in _contributions(organism, inputs[state]):
            fits.append(
                [_fit(contributions[:, :, part], *design) for design, (_, part) in zip(designs, parts, strict=True)]
            )
            opened.append(is_open)
    shape = (len(STATES), organism.layers)
    vectors, covariances = (
        torch.stack([torch.stack([fit[half][kind] for fit in fits], 1).unflatten(1, shape) for half in range(HALVES)])
        for kind in range(2)
    )
    gates = torch.stack(opened, 1).unflatten(1, shape)
    return Contents(vectors.transpose(2, 3), covariances.transpose(2, 3), gates.transpose(1, 2))


def label_circuits(contents: Contents, objectives: Tensor) -> Circuits:
    """Put every unit into the X circuit, the M circuit or neither, by objectives (E, 2, d): X and M, orthonormal.

    On either half a unit belongs to an objective's circuit if more than half of its content lies along it: the squares
    of what its contents in both cue states hold along the objective (towards it, not against it), over their squared
    lengths. It must hold it by SIGNIFICANT standard errors in a cue state, and its squared content must be MATERIAL of
    the layer's mean. Cue states enter alike, and so do X and M: whether a unit is open in one of them decides nothing.
    Raises ValueError for objectives of another shape, or not orthonormal.
    """
    _check_objectives(contents, objectives)
    aims = objectives.double()[:, None, None].mT
    halves = [
        _judge(vectors, covariances, aims)
        for vectors, covariances in zip(contents.vectors, contents.covariances, strict=True)
    ]
    vectors = contents.vectors.mean(0)
    whole = _judge(vectors, contents.covariances.mean(0) / HALVES, aims)
    found, confirming = halves[0].labels, halves[1].labels
    gains = vectors @ aims
    return Circuits(
        labels=torch.where(found == confirming, found, 0),
        found=found,
        confirming=confirming,
        shares=whole.shares,
        cosines=gains / vectors.norm(dim=-1, keepdim=True),
        gains=gains,
        shared=whole.shared,
    )


def random_objectives(seeds: Sequence[int], attributes: int, device: torch.device) -> Tensor:
    """Two orthonormal vectors of each seed, (E, 2, d), uniform: what stands for X and M in the random control."""
    drawn = []
    for seed in seeds:
        basis, upper = np.linalg.qr(generator(seed, "random circuits").standard_normal((2, attributes)).T)
        drawn.append((basis * np.sign(np.diag(upper))).T.astype(np.float32))
    return torch.from_numpy(np.stack(drawn)).to(device)


def open_contrasts(contents: Contents, circuits: Circuits) -> Tensor:
    """Open share overseen less unoverseen of the X and the M circuit's units, (E, L, 2); NaN for a circuit without."""
    difference = contents.opened[:, :, 0] - contents.opened[:, :, 1]
    return torch.stack([_mean_over(difference, circuits.labels == label) for label in (1, 2)], dim=-1)


def circuit_rows(contents: Contents, circuits: Circuits, seeds: Sequence[int]) -> Columns:
    """One row per member, layer, cue state and circuit.

    `units`, confirmed; `unconfirmed`, found in it on the first half alone, and so counted as none; `shared`, those of
    its units that carry both; `open_share`, mean over its units, NaN without any; `gain_x`, `gain_m`, what its units
    add to the score's content along X and M.
    """
    members, layers, _ = circuits.labels.shape
    parts: list[Columns] = []
    for number, state in enumerate(STATES):
        for label, name in enumerate(CIRCUITS):
            inside = circuits.labels == label
            unconfirmed = (circuits.found == label) & ~inside
            gains = (circuits.gains[:, :, number] * inside.unsqueeze(-1)).sum(2)
            columns = {
                "units": inside.sum(2),
                "unconfirmed": unconfirmed.sum(2),
                "shared": (circuits.shared & inside).sum(2),
                "open_share": _mean_over(contents.opened[:, :, number], inside),
                "gain_x": gains[..., 0],
                "gain_m": gains[..., 1],
            }
            parts.append(
                {
                    "seed": np.repeat(seeds, layers),
                    "layer": np.tile(np.arange(1, layers + 1), members),
                    "state": np.full(members * layers, state),
                    "circuit": np.full(members * layers, name),
                }
                | {key: column.flatten().cpu().numpy() for key, column in columns.items()}
            )
    return stack_rows(parts)


def circuit_sizes(circuits: Circuits) -> Columns:
    """How alike circuits are across seeds, one row per layer and circuit: a unit's number means nothing across seeds.

    `present`, share of seeds that have any unit of it; `units_mean`, `units_sd`, `units_smallest`, `units_largest`;
    `shared_mean`, units that carry both; `confirmation`, share of the units found on one half that the other confirms,
    over all seeds.
    """
    parts: list[Columns] = []
    for label, name in enumerate(CIRCUITS):
        if label == 0:
            continue
        inside, found = circuits.labels == label, circuits.found == label
        units = inside.sum(2).double()
        layers = units.shape[1]
        columns = {
            "present": (units > 0).double().mean(0),
            "units_mean": units.mean(0),
            "units_sd": units.std(0) if len(units) > 1 else units[0] * torch.nan,
            "units_smallest": units.amin(0),
            "units_largest": units.amax(0),
            "shared_mean": (circuits.shared & inside).sum(2).double().mean(0),
            "confirmation": units.sum(0) / found.sum((0, 2)),
        }
        keys = {"layer": np.arange(1, layers + 1), "circuit": np.full(layers, name)}
        parts.append(keys | {key: column.cpu().numpy() for key, column in columns.items()})
    return stack_rows(parts)


@dataclass(frozen=True)
class _Judgement:
    labels: Tensor
    shares: Tensor
    shared: Tensor


def _judge(vectors: Tensor, covariances: Tensor, aims: Tensor) -> _Judgement:
    """Labels from contents (E, L, S, H, d) and their covariances, for aims (E, 1, 1, d, 2)."""
    along = vectors @ aims
    errors = torch.einsum("elshij,eik,ejk->elshk", covariances, aims[:, 0, 0], aims[:, 0, 0]).clamp_min(0).sqrt()
    size = vectors.square().sum(-1).sum(2)
    shares = along.clamp_min(0).square().sum(2) / size.unsqueeze(-1)
    significant = ((along > 0) & (along >= SIGNIFICANT * errors)).any(2)
    material = (size >= MATERIAL * size.mean(-1, keepdim=True)).unsqueeze(-1)
    holds = significant & material
    labels = ((shares > MAJORITY) & holds).to(torch.int64) @ torch.tensor([1, 2], device=vectors.device)
    return _Judgement(labels, shares, ((shares >= SHARED) & holds).all(-1))


def _contributions(organism: HiddenStates, inputs: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Layer by layer each unit's contribution (E, N, B, H) to each option's score, and its open share (E, H)."""
    layers = []
    for layer, states in enumerate(organism.read(inputs), start=1):
        with torch.enable_grad():
            leaf = states.detach().requires_grad_(True)
            scores = organism.run_on(layer, leaf)
            (slope,) = torch.autograd.grad(scores.sum(), leaf)
        opened = (states > 0).sum((1, 2)).double() / states[0, ..., 0].numel()
        finite = scores.isfinite().all(2).all(1, keepdim=True)
        layers.append((states.double() * slope, torch.where(finite, opened, torch.nan)))
    return layers


def _design(attributes: Tensor) -> tuple[Tensor, Tensor]:
    """Attributes (E, N, b, d) centred over an episode's options, and the inverse of their products, (E, d, d)."""
    design = attributes - attributes.mean(1, keepdim=True)
    rows = design.flatten(1, 2)
    return design, torch.linalg.pinv(rows.mT @ rows, hermitian=True)


def _fit(contributions: Tensor, design: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
    """Least squares of contributions (E, N, b, H) on a design: coefficients (E, H, d), covariances (E, H, d, d)."""
    targets = contributions - contributions.mean(1, keepdim=True)
    vectors = targets.flatten(1, 2).mT @ design.flatten(1, 2) @ inverse
    residuals = targets - design @ vectors.mT.unsqueeze(1)
    pulls = torch.einsum("enbh,enbi->ehbi", residuals, design) @ inverse.unsqueeze(1)
    episodes = pulls.shape[2]
    return vectors, pulls.mT @ pulls * (episodes / (episodes - 1))


def _mean_over(values: Tensor, inside: Tensor) -> Tensor:
    """Mean over the last dimension of those inside; NaN where there are none."""
    return torch.where(inside, values, 0).sum(-1) / inside.sum(-1)


def _check_inputs(organism: HiddenStates, inputs: Mapping[str, Tensor], attributes: Tensor) -> None:
    for state in STATES:
        if state not in inputs:
            raise ValueError(f"inputs has no {state!r}, only {', '.join(inputs) or 'nothing'}; it must have {STATES}")
        shape = tuple(inputs[state].shape)
        if len(shape) != 4 or attributes.ndim != 4 or shape[:3] != attributes.shape[:3]:
            raise ValueError(
                f"inputs of {state!r} have shape {shape}, attributes {tuple(attributes.shape)}; allowed: (E, N, B, F) "
                "and (E, N, B, d) of the same members, options and episodes"
            )
    members, options, episodes, count = attributes.shape
    if members != organism.members or members == 0:
        raise ValueError(f"inputs are of {members} members, with {organism.members} organisms; they must be as many")
    if (options - 1) * (episodes // 2) <= count or episodes < 4:
        raise ValueError(f"{episodes} episodes are too few for {count} attributes; half of them must outnumber those")


def _check_objectives(contents: Contents, objectives: Tensor) -> None:
    _, members, _, _, _, attributes = contents.vectors.shape
    if tuple(objectives.shape) != (members, 2, attributes):
        raise ValueError(f"objectives have shape {tuple(objectives.shape)}; allowed: {(members, 2, attributes)}")
    products = objectives.double() @ objectives.double().mT
    if not bool(((products - torch.eye(2).to(products)).abs() < 1e-3).all()):
        raise ValueError("objectives are not orthonormal; allowed: unit vectors X and M at right angles")
