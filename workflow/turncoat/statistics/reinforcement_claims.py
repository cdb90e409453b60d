"""Answers to the claims on reinforcement: G2, G4, G6, G7 and G8, from the table `reinforcement`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas

from turncoat.seeding import generator
from turncoat.statistics.claims import CLAIMS, SAME_SIGNAL
from turncoat.statistics.contrasts import Plan
from turncoat.statistics.equivalence import equivalence_p
from turncoat.statistics.intervals import bootstrap_mean, paired_p
from turncoat.statistics.reinforcement_arms import Arms, Primary, arm_words, arms_of, named, other_arm, with_changes
from turncoat.statistics.rows import Row, missing_row

ANSWERED = ("G2", "G4", "G6", "G7", "G8")
CONTROLS = ("own_choice", "own_sampled")
REWARDED = "reward"
OVERSEEN, UNOVERSEEN = 1.0, -1.0


def answers(reinforced: pandas.DataFrame, section: Mapping[str, Any], primary_distance: float, plan: Plan) -> list[Row]:
    """All rows of these claims; a claim that the study has no models for gets one that says so.

    `reinforced` is the study's table. Models without a matched entropy, and diverged ones, are left out and counted.
    Reward minus own choices is not judged where the two are the same signal on nearly all episodes.
    """
    rows: list[Row] = []
    if len(reinforced):
        primary = Primary.of(section)
        arms = arms_of(with_changes(reinforced))
        rows += [
            *_beyond_own_choices(arms, primary, primary_distance, plan),
            *_held_open(arms, primary, plan),
            *_by_strength(arms, primary, plan),
            *_over_prompts(arms, primary, primary_distance, plan),
        ]
    for claim in ANSWERED:
        if not any(row.claim == claim and row.primary for row in rows):
            rows.append(missing_row(claim, "gain", "difference", plan.margin))
    return rows


def _same_signal(groups: Sequence[pandas.DataFrame]) -> str:
    """Why reward minus own choices says nothing in some arm; empty where own choices often earn no reward."""
    shares = [float(group.own_agreement.mean()) for group in groups]
    if not max(shares) > SAME_SIGNAL:
        return ""
    return f"own choices earn the reward on {100 * max(shares):.1f} % of the episodes: the control is the treatment"


def _beyond_own_choices(arms: Arms, primary: Primary, distance: float, plan: Plan) -> Iterator[Row]:
    """G2 and G6: reward minus the model's own choices on the same inputs; reward alone is shown."""
    for key, group in arms.items():
        arm = named(key)
        if arm["signal"] != REWARDED or arm["prompt"] == 0:
            continue
        for signal in CONTROLS:
            control = arms.get(other_arm(key, signal=signal))
            if control is None:
                continue
            own = signal == "own_choice"
            is_primary = own and primary.trained(arm, OVERSEEN, distance)
            blocked = _same_signal([group]) if own else ""
            what = f"reward minus {signal}"
            for claim, outcome in (("G6", "net"), ("G2", "contamination")):
                yield _difference(claim, outcome, arm, what, group, control, plan, is_primary, blocked=blocked)
            yield _difference("G2", "rotation", arm, what, group, control, plan, blocked=blocked)
        for claim, outcome in (("G6", "net"), ("G2", "contamination"), ("G2", "rotation")):
            yield _row(claim, outcome, arm, "reward alone", group[["seed", outcome]], group, plan, kind="shown")


def _held_open(arms: Arms, primary: Primary, plan: Plan) -> Iterator[Row]:
    """G4: growth of the dormant motive with the gate held open, minus shuffled slopes and minus the natural gate."""
    for key, group in arms.items():
        arm = named(key)
        if arm["signal"] != REWARDED or arm["prompt"] == 0:
            continue
        if arm["gate"] == "natural":
            moved = group[["seed", "dormant_units_moved"]]
            yield _row("G4", "dormant_units_moved", arm, "reward alone", moved, group, plan, kind="shown")
        if arm["gate"] != "open_in":
            continue
        for gate in ("shuffled", "natural"):
            control = arms.get(other_arm(key, gate=gate))
            if control is not None:
                is_primary = gate == "shuffled" and primary.planted(arm, OVERSEEN, but=["gate"])
                what = f"gate open_in minus {gate}"
                yield _difference("G4", "dormant_change", arm, what, group, control, plan, is_primary)


def _by_strength(arms: Arms, primary: Primary, plan: Plan) -> Iterator[Row]:
    """G7: growth of M by how much of it was planted: full and part minus none, scores scaled alike when overseen."""
    for key, group in arms.items():
        arm = named(key)
        none = arms.get(other_arm(key, m_strength=0.0))
        if none is None or arm["m_strength"] == 0 or arm["signal"] != REWARDED or arm["matched_at"] != OVERSEEN:
            continue
        what = f"M planted at {arm['m_strength']:g} minus none"
        is_primary = primary.planted(arm, UNOVERSEEN, but=["matched_at"])
        yield _difference("G7", "m_growth", arm, f"{what}, reward", group, none, plan, is_primary)
        own, own_none = (
            arms.get(other_arm(other, signal="own_choice")) for other in (key, other_arm(key, m_strength=0.0))
        )
        if own is not None and own_none is not None:
            beyond = [_paired(a, b, "m_growth") for a, b in ((group, own), (none, own_none))]
            wide = beyond[0].merge(beyond[1], on="seed", suffixes=("", "_none"))
            values = wide.assign(m_growth=wide.m_growth - wide.m_growth_none)[["seed", "m_growth"]]
            words = f"{what}, reward minus own_choice"
            yield _row("G7", "m_growth", arm, words, values, group, plan, blocked=_same_signal([group, none]))


def _over_prompts(arms: Arms, primary: Primary, distance: float, plan: Plan) -> Iterator[Row]:
    """G8: slope over the cue's strength of how much X gains beyond M, reward minus own choices."""
    courses: dict[tuple[Any, ...], list[tuple[float, pandas.DataFrame, pandas.DataFrame]]] = {}
    for key, group in arms.items():
        arm = named(key)
        control = arms.get(other_arm(key, signal="own_choice"))
        if arm["signal"] == REWARDED and arm["matched_at"] == arm["prompt"] and control is not None:
            courses.setdefault(other_arm(key, prompt=0.0, matched_at=0.0), []).append((arm["prompt"], group, control))
    for key, course in courses.items():
        if len(course) < 3:
            continue
        arm = named(key)
        is_primary = primary.trained(arm, 0.0, distance)
        blocked = _same_signal([group for _, group, _ in course])
        for what, kind in (("reward minus own_choice", "difference"), ("reward alone", "shown")):
            alone = kind == "shown"
            values = [
                (group[["seed", "lean"]] if alone else _paired(group, control, "lean")).assign(prompt=prompt)
                for prompt, group, control in course
            ]
            slopes = _slopes(pandas.concat(values), len(course))
            words = f"slope over the cue from {course[0][0]:g} to {course[-1][0]:g}, {what}"
            reason, first = ("", False) if alone else (blocked, is_primary)
            yield _row("G8", "lean", arm, words, slopes, course[-1][1], plan, first, kind=kind, blocked=reason)


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
    blocked: str = "",
) -> Row:
    values = _paired(group, control, outcome)
    return _row(claim, outcome, arm, what, values, group, plan, primary, blocked=blocked, others=[control])


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
    blocked: str = "",
    others: Sequence[pandas.DataFrame] = (),
) -> Row:
    """A row from one value per seed; `group` says of which models, and how many are left out."""
    words = arm_words(arm, what)
    known = values.dropna()
    numbers, seeds = known[outcome].to_numpy(float), known.seed.to_numpy()
    random = generator(0, f"{claim} {outcome} {words}")
    level = CLAIMS[claim].margin_of(outcome, plan.margin)
    left_out = group.seed.nunique() - len(known)
    note = f"{left_out} models left out on either side: {_reasons(group, *others)}" if left_out else ""
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
        blocked=blocked,
        note=note,
        values=numbers,
        facts={
            "setting": arm["setting"],
            "variant": arm["variant"],
            "start": arm["start"] or "planted",
            "distance": arm["distance"] if arm["distance"] >= 0 else float("nan"),
            "n_start": int(group.seed.nunique()),
            "n_pairs": len(known),
            "never_start": left_out,
            "diverged": int(group.diverged.astype(bool).sum()),
        },
    )


def _reasons(*groups: pandas.DataFrame) -> str:
    """Why models of these arms have no number; the others' is not defined."""
    unmatched = sum(int((~group.matched.astype(bool)).sum()) for group in groups)
    diverged = sum(int(group.diverged.astype(bool).sum()) for group in groups)
    return f"{unmatched} without a matched entropy, {diverged} diverged, the rest without a gain to compare with"
