"""Gate control: against straight-through networks under autograd, and what it must leave bit for bit as it is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from core import CPU, make_architecture, make_recipe, make_stack, make_world, silent
from torch import Tensor

import turncoat.training.block as block
import turncoat.training.loop as loop
from turncoat.gating.ledger import gating_batches, optimizer_update, unit_ledger
from turncoat.organisms.gates import MODES, NATURAL, GateControl, GatedBackward, gated_backward, row_shuffles
from turncoat.organisms.hidden import hidden_units
from turncoat.organisms.mlp import Stack, Trace, backward, forward
from turncoat.stages.probe_gating import probe_organisms
from turncoat.stages.training import make_recipe as recipe_of
from turncoat.tables.weights import load_optimizer, load_organisms
from turncoat.training.block import Origin, Trained, finetune_block
from turncoat.training.interventions import Intervention
from turncoat.training.native_steps import NativeStep, native_step
from turncoat.training.streams import WINDOW, Task, finetuning_stream
from turncoat.worlds.objectives import seed_objectives

SEEDS, ROWS, BATCH = [1, 2, 3], 21, 5
WORLD = make_world("plain")
F = torch.nn.functional
REFERENCES: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "relu_squared": lambda z: F.relu(z) ** 2,
    "tanh": torch.tanh,
    "identity": lambda z: z,
}


class Gate(torch.autograd.Function):
    """A value whose gradient reaches the two pre-activations, equal in value, that it is said to come from by a slope
    each: one that the unit's own weights made and one that comes from further back."""

    @staticmethod
    def forward(context: Any, own: Tensor, passed: Tensor, value: Tensor, slope: Tensor, back: Tensor) -> Tensor:
        assert torch.allclose(own, passed)
        context.save_for_backward(slope, back)
        return value.clone()

    @staticmethod
    def backward(context: Any, arriving: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        slope, back = context.saved_tensors
        return arriving * slope, arriving * back, None, None, None


def linear(weight: Tensor, bias: Tensor, hidden: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """hidden @ weight + bias twice: with a gradient to the weights alone, as though they had been shown `seen`, and
    with one to `hidden` alone."""
    value = (hidden @ weight + bias).detach()
    learnt = seen.detach() @ weight + bias
    return value + learnt - learnt.detach(), hidden @ weight.detach() + bias.detach()


def straight_through(
    stack: Stack, member: int, inputs: Tensor, upstream: Tensor, mode: str, shuffles: list[Tensor]
) -> dict[str, Tensor]:
    """One member's gradients under a gate mode, from a plain network with gates of its own."""
    leaves = {name: view[member].clone().requires_grad_(True) for name, view in stack.views.items()}
    function = REFERENCES[stack.architecture.activation]
    columns = upstream.shape[0]
    hidden = seen = inputs
    for layer in range(1, stack.architecture.depth + 1):
        own, passed = linear(leaves[f"hidden{layer}.weight"], leaves[f"hidden{layer}.bias"], hidden, seen)
        z = own.detach().requires_grad_(True)
        value = function(z)
        (natural,) = torch.autograd.grad(value.sum(), z)
        z, value = z.detach(), value.detach()
        open_ = torch.ones_like(natural)
        slope, back = {
            "natural": (natural, natural),
            "open_in": (open_, natural),
            "open_propagating": (open_, open_),
            "open_out": (natural, natural),
            "closed": (natural * (z >= 0), natural * (z >= 0)),
            "shuffled": (natural[shuffles[layer - 1][member]], natural),
        }[mode]
        hidden = Gate.apply(own, passed, value, slope, back)
        seen = torch.where(z <= 0, z, value) if mode == "open_out" else value
    own, passed = linear(leaves["readout.weight"][:columns].T, leaves["readout.bias"][:columns], hidden, seen)
    output = own + passed - passed.detach()
    gradients = torch.autograd.grad((output * upstream.T).sum(), list(leaves.values()))
    return dict(zip(leaves, gradients, strict=True))


def case(activation: str, depth: int, columns: int = 4) -> tuple[Stack, Tensor, Tensor, Stack]:
    """A float64 stack with biases, inputs, the output's gradient, and a buffer for the parameters'."""
    torch.manual_seed(depth)
    stack = make_stack(WORLD, SEEDS, activation, depth=depth)
    stack = stack.with_flat(stack.flat.double())
    stack.flat[: 3 * stack.architecture.parameters] += 0.1 * torch.randn(3 * stack.architecture.parameters)
    inputs = torch.randn(3, ROWS, WORLD.input_width, dtype=torch.float64)
    upstream = torch.randn(3, columns, ROWS, dtype=torch.float64)
    return stack, inputs, upstream, stack.with_flat(torch.zeros_like(stack.flat))


@pytest.mark.parametrize("activation", list(REFERENCES))
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_equals_a_straight_through_network_under_autograd(mode: str, depth: int, activation: str) -> None:
    stack, inputs, upstream, gradient = case(activation, depth)
    trace = forward(stack, inputs, 4)
    kept = [part.clone() for part in (*trace.values, *trace.before, trace.output)]
    shuffles = row_shuffles(SEEDS, "gate shuffle", 1, trace)
    gated_backward(stack, trace, upstream, gradient, GateControl(mode, norm_matched=False), shuffles)
    with torch.enable_grad():
        expected = [
            straight_through(stack, member, inputs[member], upstream[member], mode, shuffles) for member in (0, 1, 2)
        ]
    for name, view in gradient.views.items():
        assert torch.allclose(view, torch.stack([one[name] for one in expected]), atol=1e-11), name
    assert all(map(torch.equal, kept, (*trace.values, *trace.before, trace.output)))

    natural = gradient.with_flat(torch.zeros_like(gradient.flat))
    backward(stack, trace, upstream, natural)
    matched = gradient.with_flat(torch.zeros_like(gradient.flat))
    gated_backward(stack, trace, upstream, matched, GateControl(mode), shuffles)
    changed = False
    for name, view in matched.views.items():
        plain, free = natural.views[name].flatten(1), gradient.views[name].flatten(1)
        assert torch.allclose(view.flatten(1).norm(dim=1), plain.norm(dim=1) * (free.norm(dim=1) > 0)), name
        assert torch.allclose(F.normalize(view.flatten(1)), F.normalize(free), atol=1e-11), name
        changed = changed or not torch.allclose(view.flatten(1), plain, atol=1e-6)
    same = {"identity": ("open_in", "open_propagating", "open_out", "shuffled"), "relu": ("closed",)}
    same["relu_squared"] = ("closed",)
    assert changed == (mode != "natural" and mode not in same.get(activation, ()))


@pytest.mark.parametrize("activation", list(REFERENCES))
@pytest.mark.parametrize("mode", MODES)
def test_a_training_step_moves_along_the_gated_gradient(mode: str, activation: str) -> None:
    """Whatever a training step does to be fast, it must hand gate control what it needs."""
    stack = make_stack(WORLD, SEEDS, activation)
    batch = next(finetuning_stream(WORLD, SEEDS, seed_objectives(SEEDS, 4, 90, CPU), BATCH, Task())(0))
    trace = forward(stack, batch.inputs.flatten(1, 2))
    _, output_gradient = loop.loss_and_gradient(trace.output, batch, {})
    gradient = stack.with_flat(torch.zeros_like(stack.flat))
    shuffles = row_shuffles(SEEDS, "gate shuffle", 1, trace)
    gated_backward(stack, trace, output_gradient, gradient, GateControl(mode), shuffles)
    expected = stack.flat - 0.5 * gradient.flat
    recipe = make_recipe(1, 0.5, optimizer="sgd", gate=GateControl(mode))
    loop.train(stack, lambda window: iter([batch]), recipe, block._nothing, seeds=SEEDS)
    assert torch.allclose(stack.flat, expected, atol=1e-7)


def test_matching_leaves_zero_where_the_natural_gradient_is_zero() -> None:
    stack, inputs, upstream, gradient = case("relu", 2)
    stack.views["hidden2.bias"][1] = -1e3  # every unit of that member's second layer is closed on every row
    trace = forward(stack, inputs, 4)
    gated_backward(stack, trace, upstream, gradient, GateControl("open_in", norm_matched=False))
    assert (gradient.views["hidden2.weight"][1] != 0).any()
    gated_backward(stack, trace, upstream, gradient, GateControl("open_in"))
    assert (gradient.views["hidden2.weight"][1] == 0).all() and (gradient.views["hidden2.bias"][1] == 0).all()
    assert (gradient.views["hidden2.weight"][0] != 0).any()
    assert gradient.flat.isfinite().all()


def test_a_closed_gate_passes_exactly_nothing() -> None:
    stack, inputs, upstream, gradient = case("gelu", 2)
    stack.views["hidden2.bias"][:, 4] = -2.0 - (inputs @ stack.views["hidden1.weight"]).abs().sum(2).amax()
    trace = forward(stack, inputs, 4)
    assert (trace.before[1][..., 4] < 0).all()
    gated_backward(stack, trace, upstream, gradient, GateControl("closed", norm_matched=False))
    assert (gradient.views["hidden2.weight"][..., 4] == 0.0).all()
    assert (gradient.views["hidden2.weight"][..., 3] != 0.0).any()


def tuned(seeds: range = range(10, 15), activation: str = "relu", origin: Origin | None = None, **more: Any) -> Trained:
    """Fine-tuned networks of odd sizes, so that no kernel's work ends on a whole vector."""
    architecture = make_architecture(WORLD, activation)
    recipe = make_recipe(WINDOW + 4, **more)
    return finetune_block(
        WORLD, architecture, 90, Task(), recipe, BATCH, seeds, origin or Origin(), CPU, silent
    )  # fmt: skip


def weights(*arguments: Any, **more: Any) -> Tensor:
    return tuned(*arguments, **more).trajectory.weights


def test_natural_is_bitwise_no_control_and_so_is_closed_for_relu(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = weights()
    assert not torch.equal(expected[-1], expected[0])
    calls: list[str] = []

    def watched(*arguments: Any) -> NativeStep | None:
        calls.append("plain")
        return native_step(*arguments)

    monkeypatch.setattr(loop, "native_step", watched)
    assert torch.equal(weights(gate=GateControl("natural", norm_matched=False)), expected)
    assert len(calls) == 1
    assert torch.equal(weights(gate=GateControl("closed")), expected)
    assert torch.equal(weights(gate=GateControl("closed", norm_matched=False)), expected)
    assert len(calls) == 1  # those went the other way
    monkeypatch.setattr(loop, "gated_backward_of", lambda *rest: GatedBackward(NATURAL, (), ""))
    assert torch.equal(weights(), expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("activation", ["relu", "silu", "tanh"])
def test_every_mode_trains_otherwise_from_the_same_loss(mode: str, activation: str) -> None:
    natural, gated = (tuned(activation=activation, gate=gate, snapshots=4) for gate in (NATURAL, GateControl(mode)))
    first = gated.trajectory.checks.index(1)
    assert torch.equal(gated.trajectory.loss[first], natural.trajectory.loss[first])
    same = mode == "natural" or (mode == "closed" and activation == "relu")
    assert torch.equal(gated.trajectory.weights[-1], natural.trajectory.weights[-1]) == same
    assert not gated.diverged.any()


@pytest.mark.parametrize("origin", [Origin(), Origin(warm_steps=3)])
@pytest.mark.parametrize("mode", ["natural", "open_in", "open_out", "shuffled"])
@pytest.mark.parametrize("activation", ["relu", "silu", "relu_squared", "tanh"])
def test_neither_chunk_nor_block_changes_a_bit(
    activation: str, mode: str, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = weights(activation=activation, origin=origin, gate=GateControl(mode))
    for chunk in (1, 2):
        monkeypatch.setattr(block, "chunk_size", lambda device, chunk=chunk: chunk)
        found = weights(activation=activation, origin=origin, gate=GateControl(mode))
        assert torch.equal(found, expected)
    found = weights(range(12, 14), activation, origin=origin, gate=GateControl(mode))
    assert torch.equal(found, expected[:, 2:4])


def test_shuffles_are_permutations_and_a_seeds_steps_and_layers_own() -> None:
    stack, inputs, *_ = case("relu", 2)
    trace = forward(stack, inputs)
    first, second = row_shuffles(SEEDS, "gate shuffle", 1, trace)
    assert torch.equal(first.sort(dim=1).values, torch.arange(ROWS).expand(3, ROWS))
    assert not torch.equal(first, second) and not torch.equal(first[0], first[1])
    assert not torch.equal(row_shuffles(SEEDS, "gate shuffle", 2, trace)[0], first)
    assert not torch.equal(row_shuffles(SEEDS, "warming gate shuffle", 1, trace)[0], first)
    alone = row_shuffles([2], "gate shuffle", 1, trace)
    assert torch.equal(alone[0][0], first[1]) and torch.equal(alone[1][0], second[1])


@pytest.mark.parametrize("mode", ["open_in", "shuffled"])
def test_warming_passes_the_same_gate_with_shuffles_of_its_own(mode: str) -> None:
    stack = make_stack(WORLD, SEEDS)
    stream = finetuning_stream(WORLD, SEEDS, seed_objectives(SEEDS, 4, 90, CPU), BATCH, Task())
    natural, found = (
        loop.warmed_state(stack, stream, make_recipe(9, gate=gate), 3, SEEDS)["mean"]
        for gate in (NATURAL, GateControl(mode))
    )
    assert not torch.equal(natural, found)
    gradient = stack.with_flat(torch.zeros_like(stack.flat))
    expected = torch.zeros_like(stack.flat)
    for step, batch in enumerate(list(stream(0))[:3], start=1):
        trace = forward(stack, batch.inputs.flatten(1, 2))
        shuffles = row_shuffles(SEEDS, "warming gate shuffle", step, trace)
        _, output_gradient = loop.loss_and_gradient(trace.output, batch, {})
        gated_backward(stack, trace, output_gradient, gradient, GateControl(mode), shuffles)
        expected = 0.9 * expected + 0.1 * gradient.flat
    assert torch.allclose(found, expected, atol=1e-7)


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(ValueError, match="gate is 'ajar'; allowed: natural, open_in, open_propagating, open_out"):
        GateControl("ajar")
    stack, inputs, upstream, gradient = case("relu", 1)
    with pytest.raises(ValueError, match="shuffles is None"):
        gated_backward(stack, forward(stack, inputs, 4), upstream, gradient, GateControl("shuffled"))
    trace = forward(stack, inputs, 4)
    overwritten = Trace(trace.values, trace.values[1:], trace.output)
    with pytest.raises(ValueError, match="the trace holds h in place of z"):
        gated_backward(stack, overwritten, upstream, gradient, GateControl("open_out"))
    stream = finetuning_stream(WORLD, SEEDS, seed_objectives(SEEDS, 4, 90, CPU), BATCH, Task())
    recipe = make_recipe(2, gate=GateControl("shuffled"))
    with pytest.raises(ValueError, match="seeds are 0; allowed with gate 'shuffled': 3"):
        loop.train(make_stack(WORLD, SEEDS), stream, recipe, block._nothing)
    routed = Intervention(routes=lambda batch, architecture: ())
    with pytest.raises(
        ValueError, match="gate is 'shuffled'; allowed with an intervention that routes gradients: 'natural'"
    ):
        loop.train(make_stack(WORLD, SEEDS), stream, recipe, block._nothing, None, None, routed, SEEDS)


def test_a_recipe_reads_gate_and_beta2_from_a_cells_settings() -> None:
    training = {"steps": 3, "optimizer": "adam", "learning_rate": 0.1}
    plain = recipe_of(training, 2)
    assert (plain.gate, plain.beta2) == (NATURAL, 0.999)
    gated = recipe_of(training | {"gate": "open_in", "gate_norm_matched": False, "beta2": 0.9}, 2)
    assert (gated.gate, gated.beta2) == (GateControl("open_in", False), 0.9)
    assert recipe_of(training | {"gate": "closed"}, 2).gate == GateControl("closed", True)


def test_the_ledger_steps_along_the_gated_gradient_and_tells_the_natural_one() -> None:
    stack = make_stack(WORLD, SEEDS)
    batch = gating_batches(WORLD, SEEDS, seed_objectives(SEEDS, 4, 90, CPU), 40)["unoverseen"]
    natural = unit_ledger(hidden_units(stack), batch, "adam", 0.01, {})
    found = unit_ledger(hidden_units(stack), batch, "adam", 0.01, {}, 0.9, GateControl("shuffled"), SEEDS)
    for name, column in natural.items():
        assert (column == found[name]).all() != ("update" in name), name

    trace = forward(stack, batch.inputs.flatten(1, 2))
    _, output_gradient = loop.loss_and_gradient(trace.output, batch, {})
    gradient = stack.with_flat(torch.zeros_like(stack.flat))
    shuffles = row_shuffles(SEEDS, "ledger gate shuffle", 1, trace)
    gated_backward(stack, trace, output_gradient, gradient, GateControl("shuffled"), shuffles)
    change = stack.view(optimizer_update(stack.flat, gradient.flat, "adam", 0.01, {}, 0.9))
    expected = change["hidden1.weight"].double().norm(dim=1).numpy()
    assert found["update_in"].reshape(3, 2, 7)[:, 0] == pytest.approx(expected)


def test_the_probe_of_a_gated_cell_follows_its_gate_and_beta2(trained: Path) -> None:
    organisms = load_organisms(trained / "child/weights.safetensors", CPU)
    state = load_optimizer(trained / "child/optimizer.safetensors", organisms.architecture, CPU)
    training = {"optimizer": "adam", "learning_rate": 0.01}
    plain, gated, other = (
        probe_organisms(organisms, "b", [{}, state], {"training": training | more, "gating": {"episodes": 16}})
        for more in ({}, {"gate": "shuffled"}, {"beta2": 0.9})
    )
    for name in ("update_in", "update_bias"):
        assert (plain[name] != gated[name]).any() and (plain[name] != other[name]).any()
    for name in ("gradient_in", "gradient_out", "identity_error"):
        assert (plain[name] == gated[name]).all() and (plain[name] == other[name]).all()
