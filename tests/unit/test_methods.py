"""Ways to train: optimizers, schedules and carried or warmed state against torch.optim, and the block's promises."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from core import CPU, make_architecture, make_recipe, make_stack, make_world, silent
from torch import Tensor

import turncoat.training.block as block
from turncoat.dodges import early_stopping, l2_to_start
from turncoat.organisms.mlp import Stack, forward
from turncoat.training.block import Origin, Trained, finetune_block
from turncoat.training.loop import train, warmed_state
from turncoat.training.optimizers import OPTIMIZERS, make_optimizer
from turncoat.training.schedules import SCHEDULES, rate_share
from turncoat.training.streams import WINDOW, Batch, Stream, Task, finetuning_stream
from turncoat.worlds.objectives import seed_objectives

BATCH = 8
WORLD = make_world("plain")
ARCHITECTURE = make_architecture(WORLD, width=16)
STATEFUL = [name for name in OPTIMIZERS if name != "sgd"]


BETAS = [(name, 0.999) for name in OPTIMIZERS] + [(name, beta2) for name in ("adam", "adamw") for beta2 in (0.95, 0.0)]


def torchs(name: str, leaf: Tensor, rate: float, beta2: float = 0.999) -> torch.optim.Optimizer:
    """PyTorch's optimizer of that name."""
    if name == "sgd":
        return torch.optim.SGD([leaf], lr=rate)
    if name == "momentum":
        return torch.optim.SGD([leaf], lr=rate, momentum=0.9)
    if name == "adam":
        return torch.optim.Adam([leaf], lr=rate, betas=(0.9, beta2))
    return torch.optim.AdamW([leaf], lr=rate, betas=(0.9, beta2), weight_decay=0.01)


def torchs_state(name: str, optimizer: torch.optim.Optimizer, leaf: Tensor) -> dict[str, Tensor]:
    """Its state under the library's names."""
    state = optimizer.state[leaf]
    if name == "momentum":
        return {"mean": state["momentum_buffer"]}
    return {"mean": state["exp_avg"], "square": state["exp_avg_sq"], "steps": state["step"]}


def stream(task: Task | None = None, purpose: str = "finetuning", seeds: tuple[int, ...] = (1, 2)) -> Stream:
    objectives = seed_objectives(seeds, 4, 90, CPU)
    return finetuning_stream(WORLD, seeds, objectives, BATCH, task or Task(), purpose=purpose)


def reference_gradient(stack: Stack, leaf: Tensor, batch: Batch) -> Tensor:
    """Autograd's gradient of the members' mean cross-entropies, summed."""
    scores = forward(stack.with_flat(leaf), batch.inputs.flatten(1, 2)).output[:, 0].unflatten(1, (3, BATCH))
    loss = torch.nn.functional.cross_entropy(scores, batch.targets, reduction="sum") / BATCH
    return torch.autograd.grad(loss, leaf)[0]


@pytest.mark.parametrize(("name", "beta2"), BETAS)
def test_twenty_steps_equal_torch_optims(name: str, beta2: float) -> None:
    generator = torch.Generator().manual_seed(2)
    flat = torch.randn(192, generator=generator)
    leaf = flat.clone().requires_grad_(True)
    ours, theirs = make_optimizer(name, flat, 0.01, beta2=beta2), torchs(name, leaf, 0.01, beta2)
    for _ in range(20):
        gradient = torch.randn(192, generator=generator)
        ours.step(flat, gradient)
        leaf.grad = gradient.clone()
        theirs.step()
    assert torch.allclose(flat, leaf, rtol=0, atol=5e-7)
    if name != "sgd":
        for key, value in torchs_state(name, theirs, leaf).items():
            assert torch.allclose(ours.state[key], value, rtol=1e-5, atol=1e-7), key


@pytest.mark.parametrize("name", STATEFUL)
def test_an_optimizer_goes_on_from_its_state(name: str) -> None:
    gradients = torch.randn(6, 64, generator=torch.Generator().manual_seed(3))
    unbroken, broken = torch.ones(64), torch.ones(64)
    one, first = make_optimizer(name, unbroken, 0.1), make_optimizer(name, broken, 0.1)
    for gradient in gradients:
        one.step(unbroken, gradient)
    for gradient in gradients[:3]:
        first.step(broken, gradient)
    kept = {key: value.clone() for key, value in first.state.items()}
    second = make_optimizer(name, broken, 0.1, first.state)
    for gradient in gradients[3:]:
        second.step(broken, gradient)
    assert torch.equal(unbroken, broken)
    assert all(torch.equal(first.state[key], value) for key, value in kept.items())  # it has a state of its own


def test_an_unknown_optimizer_is_refused() -> None:
    with pytest.raises(ValueError, match="optimizer is 'adagrad'; allowed: sgd, momentum, adam, adamw"):
        make_optimizer("adagrad", torch.zeros(64), 0.1)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_equal_torchs(name: str) -> None:
    steps = 25
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedulers = torch.optim.lr_scheduler
    make: dict[str, Callable[[], torch.optim.lr_scheduler.LRScheduler]] = {
        "constant": lambda: schedulers.ConstantLR(optimizer, factor=1.0),
        "linear": lambda: schedulers.LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=steps),
        "cosine": lambda: schedulers.CosineAnnealingLR(optimizer, T_max=steps),
    }
    theirs = make[name]()
    for step in range(1, steps + 1):
        assert rate_share(name, step, steps) == pytest.approx(theirs.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        theirs.step()
    assert rate_share(name, 1, steps) == 1
    assert 0 < rate_share(name, steps, steps) <= 1


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="schedule is 'step'; allowed: constant, linear, cosine"):
        rate_share("step", 1, 10)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_training_follows_its_schedule(schedule: str) -> None:
    stack = make_stack(WORLD, [1, 2])
    leaf = stack.flat.clone().requires_grad_(True)
    nothing = torch.zeros(2)
    recipe = make_recipe(20, 0.2, optimizer="sgd", schedule=schedule)
    train(stack, stream(), recipe, lambda _: (nothing, nothing))
    batches = [batch for window in (0, 1) for batch in stream()(window)][:20]
    for step, batch in enumerate(batches):
        gradient = reference_gradient(stack, leaf, batch)
        done = step / 20
        shares = {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 + 0.5 * math.cos(math.pi * done)}
        leaf = (leaf - 0.2 * shares[schedule] * gradient).detach().requires_grad_(True)
    assert torch.allclose(stack.flat, leaf, atol=1e-5)


@pytest.mark.parametrize(("name", "beta2"), [one for one in BETAS if one[0] in STATEFUL])
def test_a_warmed_state_is_that_of_torch_optim_at_rate_zero(name: str, beta2: float) -> None:
    stack = make_stack(WORLD, [1, 2])
    before = stack.flat.clone()
    found = warmed_state(stack, stream(purpose="warming"), make_recipe(99, optimizer=name, beta2=beta2), 20)
    assert torch.equal(stack.flat, before)
    leaf = before.clone().requires_grad_(True)
    theirs = torchs(name, leaf, 0.0, beta2)
    for batch in [batch for window in (0, 1) for batch in stream(purpose="warming")(window)][:20]:
        leaf.grad = reference_gradient(stack, leaf, batch)
        theirs.step()
    assert torch.equal(leaf, before)
    expected = torchs_state(name, theirs, leaf)
    assert set(found) == set(expected)
    for key, value in expected.items():
        assert torch.allclose(found[key], value, rtol=1e-4, atol=1e-7), key
    assert found["mean"].abs().max() > 1e-3


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_beta2_reaches_training_with_adam_and_adamw_alone(name: str) -> None:
    usual, other = (tuned(Origin(), optimizer=name, beta2=beta2).trajectory.weights[-1] for beta2 in (0.999, 0.9))
    assert torch.equal(usual, other) == (name in ("sgd", "momentum"))


def weights_and_state(trained: Trained) -> tuple[Tensor, Mapping[str, Tensor]]:
    return trained.trajectory.weights[-1], trained.trajectory.optimizer_state


def tuned(origin: Origin, steps: int = WINDOW, seeds: range = range(3), **more: Any) -> Trained:
    """Fine-tuning on one window of episodes that comes again and again."""
    task = more.pop("task", Task(budget=WINDOW * BATCH))
    make = more.pop("make", block.Intervention)
    recipe = make_recipe(steps, **more)
    return finetune_block(WORLD, ARCHITECTURE, 90, task, recipe, BATCH, seeds, origin, CPU, silent, make)


@pytest.mark.parametrize("name", STATEFUL)
def test_training_on_from_weights_and_carried_state_is_training_on(name: str) -> None:
    whole = weights_and_state(tuned(Origin(), 2 * WINDOW, optimizer=name))
    half = tuned(Origin(), optimizer=name)
    again = tuned(Origin(*weights_and_state(half)), optimizer=name)
    assert torch.equal(weights_and_state(again)[0], whole[0])
    for key, value in whole[1].items():
        assert torch.equal(again.trajectory.optimizer_state[key], value), key
    fresh = tuned(Origin(weights_and_state(half)[0]), optimizer=name)
    assert not torch.equal(weights_and_state(fresh)[0], whole[0])


@pytest.mark.parametrize("name", STATEFUL)
def test_a_block_warms_from_its_own_start_on_the_episodes_of_its_budget(name: str) -> None:
    parents = make_stack(WORLD, [0, 1, 2], width=16)
    rows = parents.rows()
    found = tuned(Origin(rows, warm_steps=5), 1, optimizer=name)
    task = Task(budget=WINDOW * BATCH)
    recipe = make_recipe(1, optimizer=name)
    state = warmed_state(parents, stream(task, "finetuning", (0, 1, 2)), recipe, 5)
    split = {key: parents.rows(value) if value.ndim else value for key, value in state.items()}
    assert torch.equal(weights_and_state(found)[0], weights_and_state(tuned(Origin(rows, split), 1, optimizer=name))[0])
    assert not torch.equal(weights_and_state(found)[0], weights_and_state(tuned(Origin(rows), 1, optimizer=name))[0])
    assert found.trajectory.checks[0] == 0 and torch.equal(found.trajectory.weights[0], rows)


def test_without_a_budget_a_block_warms_on_episodes_of_its_own() -> None:
    rows = make_stack(WORLD, [0, 1, 2], width=16).rows()
    found = weights_and_state(tuned(Origin(rows, warm_steps=5), 1, task=Task()))[0]
    for purpose, same in (("warming", True), ("finetuning", False)):
        parents = make_stack(WORLD, [0, 1, 2], width=16)
        state = warmed_state(parents, stream(Task(), purpose, (0, 1, 2)), make_recipe(1), 5)
        split = {key: parents.rows(value) if value.ndim else value for key, value in state.items()}
        assert torch.equal(found, weights_and_state(tuned(Origin(rows, split), 1, task=Task()))[0]) is same


CASES: dict[str, dict[str, Any]] = {
    "policy gradient": {"task": Task(samples=3), "entropy_bonus": 0.1},
    "label noise": {"task": Task(label_noise=0.5, overseen=0.5)},
    "momentum, cosine": {"optimizer": "momentum", "schedule": "cosine"},
    "adamw, instructed": {"optimizer": "adamw", "task": Task(instructed=True)},
    "early stopping": {"make": early_stopping.DODGE.finetuning, "snapshots": 4},
    "towards the start": {"make": l2_to_start.DODGE.finetuning},
}


@pytest.mark.parametrize("name", list(CASES))
@pytest.mark.parametrize("origin", ["scratch", "carried", "warmed"])
def test_neither_chunk_nor_block_changes_a_bit(name: str, origin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[name]
    parents = tuned(Origin(), seeds=range(10, 15), optimizer=case.get("optimizer", "adam"))

    def of(first: int, last: int) -> Tensor:
        rows, whole = weights_and_state(parents)
        chosen = slice(first - 10, last - 10)
        state = {key: value[chosen] if value.ndim else value for key, value in whole.items()}
        origins = {"scratch": Origin(), "carried": Origin(rows[chosen], state), "warmed": Origin(rows[chosen], None, 3)}
        return tuned(origins[origin], 20, range(first, last), **case).trajectory.weights

    expected = of(10, 15)
    monkeypatch.setattr(block, "chunk_size", lambda device: 2)
    assert torch.equal(of(10, 15), expected)
    assert torch.equal(of(12, 14), expected[:, 2:4])
