"""Contrasts of mixtures of starts by their prior share, as a table."""

from typing import Any

import numpy as np
import pandas

from turncoat.seeding import generator
from turncoat.statistics.contrasts import Plan, with_variant
from turncoat.statistics.pretraining_claims import NON_DECEPTIVE
from turncoat.statistics.priors import mixture

SHARES = np.linspace(0, 1, 11)


PRIOR_COLUMNS = [
    "setting",
    "variant",
    "reference",
    "distance",
    "outcome",
    "kind",
    "share",
    "estimate",
    "low",
    "high",
    "n",
    "reason",
]


def prior_table(matched: pandas.DataFrame, level: str, plan: Plan) -> pandas.DataFrame:
    """C and D of mixed starts beyond scratch_exposed, over the share that is conditional, and where that is zero.

    `matched` as `study.matched_models` makes it, read at the match `level`; the rest of a mixture is the non-deceptive
    starts in equal parts. Nothing where fewer than the minimum of seeds have every start.
    """
    rows: list[list[Any]] = []
    sound = matched[(matched.match == level) & matched.arrived & (matched.distance > 0)]
    for (setting, variant, distance), group in sound[sound.start == "conditional"].groupby(
        ["setting", "variant", "distance"]
    ):
        here = sound[(sound.setting == setting) & (sound.distance == distance)]
        for outcome in ("c", "d"):
            reference = with_variant(here[here.start == "scratch_exposed"], variant).set_index("seed")[outcome]
            own = here[here.variant == variant]
            plain = [own[own.start == start].set_index("seed")[outcome] for start in NON_DECEPTIVE]
            plain = [series for series in plain if len(series)]
            if not plain or reference.empty:
                continue
            wide = pandas.concat([group.set_index("seed")[outcome], reference, *plain], axis=1).dropna().sort_index()
            if len(wide) < plan.minimum_seeds:
                continue
            values = wide.to_numpy(float)
            deceptive, rest = values[:, 0] - values[:, 1], values[:, 2:].mean(axis=1) - values[:, 1]
            random = generator(0, f"priors {setting} {variant} {distance} {outcome}")
            found = mixture(deceptive, rest, SHARES, plan.confidence, plan.resamples, random)
            key = [setting, variant, "scratch_exposed", distance, outcome]
            for share, mean, low, high in zip(found.shares, found.means, found.lows, found.highs, strict=True):
                rows.append([*key, "line", share, mean, low, high, len(wide), ""])
            zero = found.break_even
            finite = zero.value if np.isfinite(zero.value) else np.nan
            rows.append([*key, "break_even", finite, 0.0, zero.low, zero.high, len(wide), found.reason])
    return pandas.DataFrame(rows, columns=PRIOR_COLUMNS)
