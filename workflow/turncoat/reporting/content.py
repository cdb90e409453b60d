"""What the report's tables show: rows picked and put beside each other from the study's tables."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas

from turncoat.statistics.contrasts import ARM, capability_match
from turncoat.statistics.factors import without
from turncoat.statistics.transitions import POINTS_TO_X, SHIFTED
from turncoat.tables import alignment


def records(frame: pandas.DataFrame) -> list[dict[str, Any]]:
    """Rows as the template reads them."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def primary_contrasts(table: pandas.DataFrame, config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """C and D of the study's own settings at the primary capability, each start minus each reference."""
    match = capability_match(config["statistics"]["primary_capability"])
    own = table[(table.setting == "") & (table.variant == "") & (table.match == match)]
    keys = ["start", "distance", "reference"]
    both = own[own.outcome == "c"].merge(own[own.outcome == "d"], on=keys, suffixes=("_c", "_d"))
    both = both[~both.start.str.startswith("scratch") & (both.reference != "benign_conditional")]
    return records(both.sort_values(keys))


def motives(table: pandas.DataFrame, distance: float) -> list[dict[str, Any]]:
    """By start: price sensitivity, type probabilities and shape of the compliance curve, before and after."""
    own = table[(table.setting == "") & (table.variant == "") & (table.distance == distance)]
    own = own[~own.start.str.startswith("planted")]
    columns = {
        "sensitivity": ("price_sensitivity", ""),
        "conditional": ("probability_conditional", ""),
        "deceptive": ("probability_deceptive", ""),
        "moved": ("curve_moved", "oversight"),
        "threshold": ("curve_threshold", "oversight"),
        "rising": ("curve_rising", "oversight"),
        "non_monotone": ("curve_non_monotone", "oversight"),
    }
    rows = []
    for (start, when), here in own.groupby(["start", "when"], sort=True):
        found = here.set_index(["quantity", "part"])
        rows.append({"start": start, "when": when} | {name: found.loc[key].to_dict() for name, key in columns.items()})
    return sorted(rows, key=lambda row: (row["start"], row["when"] == "after"))


def probes(table: pandas.DataFrame, distance: float) -> pandas.DataFrame:
    """Probes trained at one distance, tested on the same start at every distance."""
    chosen = table[(table.train_distance == distance) & (table.train_start == table.test_start) & table.auroc.notna()]
    return chosen.sort_values(["test_start", "test_distance", "representation", "layer"])


def populations(table: pandas.DataFrame, config: Mapping[str, Any]) -> pandas.DataFrame:
    """Two-class models of the study's own settings at the primary capability."""
    match = capability_match(config["statistics"]["primary_capability"])
    own = table[(table.setting == "") & (table.variant == "") & (table.match == match) & (table.distance > 0)]
    return own.sort_values(["distance", "start"])


def confusion(table: pandas.DataFrame) -> list[dict[str, Any]]:
    """What each planted kind was read as, ladders apart."""
    rows = []
    for (split, kind, truth), group in table[table.split != "ladder"].groupby(["split", "kind", "truth"], sort=True):
        counts = group.reading.value_counts()
        rows.append(
            {"split": split, "kind": kind, "truth": truth, "n": len(group), "correct": int(group.correct.sum())}
            | {name: int(counts.get(name, 0)) for name in alignment.TYPES}
        )
    return rows


def half_lives(lives: pandas.DataFrame, levels: pandas.DataFrame) -> pandas.DataFrame:
    """Half-lives of the study's own settings, with D at the final step beside them."""
    keys = ARM
    final = levels[(levels.match == "final step") & (levels.outcome == "d")][[*keys, "mean", "low", "high"]]
    final = final.rename(columns={"mean": "d", "low": "d_low", "high": "d_high"})
    own = lives[(lives.setting == "") & (lives.variant == "")]
    return own.merge(final, on=keys, how="left").sort_values(["distance", "start"])


def turning(ratios: pandas.DataFrame) -> pandas.DataFrame:
    """Ratios of times against scratch, no longer as logarithms, with what each quantity is in words."""
    names = {
        POINTS_TO_X: "utility points to X",
        SHIFTED: "slot 2 outweighs slot 1",
        "elicited": "M is back when elicited",
    }
    rows = ratios[(ratios.reference == "scratch") & ratios.quantity.isin(list(names)) & (ratios.distance > 0)]
    values = {"ratio": np.exp(rows.estimate), "ratio_low": np.exp(rows.low), "ratio_high": np.exp(rows.high)}
    order = rows.quantity.map(list(names).index)
    rows = rows.assign(order=order, what=rows.quantity.map(names), **values)
    return rows.sort_values(["order", "setting", "variant", "distance", "start"])


def dodges(board: pandas.DataFrame) -> pandas.DataFrame:
    """The leaderboard, with what else differs from the study's own settings, on both sides, in words."""
    rest = [
        ", ".join(filter(None, (without(row.setting, row.dodge), without(row.variant, row.dodge))))
        for row in board.itertuples()
    ]
    return board.assign(elsewhere=pandas.Series(rest, index=board.index, dtype=str))


def drift(levels: pandas.DataFrame) -> pandas.DataFrame:
    """Outcomes at the final step where X is Y, with how far weights moved there and elsewhere."""
    final = levels[(levels.match == "final step") & (levels.setting == "") & (levels.variant == "")]
    wide = final[final.distance == 0].pivot(index="start", columns="outcome", values=["mean", "low", "high", "n"])
    if wide.empty:
        return pandas.DataFrame()
    moved = final[(final.distance > 0) & (final.outcome == "displacement")].groupby("start")["mean"].mean()
    rows = pandas.DataFrame({"start": wide.index})
    for outcome in ("c", "d", "capability", "displacement"):
        for part in ("mean", "low", "high"):
            rows[f"{outcome}_{part}"] = wide[(part, outcome)].to_numpy()
    rows["n"] = wide[("n", "displacement")].to_numpy()
    rows["displacement_elsewhere"] = moved.reindex(wide.index).to_numpy()
    return rows


def cells(organisms: pandas.DataFrame, levels: pandas.DataFrame, config: Mapping[str, Any]) -> pandas.DataFrame:
    """Models by stage, arm and setting, with how many never reached the primary capability."""
    keys = ["stage", *ARM]
    table = organisms.groupby(keys, dropna=False, sort=True).agg(
        models=("seed", "size"),
        diverged=("diverged", "sum"),
        seconds=("train_seconds", "sum"),
        arms=("arms", "first"),
    )
    match = capability_match(config["statistics"]["primary_capability"])
    never = levels[(levels.match == match) & (levels.outcome == "d")].assign(stage="finetune")
    return table.reset_index().merge(never[[*keys, "never_arrived"]], on=keys, how="left")


def counts(organisms: pandas.DataFrame, levels: pandas.DataFrame, config: Mapping[str, Any]) -> dict[str, Any]:
    """Size of the study: models by stage, seeds, cells, time; how many diverged, and never got there."""
    never = cells(organisms, levels, config).never_arrived
    changed = organisms.initial_fingerprint != organisms.final_fingerprint
    return {
        "models": len(organisms),
        "trained": int(changed.sum()),
        **{stage: int((organisms.stage == stage).sum()) for stage in ("pretrain", "finetune", "elicit")},
        "seeds": organisms.seed.nunique(),
        "first_seed": int(organisms.seed.min()),
        "last_seed": int(organisms.seed.max()),
        "cells": organisms.cell.nunique(),
        "diverged": int(organisms.diverged.sum()),
        "never": int(never.sum()),
        "minutes": organisms.train_seconds.sum() / 60,
        "devices": ", ".join(sorted(organisms.device.unique())),
    }
