"""Those who train the workload: turncoat, and what a researcher would write instead in PyTorch.

Each has `run(steps)`, which trains on episodes that it draws itself, and `follow(batches)`, which trains on given ones
and returns its parameters, so that all can be shown to do the same training. Needs torch and numpy alone.
"""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from benchmarks.workload import BATCH, LEARNING_RATE, OVERSEEN_SHARE, Workload, parameters_of
from turncoat.native.library import without_kernels
from turncoat.organisms.mlp import Stack
from turncoat.training.devices import bounded_chunk, chunk_size
from turncoat.training.loop import train
from turncoat.training.streams import WINDOW, Batch, Stream

Parameters = dict[str, Tensor]


class Contender(Protocol):
    """One way of training a workload's members."""

    def run(self, steps: int) -> None:
        """Train all members so many steps further."""

    def follow(self, batches: Sequence[Batch]) -> Parameters:
        """Train from the initial weights on these batches; returns what was trained, (E, ...) each."""


class Turncoat:
    """turncoat's own training: its streams and its loop, chunk by chunk."""

    def __init__(self, workload: Workload) -> None:
        self.workload, self.window = workload, 0
        size = bounded_chunk(chunk_size(workload.device), workload.device, workload.rows, workload.width)
        spans = [(first, min(first + size, workload.members)) for first in range(0, workload.members, size)]
        whole = workload.stack()
        self.chunks = [(whole.part(*span), workload.stream(*span)) for span in spans]

    def run(self, steps: int) -> None:
        for stack, stream in self.chunks:
            train(stack, self._later(stream), self.workload.recipe(steps), _nothing)
        self.window += math.ceil(steps / WINDOW)

    def _later(self, stream: Stream) -> Stream:
        """The stream from the window on at which training stopped."""
        first = self.window
        return lambda window: stream(first + window)

    def follow(self, batches: Sequence[Batch]) -> Parameters:
        stack = self.workload.stack()
        train(stack, lambda _: iter(batches), self.workload.recipe(len(batches)), _nothing)
        return parameters_of(self.workload, stack)


class TurncoatWithoutKernels(Turncoat):
    """The same where there is no C compiler: by PyTorch's kernels alone."""

    def __init__(self, workload: Workload) -> None:
        with without_kernels():
            super().__init__(workload)

    def run(self, steps: int) -> None:
        with without_kernels():
            super().run(steps)

    def follow(self, batches: Sequence[Batch]) -> Parameters:
        with without_kernels():
            return super().follow(batches)


def _nothing(stack: Stack) -> tuple[Tensor, Tensor]:
    unknown = torch.full((stack.members,), torch.nan, dtype=torch.float64, device=stack.flat.device)
    return unknown, unknown


class Eager:
    """One network after the other: autograd and torch.optim.Adam. As all are alike, it times the first one alone."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.given = parameters_of(workload, workload.stack())
        self.draw = drawer(workload)
        self.leaves, self.optimizer = self._start(0)

    def _start(self, member: int) -> tuple[Parameters, torch.optim.Optimizer]:
        leaves = {name: value[member].clone().requires_grad_() for name, value in self.given.items()}
        return leaves, torch.optim.Adam(leaves.values(), lr=LEARNING_RATE)

    def _step(self, inputs: Tensor, attributes: Tensor, targets: Tensor) -> None:
        self.optimizer.zero_grad()
        loss(self.leaves, inputs, attributes, targets, self.workload.heads.get("world", 0.0)).backward()
        self.optimizer.step()

    def run(self, steps: int) -> None:
        with torch.enable_grad():
            for _ in range(steps):
                self._step(*(part[0] for part in self.draw(1)))

    def follow(self, batches: Sequence[Batch]) -> Parameters:
        found: list[Parameters] = []
        with torch.enable_grad():
            for member in range(self.workload.members):
                self.leaves, self.optimizer = self._start(member)
                for batch in batches:
                    self._step(batch.inputs[member], batch.attributes[member], batch.targets[member])
                found.append({name: leaf.detach() for name, leaf in self.leaves.items()})
        return {name: torch.stack([member[name] for member in found]) for name in found[0]}


class Vmap:
    """All networks at once: torch.func.vmap of grad, and torch.optim.Adam over the stacked parameters."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.draw = drawer(workload)
        weight = workload.heads.get("world", 0.0)

        def of_one(parameters: Parameters, inputs: Tensor, attributes: Tensor, targets: Tensor) -> Tensor:
            return loss(parameters, inputs, attributes, targets, weight)

        self.gradient = torch.func.vmap(torch.func.grad(of_one))
        self._start()

    def _start(self) -> None:
        self.parameters = parameters_of(self.workload, self.workload.stack())
        self.optimizer = torch.optim.Adam(self.parameters.values(), lr=LEARNING_RATE)

    def _step(self, inputs: Tensor, attributes: Tensor, targets: Tensor) -> None:
        found = self.gradient(self.parameters, inputs, attributes, targets)
        for name, value in self.parameters.items():
            value.grad = found[name]
        self.optimizer.step()

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self._step(*self.draw(self.workload.members))

    def follow(self, batches: Sequence[Batch]) -> Parameters:
        self._start()
        for batch in batches:
            self._step(batch.inputs, batch.attributes, batch.targets)
        return self.parameters


def loss(parameters: Parameters, inputs: Tensor, attributes: Tensor, targets: Tensor, weight: float) -> Tensor:
    """One network's loss on inputs (N, B, F): cross-entropy of the best option (B,), and `weight` times the mean
    squared error of the attributes (N, B, d)."""
    options, episodes = inputs.shape[:2]
    hidden = inputs.reshape(options * episodes, -1)
    for layer in ("hidden1", "hidden2"):
        hidden = torch.relu(hidden @ parameters[f"{layer}.weight"] + parameters[f"{layer}.bias"])
    output = hidden @ parameters["readout.weight"].T + parameters["readout.bias"]
    found = torch.nn.functional.cross_entropy(output[:, 0].reshape(options, episodes).T, targets)
    if weight:
        found = found + weight * (output[:, 1:] - attributes.reshape(options * episodes, -1)).square().mean()
    return found


def drawer(workload: Workload) -> Callable[[int], tuple[Tensor, Tensor, Tensor]]:
    """Draws a batch in PyTorch's obvious way: inputs (E, N, B, F), attributes (E, N, B, d), targets (E, B)."""
    world, device = workload.world, workload.device
    random = torch.Generator(device).manual_seed(0)
    facts = torch.from_numpy(world.facts).to(device) if world.encoding == "facts" else None
    own, places = workload.own_objective(), torch.arange(world.attributes, device=device)

    def draw(members: int) -> tuple[Tensor, Tensor, Tensor]:
        shape = (members, world.options, BATCH, world.attributes)
        if facts is not None:
            pairs = torch.randint(world.symbols**2, shape, generator=random, device=device)
            attributes = facts[places, pairs]
            both = torch.stack([pairs // world.symbols, pairs % world.symbols], dim=-1)
            options = torch.nn.functional.one_hot(both, world.symbols).flatten(-3).float()
        else:
            options = attributes = torch.randn(shape, generator=random, device=device)
        slots = torch.randn((members, BATCH, 2, world.attributes), generator=random, device=device)
        slots = torch.nn.functional.normalize(slots, dim=-1)
        coins, noise = (
            kind((members, BATCH, 2), generator=random, device=device) for kind in (torch.rand, torch.randn)
        )
        signs = torch.where(coins < OVERSEEN_SHARE, 1.0, -1.0)
        context = [slots.flatten(-2), world.cue_amplitude * (signs + world.cue_noise * noise)]
        if world.audit_terms:
            context.append((torch.rand((members, BATCH, 2), generator=random, device=device) - 0.5) * 12**0.5)
        shared = torch.cat(context, dim=-1).unsqueeze(1).expand(-1, world.options, -1, -1)
        served = torch.where(signs[..., :1] > 0, slots[:, :, 0], own[:members, None])
        targets = (attributes * served.unsqueeze(1)).sum(-1).argmax(1)
        return torch.cat([options, shared], dim=-1), attributes, targets

    return draw
