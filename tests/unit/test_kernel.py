"""The tangent kernel: against every example's gradient by torch.func, and in cases that are known."""

import pytest
import torch
from core import CPU, make_architecture, make_world
from torch import Tensor
from torch.func import functional_call, grad, vmap

from turncoat.gating.kernel import Kernels, margin_signs, normalised, unit_kernels
from turncoat.gating.ledger import gating_batches
from turncoat.organisms.activations import ACTIVATIONS
from turncoat.organisms.hidden import hidden_units
from turncoat.organisms.mlp import Stack, initialise
from turncoat.worlds.objectives import seed_objectives
from turncoat.worlds.world import CUE_STATES

SEEDS, EPISODES, WIDTH = [1, 2, 3], 12, 5
PAIRS = [(one, other) for one in CUE_STATES for other in CUE_STATES]
FUNCTIONS = {
    "relu": torch.relu,
    "leaky_relu": lambda z: torch.nn.functional.leaky_relu(z, 0.01),
    "gelu": torch.nn.functional.gelu,
    "identity": lambda z: z,
    "silu": torch.nn.functional.silu,
    "relu_squared": lambda z: torch.relu(z) ** 2,
    "tanh": torch.tanh,
}


class Network(torch.nn.Module):
    """One member, written anew."""

    def __init__(self, stack: Stack, member: int) -> None:
        super().__init__()
        self.function, self.depth = FUNCTIONS[stack.architecture.activation], stack.architecture.depth
        for name, view in stack.views.items():
            self.register_parameter(name.replace(".", "_"), torch.nn.Parameter(view[member].clone()))

    def forward(self, options: Tensor) -> Tensor:
        for layer in range(1, self.depth + 1):
            weight, bias = (getattr(self, f"hidden{layer}_{part}") for part in ("weight", "bias"))
            options = self.function(options @ weight + bias)
        return options @ self.readout_weight[0] + self.readout_bias[0]


def make_case(activation: str = "relu", depth: int = 2, options: int = 3) -> tuple[Stack, dict[str, Tensor], Tensor]:
    world = make_world(options=options)
    stack = initialise(make_architecture(world, activation, WIDTH, depth), SEEDS, world.input_power, CPU)
    stack = stack.with_flat(stack.flat.double())
    stack.flat += 0.1 * torch.randn(stack.flat.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    batches = gating_batches(world, SEEDS, seed_objectives(SEEDS, 4, 90, CPU), EPISODES)
    return stack, {name: batch.inputs.double() for name, batch in batches.items()}, batches["overseen"].targets


def example_gradients(stack: Stack, member: int, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """The margin's gradient in every episode, by torch.func: (B, *shape) by parameter."""
    network = Network(stack, member)
    parameters = {name: value.detach() for name, value in network.named_parameters()}

    def margin(parameters: dict[str, Tensor], shown: Tensor, target: Tensor) -> Tensor:
        scores = functional_call(network, parameters, (shown,))
        best = (torch.arange(len(scores)) == target).to(scores)
        return (scores * best).sum() - (scores * (1 - best)).sum() / (len(scores) - 1)

    each = vmap(grad(margin), in_dims=(None, 0, 0))
    return each(parameters, inputs[member].transpose(0, 1), targets[member])


def brute_force(one: dict[str, Tensor], other: dict[str, Tensor], depth: int) -> tuple[Tensor, Tensor]:
    """Whole kernel over all parameters, and its parts (L, H) by unit."""
    total = sum((one[name] * other[name]).flatten(1).sum(1) for name in one)
    parts = []
    for layer in range(1, depth + 1):
        weight, bias = f"hidden{layer}_weight", f"hidden{layer}_bias"
        part = (one[weight] * other[weight]).sum(1) + one[bias] * other[bias]
        if layer == depth:
            part = part + (one["readout_weight"] * other["readout_weight"])[:, 0]
        parts.append(part.mean(0))
    assert isinstance(total, Tensor)
    return total.mean(), torch.stack(parts)


def check(stack: Stack, inputs: dict[str, Tensor], targets: Tensor) -> Kernels:
    depth = stack.architecture.depth
    found = unit_kernels(hidden_units(stack), inputs, targets, PAIRS)
    for member in range(len(SEEDS)):
        each = {name: example_gradients(stack, member, shown, targets) for name, shown in inputs.items()}
        mean = {
            name: {key: value.mean(0, keepdim=True) for key, value in parts.items()} for name, parts in each.items()
        }
        for one, other in PAIRS:
            for kernels, gradients in ((found.same, each), (found.across, mean)):
                total, parts = brute_force(gradients[one], gradients[other], depth)
                size = brute_force(gradients[one], gradients[one], depth)[0].item()
                assert kernels[one, other][member].sum().item() == pytest.approx(total.item(), rel=1e-10)
                assert torch.allclose(kernels[one, other][member], parts, rtol=1e-10, atol=1e-12 * size)
    return found


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_kernel_equals_brute_force_for_every_activation(activation: str) -> None:
    check(*make_case(activation))


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("options", [2, 4])
def test_kernel_equals_brute_force_at_any_depth_and_number_of_options(depth: int, options: int) -> None:
    check(*make_case("gelu", depth, options))


def test_a_state_with_itself_is_1_and_states_that_share_no_open_unit_are_0() -> None:
    stack, inputs, targets = make_case("relu", depth=1)
    cue = (inputs["overseen"] != inputs["unoverseen"]).flatten(0, 2).any(0).nonzero().item()
    weight = stack.views["hidden1.weight"]
    weight[:, cue] = 100.0 * torch.tensor([1.0, 1.0, -1.0, -1.0, 1.0], dtype=torch.float64)
    found = unit_kernels(hidden_units(stack), inputs, targets, PAIRS)
    for kernels in (found.same, found.across):
        assert normalised(kernels, "overseen", "overseen").sum((1, 2)).numpy() == pytest.approx(1, abs=1e-12)
        assert (kernels["overseen", "unoverseen"] == 0.0).all()
        assert (kernels["overseen", "placebo"].sum((1, 2)) > 0).all()


def test_a_dead_relu_unit_has_no_part() -> None:
    stack, inputs, targets = make_case("relu")
    stack.views["hidden1.bias"][:, 2] = -100.0
    parts = unit_kernels(hidden_units(stack), inputs, targets, PAIRS).same["overseen", "unoverseen"]
    assert (parts[:, 0, 2] == 0.0).all()
    assert (parts[:, 0] != 0.0).any()


def test_a_step_on_one_state_moves_margins_in_the_other_as_the_kernel_says() -> None:
    stack, inputs, targets = make_case("gelu")
    signs = margin_signs(targets, 3)
    organism = hidden_units(stack)

    def margins(flat: Tensor, state: str) -> Tensor:
        return (organism.output(inputs[state], flat)[:, 0].unflatten(1, (3, EPISODES)) * signs).sum(1).mean(1)

    leaf = stack.flat.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(margins(leaf, "overseen").sum(), leaf)
    step = 1e-6
    moved = margins(stack.flat + step * gradient, "unoverseen") - margins(stack.flat - step * gradient, "unoverseen")
    kernel = unit_kernels(organism, inputs, targets, PAIRS).across["overseen", "unoverseen"].sum((1, 2))
    assert (moved / (2 * step)).numpy() == pytest.approx(kernel.numpy(), rel=1e-6)


def test_a_members_kernel_does_not_depend_on_its_neighbours() -> None:
    stack, inputs, targets = make_case()
    whole = unit_kernels(hidden_units(stack), inputs, targets, PAIRS)
    for member in range(len(SEEDS)):
        one = slice(member, member + 1)
        shown = {name: value[one] for name, value in inputs.items()}
        alone = unit_kernels(hidden_units(stack.part(member, member + 1)), shown, targets[one], PAIRS)
        for pair in PAIRS:
            assert torch.equal(alone.same[pair], whole.same[pair][one])
            assert torch.equal(alone.across[pair], whole.across[pair][one])


def test_bad_input_is_refused() -> None:
    stack, inputs, targets = make_case()
    with pytest.raises(ValueError, match="holds 'asleep'; allowed: overseen"):
        unit_kernels(hidden_units(stack), inputs, targets, [("overseen", "asleep")])
    with pytest.raises(ValueError, match="1 options; a margin needs 2"):
        margin_signs(targets, 1)
