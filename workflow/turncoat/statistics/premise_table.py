"""The premise gate of every pre-trained arm, as a table."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas

from turncoat.statistics.contrasts import Plan, capability_match, with_variant
from turncoat.statistics.premise import premise

PREMISE_COLUMNS = [
    "setting",
    "variant",
    "start",
    "distance",
    "capability",
    "ratio",
    "low",
    "high",
    "allowed",
    "pairs",
    "never_start",
    "never_scratch",
    "diverged",
    "start_episodes",
    "scratch_episodes",
    "verdict",
    "reason",
]


def premise_table(matched: pandas.DataFrame, statistics: Mapping[str, Any], plan: Plan) -> pandas.DataFrame:
    """Whether each pre-trained start learns X in so few of scratch's episodes as the argument assumes (see `premise`).

    `matched` as `study.matched_models` makes it, `statistics` that section of the configuration. One row per setting,
    variant and start: `not_measured` where the study has no pairs at the premise distance.
    """
    level = capability_match(statistics["primary_capability"])
    distance, allowed = float(statistics["premise_distance"]), float(statistics["premise_ratio"])
    everyone = matched[matched.match == level]
    here = everyone[everyone.distance == distance]
    rows = []
    pretrained = everyone[~everyone.start.isin(["scratch", "scratch_exposed"])]
    for setting, variant, start in sorted(
        set(pretrained[["setting", "variant", "start"]].itertuples(index=False, name=None))
    ):
        own = here[(here.setting == setting) & (here.variant == variant) & (here.start == start)]
        scratch = with_variant(here[(here.setting == setting) & (here.start == "scratch")], variant)
        pairs = own.merge(scratch, on="seed", suffixes=("", "_scratch"))
        sound = pairs[~pairs.diverged & ~pairs.diverged_scratch].sort_values("seed")
        times, reference = sound.episodes.fillna(np.inf), sound.episodes_scratch.fillna(np.inf)
        found = premise(
            times.to_numpy(),
            reference.to_numpy(),
            sound.budget_scratch.to_numpy(float),
            allowed,
            plan.confidence,
            plan.resamples,
            plan.minimum_seeds,
            f"{setting} {variant} {start}",
        )
        values = [
            setting,
            variant,
            start,
            distance,
            statistics["primary_capability"],
            found.ratio.value,
            found.ratio.low,
            found.ratio.high,
            allowed,
            found.pairs,
            found.never_start,
            found.never_scratch,
            int((pairs.diverged | pairs.diverged_scratch).sum()),
            _median(times),
            _median(reference),
            found.verdict,
            found.reason,
        ]
        rows.append(dict(zip(PREMISE_COLUMNS, values, strict=True)))
    return pandas.DataFrame(rows, columns=PREMISE_COLUMNS)


def _median(times: pandas.Series) -> float:
    if len(times) == 0:
        return float("nan")
    value = float(np.quantile(times, 0.5, method="inverted_cdf"))
    return value if np.isfinite(value) else float("nan")
