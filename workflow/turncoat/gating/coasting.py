"""What Adam does with units that get no gradient: predictions to lay beside what is measured.

Adam (Kingma and Ba 2015) steps by learning rate * m / (sqrt(v) + epsilon), where m and v are the running means of the
gradient and its square, each over 1 less its beta to the power of the steps taken. Without gradient m falls by beta1
and v by beta2 a step, so steps fall by r = beta1 / sqrt(beta2), epsilon aside: zero gradient is not zero update. For
the usual 0.9 and 0.999 a weight switched off after a steady gradient coasts r / (1 - r) = 9.0 learning rates; one that
a single gradient reaches after long silence moves (1 - beta1) / sqrt(1 - beta2) = 3.2 at once and 1 / (1 - r) times
that, 31.8, in total. Neither depends on the gradient's size while that is far above epsilon / sqrt(1 - beta2), 3e-7;
at 1e-6 the 3.2 are 2.4 and the 31.8 are 24.1. After few steps bias correction counts: 1,200 make them 2.6 and 26.6.

All figures are in learning rates, for one weight, without weight decay. With r at 1 or above (beta2 at or below
beta1^2) only epsilon ends the motion.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from turncoat.training.optimizers import BETA1, BETA2, EPSILON

NEGLIGIBLE = 1e-15  # share of its largest step at which a course is cut


@dataclass(frozen=True)
class Coasting:
    """Adam's constants, and what follows from them for gradients of a given size.

    Raises ValueError on a beta outside [0, 1) or an epsilon that is not above 0.
    """

    beta1: float = BETA1
    beta2: float = BETA2
    epsilon: float = EPSILON

    def __post_init__(self) -> None:
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)!r}; allowed: from 0 to below 1")
        if not self.epsilon > 0:
            raise ValueError(f"epsilon is {self.epsilon!r}; allowed: above 0")

    def distance(self, size: float, taken: int | None = None) -> float:
        """How far a weight goes on after `taken` steps of one gradient of that size, then none.

        `taken` None: so many that running means have settled.
        """
        mean, square = (size, size * size) if taken is None else self._after(size, taken)
        return float(self.course(mean, square, taken)[1:].sum())

    def first_step(self, size: float, taken: int | None = None) -> float:
        """The step on a single gradient of that size, the first since training began `taken` steps ago."""
        return float(self._single(size, taken)[0])

    def total(self, size: float, taken: int | None = None) -> float:
        """How far that single gradient moves a weight in total, no further one coming."""
        return float(self._single(size, taken).sum())

    def course(self, mean: float, square: float, taken: int | None) -> npt.NDArray[np.float64]:
        """Sizes of the step just taken and of all that follow it without gradient, until they are negligible.

        mean, square: the optimizer's running means, uncorrected; taken: steps it has taken, None: so many that their
        correction is gone.
        """
        if mean == 0:
            return np.zeros(1)
        k = np.arange(self._length(math.sqrt(square)), dtype=np.float64)
        means, squares = (np.ones_like(k), np.ones_like(k))
        if taken is not None:
            means, squares = 1 - self.beta1 ** (taken + k), 1 - self.beta2 ** (taken + k)
        found: npt.NDArray[np.float64] = (
            abs(mean) * self.beta1**k / means / (np.sqrt(square * self.beta2**k / squares) + self.epsilon)
        )
        return found

    def _single(self, size: float, taken: int | None) -> npt.NDArray[np.float64]:
        mean, square = (1 - self.beta1) * size, (1 - self.beta2) * size * size
        return self.course(mean, square, None if taken is None else taken + 1)

    def _after(self, size: float, taken: int) -> tuple[float, float]:
        return size * (1 - self.beta1**taken), size * size * (1 - self.beta2**taken)

    def _length(self, root: float) -> int:
        """Steps until they are negligible: steps k after the first are at most r^k times it, and where v has fallen
        to epsilon's size beta1^k * (root / epsilon + 1) times it."""
        if self.beta1 == 0:
            return 2
        bounds = [math.log(NEGLIGIBLE / (root / self.epsilon + 1)) / math.log(self.beta1)]
        if 0 < self.beta1**2 < self.beta2:
            bounds.append(math.log(NEGLIGIBLE) / (math.log(self.beta1) - math.log(self.beta2) / 2))
        return math.ceil(min(bounds)) + 1
