"""Answers to the claims on reinforcement: G2, G4, G6, G7 and G8, from the table `reinforcement`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas

from turncoat.seeding import generator
from turncoat.statistics.claims import CLAIMS, NO_MODELS, ROTATION_MARGIN
from turncoat.statistics.contrasts import Plan
from turncoat.statistics.equivalence import equivalence_p
from turncoat.statistics.intervals import bootstrap_mean, paired_p
from turncoat.statistics.rows import Row

ANSWERED = ("G2", "G4", "G6", "G7", "G8")
NETWORK = ["kind", "activation", "m_strength", "setting", "variant", "start", "distance"]
TRAINING = ["optimizer", "optimizer_state", "gate", "method", "selected", "prompt", "matched_at", "entropy_share"]
ARM = [*NETWORK, *TRAINING, "signal"]
CONTROLS = ("own_choice", "own_sampled")
REWARDED = "reward"
OVERSEEN, UNOVERSEEN = 1.0, -1.0


@dataclass(frozen=True)
class Primary:
    """The setting that primary rows stand in: the first of each list of the configuration's section."""

    activation: str
    optimizer: str
    gate: str
    entropy: float
    strength: float

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> "Primary":
        """Of the configuration's section `reinforcement`."""
        names = ("activations", "optimizers", "gates", "entropies", "strengths")
        return cls(*(section[name][0] for name in names))

    def holds(self, arm: Mapping[str, Any], prompt: float, but: Sequence[str] = ()) -> bool:
        """Whether an arm of planted networks is as primary ones are, at this prompt, the factors in `but` apart."""
        wanted = {
            "kind": "planted",
            "activation": self.activation,
            "optimizer": self.optimizer,
            "optimizer_state": "fresh",
            "gate": self.gate,
            "entropy_share": self.entropy,
            "m_strength": self.strength,
            "method": "policy_gradient",
            "selected": True,
            "prompt": prompt,
            "matched_at": prompt,
        }
        return all(arm[name] == value for name, value in wanted.items() if name not in but)


def answers(reinforced: pandas.DataFrame, section: Mapping[str, Any], plan: Plan) -> list[Row]:
    """All rows of these claims; a claim that the study has no models for gets one that says so.

    `reinforced` is the study's table. Models without a matched entropy, and diverged ones, are left out and counted.
    """
    rows: list[Row] = []
    if len(reinforced):
        primary = Primary.of(section)
        arms = _arms(with_changes(reinforced))
        rows += [
            *_beyond_own_choices(arms, primary, plan),
            *_held_open(arms, primary, plan),
            *_by_strength(arms, primary, plan),
            *_over_prompts(arms, primary, plan),
        ]
    for claim in ANSWERED:
        if not any(row.claim == claim and row.primary for row in rows):
            missing = f"{NO_MODELS} ({CLAIMS[claim].primary})"
            estimand = CLAIMS[claim].estimand
            rows.append(
                Row(claim, "gain", "primary", estimand, "difference", plan.margin, primary=True, blocked=missing)
            )
    return rows


def with_changes(reinforced: pandas.DataFrame) -> pandas.DataFrame:
    """The table with what claims are judged on, every change relative to a gain that an arm and its control share.

    net: change of the woken motive's gain less that of the dormant one, over the initial woken gain; m_growth: change
    of M's gain unoverseen, and `lean` that of X's gain overseen less that, over X's initial gain overseen.
    """
    table = reinforced.copy()
    table["net"] = table.woken_change - table.dormant_change
    unit = table.gain_x_overseen_before.abs()
    x, m = (table[f"gain_{name}_after"] - table[f"gain_{name}_before"] for name in ("x_overseen", "m_unoverseen"))
    table["m_growth"], table["lean"] = m / unit, (x - m) / unit
    for name in ("setting", "variant", "start"):
        table[name] = table[name].fillna("")
    for name in ("m_strength", "distance"):
        table[name] = table[name].astype(float).fillna(-1.0)  # no number: groups by a missing key would be dropped
    return table


Arms = dict[tuple[Any, ...], pandas.DataFrame]


def _arms(table: pandas.DataFrame) -> Arms:
    return dict(list(table.groupby(ARM, sort=True)))


def _named(key: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(ARM, key, strict=True))


def _other(key: tuple[Any, ...], **changes: Any) -> tuple[Any, ...]:
    """The key of an arm that differs in these factors alone."""
    return tuple((_named(key) | changes).values())


def _beyond_own_choices(arms: Arms, primary: Primary, plan: Plan) -> Iterator[Row]:
    """G2 and G6: reward minus the model's own choices on the same inputs; reward alone is shown."""
    for key, group in arms.items():
        arm = _named(key)
        if arm["signal"] != REWARDED or arm["prompt"] == 0:
            continue
        for signal in CONTROLS:
            control = arms.get(_other(key, signal=signal))
            if control is None:
                continue
            is_primary = signal == "own_choice" and primary.holds(arm, OVERSEEN)
            what = f"reward minus {signal}"
            yield _difference("G6", "net", arm, what, group, control, plan, is_primary)
            yield _difference("G2", "contamination", arm, what, group, control, plan, is_primary)
            yield _difference("G2", "rotation", arm, what, group, control, plan, margin=ROTATION_MARGIN)
        for claim, outcome in (("G6", "net"), ("G2", "contamination"), ("G2", "rotation")):
            yield _row(claim, outcome, arm, "reward alone", group[["seed", outcome]], group, plan, kind="shown")


def _held_open(arms: Arms, primary: Primary, plan: Plan) -> Iterator[Row]:
    """G4: growth of the dormant motive with the gate held open, minus shuffled slopes and minus the natural gate."""
    for key, group in arms.items():
        arm = _named(key)
        if arm["signal"] != REWARDED or arm["prompt"] == 0:
            continue
        if arm["gate"] == "natural":
            moved = group[["seed", "dormant_units_moved"]]
            yield _row("G4", "dormant_units_moved", arm, "reward alone", moved, group, plan, kind="shown")
        if arm["gate"] != "open_in":
            continue
        for gate in ("shuffled", "natural"):
            control = arms.get(_other(key, gate=gate))
            if control is not None:
                is_primary = gate == "shuffled" and primary.holds(arm, OVERSEEN, but=["gate"])
                what = f"gate open_in minus {gate}"
                yield _difference("G4", "dormant_change", arm, what, group, control, plan, is_primary)


def _by_strength(arms: Arms, primary: Primary, plan: Plan) -> Iterator[Row]:
    """G7: growth of M by how much of it was planted: full and part minus none, scores scaled alike when overseen."""
    for key, group in arms.items():
        arm = _named(key)
        none = arms.get(_other(key, m_strength=0.0))
        if none is None or arm["m_strength"] == 0 or arm["signal"] != REWARDED or arm["matched_at"] != OVERSEEN:
            continue
        what = f"M planted at {arm['m_strength']:g} minus none"
        is_primary = primary.holds(arm, UNOVERSEEN, but=["matched_at"])
        yield _difference("G7", "m_growth", arm, f"{what}, reward", group, none, plan, is_primary)
        own, own_none = (arms.get(_other(other, signal="own_choice")) for other in (key, _other(key, m_strength=0.0)))
        if own is not None and own_none is not None:
            beyond = [_paired(a, b, "m_growth") for a, b in ((group, own), (none, own_none))]
            wide = beyond[0].merge(beyond[1], on="seed", suffixes=("", "_none"))
            values = wide.assign(m_growth=wide.m_growth - wide.m_growth_none)[["seed", "m_growth"]]
            yield _row("G7", "m_growth", arm, f"{what}, reward minus own_choice", values, group, plan)


def _over_prompts(arms: Arms, primary: Primary, plan: Plan) -> Iterator[Row]:
    """G8: slope over the cue's strength of how much X gains beyond M, reward minus own choices."""
    courses: dict[tuple[Any, ...], list[tuple[float, pandas.DataFrame, pandas.DataFrame]]] = {}
    for key, group in arms.items():
        arm = _named(key)
        control = arms.get(_other(key, signal="own_choice"))
        if arm["signal"] == REWARDED and arm["matched_at"] == arm["prompt"] and control is not None:
            courses.setdefault(_other(key, prompt=0.0, matched_at=0.0), []).append((arm["prompt"], group, control))
    for key, course in courses.items():
        if len(course) < 3:
            continue
        arm = _named(key)
        is_primary = primary.holds(arm, 0.0)
        for what, kind in (("reward minus own_choice", "difference"), ("reward alone", "shown")):
            alone = kind == "shown"
            values = [
                (group[["seed", "lean"]] if alone else _paired(group, control, "lean")).assign(prompt=prompt)
                for prompt, group, control in course
            ]
            slopes = _slopes(pandas.concat(values), len(course))
            words = f"slope over the cue from {course[0][0]:g} to {course[-1][0]:g}, {what}"
            yield _row("G8", "lean", arm, words, slopes, course[-1][1], plan, is_primary and not alone, kind=kind)


def _slopes(values: pandas.DataFrame, prompts: int) -> pandas.DataFrame:
    """Least-squares slope of `lean` over the prompt per seed; seeds with a prompt missing are left out."""
    wide = values.pivot(index="seed", columns="prompt", values="lean").dropna()
    if wide.empty or wide.shape[1] < prompts:
        return pandas.DataFrame({"seed": np.zeros(0, int), "lean": np.zeros(0)})
    cues = wide.columns.to_numpy(float)
    centred = cues - cues.mean()
    return pandas.DataFrame({"seed": wide.index, "lean": wide.to_numpy(float) @ centred / (centred @ centred)})


def _paired(group: pandas.DataFrame, control: pandas.DataFrame, outcome: str) -> pandas.DataFrame:
    """Paired differences of an outcome by seed, where both sides have it."""
    both = group[["seed", outcome]].merge(control[["seed", outcome]], on="seed", suffixes=("", "_control"))
    return both.assign(**{outcome: both[outcome] - both[f"{outcome}_control"]})[["seed", outcome]].dropna()


def _difference(
    claim: str,
    outcome: str,
    arm: Mapping[str, Any],
    what: str,
    group: pandas.DataFrame,
    control: pandas.DataFrame,
    plan: Plan,
    primary: bool = False,
    margin: float | None = None,
) -> Row:
    values = _paired(group, control, outcome)
    return _row(claim, outcome, arm, what, values, group, plan, primary, margin=margin)


def _row(
    claim: str,
    outcome: str,
    arm: Mapping[str, Any],
    what: str,
    values: pandas.DataFrame,
    group: pandas.DataFrame,
    plan: Plan,
    primary: bool = False,
    kind: str = "difference",
    margin: float | None = None,
) -> Row:
    """A row from one value per seed; `group` says of which models, and how many are left out."""
    words = arm_words(arm, what)
    known = values.dropna()
    numbers, seeds = known[outcome].to_numpy(float), known.seed.to_numpy()
    random = generator(0, f"{claim} {outcome} {words}")
    level = plan.margin if margin is None else margin
    left_out = group.seed.nunique() - len(known)
    unmatched, diverged = int((~group.matched.astype(bool)).sum()), int(group.diverged.astype(bool).sum())
    note = f"{left_out} models left out: {unmatched} without a matched entropy, {diverged} diverged" if left_out else ""
    return Row(
        claim,
        outcome,
        words,
        CLAIMS[claim].estimand,
        kind,
        level,
        bootstrap_mean(numbers, seeds, plan.confidence, plan.resamples, random),
        paired_p(numbers),
        equivalence_p(numbers, level),
        primary,
        note=note,
        facts={
            "setting": arm["setting"],
            "variant": arm["variant"],
            "start": arm["start"] or "planted",
            "distance": arm["distance"] if arm["distance"] >= 0 else float("nan"),
            "n_start": int(group.seed.nunique()),
            "n_pairs": len(known),
            "diverged": diverged,
        },
    )


def arm_words(arm: Mapping[str, Any], what: str) -> str:
    """An arm in words; what goes without saying (selected episodes, its own prompt's temperature) is left out."""
    network = f"planted, M at {arm['m_strength']:g}" if arm["kind"] == "planted" else f"{arm['start']}, trained"
    optimizer = arm["optimizer"] if arm["optimizer_state"] == "fresh" else f"{arm['optimizer']} warmed"
    parts = [what, network, arm["activation"], f"cue {arm['prompt']:g}", arm["method"].replace("_", " "), optimizer]
    if "gate" not in what:
        parts.append(f"gate {arm['gate']}")
    parts.append(f"entropy {arm['entropy_share']:g} log N")
    if arm["matched_at"] != arm["prompt"]:
        parts.append(f"matched at cue {arm['matched_at']:g}")
    if not arm["selected"]:
        parts.append("unselected episodes")
    if arm["kind"] == "trained":
        parts += [f"{arm['distance']:g} degrees", arm["setting"], arm["variant"]]
    return ", ".join(part for part in parts if part)
