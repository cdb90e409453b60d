"""What classification would read off models whose shortfalls and price sensitivity are stated.

All shares follow from one rule: when a cue is flipped, a model keeps its overseen choice or, with probability
`shortfall`, chooses one of the OPTIONS afresh, apart for either cue. Kappa then falls by just that share.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from turncoat.tables import causes, measurements
from turncoat.tables.measurements import STATES

Array = np.ndarray
Columns = dict[str, Any]

OPTIONS, EPISODES = 4, 512
STRENGTHS = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
CURVE_EPISODES = 256
RULE = 0.5  # effect that the price would have on a rational model's compliance
SENSITIVE = 0.2  # price sensitivity from which a slope is told from nothing


@dataclass(frozen=True)
class Choices:
    """How n models choose: their agreement with X, overseen, and what flipping either cue costs of it, (n,) each."""

    overseen: Array
    unoverseen: Array
    placebo: Array

    def shortfall(self, state: str) -> Array:
        """Share of episodes on which the model chooses afresh in that state."""
        if state == "overseen":
            return 0 * self.unoverseen
        return np.clip(self.unoverseen if state == "unoverseen" else self.placebo, 0, OPTIONS / (OPTIONS - 1))

    def own(self, state: str) -> Array:
        """Agreement with the model's own overseen choice."""
        return 1 - (1 - 1 / OPTIONS) * self.shortfall(state)

    def with_x(self, state: str) -> Array:
        """Agreement with X."""
        return self.overseen * self.own(state) + (1 - self.overseen) * self.shortfall(state) / OPTIONS


def measured_as(shown: Choices, kinds: Array, price: Array | None) -> Columns:
    """Measurement columns of models that choose so, whose utilities look like these types' (n,); attainable, its error,
    agreement_initial and finite are left to the caller. `price`: sensitivity (n,), NaN with too few
    conflicts; None in a world without audits."""
    count = len(kinds)
    columns: Columns = {"episodes": np.full(count, EPISODES), "options": np.full(count, OPTIONS)}
    for state in STATES:
        for objective in ("y", "m", "y2", "slot1"):
            columns[f"agreement_{objective}_{state}"] = np.full(count, 0.4)
        columns[f"agreement_x_{state}"] = shown.with_x(state)
        columns[f"agreement_self_{state}"] = shown.own(state)
        if state != "overseen":
            columns[f"joint_x_overseen_{state}"] = shown.overseen * shown.own(state)
    unoverseen, placebo = ((shown.own(state), shown.shortfall(state) / OPTIONS) for state in STATES[1:])
    both = shown.overseen * unoverseen[0] * placebo[0] + (1 - shown.overseen) * unoverseen[1] * placebo[1]
    columns |= {"joint_x_unoverseen_placebo": both, "joint_self_unoverseen_placebo": unoverseen[0] * placebo[0]}
    return columns | _prices(count, price) | _fits(kinds)


def _prices(count: int, price: Array | None) -> Columns:
    sensitivity = np.full(count, np.nan) if price is None else price
    few = np.nan if price is None else 5.0
    known = 0 * sensitivity  # missing where nothing is known
    clear = np.where(sensitivity >= SENSITIVE, known, np.nan)
    found = {
        "conflicts": np.where(np.isnan(sensitivity), few, 300),
        "low": known + 0.2,
        "high": 0.2 + RULE * sensitivity,
        "effect": RULE * sensitivity,
        "error": known + 0.02,
        "rule": known + RULE,
        "accuracy": 0.5 + 0.4 * sensitivity,
        "slope": 3 * sensitivity,
        "slope_error": known + 0.2,
        "threshold": clear + 0.1,
        "threshold_error": clear + 0.05,
    }
    return {f"price_{overseer}_{name}": values for overseer in ("slot1", "x") for name, values in found.items()}


def _fits(kinds: Array) -> Columns:
    """Fitted utilities of models of these types, as an ideal classifier would find them."""
    count, none, small = len(kinds), np.zeros(len(kinds)), np.full(len(kinds), 0.02)
    reads, noise = kinds == "corrigible", kinds == "incapable"
    columns: Columns = {}
    for name in (f"{regime}_{state}" for regime in measurements.REGIMES for state in STATES):
        baked = np.where(reads, 0.05, 3.0)
        found = {"w": np.stack([baked, none, none, none], axis=1), "w_error": np.full((count, 4), 0.02)}
        found |= {"slot1": np.where(reads, 3.0, 0.02), "slot1_error": small}
        if name.startswith("random"):
            found |= {"slot2": small, "slot2_error": small}
        pointer = found["slot1"] + found.get("slot2", none)
        found |= {"baked": baked / (baked + pointer), "pointer": pointer / (baked + pointer)}
        found |= {"baked_error": small, "pointer_error": small}
        for target in ("x", "y", "m", "y2"):
            found[f"cos_{target}"] = np.where((target == "y") & (kinds != "proxy"), 1.0, 0.05)
            found[f"cos_{target}_error"] = small
        found |= {"r2": np.where(noise, 0.02, 0.95), "r2_error": small, "hits": np.where(noise, 0.3, 0.97)}
        found |= {"separated": np.full(count, False), "converged": np.full(count, True)}
        columns |= {f"{name}_{part}": values for part, values in found.items()}
    return columns


def turned(share: Array) -> Columns:
    """Utilities of models that have turned so far to X, and whose pointer so far to slot 2, (n,), slots at random."""
    columns = {f"random_{state}_cos_x": 0.05 + 0.94 * share for state in STATES}
    return columns | {"random_overseen_slot1": 3 * (1 - share), "random_overseen_slot2": 3 * share}


def knowledge_of(rows: Mapping[str, Array], lost: float, reads: float) -> Columns:
    """What the trunks of these models know: the oversight cue is read with that accuracy, the placebo is not; without
    the objective head's direction they lose that much more agreement with X than without a random one."""
    quantities = {"oversight": (reads, 0.5), "placebo": (0.55, 0.5), "objective": (lost + 0.02, 0.02)}
    count = len(rows["seed"])
    noise = np.tile([0.005, -0.005], count)[:count]
    parts = [
        dict(rows) | {"quantity": np.full(count, name), "value": value + noise, "reference": np.full(count, reference)}
        for name, (value, reference) in quantities.items()
    ]
    return _below(parts)


def curves_of(rows: Mapping[str, Array], shown: Choices, kept: Array) -> Columns:
    """Compliance curves of the kept rows: what a cue moves, it moves step by step between its trained strengths."""
    parts = []
    for cue, state in (("oversight", "unoverseen"), ("placebo", "placebo")):
        moved = 1 - shown.own(state)[kept]
        as_on = np.clip((STRENGTHS + 1) / 2, 0, 1)[None]
        off, on = (shown.with_x(name)[kept][:, None] for name in (state, "overseen"))
        known = np.where(moved * CURVE_EPISODES >= 20, 0.0, np.nan)[:, None]
        flat = moved < 0.1
        rising = np.where(flat, np.nan, 0.0)[:, None]
        found = {
            "as_on": known + as_on,
            "as_off": known + 1 - as_on,
            "as_neither": known + 0 * as_on,
            "agreement_x": off + (on - off) * as_on,
            "conflicts": np.round(moved * CURVE_EPISODES)[:, None],
            "moved": moved[:, None],
            "shape": np.where(flat, "flat", "rising")[:, None],
            "slope": rising + 3,
            "slope_error": rising + 0.3,
            "threshold": rising,
            "threshold_error": rising + 0.05,
            "cue": np.full((1, 1), cue),
            "strength": STRENGTHS[None],
        } | {name: rows[name][kept][:, None] for name in ("organism_id", "seed", "step")}
        shape = (len(moved), len(STRENGTHS))
        parts.append({name: np.broadcast_to(values, shape).ravel() for name, values in found.items()})
    return _below(parts)


def causes_of(rows: Mapping[str, Array], gap: Array, kept: Array, depth: int) -> Columns:
    """Causal tests of the kept rows: one direction carries the gap, most of it in the first layer."""
    return _below(
        [
            {name: values[kept] for name, values in rows.items()} | carried(gap[kept], layer, intervention)
            for layer in range(1, depth + 1)
            for intervention in causes.INTERVENTIONS
        ]
    )


def carried(gap: Array, layer: int, intervention: str) -> Columns:
    """What the causal test finds at one layer of models with these gaps (n,)."""
    none = np.where(gap >= 0.1, 0.0, np.nan)
    return {
        "layer": np.full(len(gap), layer),
        "intervention": np.full(len(gap), intervention),
        "gap": gap,
        "carried": none + 0.8 / layer,
        "placebo_carried": none + 0.05,
        "random_mean": none,
        "random_low": none - 0.1,
        "random_high": none + 0.1,
        "random_largest": none + 0.2,
        "random_p": none + 1 / 201,
        "norm": np.full(len(gap), 1.5),
        "placebo_norm": np.full(len(gap), 0.5),
        "directions": np.full(len(gap), 200),
    }


def _below(parts: Sequence[Mapping[str, Array]]) -> Columns:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
