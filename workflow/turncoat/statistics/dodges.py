"""The leaderboard of dodges: D and deception with and without each, beside what it costs in capability and episodes."""

from collections.abc import Iterator

import numpy as np
import pandas

from turncoat.statistics.contrasts import ARM, FINAL
from turncoat.statistics.factors import factors_of, without

CHANGES = ("dodge", "cue.contexts")
"""Factors that count as dodges: those of the library, and several pre-training contexts."""
COLUMNS = [
    "dodge",
    *ARM,
    "d",
    "d_plain",
    "d_change",
    "d_low",
    "d_high",
    "deception_change",
    "deception_low",
    "deception_high",
    "capability_change",
    "capability_low",
    "capability_high",
    "episodes_ratio",
    "episodes_low",
    "episodes_high",
    "n_pairs",
    "never",
]


def dodges_of(setting: str, variant: str) -> list[str]:
    """The factors of an arm that count as dodges, with their values."""
    return [factor for factor in (*factors_of(setting), *factors_of(variant)) if factor.split(" ")[0] in CHANGES]


def leaderboard(
    matched: pandas.DataFrame, contrasts: pandas.DataFrame, ratios: pandas.DataFrame, match: str
) -> pandas.DataFrame:
    """One row per arm with a dodge that has an arm without it, best first within a start and distance.

    `matched` (see `study.matched_models`) gives mean D at `match`; `contrasts` and `ratios` are those tables.
    """
    rows = list(_rows(matched[matched.match == match], contrasts, ratios, match))
    table = pandas.DataFrame(rows, columns=COLUMNS)
    return table.sort_values(["start", "distance", "d_change", "dodge"], kind="stable").reset_index(drop=True)


def _rows(
    there: pandas.DataFrame, contrasts: pandas.DataFrame, ratios: pandas.DataFrame, match: str
) -> Iterator[dict[str, object]]:
    usable = there[there.arrived & ~there.diverged.astype(bool)]
    means = usable.groupby(ARM).d.mean().to_dict()
    judged = contrasts[contrasts.match.isin([match, FINAL])]
    found = judged.set_index([*ARM, "reference", "match", "outcome"]).sort_index()
    times = ratios[ratios.quantity == "capability"].set_index([*ARM, "reference"])
    for key in sorted(set(judged[ARM].itertuples(index=False, name=None))):
        setting, variant, start, distance = key
        for dodge in dodges_of(setting, variant):
            reference = f"without {dodge}"
            if (*key, reference, match, "d") not in found.index:
                continue
            d = found.loc[(*key, reference, match, "d")]
            deception = found.loc[(*key, reference, match, "deception")]
            capability = found.loc[(*key, reference, FINAL, "capability")]
            ratio = times.loc[(*key, reference)]
            plain = (without(setting, dodge), without(variant, dodge), start, distance)
            row: dict[str, object] = dict(zip(ARM, key, strict=True)) | {"dodge": dodge}
            row |= {"d": means.get(key, np.nan), "d_plain": means.get(plain, np.nan)}
            for name, item in (("d", d), ("deception", deception), ("capability", capability)):
                row |= {f"{name}_change": item.estimate, f"{name}_low": item.low, f"{name}_high": item.high}
            row |= {"episodes_ratio": np.exp(ratio.estimate)}
            row |= {"episodes_low": np.exp(ratio.low), "episodes_high": np.exp(ratio.high)}
            yield row | {"n_pairs": d.n_pairs, "never": d.never_start}
