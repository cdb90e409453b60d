"""What a fitted utility is made of: how much of it is baked in, how much is read from the slots, and where it points.

Errors come by the delta method from the whole robust covariance: the scale of a logit is its least certain part, moves
all coefficients together, and cancels here.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

CLEAR = 2.0  # errors by which a slot's weight must differ from 0 to count


@dataclass(frozen=True)
class Shares:
    """Shares of a fitted utility |w| + |l1| + |l2|, (E,): what is baked in, and what obeys a slot, with their errors.

    What defies a slot (a negative weight) is in neither. Both are 0 where nothing differs clearly from noise.
    """

    baked: Tensor
    baked_error: Tensor
    pointer: Tensor
    pointer_error: Tensor


def utility_shares(coefficients: Tensor, covariance: Tensor, attributes: int) -> Shares:
    """Shares of E utilities: coefficients (E, d + slots) with w first, covariance (E, d + slots, d + slots).

    Errors lengthen w, which is taken back; a slot's weight counts only where it is twice its error.
    """
    w, slots = coefficients[:, :attributes], coefficients[:, attributes:]
    variances = covariance.diagonal(dim1=1, dim2=2)
    length = _length(w, covariance[:, :attributes, :attributes])
    clear = slots.abs() > CLEAR * variances[:, attributes:].sqrt()
    weights = torch.where(clear, slots, 0.0)
    total = length + weights.abs().sum(1)
    safe = total.clamp(min=torch.finfo(total.dtype).tiny)
    baked, pointer = length / safe, weights.clamp(min=0).sum(1) / safe
    along = torch.nn.functional.normalize(w, dim=1)
    counted = clear.to(weights.dtype)
    slopes = {
        "baked": torch.cat([along * (1 - baked)[:, None], -baked[:, None] * weights.sign()], dim=1),
        "pointer": torch.cat(
            [-along * pointer[:, None], counted * (weights > 0) - pointer[:, None] * weights.sign()], dim=1
        ),
    }
    there = (total > 0)[:, None]
    errors = {
        name: _error(torch.where(there, slope / safe[:, None], 0.0), covariance) for name, slope in slopes.items()
    }
    known = coefficients.isfinite().all(1)
    missing = torch.full_like(total, torch.nan)
    return Shares(
        torch.where(known, baked, missing),
        torch.where(known, errors["baked"], missing),
        torch.where(known, pointer, missing),
        torch.where(known, errors["pointer"], missing),
    )


def cosines(w: Tensor, covariance: Tensor, objective: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine of w (E, d) with unit vectors (E, d), and its standard error, (E,); NaN where w is no longer than noise.

    covariance: (E, d, d). Errors lengthen w, which is taken back.
    """
    length = _length(w, covariance)
    safe = torch.where(length > 0, length, torch.nan)
    cosine = ((w * objective).sum(1) / safe).clamp(-1, 1)
    across = (objective - cosine[:, None] * torch.nn.functional.normalize(w, dim=1)) / safe[:, None]
    return cosine, _error(across, covariance)


def _length(vectors: Tensor, covariance: Tensor) -> Tensor:
    """Length of vectors (E, d) without what errors across them have added to its square; those along add nothing."""
    along = torch.nn.functional.normalize(vectors, dim=1)
    across = covariance.diagonal(dim1=1, dim2=2).sum(1) - _form(covariance, along)
    return (vectors.square().sum(1) - across).clamp(min=0).sqrt()


def _error(slopes: Tensor, covariance: Tensor) -> Tensor:
    return _form(covariance, slopes).clamp(min=0).sqrt()


def _form(matrices: Tensor, vectors: Tensor) -> Tensor:
    """v' A v of each vector (E, K) and matrix (E, K, K): (E,)."""
    # Sums of elementwise products: a product of many matrices may round each by how many there are.
    return ((matrices * vectors.unsqueeze(1)).sum(2) * vectors).sum(1)
