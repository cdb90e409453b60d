"""The kernels of relu networks in Triton's interpreter on a CPU, against the networks' own passes in float64."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SHAPES = [  # rows, inputs, width, depth, columns, attributes
    (256, 60, 64, 2, 7, 4),
    (37, 60, 48, 3, 2, 1),
    (6, 5, 8, 1, 3, 4),
    (70, 33, 50, 2, 9, 5),
]

SCRIPT = """
import sys
sys.path[:0] = sys.argv[1:3]
import torch
from turncoat.organisms import mlp, relu_kernels
from turncoat.training.device_steps import DeviceSteps, Mode
from turncoat.training.device_streams import pretraining_on_device
from turncoat.training.losses import readout_columns
from turncoat.training.optimizers import make_optimizer
from turncoat.training.starts import Lesson, find_start
from turncoat.worlds.objectives import seed_objectives
from turncoat.worlds.world import World

torch.set_grad_enabled(False)
random = torch.Generator().manual_seed(3)
draw = lambda *shape: torch.randn(shape, generator=random)


def compare(rows, inputs, width, depth, columns, attributes):
    architecture = mlp.Architecture(inputs, width, depth, "relu", attributes)
    assert relu_kernels.fits(architecture)
    stack = mlp.Stack.from_rows(architecture, draw(3, architecture.parameters) * width**-0.5)
    shown, at_output = draw(3, inputs, rows).transpose(1, 2), draw(3, columns, rows)
    exact = stack.with_flat(stack.flat.double())
    trace = mlp.forward(exact, shown.double(), columns)
    expected = exact.with_flat(torch.full_like(exact.flat, 9.0))
    mlp.backward(exact, trace, at_output.double(), expected)
    hidden, output = relu_kernels.forward(stack, shown, columns)
    assert torch.equal(hidden[-1] > 0, trace.values[-1] > 0)
    found = stack.with_flat(torch.full_like(stack.flat, 9.0))
    relu_kernels.backward(stack, shown, hidden, at_output, found)
    pairs = {name: (found.views[name], expected.views[name]) for name in found.views}
    pairs["output"] = output, trace.output
    for name, (here, there) in pairs.items():
        apart = float((here - there).abs().max())
        assert apart < 1e-5 * float(there.abs().max()), (name, apart)
    small = relu_kernels.Tilings(relu_kernels.Tiling(16, 4, 1))
    again, _ = relu_kernels.forward(stack, shown, columns, "ieee", small)
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(again, hidden))
    lost = stack.with_flat(stack.flat.clone())
    lost.views["hidden1.bias"][1, 0] = torch.nan
    hidden, output = relu_kernels.forward(lost, shown, columns)
    assert output[1].isnan().all() and output[0].isfinite().all() and output[2].isfinite().all()


for shape in sys.argv[3:]:
    compare(*map(int, shape.split(",")))


def trained(mode):
    sizes = {"options": 3, "attributes": 4, "symbols": 3, "audit_penalty": 6.0}
    cue = {"coding": "signal", "amplitude": 1.0, "noise": 0.1}
    world = World.from_settings({"encoding": "facts", "cue": cue} | sizes)
    seeds, heads = [4, 5], {"world": 1.0, "objective": 0.5}
    stack = mlp.initialise(mlp.Architecture(world.input_width, 12, 2, "relu", 4), seeds, world.input_power, CPU)
    objectives = seed_objectives(seeds, 4, 90.0, CPU)
    stream = pretraining_on_device(world, Lesson(find_start("corrigible")), seeds, objectives, 5, 0.5)
    optimizer, columns = make_optimizer("adam", stack.flat, 0.01), readout_columns(heads, 4)
    steps = DeviceSteps(stack, stream, heads, 0.0, columns, optimizer, torch.full((9,), 0.01), mode)
    steps.run(3)
    return steps.loss, steps.gradient.flat, optimizer.state["square"]


CPU = torch.device("cpu")
for here, there in zip(trained(Mode(False, False, "ieee")), trained(Mode(False, False)), strict=True):
    assert here.abs().max() > 0 and torch.allclose(here, there, rtol=1e-3, atol=1e-6)
shape = mlp.Architecture(8, 65, 1, "relu", 2)
wide, mode = mlp.Stack.from_rows(shape, torch.zeros(1, shape.parameters)), Mode(False, False, "ieee")
try:
    DeviceSteps(wide, None, {}, 0.0, 2, make_optimizer("sgd", wide.flat, 0.1), torch.zeros(1), mode)
except ValueError as problem:
    assert "allowed with kernels: activation 'relu', width and inputs up to 64" in str(problem)
else:
    raise AssertionError("a wide network was taken")
print("equal")
"""


def test_the_kernels_are_the_passes_of_the_networks() -> None:
    """Output and every gradient, and steps of training; what is no number in one member stays so, and stays there."""
    if find_spec("triton") is None and "TRITON_AT" not in os.environ:
        lacking = "no Triton here: `make kernel-test` installs it (TRITON_AT may name a folder that holds it)"
        if "TURNCOAT_KERNELS_REQUIRED" in os.environ:
            pytest.fail(lacking)
        pytest.skip(lacking)
    environment = dict(os.environ) | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    folders = [str(REPOSITORY / "workflow"), os.environ.get("TRITON_AT", "")]
    command = [sys.executable, "-c", SCRIPT, *folders, *(",".join(map(str, shape)) for shape in SHAPES)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == "equal"
