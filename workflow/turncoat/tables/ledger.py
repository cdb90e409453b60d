"""From unit rows of the gradient ledger to one row per model, snapshot, cue state, layer and circuit."""

from collections.abc import Mapping

import numpy as np

from turncoat.columns import Columns, stack_rows
from turncoat.tables.gating import CIRCUITS, DORMANT
from turncoat.tables.gating_units import DIRECTIONS, KERNELS, MOVES

Array = np.ndarray

KEYS = ("organism_id", "seed", "step", "state", "layer")
_MEANS = ("activation", "absolute_activation", "open_share", "mean_slope", "utility")
_NORMS = tuple(f"{move}_{name}" for move in MOVES for name in DIRECTIONS)
_TOTALS = ("gain_x", "gain_m", *KERNELS)
_RANKED = ("gradient_out", "update_out", "fresh_update_out")


def by_circuit(units: Mapping[str, Array]) -> Columns:
    """Sum unit rows over the units of each circuit in each model, snapshot, cue state and layer.

    `units` has the columns of `gating_units.SCHEMA`, each layer's units together. Norms are summed as squares, means
    are over units; contents and kernels are sums. `closed_share_*` is the squared gradient norm from examples with
    z <= 0 over the whole squared gradient norm, both summed over units; it may exceed 1 where the two parts of a batch
    cancel. A circuit without units in a layer has a row all the same: sums 0, means and shares NaN.
    """
    first, group = _groups(units)
    keys = {name: units[name][first] for name in KEYS}
    ranks = _rank_correlations(units, first, group)
    parts: list[Columns] = []
    for circuit in CIRCUITS:
        columns: Columns = {"circuit": np.full(len(first), circuit)}
        columns |= _sums(units, _inside(units, circuit), first)
        columns |= ranks if circuit == "all" else {name: np.full(len(first), np.nan) for name in ranks}
        parts.append(keys | columns)
    return stack_rows(parts)


def _inside(units: Mapping[str, Array], circuit: str) -> Array:
    if circuit == "all":
        return np.ones(len(units["unit"]), bool)
    if circuit == "random":
        return units["random"].astype(bool)
    return np.asarray(units["circuit"] == circuit)


def _sums(units: Mapping[str, Array], inside: Array, first: Array) -> Columns:
    dead = units["dead"].astype(bool) & inside

    def total(rows: Array) -> Array:
        return np.asarray(np.add.reduceat(rows, first))

    def share(part: Array, whole: Array) -> Array:
        return _over(total(part), total(whole))

    def largest(rows: Array, where: Array) -> Array:
        return np.asarray(np.fmax.reduceat(np.where(where, rows, np.nan), first))

    count = total(inside.astype(np.int64))
    values = {name: np.where(inside, units[name].astype(np.float64), 0.0) for name in (*_MEANS, *_NORMS, *_TOTALS)}
    square = {name: np.square(values[name]) for name in _NORMS}
    closed = {
        name: np.where(inside, units[f"closed_gradient_{name}"].astype(np.float64), 0.0) for name in ("in", "out")
    }
    columns: Columns = {
        "units": count,
        "unconfirmed_units": total((inside & ~units["confirmed"].astype(bool)).astype(np.int64)),
        "dead_units": total(dead.astype(np.int64)),
        "dormant_units": total((inside & (units["dormant_score"] <= DORMANT)).astype(np.int64)),
    }
    columns |= {name: _over(total(values[name]), count) for name in _MEANS}
    columns |= {name: np.sqrt(total(square[name])) for name in _NORMS}
    columns |= {name: total(values[name]) for name in _TOTALS}
    for name, part in closed.items():
        columns[f"closed_share_{name}"] = share(np.square(part), square[f"gradient_{name}"])
    columns["largest_closed_gradient_in"] = largest(closed["in"], inside)
    columns["largest_dead_gradient_in"] = largest(units["gradient_in"], dead)
    for name in ("gradient_in", "update_in", "fresh_update_in"):
        columns[f"dead_share_{name}"] = share(np.where(dead, square[name], 0.0), square[name])
    for move in ("update", "coasting"):
        for name in ("in", "out"):
            columns[f"{move}_closed_{name}"] = np.sqrt(total(np.where(dead, square[f"{move}_{name}"], 0.0)))
    columns["identity_error"] = largest(units["identity_error"], inside)
    return columns


def _over(part: Array, whole: Array) -> Array:
    """Quotients, NaN where the denominator is not above 0."""
    below = whole.astype(np.float64)
    return np.divide(part.astype(np.float64), below, out=np.full(len(below), np.nan), where=below > 0)


def _rank_correlations(units: Mapping[str, Array], first: Array, group: Array) -> Columns:
    """Spearman correlations of mean |h| over the units of a layer: Pearson's of ranks less their mean."""
    rank = _centred_ranks(units["absolute_activation"], first, group)
    found: Columns = {}
    for name in _RANKED:
        other = _centred_ranks(units[name], first, group)
        below = np.sqrt(np.add.reduceat(rank**2, first) * np.add.reduceat(other**2, first))
        found[f"rank_{name}"] = _over(np.add.reduceat(rank * other, first), below)
    return found


def _groups(units: Mapping[str, Array]) -> tuple[Array, Array]:
    """First row of each (model, snapshot, cue state, layer), and the group of each row."""
    changes = np.zeros(len(units["unit"]), bool)
    changes[0] = True
    for name in KEYS:
        changes[1:] |= units[name][1:] != units[name][:-1]
    return np.flatnonzero(changes), np.cumsum(changes) - 1


def _centred_ranks(values: Array, first: Array, group: Array) -> Array:
    """Ranks within groups, ties averaged, less their mean; NaN where the value is."""
    numbers = values.astype(np.float64)
    order = np.lexsort((numbers, group))
    ordered, groups = numbers[order], group[order]
    begins = np.ones(len(order), bool)
    begins[1:] = (ordered[1:] != ordered[:-1]) | (groups[1:] != groups[:-1])
    starts = np.flatnonzero(begins)
    lengths = np.diff(np.append(starts, len(order)))
    ranks = np.empty(len(order))
    ranks[order] = np.repeat(starts + (lengths - 1) / 2, lengths)
    ranks[np.isnan(numbers)] = np.nan
    counts = np.diff(np.append(first, len(group)))
    centre = np.add.reduceat(ranks, first) / counts
    return np.asarray(ranks - centre[group])
