"""Training steps that never leave the device: drawn, laid out, trained on and counted there.

On a GPU the kernels of many steps are captured once as a CUDA graph and replayed, and what can be fused is compiled;
the hidden layers of relu networks have kernels of their own. What changes from step to step, its number and the
learning rate, is therefore read from tensors.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from turncoat.organisms.mlp import Architecture, Stack, backward, forward
from turncoat.training.device_streams import DeviceStream, Drawn
from turncoat.training.losses import loss_and_gradient
from turncoat.training.optimizers import Optimizer
from turncoat.training.streams import WINDOW, Batch

JUDGED = ("attributes", "signs", "targets", "rewards", "draws", "values")  # what the loss reads of a batch
GRAPH_SHARE = 3.0  # of the memory that a step took while warming: what the graphs' own must find free
WARMING = 3  # runs before a capture, in which libraries set up what they keep


@dataclass(frozen=True)
class Mode:
    """Which means are used; `compiled` needs a compiler of PyTorch's, `captured` a GPU. `kernels` names the precision
    of products in the kernels of relu networks (`relu_kernels.PRECISIONS`); where it is empty, PyTorch's are used."""

    compiled: bool
    captured: bool
    kernels: str = ""


PLAIN, GRAPH, COMPILED, FAST = Mode(False, False), Mode(False, True), Mode(True, False), Mode(True, True)
KERNELS = Mode(True, True, "tf32x3")
MODES = {
    "plain": PLAIN,
    "graph": GRAPH,
    "compiled": COMPILED,
    "compiled graph": FAST,
    "kernels": KERNELS,
    "kernels, float32": Mode(True, True, "ieee"),
    "kernels, TF32": Mode(True, True, "tf32"),
}


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function compiled, without choices that the compiler would make by timing and that change how sums round.

    Raises RuntimeError where PyTorch's compiler cannot be told so.
    """
    import torch._inductor.config as inductor

    if not hasattr(inductor, "deterministic"):
        raise RuntimeError(
            f"PyTorch is {torch.__version__}, whose compiler chooses by timing how sums round, so that two runs would "
            "differ; needed to train on a GPU with draws 'device': PyTorch 2.10 or later (allowed here: draws 'host')"
        )
    return torch.compile(function, fullgraph=True, dynamic=False, options={"deterministic": True})


def default_mode(device: torch.device, architecture: Architecture) -> Mode:
    """What training uses on a device for networks of this shape."""
    if device.type != "cuda":
        return PLAIN
    from turncoat.organisms import relu_kernels  # needs Triton, which not every machine has

    return KERNELS if relu_kernels.fits(architecture) else FAST


class DeviceSteps:
    """Trains a stack in place; `loss` (E,) holds each member's loss before the last step.

    rates: the learning rate of every step, float32 (steps,), on the stack's device.
    Raises ValueError for kernels that the stack's shape does not fit, RuntimeError where the mode cannot be had here.
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
        if mode.compiled:
            torch._dynamo.reset()  # one function with other shapes is compiled anew, not given up after some times
        make: Callable[..., Any] = _compiled if mode.compiled else lambda function: function
        self.find: Callable[[Drawn], Tensor]
        self.find = self._kernels_find(mode.kernels, make) if mode.kernels else make(self._find_gradient)
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

    def _kernels_find(self, precision: str, make: Callable[[Any], Any]) -> Callable[[Drawn], Tensor]:
        """`_find_gradient` by the kernels; what `make` compiles lies before them and between them."""
        from turncoat.organisms import relu_kernels

        if not relu_kernels.fits(self.stack.architecture):
            raise ValueError(
                f"architecture is {self.stack.architecture}; allowed with kernels: activation 'relu', width and inputs "
                f"up to {relu_kernels.LARGEST}"
            )

        def read(drawn: Drawn) -> tuple[Tensor, dict[str, Tensor]]:
            batch = self.stream.read(drawn)
            parts = {name: getattr(batch, name) for name in JUDGED}
            inputs = batch.inputs.permute(0, 3, 1, 2).flatten(2).contiguous()
            return inputs, {name: value for name, value in parts.items() if value is not None}

        def judge(output: Tensor, inputs: Tensor, parts: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
            batch = Batch(shown=inputs, **parts)
            loss, output_gradient = loss_and_gradient(output, batch, self.heads, self.entropy_bonus)
            return loss, output_gradient.contiguous()

        read_off, judged = make(read), make(judge)

        def find(drawn: Drawn) -> Tensor:
            inputs, parts = read_off(drawn)
            rows = inputs.mT
            hidden, output = relu_kernels.forward(self.stack, rows, self.columns, precision)
            loss, output_gradient = judged(output, inputs, parts)
            relu_kernels.backward(self.stack, rows, hidden, output_gradient, self.gradient, precision)
            return loss

        return find

    def _step(self) -> None:
        self.loss.copy_(self.find(self.stream.draw(self.number)))
        self.optimizer.learning_rate = self.rates.index_select(0, self.number.view(1)).view(())
        self.optimizer.step(self.stack.flat, self.gradient.flat)
        self.number.add_(1)

    def _capture(self) -> None:
        """Capture one step and a window of them; what running them to warm up changed is put back.

        Raises torch.OutOfMemoryError where a step, or what its graphs may need, does not fit; RuntimeError where a
        capture fails nevertheless.
        """
        changed = [self.stack.flat, self.number, self.loss, *self.optimizer.state.values()]
        kept = [value.clone() for value in changed]
        held = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARMING):
                self.number.zero_()  # warming never runs past the last step
                self._step()
        torch.cuda.current_stream().wait_stream(aside)
        torch.cuda.synchronize()
        needed = torch.cuda.max_memory_allocated() - held
        torch.cuda.empty_cache()  # a graph has memory of its own, which the warming's must make room for
        # A capture that runs out of memory cannot be undone, so that is found out before.
        torch.empty(int(GRAPH_SHARE * needed), dtype=torch.uint8, device=self.stack.flat.device)
        torch.cuda.empty_cache()
        pool = None
        for size in (1, WINDOW):
            self.graphs[size] = graph = torch.cuda.CUDAGraph()
            try:
                with torch.cuda.graph(graph, pool=pool):
                    for _ in range(size):
                        self._step()
            except (torch.OutOfMemoryError, RuntimeError) as problem:
                raise RuntimeError(
                    f"capturing {size} steps of {self.stack.members} members as a CUDA graph failed, and cannot be "
                    f"undone in this process ({problem}). Nothing was written. Where memory ran out, smaller blocks "
                    "(seeds.block) need less."
                ) from problem
            pool = graph.pool()
        for value, before in zip(changed, kept, strict=True):
            value.copy_(before)
        torch.cuda.synchronize()
