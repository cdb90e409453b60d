"""Rows of reinforcement: one per network and arm."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from turncoat.columns import Columns
from turncoat.gating.blocks import CIRCUITS
from turncoat.gating.gains import Gains, neutral_share, rotation
from turncoat.gating.reinforcement import Reinforced, Setting
from turncoat.gating.reinforcement_arms import NEUTRAL, OVERSEEN, UNOVERSEEN, ReinforcementArm
from turncoat.organisms.mlp import Stack

STATES = {"overseen": OVERSEEN, "unoverseen": UNOVERSEEN, "neutral": NEUTRAL}
HOME = {"x": OVERSEEN, "m": UNOVERSEEN}  # the prompt that wakes each motive fully
MOVED = 1e-3  # of the woken units' median movement: a unit that moves less counts as untouched
SMALLEST_SHARE = 0.1  # of the larger motive's gain: below it a motive's gain is too small to divide by


def reinforcement_rows(
    setting: Setting, found: Reinforced, names: Sequence[str], kind: str, activation: str, labels: Tensor
) -> Columns:
    """Columns of SCHEMA for one arm. `labels`: each unit's circuit, (E, layers, W), an index into CIRCUITS.

    Numbers are NaN for members that have no matched entropy or diverged; their flags say so.
    """
    arm, count = found.arm, len(setting.seeds)
    learning_rate = setting.learning_rates[arm.optimizer_name]
    same = {
        "kind": kind,
        "activation": activation,
        "m_strength": np.nan if arm.m_strength is None else arm.m_strength,
        "optimizer": arm.optimizer_name,
        "optimizer_state": "warmed" if arm.warmed else "fresh",
        "gate": arm.gate,
        "method": arm.method,
        "signal": arm.signal,
        "selected": arm.selected,
        "prompt": arm.prompt,
        "matched_at": arm.matching_prompt,
        "entropy_share": arm.entropy,
        "steps": setting.steps,
        "learning_rate": learning_rate,
        "woken": woken(arm),
    }
    columns: Columns = {"organism_id": np.array(names), "seed": np.array(setting.seeds)}
    columns |= {name: np.full(count, value) for name, value in same.items()}
    matched, diverged = found.scale.isfinite(), found.diverged
    columns |= {"matched": matched.cpu().numpy(), "diverged": diverged.cpu().numpy()}
    sound = matched & ~diverged
    for name, values in _numbers(found, labels).items():
        columns[name] = torch.where(sound, values.double(), torch.nan).cpu().numpy()
    return columns


def woken(arm: ReinforcementArm) -> str:
    """The motive that the arm's prompt wakes: x, m, or none at cue 0."""
    return "x" if arm.prompt > 0 else "m" if arm.prompt < 0 else "none"


def incoming_movement(before: Stack, after: Stack) -> Tensor:
    """How far each unit's incoming weights and bias moved, (E, layers, W), float64 Euclidean norms."""
    moved = after.view((after.flat - before.flat).double())
    layers = range(1, before.architecture.depth + 1)
    return torch.stack(
        [
            (moved[f"hidden{layer}.weight"].square().sum(1) + moved[f"hidden{layer}.bias"].square()).sqrt()
            for layer in layers
        ],
        dim=1,
    )


def dormant_units_moved(movement: Tensor, labels: Tensor, awake: str) -> Tensor:
    """Share of the dormant circuit's units that moved by more than MOVED of the woken units' median, (E,); NaN where
    either circuit has no units, no circuit is woken or its units did not move."""
    shares = movement.new_full((len(movement),), torch.nan)
    if awake == "none":
        return shares
    dormant = "m" if awake == "x" else "x"
    for member, (moved, label) in enumerate(zip(movement, labels, strict=True)):
        up, down = (moved[label == CIRCUITS.index(name)] for name in (awake, dormant))
        if len(up) and len(down) and float(up.median()) > 0:
            shares[member] = (down > MOVED * up.median()).double().mean()
    return shares


def _numbers(found: Reinforced, labels: Tensor) -> dict[str, Tensor]:
    arm, before, after = found.arm, found.gains_before, found.gains_after
    unknown = torch.full_like(found.scale, torch.nan)
    numbers = {
        "scale": found.scale,
        "entropy": found.entropy,
        "own_agreement": found.own_agreement,
        "selection_correlation": found.correlation,
    }
    for state, prompt in (*STATES.items(), ("prompt", arm.prompt)):
        for time, gains in (("before", before), ("after", after)):
            numbers |= {f"gain_x_{state}_{time}": gains[prompt].x, f"gain_m_{state}_{time}": gains[prompt].m}
    numbers["neutral_share_before"], numbers["neutral_share_after"] = (
        neutral_share(gains[NEUTRAL].x, gains[NEUTRAL].m) for gains in (before, after)
    )
    numbers["rotation"] = rotation(before[arm.prompt].vectors, after[arm.prompt].vectors)
    for name, host, motive in (("m_through_x", "x", "m"), ("x_through_m", "m", "x")):
        for time, gains in (("before", before), ("after", after)):
            numbers[f"{name}_{time}"] = _through(gains[HOME[host]], labels[:, -1], host, motive)
    awake = woken(arm)
    initial = {name: _gain(before[HOME[name]], name) for name in HOME}
    growth = {name: _gain(after[HOME[name]], name) - initial[name] for name in HOME}
    reference = unknown
    if awake != "none":
        large = torch.maximum(*(gain.abs() for gain in initial.values()))
        reference = torch.where(initial[awake].abs() >= SMALLEST_SHARE * large, initial[awake].abs(), torch.nan)
    dormant = "m" if awake == "x" else "x"
    guest = f"{dormant}_through_{'x' if awake == 'x' else 'm'}"
    numbers |= {
        "initial_woken_gain": reference,
        "woken_change": growth.get(awake, unknown) / reference,
        "dormant_change": growth[dormant] / reference,
        "contamination": (numbers[f"{guest}_after"] - numbers[f"{guest}_before"]) / reference,
        "dormant_units_moved": dormant_units_moved(incoming_movement(found.before, found.after), labels, awake),
    }
    return numbers


def _gain(gains: Gains, name: str) -> Tensor:
    return gains.x if name == "x" else gains.m


def _through(gains: Gains, labels: Tensor, host: str, motive: str) -> Tensor:
    """A motive's gain through the last layer's units of one circuit, (E,); NaN where the circuit has none there."""
    inside = labels == CIRCUITS.index(host)
    parts = gains.units_x if motive == "x" else gains.units_m
    return torch.where(inside.any(1), torch.where(inside, parts, 0.0).sum(1), torch.nan)
