"""The machine's limit: a training step's matrix products alone, on numbers that stay where they are."""

import torch

from benchmarks.workload import Workload
from turncoat.training.losses import readout_columns

CACHED_NUMBERS = 2**17  # of a hidden layer, so that products are timed at their best


class Products:
    """The eight products of a step, both passes, as batched products of E members, each into memory of its own."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        members, rows, width, device = workload.members, workload.rows, workload.width, workload.device
        columns, read = workload.architecture.inputs, readout_columns(workload.heads, workload.world.attributes)

        def numbers(*shape: int) -> torch.Tensor:
            return torch.randn(members, *shape, device=device)

        x, hidden, delta, arriving = (
            numbers(columns, rows).mT,
            numbers(rows, width),
            numbers(rows, width),
            numbers(read, rows),
        )
        first, second, last = numbers(columns, width), numbers(width, width), numbers(read, width)
        self.pairs = [
            (x, first), (hidden, second), (last, hidden.mT),  # forward
            (arriving, hidden), (arriving.mT, last), (hidden.mT, delta), (delta, second.mT), (x.mT, delta),  # backward
        ]  # fmt: skip
        self.results = [torch.bmm(one, other) for one, other in self.pairs]

    def run(self, steps: int) -> None:
        for _ in range(steps):
            for (one, other), result in zip(self.pairs, self.results, strict=True):
                torch.bmm(one, other, out=result)

    @property
    def operations(self) -> int:
        """Floating-point operations of one member's step."""
        return sum(2 * one.shape[1] * one.shape[2] * other.shape[2] for one, other in self.pairs)


def cached_members(rows: int, width: int) -> int:
    """Members whose hidden layers stay in a core's cache."""
    return max(1, CACHED_NUMBERS // (rows * width))
