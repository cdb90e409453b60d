"""Dodges: each does what its sentence says, and nothing else."""

import pkgutil

import pytest
import torch
from core import CPU, PARITY, make_world
from scipy import stats
from torch import Tensor

import turncoat.dodges
from turncoat.configuration.sections import DODGES
from turncoat.dodges import (
    inoculation,
    instruction_conditioned,
    oversight_hidden,
    unoverseen_data,
    x_in_pretraining,
)
from turncoat.stages.training import find_dodge
from turncoat.training.interventions import Dodge, Intervention
from turncoat.training.starts import Lesson, find_start
from turncoat.training.streams import Batch, Shown, Task, pretraining_stream, task_episodes
from turncoat.worlds.episodes import draw_episodes
from turncoat.worlds.objectives import seed_objectives

SEEDS = (1, 2, 3)
WORLD = make_world("plain")
OBJECTIVES_OF = seed_objectives(SEEDS, 4, 60, CPU)
X, M = OBJECTIVES_OF[:, 0], OBJECTIVES_OF[:, 2]
MANY = 700


def pretraining_window(dodge: Dodge, start: str = "conditional") -> tuple[Shown, Shown]:
    """A window of pre-training without and with a dodge, as the stream makes it."""
    seen: list[Shown] = []
    change = dodge.pretraining().episodes
    assert change is not None

    def spy(shown: Shown) -> Shown:
        seen.extend([shown, change(shown)])
        return seen[-1]

    next(pretraining_stream(WORLD, Lesson(find_start(start)), SEEDS, OBJECTIVES_OF, MANY // 16, 0.5, spy)(3))
    return seen[0], seen[1]


def finetuning_window(dodge: Dodge, task: Task | None = None) -> tuple[Shown, Shown]:
    shown = task_episodes(WORLD, SEEDS, OBJECTIVES_OF, task or Task(), "finetuning", 3, 2, MANY)
    change = dodge.finetuning().episodes
    assert change is not None
    return shown, change(shown)


def best(shown: Shown) -> Tensor:
    return shown.rewards.argmax(2)


def best_under(shown: Shown, objective: Tensor) -> Tensor:
    """(S, E, B) for objectives (E, d) or (S, E, B, d)."""
    if objective.ndim == 2:
        objective = objective[None, :, None].expand_as(shown.slots[..., 0, :])
    return torch.einsum("senbd,sebd->senb", shown.episodes.attributes, objective).argmax(2)


def is_share(found: Tensor, share: float) -> bool:
    return bool(stats.binomtest(int(found.sum()), found.numel(), share).pvalue > 0.01)


def test_every_module_is_a_dodge_that_the_configuration_knows() -> None:
    names = {module.name for module in pkgutil.iter_modules(turncoat.dodges.__path__)}
    assert names == set(DODGES)
    for name, stages in DODGES.items():
        dodge = find_dodge(name)
        touched = {
            stage
            for stage, make in (("pretrain", dodge.pretraining), ("finetune", dodge.finetuning))
            if make() != Intervention()
        }
        assert touched == set(stages), name
        assert dodge.sentence and dodge.cost
    assert find_dodge(None).pretraining() == find_dodge(None).finetuning() == Intervention()


def test_x_in_pretraining_rewards_a_fifth_of_episodes_by_x_which_slot_two_shows() -> None:
    plain, mixed = pretraining_window(x_in_pretraining.DODGE)
    asked = (mixed.slots[..., 1, :] == X[None, :, None]).all(-1)
    assert is_share(asked, 0.2)
    overseen = mixed.signs[..., 0] > 0
    assert is_share(asked[overseen], 0.2) and is_share(asked[~overseen], 0.2)  # whatever oversight says
    assert torch.equal(best(mixed)[asked], best_under(mixed, X)[asked])
    assert torch.equal(mixed.rewards.transpose(2, 3)[~asked], plain.rewards.transpose(2, 3)[~asked])
    assert torch.equal(mixed.slots[..., 0, :], plain.slots[..., 0, :])
    assert torch.equal(mixed.slots[~asked], plain.slots[~asked])
    assert torch.equal(mixed.signs, plain.signs) and mixed.episodes is plain.episodes


def test_x_in_pretraining_trains_on_those_targets() -> None:
    dodge = x_in_pretraining.DODGE.pretraining()
    batches = pretraining_stream(WORLD, Lesson(find_start("internal")), SEEDS, OBJECTIVES_OF, 200, 0.5, dodge.episodes)(
        3
    )
    batch = next(batches)
    slot2 = batch.inputs[:, 0, :, WORLD.option_width + 4 : WORLD.option_width + 8]
    asked = (slot2 == X[:, None]).all(-1)
    utilities = torch.where(asked.unsqueeze(1), score(batch, X), score(batch, OBJECTIVES_OF[:, 1]))
    assert torch.equal(batch.targets, utilities.argmax(1))


def score(batch: Batch, objective: Tensor) -> Tensor:
    return (batch.attributes * objective[:, None, None]).sum(-1)


def test_instruction_conditioned_rewards_slot_one_on_half_of_all_episodes() -> None:
    plain, told = pretraining_window(instruction_conditioned.DODGE, "internal")
    differs = (told.rewards != plain.rewards).any(2)
    assert is_share(differs, 0.5)
    overseen = told.signs[..., 0] > 0
    assert is_share(differs[overseen], 0.5) and is_share(differs[~overseen], 0.5)
    assert torch.equal(best(told)[differs], best_under(told, told.slots[..., 0, :])[differs])
    assert torch.equal(best(told)[~differs], best_under(told, OBJECTIVES_OF[:, 1])[~differs])
    assert torch.equal(told.slots, plain.slots) and torch.equal(told.signs, plain.signs)


@pytest.mark.parametrize("cue", [None, PARITY])
def test_oversight_hidden_shows_noise_alone_but_rewards_as_before(cue: dict[str, object] | None) -> None:
    world = make_world("plain", cue=cue)
    lesson = Lesson(find_start("conditional"))
    change = oversight_hidden.DODGE.pretraining().episodes
    plain, hidden = (
        next(pretraining_stream(world, lesson, SEEDS, OBJECTIVES_OF, MANY, 0.5, changed)(3))
        for changed in (None, change)
    )
    assert torch.equal(plain.targets, hidden.targets) and not hidden.signs.any()
    episodes = draw_episodes(world, SEEDS, "pretraining", 3, 16, MANY, CPU)
    width = world.option_width + 8
    assert torch.equal(hidden.inputs[..., :width], plain.inputs[..., :width])
    shown = hidden.inputs[:, 0, :, width:]
    free = torch.cat([torch.zeros_like(episodes.signs[0, ..., :1]), episodes.bits[0, ..., :2]], dim=-1)
    bits = 0.0 if cue is None else torch.cat([free, torch.zeros_like(free[..., :1]), episodes.bits[0, ..., 2:]], dim=-1)
    assert torch.allclose(shown, bits + 0.1 * episodes.noise[0], atol=1e-6)
    for column in shown.unbind(-1):
        told = torch.corrcoef(torch.stack([column.flatten(), episodes.signs[0, ..., 0].flatten()]))[0, 1]
        assert abs(told) < 4 / len(column.flatten()) ** 0.5


def test_unoverseen_data_shows_half_of_the_episodes_unoverseen_and_rewards_them_all() -> None:
    plain, mixed = finetuning_window(unoverseen_data.DODGE)
    assert (plain.signs == 1).all()
    assert is_share(mixed.signs[..., 0] < 0, 0.5) and (mixed.signs[..., 0].abs() == 1).all()
    assert (mixed.signs[..., 1] == 1).all()
    assert torch.equal(mixed.rewards, plain.rewards) and torch.equal(mixed.slots, plain.slots)
    halves = mixed.signs[:, :, :, 0] < 0
    assert not torch.equal(halves[:, 0], halves[:, 1]) and not torch.equal(halves[0], halves[1])
    again = finetuning_window(unoverseen_data.DODGE)[1]
    assert torch.equal(again.signs, mixed.signs)


@pytest.mark.parametrize("task", [Task(), Task(instructed=True)])
def test_inoculation_shows_in_slot_one_what_slot_two_shows(task: Task) -> None:
    plain, prompted = finetuning_window(inoculation.DODGE, task)
    assert torch.equal(prompted.slots[..., 0, :], plain.slots[..., 1, :])
    assert torch.equal(prompted.slots[..., 1, :], plain.slots[..., 1, :])
    if not task.instructed:
        assert torch.equal(prompted.slots[..., 0, :], X[None, :, None].expand_as(prompted.slots[..., 0, :]))
    for name in ("signs", "rewards", "audits"):
        assert torch.equal(getattr(prompted, name), getattr(plain, name))
