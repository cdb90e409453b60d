"""Tables in the making: arrays by column name."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Columns = dict[str, npt.NDArray[np.generic]]


def stack_rows(parts: Sequence[Columns]) -> Columns:
    """Put tables of equal columns below each other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
