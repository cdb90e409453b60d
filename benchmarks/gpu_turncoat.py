"""turncoat's rows: its own device steps, in each mode, and the matrix products alone."""

import torch
from torch import Tensor

from benchmarks.gpu_workload import (
    BATCH,
    DEPTH,
    HEADS,
    OUTPUTS,
    RATE,
    SHOWN,
    START,
    WORLD,
    Row,
    make_architecture,
    peak_memory,
    time_steps,
)
from turncoat.organisms.mlp import Stack, initialise
from turncoat.training.device_steps import MODES, DeviceSteps
from turncoat.training.device_streams import DeviceStream, pretraining_on_device
from turncoat.training.losses import readout_columns
from turncoat.training.optimizers import make_optimizer
from turncoat.training.starts import Lesson, find_start
from turncoat.worlds.objectives import seed_objectives

RATES = 1_000_000  # more steps than any row takes


def make_stack(width: int, members: int, device: torch.device) -> Stack:
    """Initial weights; beyond 256 members those repeat, because the host draws them one by one."""
    architecture, drawn = make_architecture(width), min(members, 256)
    rows = initialise(architecture, range(drawn), WORLD.input_power, device).rows()
    return Stack.from_rows(architecture, rows.repeat(-(-members // drawn), 1)[:members])


def make_stream(members: int, device: torch.device) -> DeviceStream:
    drawn = min(members, 256)
    objectives = seed_objectives(range(drawn), 4, 90.0, device).repeat(-(-members // drawn), 1, 1)[:members]
    return pretraining_on_device(WORLD, Lesson(find_start(START)), range(members), objectives, BATCH, 0.5)


def make_steps(width: int, members: int, mode: str, device: torch.device) -> DeviceSteps:
    stack = make_stack(width, members, device)
    optimizer = make_optimizer("adam", stack.flat, RATE)
    rates = torch.full((RATES,), RATE, device=device)
    stream = make_stream(members, device)
    return DeviceSteps(stack, stream, HEADS, 0.0, readout_columns(HEADS, 4), optimizer, rates, MODES[mode])


def turncoat_row(width: int, members: int, mode: str, device: torch.device, seconds: float, tf32: bool = False) -> Row:
    torch._dynamo.reset()
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        steps = make_steps(width, members, mode, device)
        first = 16 if device.type == "cuda" else 2
        each = time_steps(steps.run, device, seconds, first)
        note = f"loss {float(steps.loss.mean()):.3f} after {int(steps.number)} steps"
    finally:
        torch.set_float32_matmul_precision("highest")
    name = f"turncoat, {mode}" + (", TF32" if tf32 else "")
    return Row(name, width, members, members / each, each, peak_memory(device), note)


def limit_row(width: int, members: int, device: torch.device, seconds: float, tf32: bool = False) -> Row:
    """The step's matrix products alone, written where they are written anew: what nothing can beat that uses them."""
    inputs = WORLD.input_width

    def made(*shape: int) -> Tensor:
        return torch.randn(members, *shape, device=device)

    products: list[tuple[Tensor, Tensor]] = []
    layers = [inputs] + [width] * DEPTH
    output = made(OUTPUTS, SHOWN)
    for layer in range(DEPTH):
        value = made(SHOWN, layers[layer])
        products.append((value, made(layers[layer], width)))
        products.append((value.transpose(1, 2), made(SHOWN, width)))
        if layer:
            products.append((products[-1][1], products[-2][1].transpose(1, 2)))
    last = products[-1][0]
    products.append((made(OUTPUTS, width), last.transpose(1, 2)))
    products.append((output, last))
    products.append((output.transpose(1, 2), products[-2][0]))
    results = [torch.bmm(*pair) for pair in products]

    def run(steps: int) -> None:
        for _ in range(steps):
            for (left, right), result in zip(products, results, strict=True):
                torch.bmm(left, right, out=result)

    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        each = time_steps(run, device, seconds, 4)
    finally:
        torch.set_float32_matmul_precision("highest")
    work = 2 * members * sum(left.shape[1] * left.shape[2] * right.shape[2] for left, right in products)
    note = f"{work / each / 1e12:.2f} TFLOP/s"
    return Row(
        "matrix products" + (", TF32" if tf32 else ""), width, members, members / each, each, peak_memory(device), note
    )


def profile(width: int, members: int, mode: str, device: torch.device) -> str:
    """PyTorch's profile of the kernels of 32 steps, the 15 costliest."""
    torch._dynamo.reset()
    steps = make_steps(width, members, mode, device)
    steps.run(16)
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        kinds = [torch.profiler.ProfilerActivity.CUDA]
        torch.cuda.synchronize()
    with torch.profiler.profile(activities=kinds) as found:
        steps.run(32 if device.type == "cuda" else 2)
        if device.type == "cuda":
            torch.cuda.synchronize()
    by = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
    return found.key_averages().table(sort_by=by, row_limit=15, max_name_column_width=90)
