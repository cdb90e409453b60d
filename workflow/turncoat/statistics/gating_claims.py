"""Answers to the claims on the gating of gradients: G1 and G3."""

from collections.abc import Iterator

import numpy as np
import pandas

from turncoat.seeding import generator
from turncoat.statistics.claims import CLAIMS
from turncoat.statistics.contrasts import Plan
from turncoat.statistics.factors import factors_of
from turncoat.statistics.intervals import Estimate, bootstrap_mean, paired_p
from turncoat.statistics.rows import Row, missing_row

NORMS = {
    "gradient_out": "gradient",
    "update_out": "real update, saved optimizer state",
    "fresh_update_out": "real update, fresh optimizer state",
}
DEAD = {
    "update_in": "real update on dead units, saved optimizer state",
    "fresh_update_in": "real update on dead units, fresh optimizer state",
}


PRIMARY = {"G1": ("correlation", "above"), "G3": ("share", "below")}
"""Outcome and kind of a claim's primary row."""
COMPARED = ["distance", "steps", "width", "depth"]
CROSSED = ("activation", "optimizer", "learning_rate", "steps", "snapshots", "width", "depth")


def answers(ledger: pandas.DataFrame, plan: Plan, activation: str, optimizer: str) -> list[Row]:
    """Rows of G1 and G3 from the ledger (the gating table); `activation` and `optimizer` are the study's own.

    Judged in the overseen state, which is what the models are trained on, on the models that `comparable` picks.
    """
    sound = comparable(ledger)
    rows = [*_identities(sound), *correlations(sound, plan, activation, optimizer)]
    rows += [*_closed(sound, plan, optimizer), *_dead(sound, plan)]
    for claim in PRIMARY:
        if not any(row.claim == claim and row.primary for row in rows):
            rows.append(missing_row(claim, *PRIMARY[claim], plan.margin))
    return rows


def comparable(ledger: pandas.DataFrame) -> pandas.DataFrame:
    """Models that differ in activation and optimizer and in nothing else: all units, overseen, at the last snapshot.

    Of all arms with one start, distance, number of steps, width and depth, the one that crosses the most activations
    and optimizers; models from scratch before others, then the smallest distance and fewest steps. Diverged models
    are left out.
    """
    last = ledger.step == ledger.groupby("organism_id").step.transform("max")
    sound = ledger[~ledger.diverged & last & (ledger.state == "overseen") & (ledger.circuit == "all")]
    sound = sound[sound.setting.map(_is_crossed).astype(bool)]
    if (sound.start == "scratch").any():
        sound = sound[sound.start == "scratch"]
    if sound.empty:
        return sound
    sound = _fewest_words(sound)
    keys = ["start", *COMPARED]
    crossed = sound.groupby(keys).apply(
        lambda arm: len(arm[["activation_function", "optimizer"]].drop_duplicates()), include_groups=False
    )
    chosen = crossed.index[int(np.argmax(crossed.to_numpy()))]
    return sound[(sound[keys] == list(chosen)).all(axis=1)]


def _fewest_words(sound: pandas.DataFrame) -> pandas.DataFrame:
    """Of cells that differ in what is neither compared nor crossed, such as a learning rate, the one with the fewest
    words: no seed may count twice."""
    same = ["start", *COMPARED, "activation_function", "optimizer"]
    words = (sound.setting + ", " + sound.variant).str.len()
    first = sound.assign(words=words).sort_values(["words", "setting", "variant"], kind="stable")
    cells = first.drop_duplicates(same)[[*same, "setting", "variant"]]
    kept = pandas.MultiIndex.from_frame(cells)
    return sound[pandas.MultiIndex.from_frame(sound[[*same, "setting", "variant"]]).isin(kept)]


def _is_crossed(setting: str) -> bool:
    """Whether a setting differs in nothing but what models are compared over, and what follows from it."""
    return all(factor.rpartition(" ")[0] in CROSSED for factor in factors_of(setting))


def _groups(ledger: pandas.DataFrame) -> Iterator[tuple[str, str, int, pandas.DataFrame]]:
    for (activation, optimizer, layer), group in ledger.groupby(
        ["activation_function", "optimizer", "layer"], sort=True
    ):
        yield str(activation), str(optimizer), int(layer), group


def _words(activation: str, optimizer: str, layer: int, group: pandas.DataFrame, what: str) -> str:
    last = " (before the readout)" if bool(group.last_layer.all()) else ""
    return f"{what}, {activation}, {optimizer}, layer {layer}{last}"


def _facts(group: pandas.DataFrame) -> dict[str, object]:
    return {
        "start": "/".join(sorted(set(group.start))),
        "n_start": int(group.organism_id.nunique()),
        "distance": float(group.distance.iloc[0]),
    }


def _mean(
    group: pandas.DataFrame, column: str, plan: Plan, purpose: str, level: float
) -> tuple[Estimate, float, np.ndarray]:
    """Mean over models with its interval, the two-sided p that it equals `level`, and the models' values."""
    used = group[group[column].notna()]
    values = used[column].to_numpy(float)
    random = generator(0, purpose)
    estimate = bootstrap_mean(values, used.seed.to_numpy(), plan.confidence, plan.resamples, random)
    return estimate, paired_p(values, level), values


def _worst(group: pandas.DataFrame, column: str) -> Estimate:
    used = group[group[column].notna()]
    worst = float(used[column].max()) if len(used) else float("nan")
    return Estimate(worst, float("nan"), float("nan"), int(used.seed.nunique()))


def _identities(ledger: pandas.DataFrame) -> Iterator[Row]:
    tolerance, none = (CLAIMS[claim].margin_of("identity", 0.0) for claim in ("G1", "G3"))
    for activation, group in ledger[ledger.last_layer].groupby("activation_function", sort=True):
        worst = _worst(group, "identity_error")
        yield Row(
            "G1",
            "identity",
            f"gradient = h times delta, {activation}, layer before the readout",
            "largest error relative to the largest gradient, over models and units",
            "identity",
            tolerance,
            worst,
            held=worst.value < tolerance,
            facts=_facts(group),
        )
    relu = ledger[ledger.activation_function == "relu"]
    if len(relu):
        worst = _worst(relu, "largest_closed_gradient_in")
        yield Row(
            "G3",
            "identity",
            "gradient from examples with z <= 0, relu, all layers",
            "largest norm over models and units",
            "identity",
            none,
            worst,
            held=worst.value <= none,
            facts=_facts(relu),
        )


def correlations(ledger: pandas.DataFrame, plan: Plan, activation: str, optimizer: str) -> Iterator[Row]:
    """Rows of G1 on rank correlations (Spearman 1904) of mean |h| with each norm on outgoing weights.

    `ledger` holds one row per model and layer (see `comparable`) with the columns rank_<norm> of NORMS: its activation,
    optimizer and layer make the strata; `activation` and `optimizer` are the study's own, whose first layer is primary.
    Raises KeyError where a column is missing.
    """
    for kind, trained_by, layer, group in _groups(ledger):
        for column, what in NORMS.items():
            words = _words(kind, trained_by, layer, group, what)
            primary = column == "gradient_out" and layer == 1 and (kind, trained_by) == (activation, optimizer)
            level = CLAIMS["G1"].margin_of("correlation", plan.margin)
            estimate, p, values = _mean(group, f"rank_{column}", plan, words, level)
            yield Row(
                "G1",
                "correlation",
                words,
                CLAIMS["G1"].estimand,
                "above",
                level,
                estimate,
                p,
                primary=primary,
                values=values,
                facts=_facts(group),
            )


def _closed(ledger: pandas.DataFrame, plan: Plan, optimizer: str) -> Iterator[Row]:
    for kind, trained_by, layer, group in _groups(ledger):
        named = kind in ("relu", "gelu")
        words = _words(kind, trained_by, layer, group, "gradient from examples with z <= 0")
        level = CLAIMS["G3"].margin_of("share", plan.margin)
        estimate, p, values = _mean(group, "closed_share_in", plan, words, level)
        yield Row(
            "G3",
            "share",
            words,
            CLAIMS["G3"].estimand,
            "below" if named else "shown",
            level,
            estimate,
            p,
            values=values,
            facts=_facts(group),
            primary=kind == "gelu" and trained_by == optimizer and layer == 1,
        )


def _dead(ledger: pandas.DataFrame, plan: Plan) -> Iterator[Row]:
    for kind, trained_by, layer, group in _groups(ledger[ledger.dead_units > 0]):
        for column, what in DEAD.items():
            words = _words(kind, trained_by, layer, group, what)
            known = group[f"dead_share_{column}"].dropna()
            zero = bool(len(known) > 0 and np.all(known == 0))
            # Without memory and decay ReLU's zero gradient is no update: algebra, which any other value contradicts.
            memoryless = trained_by == "sgd" or column == "fresh_update_in"
            algebra = kind == "relu" and memoryless and trained_by != "adamw"
            note = f"models with dead units: {group.organism_id.nunique()}"
            named = "below" if kind in ("relu", "gelu") else "shown"
            level = CLAIMS["G3"].margin_of("dead_update", plan.margin)
            estimate, p, values = _mean(group, f"dead_share_{column}", plan, words, level)
            yield Row(
                "G3",
                "dead_update",
                words,
                "squared update on incoming weights that falls on units with z <= 0 on "
                "every example, over the whole squared update",
                "identity" if algebra else named,
                level,
                estimate,
                p,
                held=zero,
                note=note,
                values=values,
                facts=_facts(group),
            )
