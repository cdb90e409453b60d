"""The ledger: against autograd for every activation and optimizer, exact zeros, and the update that is really made."""

import numpy as np
import pytest
import torch
from core import CPU, make_stack, make_world

from turncoat.gating.ledger import (
    autograd_gradient,
    coasting_update,
    gating_batches,
    optimizer_update,
    unit_ledger,
)
from turncoat.organisms.activations import ACTIVATIONS
from turncoat.organisms.hidden import hidden_units
from turncoat.organisms.mlp import Stack, forward
from turncoat.training.optimizers import OPTIMIZERS, make_optimizer
from turncoat.training.streams import Batch
from turncoat.worlds.objectives import seed_objectives

WIDTH, SEEDS = 7, [1, 2, 3]


def make_case(activation: str) -> tuple[Stack, Batch]:
    world = make_world()
    stack = make_stack(world, SEEDS, activation, WIDTH)
    batch = gating_batches(world, SEEDS, seed_objectives(SEEDS, 4, 90, CPU), 40)["unoverseen"]
    return stack, batch


def by_unit(column: np.ndarray) -> np.ndarray:
    """A ledger column as (members, layers, units)."""
    return column.reshape(len(SEEDS), 2, WIDTH)


def reference_gradients(stack: Stack, batch: Batch) -> dict[str, torch.Tensor]:
    """Every parameter's gradient, from a plain per-network loop under autograd in float64."""
    parts: dict[str, list[torch.Tensor]] = {name: [] for name in stack.views}
    for member in range(stack.members):
        single = Stack.from_rows(stack.architecture, stack.rows()[[member]].double())
        flat = single.flat.requires_grad_(True)
        output = forward(single.with_flat(flat), batch.inputs[[member]].flatten(1, 2).double()).output
        scores = output[:, 0].reshape(1, 3, 40)
        loss = torch.nn.functional.cross_entropy(scores, batch.targets[[member]])
        (gradient,) = torch.autograd.grad(loss, flat)
        for name, part in single.view(gradient).items():
            parts[name].append(part[0])
    return {name: torch.stack(part) for name, part in parts.items()}


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_ledger_equals_autograd_and_the_real_update(activation: str, optimizer: str) -> None:
    stack, batch = make_case(activation)
    before = stack.flat.clone()
    state = make_optimizer(optimizer, stack.flat, 0.01).state
    if state:
        warm = make_optimizer(optimizer, stack.flat.clone(), 0.01)
        for _ in range(3):
            warm.step(torch.zeros_like(stack.flat), torch.randn_like(stack.flat) * 1e-3)
        state = warm.state
    ledger = unit_ledger(hidden_units(stack), batch, optimizer, 0.01, state)
    assert torch.equal(stack.flat, before)

    gradients = reference_gradients(stack, batch)
    for layer, outgoing in ((1, "hidden2.weight"), (2, "readout.weight")):
        expected = {
            "in": gradients[f"hidden{layer}.weight"].norm(dim=1),
            "bias": gradients[f"hidden{layer}.bias"].abs(),
            "out": gradients[outgoing].norm(dim=1 if outgoing == "readout.weight" else 2),
        }
        for name, value in expected.items():
            found = by_unit(ledger[f"gradient_{name}"])[:, layer - 1]
            assert found == pytest.approx(value.numpy(), rel=1e-4, abs=1e-7)

    moved = stack.flat.clone()
    make_optimizer(optimizer, moved, 0.01, state).step(moved, autograd_gradient(hidden_units(stack), batch))
    change = stack.view(moved - stack.flat)
    found = by_unit(ledger["update_out"])[:, 1]
    assert found == pytest.approx(change["readout.weight"].double().norm(dim=1).numpy(), rel=1e-3, abs=1e-7)
    found = by_unit(ledger["update_in"])[:, 0]
    assert found == pytest.approx(change["hidden1.weight"].double().norm(dim=1).numpy(), rel=1e-3, abs=1e-7)
    assert ledger["identity_error"].max() < 1e-5


def test_closed_relu_units_get_exactly_zero_and_gelu_units_do_not() -> None:
    for activation in ("relu", "gelu"):
        stack, batch = make_case(activation)
        stack.views["hidden1.bias"][:, 2] = -5.0  # closed on every example
        ledger = unit_ledger(hidden_units(stack), batch, "sgd", 0.01, {})
        into, out = by_unit(ledger["gradient_in"])[:, 0, 2], by_unit(ledger["gradient_out"])[:, 0, 2]
        assert by_unit(ledger["dead"])[:, 0, 2].all()
        if activation == "relu":
            assert (into == 0.0).all()
            assert (out == 0.0).all()
            assert (by_unit(ledger["update_in"])[:, 0, 2] == 0.0).all()
            assert (ledger["closed_gradient_in"] == 0.0).all()
            assert (ledger["closed_gradient_out"] == 0.0).all()
        else:
            assert (into > 0).all()
            assert (ledger["closed_gradient_in"] > 0).all()


def test_adam_moves_a_closed_relu_unit_that_had_gradient_before() -> None:
    stack, batch = make_case("relu")
    stack.views["hidden1.bias"][:, 2] = -8.0
    warm = make_optimizer("adam", stack.flat.clone(), 0.01)
    warm.step(torch.zeros_like(stack.flat), torch.ones_like(stack.flat))
    ledger = unit_ledger(hidden_units(stack), batch, "adam", 0.01, warm.state)
    assert (by_unit(ledger["gradient_in"])[:, 0, 2] == 0).all()
    assert (by_unit(ledger["update_in"])[:, 0, 2] > 0).all()
    assert (by_unit(ledger["fresh_update_in"])[:, 0, 2] == 0).all()


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_activity_is_counted_per_unit(activation: str) -> None:
    stack, batch = make_case(activation)
    ledger = unit_ledger(hidden_units(stack), batch, "sgd", 0.01, {})
    trace = forward(stack, batch.inputs.flatten(1, 2))
    for layer in (1, 2):
        z, h = trace.before[layer - 1], trace.values[layer]
        assert by_unit(ledger["open_share"])[:, layer - 1] == pytest.approx((z > 0).double().mean(1).numpy())
        assert by_unit(ledger["activation"])[:, layer - 1] == pytest.approx(h.double().mean(1).numpy(), abs=1e-6)
    if activation == "identity":
        assert ledger["mean_slope"] == pytest.approx(1)
    if activation == "relu":
        assert ledger["mean_slope"] == pytest.approx(ledger["open_share"])


def test_open_and_closed_rows_share_the_whole_gradient() -> None:
    """Leaky ReLU lets closed rows through by its leak: some, and little."""
    stack, batch = make_case("leaky_relu")
    ledger = unit_ledger(hidden_units(stack), batch, "sgd", 0.01, {})
    assert (ledger["closed_gradient_in"] <= 0.5 * ledger["gradient_in"].max()).all()
    assert (ledger["closed_gradient_in"] > 0).any()


def test_the_update_is_the_difference_of_the_weights() -> None:
    stack, batch = make_case("relu")
    gradient = autograd_gradient(hidden_units(stack), batch)
    update = optimizer_update(stack.flat, gradient, "sgd", 0.5, {})
    assert torch.allclose(update, -0.5 * gradient, atol=1e-6)


def test_cue_states_share_everything_but_the_cue() -> None:
    world = make_world()
    batches = gating_batches(world, SEEDS, seed_objectives(SEEDS, 4, 90, CPU), 20)
    assert set(batches) == {"overseen", "unoverseen", "placebo"}
    assert torch.equal(batches["overseen"].targets, batches["placebo"].targets)
    changed = (batches["overseen"].inputs != batches["unoverseen"].inputs).flatten(0, 2).any(0).nonzero()
    assert changed.flatten().tolist() == [world.input_width - 2]


def warmed(optimizer: str, stack: Stack, beta2: float = 0.999) -> dict[str, torch.Tensor]:
    """The state after three steps on random gradients."""
    made = make_optimizer(optimizer, stack.flat.clone(), 0.01, None, beta2)
    random = torch.Generator().manual_seed(3)
    for _ in range(3):
        made.step(torch.zeros_like(stack.flat), 0.01 * torch.randn(stack.flat.shape, generator=random))
    return made.state


@pytest.mark.parametrize("beta2", [0.999, 0.9])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_predicted_step_of_closed_relu_units_is_the_real_one(optimizer: str, beta2: float) -> None:
    """They get no gradient, on their incoming and outgoing weights, so that the state alone moves them."""
    stack, batch = make_case("relu")
    stack.views["hidden1.bias"][:, 2] = -8.0
    state = warmed(optimizer, stack, beta2)
    ledger = unit_ledger(hidden_units(stack), batch, optimizer, 0.01, state, beta2)
    for name in ("in", "out", "bias"):
        real, predicted = (by_unit(ledger[f"{kind}_{name}"])[:, 0] for kind in ("update", "coasting"))
        assert real[:, 2] == pytest.approx(predicted[:, 2], rel=2e-3, abs=1e-6)  # weights are stored in float32
        assert (real[:, 2] > 0).all() == (optimizer != "sgd")
        if name == "in":
            assert np.abs(real / predicted.clip(1e-9) - 1).max() > 0.01  # where there is gradient it is not


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_coasting_is_the_optimizers_step_without_gradient(optimizer: str) -> None:
    stack, _ = make_case("relu")
    flat = stack.flat.double()
    state = {name: value.double() if value.ndim else value for name, value in warmed(optimizer, stack).items()}
    for known in (state, {}):
        real = optimizer_update(flat, torch.zeros_like(flat), optimizer, 0.01, known)
        assert coasting_update(flat, optimizer, 0.01, known).numpy() == pytest.approx(real.numpy(), rel=1e-9, abs=1e-15)
    with pytest.raises(ValueError, match="'lion'"):
        coasting_update(flat, "lion", 0.01, state)


def test_dormancy_and_utility_follow_their_definitions() -> None:
    stack, batch = make_case("gelu")
    ledger = unit_ledger(hidden_units(stack), batch, "sgd", 0.01, {})
    trace = forward(stack, batch.inputs.flatten(1, 2))
    outgoing = (stack.views["hidden2.weight"].abs().sum(2), stack.views["readout.weight"][:, 0].abs())
    for layer, weight in enumerate(outgoing):
        size = trace.values[layer + 1].abs().mean(1)
        score = size / size.mean(1, keepdim=True)
        assert by_unit(ledger["dormant_score"])[:, layer] == pytest.approx(score.numpy(), rel=1e-5)
        assert by_unit(ledger["utility"])[:, layer] == pytest.approx((size * weight).numpy(), rel=1e-5)


def test_an_unknown_state_leaves_the_real_update_unknown() -> None:
    stack, batch = make_case("relu")
    ledger = unit_ledger(hidden_units(stack), batch, "adam", 0.01, None)
    for name in ("in", "out", "bias"):
        assert np.isnan(ledger[f"update_{name}"]).all() and np.isnan(ledger[f"coasting_{name}"]).all()
        assert np.isfinite(ledger[f"fresh_update_{name}"]).all()


@pytest.mark.parametrize("activation", ["relu", "silu", "tanh"])
def test_a_members_ledger_does_not_depend_on_its_neighbours(activation: str) -> None:
    stack, batch = make_case(activation)
    whole = unit_ledger(hidden_units(stack), batch, "adam", 0.01, {})
    for member in range(len(SEEDS)):
        one = slice(member, member + 1)
        alone = Batch(batch.inputs[one], batch.attributes[one], batch.signs[one], batch.targets[one])
        found = unit_ledger(hidden_units(stack.part(member, member + 1)), alone, "adam", 0.01, {})
        for name, column in found.items():
            assert np.array_equal(column, whole[name].reshape(len(SEEDS), -1)[member]), name


def test_the_probe_shows_what_fine_tuning_shows() -> None:
    """Certain audits at the largest penalty; X in slot 2 or, instructed, whatever slot 2 says, served by the target."""
    world = make_world(audit_penalty=2.0)
    objectives = seed_objectives(SEEDS, 4, 90, CPU)
    fixed, instructed = (gating_batches(world, SEEDS, objectives, 20, mode)["overseen"] for mode in (False, True))
    for batch in (fixed, instructed):
        assert batch.inputs[..., -2:].numpy() == pytest.approx(0.5 * 12**0.5)
    second = slice(world.option_width + 4, world.option_width + 8)
    assert torch.equal(fixed.inputs[..., second], objectives[:, None, None, 0].expand(-1, 3, 20, -1))
    told = instructed.inputs[:, 0, :, second]
    assert (told != told[:, :1]).any()
    best = (instructed.attributes * told.unsqueeze(1)).sum(-1).argmax(1)
    assert torch.equal(instructed.targets, best)
