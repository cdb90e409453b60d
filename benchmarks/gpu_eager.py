"""What a researcher writes in PyTorch: one model at a time with autograd, or torch.func.vmap over the models."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.gpu_workload import (
    ATTRIBUTES,
    BATCH,
    DEPTH,
    NOISE,
    OPTIONS,
    OUTPUTS,
    RATE,
    SYMBOLS,
    WORLD,
    WORLD_HEAD,
    Row,
    peak_memory,
    time_steps,
)


def draw(members: tuple[int, ...], facts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs (..., B, N, F), attributes (..., B, N, d) and best options (..., B), drawn on the device."""
    device = facts.device
    pairs = torch.randint(SYMBOLS**2, (*members, BATCH, OPTIONS, ATTRIBUTES), device=device)
    values = facts[torch.arange(ATTRIBUTES, device=device), pairs]
    slots = functional.normalize(torch.randn(*members, BATCH, 2, ATTRIBUTES, device=device), dim=-1)
    signs = torch.randint(2, (*members, BATCH, 2), device=device) * 2 - 1
    cues = signs + NOISE * torch.randn(*members, BATCH, 2, device=device)
    audits = (torch.rand(*members, BATCH, 2, device=device) - 0.5) * 12**0.5
    shared = torch.cat([slots.flatten(-2), cues, audits], -1)
    hot = torch.cat([functional.one_hot(half, SYMBOLS) for half in (pairs // SYMBOLS, pairs % SYMBOLS)], -1)
    shown = shared.unsqueeze(-2).expand(*shared.shape[:-1], OPTIONS, -1)
    inputs = torch.cat([hot.flatten(-2).float(), shown], -1)
    best = (values * slots[..., :1, :]).sum(-1).argmax(-1)
    return inputs, values, best


def make_parameters(width: int, device: torch.device, members: tuple[int, ...] = ()) -> dict[str, Tensor]:
    """Initial weights (He et al. 2015), their members first."""
    sizes = [WORLD.input_width] + [width] * DEPTH
    parameters: dict[str, Tensor] = {}
    for layer in range(DEPTH):
        power = WORLD.input_power if layer == 0 else width
        shape = (*members, sizes[layer], width)
        parameters[f"w{layer}"] = torch.randn(*shape, device=device) * (2 / power) ** 0.5
        parameters[f"b{layer}"] = torch.zeros(*members, width, device=device)
    parameters["out"] = torch.randn(*members, width, OUTPUTS, device=device) / width**0.5
    parameters["out_bias"] = torch.zeros(*members, OUTPUTS, device=device)
    return parameters


def loss_of(parameters: dict[str, Tensor], inputs: Tensor, values: Tensor, best: Tensor) -> Tensor:
    """Cross-entropy on the best option and squared error of the world head."""
    hidden = inputs
    for layer in range(DEPTH):
        hidden = torch.relu(hidden @ parameters[f"w{layer}"] + parameters[f"b{layer}"])
    output = hidden @ parameters["out"] + parameters["out_bias"]
    error = (output[..., 3:] - values).square().mean()
    return functional.cross_entropy(output[..., 0], best) + WORLD_HEAD * error


def eager_row(width: int, device: torch.device, seconds: float) -> Row:
    """One model at a time: autograd, and PyTorch's fused Adam."""
    facts = torch.from_numpy(WORLD.facts).to(device)
    with torch.enable_grad():
        parameters = {name: value.requires_grad_() for name, value in make_parameters(width, device).items()}
        optimizer = torch.optim.Adam(parameters.values(), lr=RATE, fused=True)
        loss = torch.zeros(())

        def run(steps: int) -> None:
            nonlocal loss
            for _ in range(steps):
                loss = loss_of(parameters, *draw((), facts))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

        each = time_steps(run, device, seconds)
    return Row("eager, one at a time", width, 1, 1 / each, each, peak_memory(device), f"loss {float(loss):.3f}")


def vmap_row(width: int, members: int, device: torch.device, seconds: float) -> Row:
    """torch.func.vmap(grad): all models in one call; Adam fused over the stacked weights."""
    facts = torch.from_numpy(WORLD.facts).to(device)
    parameters = make_parameters(width, device, (members,))
    find: Any = torch.func.vmap(torch.func.grad_and_value(loss_of))
    optimizer = torch.optim.Adam([value.requires_grad_() for value in parameters.values()], lr=RATE, fused=True)
    loss = torch.zeros(())

    def run(steps: int) -> None:
        nonlocal loss
        for _ in range(steps):
            gradients, loss = find(
                {name: value.detach() for name, value in parameters.items()}, *draw((members,), facts)
            )
            for name, value in parameters.items():
                value.grad = gradients[name]
            optimizer.step()

    each = time_steps(run, device, seconds, 4)
    note = f"loss {float(loss.mean()):.3f}"
    return Row("torch.func.vmap", width, members, members / each, each, peak_memory(device), note)
