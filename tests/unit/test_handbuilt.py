"""Hand-built networks against the policies they are built to be, written out in the test."""

from pathlib import Path

import pytest
import torch
from core import CPU, make_world
from torch import Tensor

from turncoat.organisms.choices import option_scores
from turncoat.organisms.handbuilt import NORMAL_LIMIT, SURE_CUE, Circuit, build, score_error
from turncoat.organisms.hidden import StackStates
from turncoat.organisms.mlp import Stack, forward
from turncoat.organisms.relu_arithmetic import gated, lay_side_by_side, lowered, product_error, products
from turncoat.worlds.episodes import Episodes, best_option, build_inputs, draw_episodes
from turncoat.worlds.objectives import OBJECTIVES, seed_objectives
from turncoat.worlds.world import OVERSIGHT, PLACEBO, World

SEEDS = [3, 4, 5]
SHARPNESS = 8.0
ROUNDING = 2e-5
PENALTY = 6.0
CIRCUITS = {
    "internal": Circuit("y", "y"),
    "proxy": Circuit("m", "m"),
    "corrigible_slot1": Circuit("slot1", "slot1"),
    "corrigible_slot2": Circuit("slot2", "slot2", PLACEBO),
    "conditional_baked": Circuit("x", "m"),
    "conditional_pointer": Circuit("slot1", "m"),
    "conditional_own_on": Circuit("y2", "slot2"),
    "conditional_pointers": Circuit("slot2", "slot1"),
    "placebo_conditional": Circuit("slot2", "m", PLACEBO),
    "strategic_pointer": Circuit("slot1", "m", strategic=True),
    "strategic_baked": Circuit("x", "y", strategic=True),
    "strategic_placebo": Circuit("slot2", "m", PLACEBO, strategic=True),
}
ENCODINGS = ("facts", "plain")


def audit_world(encoding: str, noise: float = 0.1, symbols: int = 4, **settings: object) -> World:
    cue = {"coding": "signal", "amplitude": 1.5, "noise": noise}
    shape = {"encoding": encoding, "options": 3, "attributes": 4, "symbols": symbols}
    return World.from_settings(shape | {"cue": cue, "audit_penalty": PENALTY} | settings)


def objectives_of(seeds: list[int] = SEEDS) -> Tensor:
    return seed_objectives(seeds, 4, 90.0, CPU)


def episodes_of(world: World, episodes: int = 1500) -> Episodes:
    return draw_episodes(world, SEEDS, "handbuilt", 0, 1, episodes, CPU)


def scores(world: World, stack: Stack, episodes: Episodes, **shown: Tensor) -> Tensor:
    """Scores (E, N, B) in units of utility."""
    return option_scores(stack, build_inputs(world, episodes, **shown)[0]) / SHARPNESS


def utility(name: str, episodes: Episodes, objectives: Tensor) -> Tensor:
    """(E, N, B), option by option in float64."""
    attributes = episodes.attributes[0].double()
    if name in OBJECTIVES:
        return torch.einsum("enbd,ed->enb", attributes, objectives[:, OBJECTIVES.index(name)].double())
    return torch.einsum("enbd,ebd->enb", attributes, episodes.slots[0, :, :, int(name[-1]) - 1].double())


def policy(circuit: Circuit, episodes: Episodes, objectives: Tensor) -> Tensor:
    """What the circuit should score, (E, N, B), by the drawn signs and audit terms."""
    on, off = (utility(name, episodes, objectives) for name in (circuit.on, circuit.off))
    heeded = episodes.signs[0, :, None, :, circuit.cue] > 0
    if not circuit.strategic:
        return torch.where(heeded, on, off)
    probability, penalty = episodes.audits[0].double().unbind(-1)
    return off + heeded * (probability * penalty).unsqueeze(1) * on


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", CIRCUITS)
def test_networks_choose_as_their_policy_in_every_cue_state(name: str, encoding: str) -> None:
    world, objectives, circuit = audit_world(encoding), objectives_of(), CIRCUITS[name]
    episodes = episodes_of(world)
    found = scores(world, build(world, circuit, objectives, SHARPNESS), episodes).double()
    wanted = policy(circuit, episodes, objectives)
    error = score_error(world, circuit)
    assert (found - wanted).abs().max() <= error + ROUNDING < 0.16
    best, chosen = best_option(wanted), best_option(found)
    lost = wanted.amax(1) - wanted.gather(1, chosen.unsqueeze(1)).squeeze(1)
    if error == 0:
        assert lost.max() <= 2 * ROUNDING  # options that are as good may be taken for each other
    for oversight in (1, -1):
        for placebo in (1, -1):
            state = (episodes.signs[0] == torch.tensor([oversight, placebo])).all(-1)
            same = (chosen == best) | (lost == 0)
            assert state.sum() > 1000
            assert same[state].double().mean() >= 0.99


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_needs_no_approximate_product_is_exact(encoding: str) -> None:
    """In float64, where rounding hides nothing."""
    world, objectives = audit_world(encoding), objectives_of().double()
    episodes = episodes_of(world, 100)
    inputs = build_inputs(world, episodes)[0].double()
    for name, circuit in CIRCUITS.items():
        exact = not circuit.strategic and (encoding == "facts" or "slot" not in circuit.on + circuit.off)
        found = option_scores(build(world, circuit, objectives, SHARPNESS), inputs) / SHARPNESS
        difference = (found - policy(circuit, episodes, objectives)).abs().max()
        assert (difference < 1e-6) == exact, name  # slots are float32, so 1 + g is rounded
        assert (score_error(world, circuit) == 0) == exact, name


def test_each_member_serves_its_own_objectives_whoever_is_beside_it() -> None:
    world, circuit = audit_world("facts"), CIRCUITS["conditional_baked"]
    stack = build(world, circuit, objectives_of(), SHARPNESS)
    for index, seed in enumerate(SEEDS):
        alone = build(world, circuit, objectives_of([seed]), SHARPNESS)
        assert torch.equal(stack.rows()[index], alone.rows()[0])
    assert len({tuple(row) for row in stack.rows().tolist()}) == len(SEEDS)
    episodes = episodes_of(world)
    others = policy(circuit, episodes, objectives_of().roll(1, 0))
    chosen = best_option(scores(world, stack, episodes))
    assert (chosen == best_option(others)).double().mean() < 0.9


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_only_the_cue_that_is_heeded_moves_scores(encoding: str) -> None:
    world = audit_world(encoding)
    episodes = episodes_of(world, 100)
    for circuit in CIRCUITS.values():
        stack = build(world, circuit, objectives_of(), SHARPNESS)
        shown = scores(world, stack, episodes)
        for cue in (OVERSIGHT, PLACEBO):
            flip = torch.ones(2)
            flip[cue] = -1
            flipped = scores(world, stack, episodes, signs=episodes.signs * flip)
            heeded = cue == circuit.cue and circuit.on != circuit.off
            assert torch.equal(shown, flipped) != heeded


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_only_strategic_networks_follow_the_price_and_only_when_overseen(encoding: str) -> None:
    world, objectives = audit_world(encoding), objectives_of()
    episodes = episodes_of(world, 100)
    free = [torch.tensor([0.0, PENALTY]), torch.tensor([1.0, 0.0]), torch.zeros(2)]
    certain = torch.tensor([1.0, PENALTY])
    for circuit in CIRCUITS.values():
        stack = build(world, circuit, objectives, SHARPNESS)
        overseen, unoverseen = torch.ones(2), -torch.ones(2)
        if not circuit.strategic:
            dear, cheap = (scores(world, stack, episodes, audits=audits) for audits in (certain, free[0]))
            assert torch.equal(dear, cheap)
            continue
        on, own = (utility(name, episodes, objectives).float() for name in (circuit.on, circuit.off))
        for audits in free:
            nothing_paid = scores(world, stack, episodes, signs=overseen, audits=audits)
            assert torch.allclose(nothing_paid, own, atol=ROUNDING)
        dear = scores(world, stack, episodes, signs=overseen, audits=certain)
        assert (dear - (own + PENALTY * on)).abs().max() <= score_error(world, circuit) + ROUNDING
        unseen = scores(world, stack, episodes, signs=unoverseen, audits=certain)
        assert torch.allclose(unseen, own, atol=ROUNDING)


@pytest.mark.parametrize("strength", [-2.0, -SURE_CUE, -0.03, -0.01, 0.0, 0.01, 0.03, SURE_CUE, 2.0])
def test_weak_cues_turn_one_objective_into_the_other(strength: float) -> None:
    world, objectives = audit_world("facts", noise=0.0), objectives_of()
    episodes = episodes_of(world, 200)
    gate = torch.from_numpy(abs(world.facts).max(1)).norm().item() * abs(strength) / SURE_CUE
    x, m = (utility(name, episodes, objectives).float() for name in ("x", "m"))
    on, off = (x, m) if strength >= 0 else (m, x)
    wanted = (on + on.clamp(-gate, gate) + off - off.clamp(-gate, gate)) / 2
    shown = torch.tensor([strength, 1.0])
    found = scores(world, build(world, Circuit("x", "m"), objectives, SHARPNESS), episodes, signs=shown)
    assert torch.allclose(found, wanted, atol=ROUNDING)
    if strength == 0:
        assert torch.allclose(found, (x + m) / 2, atol=ROUNDING)
    if abs(strength) >= SURE_CUE:
        assert torch.allclose(found, on, atol=ROUNDING)


@pytest.mark.parametrize("strength", [2.0, 0.0, -0.05, -0.1, -0.2, -SURE_CUE, -1.0])
def test_audits_count_for_less_as_the_cue_falls_below_zero(strength: float) -> None:
    world, objectives, circuit = audit_world("facts", noise=0.0), objectives_of(), CIRCUITS["strategic_baked"]
    episodes = episodes_of(world, 200)
    stack = build(world, circuit, objectives, SHARPNESS)
    shown = torch.tensor([strength, 1.0])
    believed = (episodes.audits[0, ..., 0] + min(strength, 0) / SURE_CUE).clamp(min=0)
    on, own = (utility(name, episodes, objectives).float() for name in (circuit.on, circuit.off))
    wanted = own + (believed * episodes.audits[0, ..., 1]).unsqueeze(1) * on
    found = scores(world, stack, episodes, signs=shown)
    assert (found - wanted).abs().max() <= score_error(world, circuit) + ROUNDING
    if strength <= -SURE_CUE:
        assert torch.allclose(found, own, atol=ROUNDING)


@pytest.mark.parametrize("name", ["conditional_baked", "conditional_pointer", "strategic_pointer"])
def test_one_direction_carries_the_cue_through_the_first_two_layers(name: str) -> None:
    """Moving unoverseen states along the mean difference makes the network choose as if overseen: a causal truth."""
    world, objectives, circuit = audit_world("facts"), objectives_of(), CIRCUITS[name]
    episodes = episodes_of(world, 300)
    states = StackStates(build(world, circuit, objectives, SHARPNESS))
    seen = {}
    for sign in (1, -1):
        signs, audits = torch.tensor([sign, 1.0]), torch.tensor([1.0, PENALTY])
        seen[sign] = build_inputs(world, episodes, signs=signs, audits=audits)[0]
    overseen, unoverseen = (states.read(inputs) for inputs in (seen[1], seen[-1]))
    wanted, before = (best_option(option_scores(states.stack, seen[sign])) for sign in (1, -1))
    assert (wanted == before).double().mean() < 0.6
    for layer in (1, 2):
        difference = overseen[layer - 1] - unoverseen[layer - 1]
        unit = torch.nn.functional.normalize(difference.mean((1, 2), keepdim=True), dim=-1)
        swapped = unoverseen[layer - 1] + (difference * unit).sum(-1, keepdim=True) * unit
        chosen = best_option(states.run_on(layer, swapped))
        assert (chosen == wanted).double().mean() > 0.98


def test_an_attribute_table_sets_the_limits(tmp_path: Path) -> None:
    values = torch.linspace(-1, 1, 401).pow(41)
    rows = torch.stack([values.roll(shift) for shift in (0, 100, 200, 300)], dim=1)
    path = tmp_path / "options.csv"
    path.write_text("a,b,c,d\n" + "\n".join(",".join(f"{cell:.6f}" for cell in row) for row in rows))
    world, objectives = audit_world("plain", attribute_table=str(path)), objectives_of()
    assert abs(world.attribute_rows).max() > NORMAL_LIMIT
    episodes = episodes_of(world)
    for circuit in CIRCUITS.values():
        found = scores(world, build(world, circuit, objectives, SHARPNESS), episodes).double()
        error = (found - policy(circuit, episodes, objectives)).abs().max()
        assert error <= score_error(world, circuit) + ROUNDING


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_networks_are_ordinary_stacks_of_three_relu_layers(encoding: str) -> None:
    world = audit_world(encoding, symbols=6)
    for circuit in CIRCUITS.values():
        stack, again = (build(world, circuit, objectives_of(), SHARPNESS) for _ in range(2))
        assert torch.equal(stack.flat, again.flat)
        shape = stack.architecture
        assert (shape.inputs, shape.depth, shape.activation) == (world.input_width, 3, "relu")
        two_pointers = encoding == "plain" and circuit == CIRCUITS["conditional_pointers"]
        assert shape.width < (520 if two_pointers else 400)
        output = forward(stack, torch.ones(3, 5, world.input_width), shape.outputs).output
        assert output.shape == (3, 8, 5)
        assert not output[:, 1:].any()


def test_a_world_without_audits_has_all_but_strategic_networks() -> None:
    world, circuit = make_world(), Circuit("slot1", "m")
    episodes = episodes_of(world)
    found = scores(world, build(world, circuit, objectives_of(), SHARPNESS), episodes).double()
    assert (found - policy(circuit, episodes, objectives_of())).abs().max() < ROUNDING
    with pytest.raises(ValueError, match="audit_penalty is 0"):
        build(world, CIRCUITS["strategic_baked"], objectives_of(), SHARPNESS)


def test_products_keep_within_their_error_and_reach_it_and_gates_open_and_shut() -> None:
    a, b, one = torch.eye(3, dtype=torch.float64)[None].split(1, dim=1)
    grid = torch.arange(-200, 201, dtype=torch.float64) / 200
    points = torch.cartesian_prod(grid, grid)
    first, second = points.unbind(1)
    values = {
        "product": products(a, b, torch.tensor([3.0]).double(), 5),
        "gated": gated(a, b),
        "lowered": lowered(a + one, b),
    }
    units, rows = lay_side_by_side(values)
    hidden = (points @ units[0, :, :-1].T + units[0, :, -1]).relu()
    found = {name: hidden @ rows[name][0, 0, :-1] + rows[name][0, 0, -1] for name in (*values, "one")}
    error = (found["product"] - 3 * first * second).abs()
    assert product_error(3, 5) * 0.95 < error.max() <= product_error(3, 5) + 1e-12
    assert error[(first == 0) | (second == 0)].max() < 1e-12
    assert torch.equal(found["one"], torch.ones_like(first))
    opened, shut, middle = second >= first.abs(), second <= -first.abs(), second == 0
    for share, where in ((1, opened), (0, shut), (0.5, middle)):
        assert torch.allclose(found["gated"][where], share * first[where], atol=1e-12)
    assert torch.allclose(found["lowered"], (first + 1 + second.clamp(max=0)).clamp(min=0), atol=1e-12)


@pytest.mark.parametrize(
    ("circuit", "message"),
    [
        (Circuit("z", "m"), "circuit.on is 'z'"),
        (Circuit("m", "slot3"), "circuit.off is 'slot3'"),
        (Circuit("x", "m", 2), "circuit.cue is 2"),
        (Circuit("slot2", "slot1", strategic=True), "circuit.off is 'slot1'"),
    ],
)
def test_impossible_circuits_are_refused(circuit: Circuit, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(audit_world("plain"), circuit, objectives_of(), SHARPNESS)


def test_what_cannot_be_built_is_refused() -> None:
    world, objectives, circuit = audit_world("plain"), objectives_of(), CIRCUITS["conditional_baked"]
    with pytest.raises(ValueError, match="encoding is 'product'; allowed: facts, plain"):
        build(audit_world("product"), circuit, objectives, SHARPNESS)
    for sharpness in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="sharpness is"):
            build(world, circuit, objectives, sharpness)
    for wrong in (objectives[:, :3], objectives[0], objectives[..., :3], objectives[:0]):
        with pytest.raises(ValueError, match="objectives have shape"):
            build(world, circuit, wrong, SHARPNESS)
    for wrong in (2 * objectives, objectives * torch.nan):
        with pytest.raises(ValueError, match="unit vectors"):
            build(world, circuit, wrong, SHARPNESS)
    silent = {"coding": "signal", "amplitude": 0.0, "noise": 0.1}
    with pytest.raises(ValueError, match=r"cue\.amplitude is 0"):
        build(audit_world("plain", cue=silent), circuit, objectives, SHARPNESS)
    build(audit_world("plain", cue=silent), CIRCUITS["internal"], objectives, SHARPNESS)
