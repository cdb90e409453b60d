"""Training steps that never leave the device: drawn, laid out, trained on and counted there.

On a GPU the kernels of many steps are captured once as a CUDA graph and replayed, and what can be fused is compiled.
What changes from step to step, its number and the learning rate, is therefore read from tensors.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from turncoat.organisms.mlp import Stack, backward, forward
from turncoat.training.device_streams import DeviceStream, Drawn
from turncoat.training.losses import loss_and_gradient
from turncoat.training.optimizers import Optimizer
from turncoat.training.streams import WINDOW

WARMING = 3  # runs before a capture, in which libraries set up what they keep


@dataclass(frozen=True)
class Mode:
    """Which means are used; `compiled` needs a compiler of PyTorch's, `captured` a GPU."""

    compiled: bool
    captured: bool


PLAIN, GRAPH, COMPILED, FAST = Mode(False, False), Mode(False, True), Mode(True, False), Mode(True, True)
MODES = {"plain": PLAIN, "graph": GRAPH, "compiled": COMPILED, "compiled graph": FAST}


def _compiled(function: Callable[[Drawn], Tensor]) -> Callable[[Drawn], Tensor]:
    """The function compiled, without choices that the compiler would make by timing and that change how sums round."""
    import torch._inductor.config as inductor

    options: dict[str, Any] = {"deterministic": True} if hasattr(inductor, "deterministic") else {}
    torch._dynamo.reset()  # one function with other shapes is compiled anew, not given up after some times
    return torch.compile(function, fullgraph=True, dynamic=False, options=options)


def default_mode(device: torch.device) -> Mode:
    """What training uses on a device."""
    return FAST if device.type == "cuda" else PLAIN


class DeviceSteps:
    """Trains a stack in place; `loss` (E,) holds each member's loss before the last step.

    rates: the learning rate of every step, float32 (steps,), on the stack's device.
    """

    def __init__(
        self,
        stack: Stack,
        stream: DeviceStream,
        heads: dict[str, float],
        entropy_bonus: float,
        columns: int,
        optimizer: Optimizer,
        rates: Tensor,
        mode: Mode = PLAIN,
    ) -> None:
        self.stack, self.stream, self.optimizer, self.rates = stack, stream, optimizer, rates
        self.heads, self.entropy_bonus, self.columns = heads, entropy_bonus, columns
        self.gradient = stack.with_flat(torch.zeros_like(stack.flat))
        self.number = torch.zeros((), dtype=torch.int64, device=stack.flat.device)
        self.loss = torch.zeros(stack.members, device=stack.flat.device)
        self.find: Callable[[Drawn], Tensor] = self._find_gradient
        if mode.compiled:
            self.find = _compiled(self._find_gradient)
        self.graphs: dict[int, torch.cuda.CUDAGraph] = {}
        if mode.captured:
            self._capture()

    def run(self, steps: int) -> None:
        """Take so many steps."""
        while steps:
            size = max((size for size in self.graphs if size <= steps), default=1)
            if size in self.graphs:
                self.graphs[size].replay()
            else:
                self._step()
            steps -= size

    def _find_gradient(self, drawn: Drawn) -> Tensor:
        batch = self.stream.read(drawn)
        trace = forward(self.stack, batch.inputs.flatten(1, 2), self.columns)
        loss, output_gradient = loss_and_gradient(trace.output, batch, self.heads, self.entropy_bonus)
        backward(self.stack, trace, output_gradient, self.gradient)
        return loss

    def _step(self) -> None:
        self.loss.copy_(self.find(self.stream.draw(self.number)))
        self.optimizer.learning_rate = self.rates.index_select(0, self.number.view(1)).view(())
        self.optimizer.step(self.stack.flat, self.gradient.flat)
        self.number.add_(1)

    def _capture(self) -> None:
        """Capture one step and a window of them; what running them to warm up changed is put back."""
        changed = [self.stack.flat, self.number, self.loss, *self.optimizer.state.values()]
        kept = [value.clone() for value in changed]
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARMING):
                self.number.zero_()  # warming never runs past the last step
                self._step()
        torch.cuda.current_stream().wait_stream(aside)
        torch.cuda.synchronize()
        torch.cuda.empty_cache()  # a graph has memory of its own, which the warming's must make room for
        pool = None
        for size in (1, WINDOW):
            self.graphs[size] = graph = torch.cuda.CUDAGraph()
            shortage: torch.OutOfMemoryError | None = None
            try:
                with torch.cuda.graph(graph, pool=pool):
                    try:
                        for _ in range(size):
                            self._step()
                    except torch.OutOfMemoryError as problem:
                        shortage = problem
            except RuntimeError:  # how a capture ends that was broken off
                if shortage is None:
                    raise
            if shortage is not None:
                raise shortage
            pool = graph.pool()
        for value, before in zip(changed, kept, strict=True):
            value.copy_(before)
        torch.cuda.synchronize()
