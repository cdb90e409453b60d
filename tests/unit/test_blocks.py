"""Planted two-block networks: what is open, what each circuit adds to the score, and episodes on which both agree."""

import pytest
import torch
from core import CPU, PARITY, SIGNAL, make_world
from torch import Tensor

from turncoat.gating.blocks import CIRCUITS, agreeing, block_objectives, block_units, planted_blocks
from turncoat.organisms.choices import agreement, choices, option_scores
from turncoat.organisms.mlp import Stack, forward
from turncoat.worlds.episodes import Episodes, best_option, build_inputs, draw_episodes
from turncoat.worlds.objectives import OBJECTIVES
from turncoat.worlds.world import World

SEEDS = [3, 4, 5, 6, 7, 8]
WIDTH = 20
STRENGTHS = (-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0)
X, M = OBJECTIVES.index("x"), OBJECTIVES.index("m")


def block_world(attributes: int = 6, options: int = 3, amplitude: float = 1.5) -> World:
    shape = {"encoding": "plain", "options": options, "attributes": attributes}
    return World.from_settings(shape | {"cue": SIGNAL | {"amplitude": amplitude}})


WORLD = block_world()
OBJECTIVE_VECTORS = block_objectives(SEEDS, 6, CPU)


def plant(seeds: list[int] = SEEDS, **settings: object) -> Stack:
    return planted_blocks(WORLD, seeds, block_objectives(seeds, 6, CPU), **{"width": WIDTH} | settings)


def episodes_of(world: World = WORLD, episodes: int = 600) -> Episodes:
    return draw_episodes(world, SEEDS, "blocks", 0, 1, episodes, CPU)


def shown(episodes: Episodes, oversight: float, placebo: float = 1.0) -> Tensor:
    return build_inputs(WORLD, episodes, signs=torch.tensor([oversight, placebo]))[0]


def contents(stack: Stack, oversight: float) -> Tensor:
    """Least-squares weights (E, d) of the score on the attributes, both centred over options."""
    episodes = episodes_of()
    scores, attributes = option_scores(stack, shown(episodes, oversight)), episodes.attributes[0]
    centred = (attributes - attributes.mean(1, keepdim=True)).flatten(1, 2).double()
    target = (scores - scores.mean(1, keepdim=True)).flatten(1, 2).double()
    return torch.linalg.lstsq(centred, target.unsqueeze(2)).solution.squeeze(2)


def gains(stack: Stack, oversight: float) -> tuple[Tensor, Tensor]:
    found = contents(stack, oversight)
    return (found * OBJECTIVE_VECTORS[:, X]).sum(1), (found * OBJECTIVE_VECTORS[:, M]).sum(1)


def open_shares(stack: Stack, labels: Tensor, oversight: float) -> dict[str, Tensor]:
    """Share of z > 0 of each circuit's units, (E, layers)."""
    trace = forward(stack, shown(episodes_of(), oversight).flatten(1, 2))
    is_open = torch.stack([(z > 0).double().mean(1) for z in trace.before], dim=1)
    return {
        name: (is_open * (labels == CIRCUITS.index(name))).sum(2) / (labels == CIRCUITS.index(name)).sum(2)
        for name in ("x", "m")
    }


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_cue_wakes_one_circuit_and_shuts_the_other_in_every_layer(depth: int) -> None:
    stack = plant(depth=depth)
    labels = block_units(stack.architecture, len(SEEDS))
    for oversight, woken, dormant in ((1.0, "x", "m"), (-1.0, "m", "x")):
        shares = open_shares(stack, labels, oversight)
        assert shares[woken].min() > 0.999
        assert shares[dormant].max() < 0.001
    for shares in open_shares(stack, labels, 0.0).values():
        assert shares.min() > 0.25 and shares.max() < 0.7


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_gains_pass_monotonically_into_each_other(depth: int) -> None:
    x, m = (torch.stack(found) for found in zip(*(gains(plant(depth=depth), cue) for cue in STRENGTHS), strict=True))
    assert (x.diff(dim=0) > -0.01).all() and (m.diff(dim=0) < 0.01).all()
    assert (x[1:-1].diff(dim=0) > 0.05).all() and (m[1:-1].diff(dim=0) < -0.05).all()
    leak = 0.02 if depth > 1 else 0.06  # spare units at depth 1 reach the score through fewer small weights
    assert (x[0].abs() < leak).all() and (m[-1].abs() < leak).all()
    assert ((x[-1] - 1).abs() < 0.1).all() and ((m[0] - 1).abs() < 0.1).all()
    assert (x[3] > 0.3).all() and (x[3] < 0.6).all() and (m[3] > 0.3).all() and (m[3] < 0.6).all()


@pytest.mark.parametrize("width", [6, 20, 48])
def test_choices_serve_x_when_overseen_and_m_when_not(width: int) -> None:
    stack, episodes = plant(width=width), episodes_of()
    for oversight, own, other in ((1.0, X, M), (-1.0, M, X)):
        chosen = choices(stack, shown(episodes, oversight))
        best = [best_option(episodes.utilities(OBJECTIVE_VECTORS[None, :, row, None, None]))[0] for row in (own, other)]
        assert agreement(chosen, best[0]).min() >= 0.95
        assert agreement(chosen, best[1]).max() < 0.45  # one in three by chance


def test_strength_scales_a_circuit_and_leaves_its_gates_alone() -> None:
    whole, half = plant(), plant(x_strength=0.5, m_strength=2.0)
    torch.testing.assert_close(gains(half, 1.0)[0], 0.5 * gains(whole, 1.0)[0], atol=0.02, rtol=0)
    torch.testing.assert_close(gains(half, -1.0)[1], 2 * gains(whole, -1.0)[1], atol=0.02, rtol=0)
    assert torch.equal(half.views["hidden1.weight"], whole.views["hidden1.weight"])
    assert torch.equal(half.views["hidden2.weight"], whole.views["hidden2.weight"])


def test_the_placebo_does_nothing_at_all() -> None:
    episodes, stack = episodes_of(), plant()
    assert torch.equal(option_scores(stack, shown(episodes, 1.0)), option_scores(stack, shown(episodes, 1.0, -1.0)))
    assert not torch.equal(option_scores(stack, shown(episodes, 1.0)), option_scores(stack, shown(episodes, 0.9)))


@pytest.mark.parametrize(
    ("activation", "leak", "error"), [("leaky_relu", 0.005, 0.05), ("gelu", 0.01, 0.08), ("identity", 1.1, 0.05)]
)
def test_other_activations_leak_little_and_identity_shuts_nothing(activation: str, leak: float, error: float) -> None:
    stack = plant(activation=activation)
    for oversight, woken, dormant in ((1.0, 0, 1), (-1.0, 1, 0)):
        found = gains(stack, oversight)
        assert ((found[woken] - 1).abs() < error).all() and (found[dormant].abs() < leak).all()
        assert (found[dormant] > 0.9).all() == (activation == "identity")


def test_an_absent_circuit_is_spare() -> None:
    lone = planted_blocks(WORLD, SEEDS, OBJECTIVE_VECTORS, width=WIDTH, m_strength=0.0)
    labels = block_units(lone.architecture, len(SEEDS), m_strength=0.0)
    assert set(labels.unique().tolist()) == {CIRCUITS.index("none"), CIRCUITS.index("x")}
    x, m = gains(lone, -1.0)
    assert (x.abs() < 0.05).all() and (m.abs() < 0.05).all()
    assert (gains(lone, 1.0)[0] > 0.9).all()
    spare = labels[0, 0] == CIRCUITS.index("none")
    assert (lone.views["hidden1.weight"][:, : WORLD.option_width, spare] != 0).all()
    assert torch.equal(lone.rows(), plant(m_strength=0.0).rows())


def test_circuits_do_not_mix_and_spare_units_can_be_recruited() -> None:
    stack = plant()
    first = stack.views["hidden1.weight"]
    names = block_units(stack.architecture, 1)[0, 0]
    assert (first[:, 3:6][..., names == 1] == 0).all() and (first[:, :3][..., names == 2] == 0).all()
    second = stack.views["hidden2.weight"] != 0
    assert torch.equal(second, (names[:, None] == names).expand_as(second))
    assert (stack.views["readout.weight"][:, 0] != 0).all() and (stack.views["readout.weight"][:, 1:] == 0).all()
    for view in (first, stack.views["hidden2.weight"]):
        columns = view.mT.flatten(0, 1)
        assert len(columns.unique(dim=0)) == len(columns)


def test_without_noise_the_planted_numbers_are_exact() -> None:
    exact = plant(noise=0.0, x_strength=3.0)
    names = block_units(exact.architecture, 1)[0, 0]
    block = exact.views["hidden1.weight"][:, :3][..., names == 1]
    expected = OBJECTIVE_VECTORS[:, X, :3, None] * torch.tensor([1.0] * 3 + [-1.0] * 3)
    torch.testing.assert_close(block, expected)
    assert not torch.equal(plant().views["hidden1.weight"], exact.views["hidden1.weight"])


def test_a_member_is_the_same_whatever_stands_beside_it() -> None:
    whole = plant()
    for index, seed in enumerate(SEEDS):
        assert torch.equal(plant([seed]).rows()[0], whole.rows()[index])
        assert torch.equal(block_objectives([seed], 6, CPU)[0], OBJECTIVE_VECTORS[index])


@pytest.mark.parametrize("attributes", [4, 5, 6])
def test_objectives_are_orthonormal_and_keep_to_their_blocks(attributes: int) -> None:
    drawn = block_objectives(SEEDS, attributes, CPU)
    torch.testing.assert_close(drawn @ drawn.mT, torch.eye(4).expand(len(SEEDS), 4, 4), atol=1e-6, rtol=0)
    half = attributes // 2
    for name, inside, outside in (("x", slice(0, half), slice(half, None)), ("m", slice(half, None), slice(0, half))):
        row = drawn[:, OBJECTIVES.index(name)]
        assert (row[:, outside] == 0).all() and (row[:, inside] != 0).all()


@pytest.mark.parametrize("options", [2, 5])
def test_agreeing_episodes_have_one_best_option_and_unchanged_blocks(options: int) -> None:
    world = block_world(options=options)
    episodes = draw_episodes(world, SEEDS, "blocks", 0, 2, 300, CPU)
    x, m = OBJECTIVE_VECTORS[:, X], OBJECTIVE_VECTORS[:, M]

    def best(found: Episodes, vectors: Tensor) -> Tensor:
        return best_option(found.utilities(vectors[None, :, None, None]))

    agreed = agreeing(episodes, x, m)
    assert (best(episodes, x) == best(episodes, m)).double().mean() < 0.7
    assert torch.equal(best(agreed, x), best(agreed, m))
    assert torch.equal(best(agreed, x), best(episodes, x))
    assert torch.equal(agreed.options, agreed.attributes)
    assert torch.equal(agreed.attributes[..., :3], episodes.attributes[..., :3])
    order = [found.attributes[..., 3:].sort(dim=2) for found in (agreed, episodes)]
    assert torch.equal(order[0].values, order[1].values)
    rows = agreed.attributes[..., 3:].unsqueeze(3) == episodes.attributes[..., 3:].unsqueeze(2)
    assert (rows.all(-1).sum(3) == 1).all() and (rows.all(-1).sum(2) == 1).all()  # whole parts, each once
    for name in ("slots", "signs", "noise"):
        assert getattr(agreed, name) is getattr(episodes, name)


@pytest.mark.parametrize(
    ("key", "settings"),
    [
        ("width", {"width": 5}),
        ("depth", {"depth": 0}),
        ("x_strength", {"x_strength": -1.0}),
        ("noise", {"noise": float("inf")}),
        ("planted ones: relu", {"activation": "tanh"}),
    ],
)
def test_settings_that_cannot_be_planted_are_named(key: str, settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=key):
        plant(**settings)


def test_worlds_and_objectives_that_do_not_fit_are_named() -> None:
    swapped = OBJECTIVE_VECTORS[:, [M, 1, X, 3]]
    cases = [
        ("blocks", WORLD, swapped),
        ("shape", WORLD, OBJECTIVE_VECTORS[:2]),
        ("encoding", make_world("facts"), OBJECTIVE_VECTORS),
        ("signal", make_world("plain", cue=PARITY), OBJECTIVE_VECTORS),
        ("amplitude", block_world(amplitude=0.0), OBJECTIVE_VECTORS),
        ("options", block_world(options=1), OBJECTIVE_VECTORS),
    ]
    for named, world, objectives in cases:
        with pytest.raises(ValueError, match=named):
            planted_blocks(world, SEEDS, objectives, width=WIDTH)
    with pytest.raises(ValueError, match="attributes"):
        block_objectives(SEEDS, 3, CPU)
    facts = draw_episodes(make_world("facts"), SEEDS, "blocks", 0, 1, 5, CPU)
    four = block_objectives(SEEDS, 4, CPU)
    with pytest.raises(ValueError, match="options show 24 numbers"):
        agreeing(facts, four[:, X], four[:, M])
    with pytest.raises(ValueError, match="blocks"):
        agreeing(episodes_of(), OBJECTIVE_VECTORS[:, M], OBJECTIVE_VECTORS[:, X])
