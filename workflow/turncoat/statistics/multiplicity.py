"""Correction for the number of primary claims."""

from collections.abc import Sequence

import numpy as np
from statsmodels.stats.multitest import multipletests


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values (Holm 1979), in the order given; NaN stays and is not counted."""
    p = np.asarray(p_values, dtype=float)
    adjusted = np.full(len(p), np.nan)
    known = ~np.isnan(p)
    if known.sum() == 1:
        adjusted[known] = p[known]
    elif known.any():
        adjusted[known] = multipletests(p[known], method="holm")[1]
    return [float(value) for value in adjusted]
