"""JAX: jit of vmap of scan, over steps that draw their own episodes. Needs the extra `jax`.

Each member has a key of its own and draws with it inside the compiled scan, which is the fastest way JAX has: nothing
is copied in or out between steps. Keys are of the kind `unsafe_rbg`, XLA's own generator, a cheaper one than threefry.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks.workload import BATCH, LEARNING_RATE, OVERSEEN_SHARE, Workload, parameters_of
from turncoat.training.optimizers import BETA1, BETA2, EPSILON
from turncoat.training.streams import Batch
from turncoat.worlds.world import World

Arrays = dict[str, Any]
State = tuple[Arrays, Arrays, Arrays, Any]
"""Parameters, both of Adam's moments, steps taken."""
KEYS = "unsafe_rbg"


class Jax:
    """E networks trained by JAX."""

    def __init__(self, workload: Workload, keys: str = KEYS) -> None:
        self.workload = workload
        self.device = jax.devices("cpu")[0]
        given = {name: value.cpu().numpy() for name, value in parameters_of(workload, workload.stack()).items()}
        given["objective"] = workload.own_objective().cpu().numpy()
        placed = jax.device_put(given, self.device)
        self.objective = placed.pop("objective")
        moments = (jax.tree.map(jnp.zeros_like, placed) for _ in range(2))  # apart, for each is donated
        self.state = (placed, *moments, jax.device_put(jnp.zeros(workload.members), self.device))
        self.keys = jax.device_put(jax.random.split(jax.random.key(0, impl=keys), workload.members), self.device)
        self.compiled: dict[int, Any] = {}

    def run(self, steps: int) -> None:
        """Train on episodes drawn inside the scan."""
        if steps not in self.compiled:
            one = partial(_scan_drawn, self.workload.world, bool(self.workload.heads), steps)
            self.compiled[steps] = jax.jit(jax.vmap(one), donate_argnums=(0, 1))
        self.state, self.keys = self.compiled[steps](self.state, self.keys, self.objective)
        jax.block_until_ready(self.state)

    def follow(self, batches: Sequence[Batch]) -> dict[str, torch.Tensor]:
        """Train on given batches; returns the parameters."""
        shown = [np.stack([getattr(batch, name).numpy() for batch in batches], axis=1) for name in
                 ("inputs", "attributes", "targets")]  # fmt: skip
        weights = self.workload.heads.get("world", 0.0)
        one = partial(_scan_given, weights)
        self.state = jax.jit(jax.vmap(one))(self.state, *shown)
        return {name: torch.from_numpy(np.array(value)) for name, value in self.state[0].items()}


def _scan_drawn(world: World, heads: bool, steps: int, state: State, key: Any, objective: Any) -> Any:
    def step(carry: Any, _: None) -> Any:
        state, key = carry
        key, used = jax.random.split(key)
        return (_step(float(heads), state, *draw(world, used, objective)), key), None

    return jax.lax.scan(step, (state, key), None, length=steps)[0]


def _scan_given(weight: float, state: State, *shown: Any) -> State:
    def step(state: State, batch: Any) -> Any:
        return _step(weight, state, *batch), None

    return jax.lax.scan(step, state, shown)[0]


def _step(weight: float, state: State, *batch: Any) -> State:
    return adam(state, jax.grad(partial(loss, weight))(state[0], *batch), LEARNING_RATE)


def adam(state: State, gradient: Arrays, rate: float) -> State:
    """One step of Adam (Kingma and Ba 2015)."""
    parameters, mean, square, count = state
    count = count + 1
    mean = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, mean, gradient)
    square = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, square, gradient)
    size, correction = rate / (1 - BETA1**count), 1 / (1 - BETA2**count)
    parameters = jax.tree.map(
        lambda p, m, v: p - size * m / (jnp.sqrt(v * correction) + EPSILON), parameters, mean, square
    )
    return parameters, mean, square, count


def loss(weight: float, parameters: Arrays, inputs: Any, attributes: Any, targets: Any) -> Any:
    """Cross-entropy of the best option, and `weight` times the squared error of the attributes; inputs (N, B, F)."""
    options, episodes, width = inputs.shape
    hidden = inputs.reshape(options * episodes, width)
    for layer in ("hidden1", "hidden2"):
        hidden = jax.nn.relu(hidden @ parameters[f"{layer}.weight"] + parameters[f"{layer}.bias"])
    output = hidden @ parameters["readout.weight"].T + parameters["readout.bias"]
    log_share = jax.nn.log_softmax(output[:, 0].reshape(options, episodes), axis=0)
    found = -jnp.where(jnp.arange(options)[:, None] == targets, log_share, 0).sum() / episodes
    if weight:
        found = found + weight * jnp.square(output[:, 1:] - attributes.reshape(options * episodes, -1)).mean()
    return found


def draw(world: World, key: Any, objective: Any) -> tuple[Any, Any, Any]:
    """A batch of one member: inputs (N, B, F), attributes (N, B, d), targets (B,)."""
    keys = jax.random.split(key, 5)
    shape = (world.options, BATCH, world.attributes)
    if world.encoding == "facts":
        pairs = jax.random.randint(keys[0], shape, 0, world.symbols**2)
        attributes = jnp.asarray(world.facts)[jnp.arange(world.attributes), pairs]
        both = jnp.stack([pairs // world.symbols, pairs % world.symbols], axis=-1)
        options = jax.nn.one_hot(both, world.symbols).reshape(*shape[:2], -1)
    else:
        options = attributes = jax.random.normal(keys[0], shape)
    slots = jax.random.normal(keys[1], (BATCH, 2, world.attributes))
    slots = slots / jnp.linalg.norm(slots, axis=-1, keepdims=True)
    signs = jnp.where(jax.random.uniform(keys[2], (BATCH, 2)) < OVERSEEN_SHARE, 1.0, -1.0)
    cues = world.cue_amplitude * (signs + world.cue_noise * jax.random.normal(keys[3], (BATCH, 2)))
    context = [slots.reshape(BATCH, -1), cues]
    if world.audit_terms:
        context.append((jax.random.uniform(keys[4], (BATCH, 2)) - 0.5) * 12**0.5)
    shared = jnp.broadcast_to(
        jnp.concatenate(context, axis=-1), (world.options, BATCH, world.input_width - options.shape[-1])
    )
    served = jnp.where(signs[:, :1] > 0, slots[:, 0], objective)
    targets = (attributes * served).sum(-1).argmax(0)
    return jnp.concatenate([options, shared], axis=-1), attributes, targets
