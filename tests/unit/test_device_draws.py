"""Episodes drawn by counters: the published generator, the host's distributions, the same rules, no neighbours."""

import math
from dataclasses import fields

import numpy as np
import pytest
import torch
from core import CPU, PARITY, SIGNAL, make_world

from turncoat.training.device_streams import finetuning_on_device, pretraining_on_device
from turncoat.training.starts import PRETRAINED_STARTS, Lesson, find_start, rewards
from turncoat.training.streams import WINDOW, Batch, Task, finetuning_stream, pretraining_stream
from turncoat.worlds import philox
from turncoat.worlds.device_episodes import DeviceEpisodes
from turncoat.worlds.episodes import Episodes, build_inputs, draw_episodes
from turncoat.worlds.objectives import seed_objectives
from turncoat.worlds.world import World

KNOWN = [  # Random123's kat_vectors, philox4x32 10: counter, key, result
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]
WORLDS = {
    "facts": make_world(audit_penalty=6.0),
    "plain": make_world("plain", options=2),
    "product": make_world("product", cue=PARITY, audit_penalty=2.0),
    "contexts": make_world(cue=SIGNAL | {"contexts": 3}, slot_angle=30),
}


def number(value: int) -> torch.Tensor:
    return torch.tensor(value)


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_philox_gives_the_published_numbers(counter: list[int], key: list[int], expected: list[int]) -> None:
    found = philox.philox(tuple(number(word) for word in counter), tuple(number(word) for word in key))
    assert [int(word) for word in found] == expected


def test_words_are_those_of_their_counters() -> None:
    """Each word is found alone: by its seed, purpose, window, step and place."""
    drawn = philox.words(torch.tensor([3, 2**32 - 1]), "finetuning", number(5), number(11), 10)
    key, last = philox.purpose_words("finetuning")
    for member, seed in enumerate((3, 2**32 - 1)):
        for place in range(10):
            block = philox.philox((number(place // 4), 11, 5, last), (seed, key))
            assert int(drawn[member, place]) & 0xFFFFFFFF == int(block[place % 4])


def test_another_seed_purpose_window_or_step_draws_others() -> None:
    arguments = [(1, "a", 2, 3), (4, "a", 2, 3), (1, "b", 2, 3), (1, "a", 3, 3), (1, "a", 2, 4)]
    found = [philox.words(number(s).view(1), p, number(w), number(t), 8).flatten().tolist() for s, p, w, t in arguments]
    assert len(set(map(tuple, found))) == len(arguments)
    assert len({word for words in found for word in words}) > 38  # nor do they share numbers, shifted


def test_numbers_have_their_distributions() -> None:
    drawn = philox.words(torch.arange(100), "moments", number(0), number(0), 20_000)
    count = drawn.numel()
    uniform = philox.uniform(drawn).double()
    assert 0 <= float(uniform.min()) < 1e-5
    assert 1 - 1e-5 < float(uniform.max()) < 1
    assert abs(float(uniform.mean()) - 0.5) < 5 / math.sqrt(12 * count)
    normal = philox.normal(drawn.view(100, 2, 10_000)).double()
    error = 1 / math.sqrt(count)
    for power, moment, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(float((normal**power).mean()) - moment) < 5 * error * math.sqrt(spread)
    inside = np.array([float((normal < at).double().mean()) for at in (-2, -1, 0, 1, 2)])
    expected = np.array([0.5 * (1 + math.erf(at / math.sqrt(2))) for at in (-2, -1, 0, 1, 2)])
    assert np.abs(inside - expected).max() < 5 * 0.5 * error
    assert abs(float((normal[:, 0] * normal[:, 1]).mean())) < 5 * math.sqrt(2) * error
    below = philox.below(drawn, 7)
    assert np.abs(np.bincount(below.flatten().numpy(), minlength=7) / count - 1 / 7).max() < 5 * 0.35 * error
    assert len(below.unique()) == 7


def both(world: World, share: float = 0.3) -> tuple[Episodes, Episodes]:
    """Some 20,000 episodes of the host's and of the device's."""
    seeds, batch = range(50), 400
    source = DeviceEpisodes(world, seeds, batch, CPU)
    device = source.read(source.draw("pretraining", number(0), number(0)), share)
    return draw_episodes(world, seeds, "pretraining", 0, 1, batch, CPU, share, encoded=False), device


@pytest.mark.parametrize("name", WORLDS)
def test_episodes_have_the_distributions_of_the_host(name: str) -> None:
    """Every field: shape, type, means, mean squares and, among its own numbers, mean products."""
    host, device = both(WORLDS[name])
    for field, expected in vars(host).items():
        found = getattr(device, field)
        assert found.shape == expected.shape, field
        if not found.numel():
            continue
        there, here = (value.double().flatten(0, 1) for value in (expected, found))
        if field == "contexts":
            assert set(here.unique().tolist()) == set(there.unique().tolist())
        count = math.sqrt(here[..., 0].numel() if here.ndim > 2 else here.numel())
        for power in (1, 2):
            moments = [
                (value**power).flatten(0, -2) if value.ndim > 2 else (value**power).view(-1, 1)
                for value in (there, here)
            ]
            spread = moments[0].std(0) + 1e-9
            apart = (moments[0].mean(0) - moments[1].mean(0)).abs() / spread * count / math.sqrt(2)
            assert float(apart.max()) < 5.5, (field, power)
    signs = device.signs.double()
    assert abs(float((signs > 0).double().mean()) - 0.3) < 0.02
    assert torch.allclose(device.slots.norm(dim=-1), torch.ones(()), atol=1e-5)


@pytest.mark.parametrize("name", WORLDS)
def test_attributes_are_what_options_show(name: str) -> None:
    world = WORLDS[name]
    _, device = both(world)
    if world.encoding == "facts":
        pairs = device.options.long()
        values = torch.from_numpy(world.facts)[torch.arange(4), pairs]
    else:
        values = device.options[..., :4] * device.options[..., 4:] if world.encoding == "product" else device.options
    assert torch.allclose(values, device.attributes, atol=1e-5)


def test_table_rows_are_drawn_alike() -> None:
    world = make_world("plain", options=2)
    rows = torch.arange(20, dtype=torch.float32).view(5, 4).numpy()
    object.__setattr__(world, "attribute_rows", rows)
    source = DeviceEpisodes(world, range(4), 500, CPU)
    found = source.read(source.draw("pretraining", number(0), number(0)), 0.5).attributes.reshape(-1, 4)
    first = found[:, 0].long() // 4
    assert torch.equal(found, torch.from_numpy(rows)[first])
    assert np.abs(np.bincount(first.numpy(), minlength=5) / len(first) - 0.2).max() < 0.04


def test_seeds_of_more_than_32_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="allowed with draws on the device: 0 to 2"):
        DeviceEpisodes(WORLDS["plain"], [2**32], 4, CPU)


@pytest.mark.parametrize("name", WORLDS)
def test_inputs_are_those_that_the_host_would_lay_out(name: str) -> None:
    world, seeds, step = WORLDS[name], range(3), number(WINDOW + 2)
    objectives = seed_objectives(seeds, 4, 90.0, CPU)
    batch = pretraining_on_device(world, Lesson(find_start("internal")), seeds, objectives, 8, 0.5).batch(step)
    source = DeviceEpisodes(world, seeds, 8, CPU)
    episodes = source.read(source.draw("pretraining", number(1), number(2)), 0.5)
    assert torch.equal(batch.inputs, build_inputs(world, episodes, pretrained_contexts=True)[0])
    assert torch.equal(batch.signs, episodes.signs[0])
    tuned = finetuning_on_device(world, seeds, objectives, 8, Task()).batch(step)
    episodes = source.read(source.draw("finetuning", number(1), number(2)), 1.0)
    x = objectives[:, 0, None].expand(-1, 8, -1)
    slots = torch.stack([episodes.slots[0, :, :, 0], x], dim=2)
    largest = torch.tensor([1.0, world.audit_penalty][: world.audit_terms])
    shown = {"signs": torch.ones(2), "audits": largest}
    assert torch.equal(tuned.inputs, build_inputs(world, episodes, slots=slots[None], **shown)[0])
    assert torch.equal(tuned.targets, (episodes.attributes[0] * objectives[:, None, None, 0]).sum(-1).argmax(1))


@pytest.mark.parametrize("start", PRETRAINED_STARTS)
def test_a_start_rewards_what_it_does_on_the_host(start: str) -> None:
    world, seeds = WORLDS["facts"], range(3)
    objectives, lesson = seed_objectives(seeds, 4, 90.0, CPU), Lesson(find_start(start))
    batch = pretraining_on_device(world, lesson, seeds, objectives, 16, 0.5).batch(number(0))
    source = DeviceEpisodes(world, seeds, 16, CPU)
    episodes = source.read(source.draw("pretraining", number(0), number(0)), 0.5)
    expected = rewards(lesson, episodes, objectives, seeds, "pretraining", 0)[0]
    if lesson.start.overseen is None:
        assert batch.targets.shape == (3, 0)
        return
    assert torch.equal(batch.targets, expected.argmax(1))
    assert (batch.rewards is not None) == lesson.start.strategic
    if batch.rewards is not None:
        assert torch.equal(batch.rewards, expected)


def share_of_targets(batches: list[Batch], expected: torch.Tensor) -> float:
    return float(
        torch.cat([(batch.targets == best).double() for batch, best in zip(batches, expected, strict=True)]).mean()
    )


def test_flaws_of_a_lesson_have_their_shares() -> None:
    """Label noise and conditional shares: best options agree as often with the flawless ones as on the host."""
    world, seeds = WORLDS["plain"], range(20)
    objectives = seed_objectives(seeds, 4, 90.0, CPU)
    for flaw in ({"label_noise": 0.4}, {"conditional": 0.5}, {"foreknowledge": 0.5}):
        lesson = Lesson(find_start("conditional"), **flaw)
        agreed = []
        host = pretraining_stream(world, lesson, seeds, objectives, 200, 0.5)
        pure = pretraining_stream(world, Lesson(lesson.start), seeds, objectives, 200, 0.5)
        pairs = zip(host(0), pure(0), strict=True)
        agreed.append(np.mean([float((a.targets == b.targets).double().mean()) for a, b in pairs]))
        flawed = pretraining_on_device(world, lesson, seeds, objectives, 200, 0.5)
        clean = pretraining_on_device(world, Lesson(lesson.start), seeds, objectives, 200, 0.5)
        steps = [number(step) for step in range(WINDOW)]
        same = [(flawed.batch(step).targets == clean.batch(step).targets).double().mean() for step in steps]
        agreed.append(float(torch.stack(same).mean()))
        assert 0.6 < agreed[0] < 0.95
        assert abs(agreed[0] - agreed[1]) < 0.01, flaw


@pytest.mark.parametrize(
    "task",
    [Task(), Task(instructed=True), Task(overseen=0.3), Task(label_noise=1.0), Task(samples=3), Task(exposure=0.4)],
)
def test_a_task_serves_the_batches_of_the_host(task: Task) -> None:
    """Shapes, types and mean moments of every field."""
    world, seeds = WORLDS["facts"], range(10)
    objectives = seed_objectives(seeds, 4, 90.0, CPU)
    host = next(iter(finetuning_stream(world, seeds, objectives, 300, task)(0)))
    device = finetuning_on_device(world, seeds, objectives, 300, task).batch(number(0))
    for field in ["inputs", *(field.name for field in fields(host) if field.name != "shown")]:
        found, expected = getattr(device, field), getattr(host, field)
        assert (found is None) == (expected is None), field
        if expected is not None:
            assert found.shape == expected.shape, field
            assert found.stride() == expected.stride() or field != "inputs"
            assert abs(float(found.double().mean() - expected.double().mean())) < 0.06, field
            assert abs(float(found.double().std() - expected.double().std())) < 0.06, field


def test_a_budget_comes_round_again() -> None:
    world, seeds = WORLDS["plain"], [1]
    objectives = seed_objectives(seeds, 4, 90.0, CPU)
    stream = finetuning_on_device(world, seeds, objectives, 4, Task(budget=2 * WINDOW * 4))
    first, again, other = (stream.batch(number(step)).inputs for step in (3, 3 + 2 * WINDOW, 3 + WINDOW))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    with pytest.raises(ValueError, match="budget is 70 episodes"):
        finetuning_on_device(world, seeds, objectives, 4, Task(budget=70))


def test_a_member_draws_the_same_among_others() -> None:
    world = WORLDS["product"]
    objectives = seed_objectives([4, 5, 6], 4, 90.0, CPU)
    task = Task(label_noise=0.5, samples=2, exposure=0.5)
    together = finetuning_on_device(world, [4, 5, 6], objectives, 8, task).batch(number(7))
    alone = finetuning_on_device(world, [5], objectives[1:2], 8, task).batch(number(7))
    for field, value in vars(alone).items():
        if value is not None:
            assert torch.equal(getattr(together, field)[1:2], value), field
