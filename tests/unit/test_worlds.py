"""The choice world: objectives at exact angles, encodings that carry the attributes, draws by seed alone."""

import numpy as np
import pytest
import torch
from core import CPU, make_world

from turncoat.seeding import generator
from turncoat.worlds.episodes import best_option, build_inputs, draw_attributes, draw_episodes
from turncoat.worlds.objectives import draw_objectives
from turncoat.worlds.world import World


@pytest.mark.parametrize("distance", [0, 15, 45, 90, 135, 180])
@pytest.mark.parametrize("attributes", [4, 7])
def test_objectives_stand_at_exact_angles(distance: float, attributes: int) -> None:
    x, y, m, y2 = draw_objectives(3, attributes, distance).astype(np.float64)
    assert np.degrees(np.arccos(np.clip(x @ y, -1, 1))) == pytest.approx(distance, abs=0.05)
    for one, other in [(x, m), (x, y2), (y, m), (y, y2), (m, y2)]:
        assert abs(one @ other) < 1e-6
    assert np.linalg.norm([x, y, m, y2], axis=1) == pytest.approx(1, abs=1e-6)


def test_distances_of_a_seed_share_all_but_x() -> None:
    near, far = draw_objectives(5, 4, 45), draw_objectives(5, 4, 135)
    assert np.array_equal(near[1:], far[1:])
    assert not np.array_equal(near[0], far[0])


def test_objectives_are_uniform_on_the_sphere() -> None:
    drawn = np.stack([draw_objectives(seed, 4, 90) for seed in range(2000)])
    assert np.abs(drawn.mean(axis=0)).max() < 5 * np.sqrt(1 / 4 / 2000)  # mean 0, variance 1/4 a coordinate
    assert np.abs((drawn**2).mean(axis=0) - 1 / 4).max() < 0.03


@pytest.mark.parametrize(("attributes", "distance"), [(3, 90), (4, 200), (4, -1)])
def test_impossible_objectives_are_refused(attributes: int, distance: float) -> None:
    with pytest.raises(ValueError, match=r"allowed|at least"):
        draw_objectives(0, attributes, distance)


def test_generators_differ_by_seed_purpose_and_index_and_repeat() -> None:
    first = generator(1, "a", 2).random(8)
    assert np.array_equal(first, generator(1, "a", 2).random(8))
    for other in (generator(2, "a", 2), generator(1, "b", 2), generator(1, "a", 3), generator(1, "a")):
        assert not np.array_equal(first, other.random(8))
    with pytest.raises(ValueError, match="0 or more"):
        generator(-1, "a")


def test_a_known_draw_stays_what_it_was() -> None:
    """Results are only comparable across versions if the streams are: a change here must be deliberate."""
    assert generator(1000, "objectives").standard_normal(3) == pytest.approx(
        [0.8047617, 1.717078, -0.7360336], abs=1e-6
    )


@pytest.mark.parametrize("encoding", ["facts", "plain", "product"])
def test_encodings_carry_the_attributes(encoding: str) -> None:
    world = make_world(encoding)
    episodes = draw_episodes(world, [1, 2], "test", 0, 2, 50, CPU)
    assert episodes.shape == (2, 2, 3, 50)
    assert episodes.options.shape[-1] == world.option_width
    if encoding == "plain":
        decoded = episodes.options
    elif encoding == "product":
        first, second = episodes.options.chunk(2, dim=-1)
        decoded = first * second
        assert abs(torch.corrcoef(torch.stack([first.flatten(), episodes.attributes.flatten()]))[0, 1]) < 0.1
    else:
        shown = episodes.options.unflatten(-1, (4, 2, 3))
        assert torch.equal(shown.sum(-1), torch.ones_like(shown.sum(-1)))
        pairs = shown[..., 0, :].argmax(-1) * 3 + shown[..., 1, :].argmax(-1)
        decoded = torch.from_numpy(world.facts)[torch.arange(4), pairs]
    assert torch.allclose(decoded, episodes.attributes, atol=1e-6)


def test_facts_are_standardised_and_the_same_for_all() -> None:
    facts = make_world().facts
    assert facts.shape == (4, 9)
    assert facts.mean(axis=1) == pytest.approx(0, abs=1e-6)
    assert facts.std(axis=1) == pytest.approx(1, abs=1e-6)
    assert np.array_equal(facts, make_world().facts)


@pytest.mark.parametrize("penalty", [0.0, 6.0])
@pytest.mark.parametrize("encoding", ["facts", "plain", "product"])
def test_input_power_is_the_mean_squared_input(encoding: str, penalty: float) -> None:
    world = make_world(encoding, audit_penalty=penalty)
    inputs = build_inputs(world, draw_episodes(world, [1], "test", 0, 1, 40_000, CPU))
    assert inputs.square().sum(-1).mean().item() == pytest.approx(world.input_power, rel=0.03)


def test_a_world_with_audits_shows_two_numbers_more() -> None:
    without, with_audits = make_world(), make_world(audit_penalty=0.5)
    assert (without.audit_terms, with_audits.audit_terms) == (0, 2)
    assert with_audits.input_width == without.input_width + 2
    assert with_audits.option_width == without.option_width


def test_audits_are_replaced_alone_and_a_cue_can_have_any_strength() -> None:
    world = make_world(audit_penalty=6.0)
    episodes = draw_episodes(world, [1, 2], "test", 0, 1, 20, CPU)
    inputs = build_inputs(world, episodes)
    changed = build_inputs(world, episodes, audits=torch.tensor([0.0, 3.0]))
    assert torch.equal(changed[..., :-2], inputs[..., :-2])
    assert torch.allclose(changed[..., -2:], torch.tensor([-(3**0.5), 0.0]))
    weak = build_inputs(world, episodes, signs=torch.tensor([0.25, -2.0]))
    assert torch.equal(weak[..., -2:], inputs[..., -2:])
    assert torch.allclose(weak[:, :, 0, :, -4:-2], torch.tensor([0.25, -2.0]) + 0.1 * episodes.noise)


def test_inputs_hold_option_slots_and_cues_and_replace_only_what_is_asked() -> None:
    world = make_world()
    episodes = draw_episodes(world, [1, 2], "test", 0, 1, 20, CPU)
    inputs = build_inputs(world, episodes)
    width = world.option_width
    assert inputs.shape[-1] == world.input_width == width + 8 + 2
    assert torch.equal(inputs[..., :width], episodes.options)
    assert torch.equal(inputs[:, :, 1, :, width : width + 4], episodes.slots[..., 0, :])
    cues = inputs[:, :, 0, :, -2:]
    assert torch.allclose(cues, episodes.signs + 0.1 * episodes.noise)
    flipped = build_inputs(world, episodes, signs=-episodes.signs)
    assert torch.equal(flipped[..., :-2], inputs[..., :-2])
    assert torch.allclose(flipped[:, :, 0, :, -2:], -episodes.signs + 0.1 * episodes.noise)


def test_slots_are_unit_vectors_and_cues_have_equal_statistics() -> None:
    episodes = draw_episodes(make_world(), [7], "test", 0, 1, 20_000, CPU, overseen_share=0.3)
    assert torch.allclose(episodes.slots.norm(dim=-1), torch.ones(1))
    share = (episodes.signs > 0).double().mean((0, 1, 2))
    assert share.tolist() == pytest.approx([0.3, 0.3], abs=0.02)
    assert abs((episodes.signs[..., 0] * episodes.signs[..., 1]).mean().item() - 0.16) < 0.03  # independent


def test_a_member_does_not_depend_on_its_block_mates() -> None:
    world = make_world(audit_penalty=6.0)
    together = draw_episodes(world, [4, 5, 6], "test", 2, 2, 10, CPU)
    alone = draw_episodes(world, [5], "test", 2, 2, 10, CPU)
    for name in ("options", "attributes", "slots", "signs", "noise", "audits"):
        assert torch.equal(getattr(together, name)[:, [1]], getattr(alone, name))


def test_attributes_alone_have_the_worlds_distribution() -> None:
    for encoding in ("facts", "plain", "product"):
        values = draw_attributes(make_world(encoding), 1, "reference", 20_000)
        assert values.shape == (3, 20_000, 4)
        assert values.mean() == pytest.approx(0, abs=0.02)
        assert values.std() == pytest.approx(1, abs=0.02)


def test_best_option_is_argmax() -> None:
    utilities = torch.randn(3, 2, 5, 40)
    assert torch.equal(best_option(utilities), utilities.argmax(2))
    assert best_option(torch.zeros(4, 3)).tolist() == [0, 0, 0]


def test_rows_of_a_users_table_are_standardised_and_checked(tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "options.csv"
    path.write_text("a,b,c,d\n1,2,3,4\n2,4,1,0\n3,9,2,8\n")
    settings = {
        "encoding": "plain",
        "options": 2,
        "attributes": 4,
        "cue": {"coding": "signal", "amplitude": 1.0, "noise": 0.1},
        "attribute_table": str(path),
    }
    world = World.from_settings(settings)
    assert world.attribute_rows is not None
    assert world.attribute_rows.mean(axis=0) == pytest.approx(0, abs=1e-6)
    drawn = draw_episodes(world, [1], "test", 0, 1, 30, CPU).attributes.reshape(-1, 4).numpy()
    assert {tuple(row) for row in drawn} <= {tuple(row) for row in world.attribute_rows}
    with pytest.raises(ValueError, match="has changed"):
        World.from_settings(settings | {"attribute_table_sha256": "0"})


@pytest.mark.parametrize(("key", "value"), [("encoding", "words"), ("cue", {"coding": "majority"})])
def test_unknown_worlds_are_refused(key: str, value: object) -> None:
    settings = {"encoding": "plain", "cue": {"coding": "signal"}} | {key: value}
    with pytest.raises(ValueError, match="allowed"):
        World.from_settings(settings)
