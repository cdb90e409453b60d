"""From unit rows of the gradient ledger to one row per model, cue state and layer."""

import numpy as np
import pandas
import pyarrow as pa

from turncoat.tables.gating import DIRECTIONS, UPDATES

Array = np.ndarray

_MEANS = ("activation", "absolute_activation", "open_share", "mean_slope")
_NORMS = tuple(f"{kind}_{name}" for kind in ("gradient", *UPDATES) for name in DIRECTIONS)


def by_layer(units: pa.Table) -> pandas.DataFrame:
    """Sum unit rows over the units of each model, cue state and layer (circuit `all`).

    `units` is sorted by organism_id, state, layer and unit, as `gating_units.SCHEMA` has it. Norms are
    summed as squares. `closed_share_*` is the squared gradient norm from examples with z < 0 over the
    whole squared gradient norm, both summed over units; it may exceed 1 where the two parts of a batch
    cancel.
    """
    first, group = _groups(units)
    values = {
        name: units[name].to_numpy()
        for name in units.column_names
        if pa.types.is_floating(units.schema.field(name).type)
    }
    dead = units["dead"].to_numpy()
    count = np.bincount(group)

    def total(rows: Array) -> Array:
        return np.asarray(np.add.reduceat(rows, first))

    def share(part: Array, whole: Array) -> Array:
        below = total(whole)
        return np.divide(total(part), below, out=np.full(len(below), np.nan), where=below > 0)

    square = {name: np.square(values[name]) for name in (*_NORMS, "closed_gradient_in", "closed_gradient_out")}
    columns: dict[str, object] = {
        name: units[name].take(pa.array(first)).to_numpy() for name in ("organism_id", "seed", "state", "layer")
    }
    columns |= {"circuit": "all", "units": count, "dead_units": total(dead.astype(np.int64))}
    columns |= {name: total(values[name]) / count for name in _MEANS}
    columns |= {name: np.sqrt(total(square[name])) for name in _NORMS}
    columns["closed_share_in"] = share(square["closed_gradient_in"], square["gradient_in"])
    columns["closed_share_out"] = share(square["closed_gradient_out"], square["gradient_out"])
    columns["largest_closed_gradient_in"] = np.maximum.reduceat(values["closed_gradient_in"], first)
    columns["largest_dead_gradient_in"] = np.fmax.reduceat(np.where(dead, values["gradient_in"], np.nan), first)
    for name in ("gradient_in", "update_in", "fresh_update_in"):
        columns[f"dead_share_{name}"] = share(np.where(dead, square[name], 0.0), square[name])
    rank = _centred_ranks(values["absolute_activation"], group, count)
    for name in ("gradient_out", "update_out", "fresh_update_out"):
        other = _centred_ranks(values[name], group, count)
        spread = np.sqrt(total(rank**2) * total(other**2))
        columns[f"rank_{name}"] = np.divide(
            total(rank * other), spread, out=np.full(len(spread), np.nan), where=spread > 0
        )
    columns["identity_error"] = np.maximum.reduceat(values["identity_error"], first)
    return pandas.DataFrame(columns)


def _groups(units: pa.Table) -> tuple[Array, Array]:
    """First row of each (model, state, layer), and the group of each row."""
    changes = np.zeros(len(units), bool)
    changes[0] = True
    for name in ("organism_id", "state", "layer"):
        codes = units[name].combine_chunks().dictionary_encode().indices.to_numpy()
        changes[1:] |= codes[1:] != codes[:-1]
    return np.flatnonzero(changes), np.cumsum(changes) - 1


def _centred_ranks(values: Array, group: Array, count: Array) -> Array:
    """Ranks within groups, ties averaged, less their mean: Spearman's correlation is Pearson's of these."""
    ranks = pandas.Series(values).groupby(group).rank().to_numpy()
    mean = np.bincount(group, ranks) / count
    return np.asarray(ranks - mean[group])
