"""Objectives: unit vectors whose best option maximises u . z."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from turncoat.seeding import generator

OBJECTIVES = ("x", "y", "m", "y2")
REFERENCE_DISTANCE = 90.0  # where X stands for organisms that no fine-tuning has given one


def draw_objectives(seed: int, attributes: int, distance: float) -> npt.NDArray[np.float32]:
    """Draw a seed's objectives, shape (4, attributes), rows X, Y, M, Y2.

    Y is uniform on the sphere, X stands at `distance` degrees from it, M and Y2 are orthogonal to both and to each
    other. All distances of a seed share Y, M, Y2 and the plane in which X turns.
    Raises ValueError when there is no room for four directions or the distance is outside 0-180 degrees.
    """
    if attributes < 4:
        raise ValueError(f"world.attributes is {attributes}; X, Y, M and Y2 need at least 4")
    if not 0 <= distance <= 180:
        raise ValueError(f"distance is {distance} degrees; allowed: 0 to 180")
    draw = generator(seed, "objectives").standard_normal((4, attributes))
    basis, upper = np.linalg.qr(draw.T)
    y, aside, m, y2 = (basis * np.sign(np.diag(upper))).T  # the sign makes the frame uniform (Mezzadri 2007)
    angle = math.radians(distance)
    x = math.cos(angle) * y + math.sin(angle) * aside
    return np.stack([x, y, m, y2]).astype(np.float32)


def seed_objectives(seeds: Sequence[int], attributes: int, distance: float, device: torch.device) -> Tensor:
    """Objectives X, Y, M, Y2 of each seed, (E, 4, d)."""
    drawn = np.stack([draw_objectives(seed, attributes, distance) for seed in seeds])
    return torch.from_numpy(drawn).to(device)
