"""JAX's row, in a process of its own: jit(vmap(scan)) over members, its own draws inside; prints JSON, one row a line.

python -m benchmarks.gpu_jax --width 64 --members 1 64 1024 --seconds 2 [--check FOLDER]

The first number of members is measured with every generator of random numbers and in every precision that is named,
the others in the first precision with the generator that was faster there, so that JAX is shown at its best.
With `--check` it first trains on the batches in FOLDER/batches.npz, and writes the weights to FOLDER/jax.npz.
"""

import argparse
import functools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.85")

import jax
import jax.numpy as jnp
import numpy as np

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
)
from benchmarks.jaxed import Arrays, State, adam

SCANNED = 64  # steps that one call takes
GENERATORS = {"threefry2x32": "threefry", "unsafe_rbg": "rbg"}  # JAX's default, and XLA's own


def draw(key: Any, facts: Any) -> tuple[Any, Any, Any]:
    """Inputs (B, N, F), attributes (B, N, d) and best options (B,)."""
    keys = jax.random.split(key, 5)
    pairs = jax.random.randint(keys[0], (BATCH, OPTIONS, ATTRIBUTES), 0, SYMBOLS**2)
    values = facts[jnp.arange(ATTRIBUTES), pairs]
    slots = jax.random.normal(keys[1], (BATCH, 2, ATTRIBUTES))
    slots = slots / jnp.linalg.norm(slots, axis=-1, keepdims=True)
    signs = jax.random.randint(keys[2], (BATCH, 2), 0, 2) * 2 - 1
    cues = signs + NOISE * jax.random.normal(keys[3], (BATCH, 2))
    audits = (jax.random.uniform(keys[4], (BATCH, 2)) - 0.5) * 12**0.5
    shared = jnp.concatenate([slots.reshape(BATCH, -1), cues, audits], -1)
    hot = jnp.concatenate([jax.nn.one_hot(half, SYMBOLS) for half in (pairs // SYMBOLS, pairs % SYMBOLS)], -1)
    shown = jnp.broadcast_to(shared[:, None], (BATCH, OPTIONS, shared.shape[-1]))
    inputs = jnp.concatenate([hot.reshape(BATCH, OPTIONS, -1), shown], -1)
    return inputs, values, (values * slots[:, :1]).sum(-1).argmax(-1)


def loss_of(parameters: Arrays, inputs: Any, values: Any, best: Any) -> Any:
    """Cross-entropy on the best option and squared error of the world head."""
    hidden = inputs
    for layer in range(DEPTH):
        hidden = jax.nn.relu(hidden @ parameters[f"w{layer}"] + parameters[f"b{layer}"])
    output = hidden @ parameters["out"] + parameters["out_bias"]
    chosen = jnp.take_along_axis(jax.nn.log_softmax(output[..., 0]), best[:, None], 1)
    return -chosen.mean() + WORLD_HEAD * jnp.square(output[..., 3:] - values).mean()


def make_state(key: Any, width: int) -> State:
    """Initial weights of one member (He et al. 2015), and Adam's fresh state."""
    sizes = [WORLD.input_width] + [width] * DEPTH
    parameters: Arrays = {}
    for layer, at in enumerate(jax.random.split(key, DEPTH)):
        power = WORLD.input_power if layer == 0 else width
        parameters[f"w{layer}"] = jax.random.normal(at, (sizes[layer], width)) * (2 / power) ** 0.5
        parameters[f"b{layer}"] = jnp.zeros(width)
    parameters["out"] = jax.random.normal(key, (width, OUTPUTS)) / width**0.5
    parameters["out_bias"] = jnp.zeros(OUTPUTS)
    zero = jax.tree.map(jnp.zeros_like, parameters)
    return parameters, zero, zero, jnp.zeros(())


@functools.partial(jax.jit, donate_argnums=(0, 1), static_argnums=(3,))
def train(states: State, keys: Any, facts: Any, steps: int) -> tuple[Any, Any, Any]:
    """Train every member for so many steps; returns states, keys and the last losses (E,)."""

    def of_member(state: State, key: Any) -> tuple[Any, Any, Any]:
        def step(carry: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], Any]:
            state, key = carry
            key, used = jax.random.split(key)
            loss, gradients = jax.value_and_grad(loss_of)(state[0], *draw(used, facts))
            return (adam(state, gradients, RATE), key), loss

        (state, key), losses = jax.lax.scan(step, (state, key), None, length=steps)
        return state, key, losses[-1]

    return jax.vmap(of_member)(states, keys)


def measure(width: int, members: int, seconds: float, steps: int, precision: str, generator: str) -> dict[str, Any]:
    """Rate of the training step, its draws included; the first calls, which compile, are not timed."""
    facts = jnp.asarray(WORLD.facts)
    with jax.default_matmul_precision(precision):
        began = time.perf_counter()
        keys = jax.random.split(jax.random.key(0, impl=generator), members)
        states = jax.jit(jax.vmap(functools.partial(make_state, width=width)))(keys)
        states, keys, loss = train(states, keys, facts, steps)
        loss.block_until_ready()
        compiling = time.perf_counter() - began
        found: list[float] = []
        taken = steps
        while sum(found) * steps < seconds or len(found) < 3:
            began = time.perf_counter()
            states, keys, loss = train(states, keys, facts, steps)
            loss.block_until_ready()
            found.append((time.perf_counter() - began) / steps)
            taken += steps
    each = sorted(found)[len(found) // 2]
    note = f"loss {float(loss.mean()):.3f} after {taken} steps, first call {compiling:.0f} s"
    return {
        "name": name_of(precision, generator),
        "width": width,
        "members": members,
        "rate": members / each,
        "seconds": each,
        "note": note,
    }


def name_of(precision: str, generator: str) -> str:
    """What the row is called."""
    return f"JAX jit(vmap(scan)), {GENERATORS[generator]}" + ("" if precision == "highest" else ", TF32 (its default)")


def check(folder: Path) -> None:
    """Train on shared batches from shared weights, (steps, E, ...) and (E, ...), in full precision."""
    with np.load(folder / "batches.npz") as file:
        given = {name: jnp.asarray(file[name]) for name in file.files}
    parameters = {name[2:]: value for name, value in given.items() if name.startswith("p_")}
    zero = jax.tree.map(jnp.zeros_like, parameters)
    state = (parameters, zero, zero, jnp.zeros(()))
    losses = []

    @jax.jit
    def step(state: State, *batch: Any) -> tuple[Any, Any]:
        found, gradients = jax.vmap(jax.value_and_grad(loss_of))(state[0], *batch)
        return adam(state, gradients, RATE), found

    with jax.default_matmul_precision("highest"):
        for number in range(given["inputs"].shape[0]):
            state, loss = step(state, given["inputs"][number], given["values"][number], given["best"][number])
            losses.append(np.asarray(loss))
    weights = {f"p_{name}": np.asarray(value) for name, value in state[0].items()}
    np.savez(folder / "jax.npz", losses=np.stack(losses), **weights)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_jax")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--members", type=int, nargs="*", default=[])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--steps", type=int, default=SCANNED)
    parser.add_argument("--precision", nargs="*", default=["highest"], choices=["highest", "default"])
    parser.add_argument("--generators", nargs="*", default=list(GENERATORS), choices=list(GENERATORS))
    parser.add_argument("--check", type=Path)
    options = parser.parse_args()
    print(json.dumps({"jax": jax.__version__, "device": str(jax.devices()[0])}), flush=True)
    failed = False
    cases = [(precision, generator) for precision in options.precision for generator in options.generators]
    if options.check is not None:
        check(options.check)
    for place, members in enumerate(options.members):
        found: dict[str, float] = {}
        for precision, generator in cases:
            try:
                row = measure(options.width, members, options.seconds, options.steps, precision, generator)
                if precision == options.precision[0]:
                    found[generator] = row["rate"]
            except Exception as problem:  # the next row may still run
                failed = True
                row = {"name": name_of(precision, generator), "width": options.width, "members": members}
                row["failed"] = f"{type(problem).__name__}: {problem}"[:300]
            print(json.dumps(row), flush=True)
        if not place:
            faster = max(found, key=lambda name: found[name], default=options.generators[0])
            cases = [(options.precision[0], faster)]
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
