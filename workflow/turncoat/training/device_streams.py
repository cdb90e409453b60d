"""Training episodes drawn on the device that trains: any step by itself, by operations that can be captured.

They have the distributions of `streams`, whose numbers come from the host, and serve the same batches otherwise.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from turncoat.training.starts import UNRELATED, Lesson, expected_rewards, unrelated_objectives, uses_of_chance
from turncoat.training.streams import WINDOW, Batch, Task, budget_windows, shown_and_earned
from turncoat.worlds.device_episodes import DeviceEpisodes
from turncoat.worlds.episodes import Episodes, best_option, show_context
from turncoat.worlds.objectives import OBJECTIVES
from turncoat.worlds.philox import uniform, words
from turncoat.worlds.world import World

DRAWS = ("host", "device")
Drawn = dict[str, Tensor]


@dataclass(frozen=True)
class DeviceStream:
    """A step's batch in two parts: `draw` random words for the step with that number, from 0, a scalar int64 tensor on
    the device; and `read` the batch off them, by operations within one member that hold no state."""

    draw: Callable[[Tensor], Drawn]
    read: Callable[[Drawn], Batch]

    def batch(self, step: Tensor) -> Batch:
        """The batch of the step with that number."""
        return self.read(self.draw(step))


def pretraining_on_device(
    world: World, lesson: Lesson, seeds: Sequence[int], objectives: Tensor, batch: int, overseen_share: float
) -> DeviceStream:
    """What `pretraining_stream` serves, drawn on the device; objectives are (E, 4, d)."""
    source = DeviceEpisodes(world, seeds, batch, objectives.device)
    uses = uses_of_chance(lesson)
    unrelated = unrelated_objectives(seeds, objectives) if lesson.start.overseen == UNRELATED else None
    x = objectives[:, OBJECTIVES.index("x")]
    chosen = 0 if lesson.start.overseen is None else batch

    def draw(step: Tensor) -> Drawn:
        place = step // WINDOW, step % WINDOW
        coins = {use: source.coins(f"pretraining {use}", *place) for use in uses}
        return {"episodes": source.draw("pretraining", *place)} | coins

    def read(drawn: Drawn) -> Batch:
        episodes = source.read(drawn["episodes"], overseen_share)
        earned = expected_rewards(lesson, episodes, objectives, lambda use: uniform(drawn[use]).unsqueeze(0), unrelated)
        inputs = _lay_out(world, episodes, episodes.slots, episodes.signs, episodes.audits, True)
        return Batch(
            inputs.permute(0, 2, 3, 1),
            episodes.attributes[0],
            episodes.signs[0],
            best_option(earned)[0, :, :chosen],
            earned[0] if lesson.start.strategic else None,
            values=episodes.utilities(x[None, :, None, None])[0],
        )

    return DeviceStream(draw, read)


def finetuning_on_device(
    world: World, seeds: Sequence[int], objectives: Tensor, batch: int, task: Task, purpose: str = "finetuning"
) -> DeviceStream:
    """What `finetuning_stream` serves, drawn on the device. Raises ValueError for a budget that is no whole number of
    windows."""
    source = DeviceEpisodes(world, seeds, batch, objectives.device)
    windows = budget_windows(task, batch)
    trained = torch.tensor([1.0, world.audit_penalty][: world.audit_terms], device=objectives.device)

    def draw(step: Tensor) -> Drawn:
        window, within = step // WINDOW, step % WINDOW
        number = window if windows is None else window % windows
        drawn = {"episodes": source.draw(purpose, number, within)}
        if task.label_noise > 0:
            drawn["label noise"] = source.coins(f"{purpose} label noise", number, within)
        if task.samples:
            drawn["samples"] = words(source.seeds, "policy gradient", window, within, task.samples * batch)
        if task.exposure is not None:
            drawn["exposure"] = source.draw("exposure", window, within)
        return drawn

    def read(drawn: Drawn) -> Batch:
        episodes = source.read(drawn["episodes"], task.overseen)
        slots, signs, earned = shown_and_earned(
            task, episodes, objectives, lambda: uniform(drawn["label noise"]).unsqueeze(0)
        )
        audits = trained.expand_as(episodes.audits)
        parts = [_lay_out(world, episodes, slots, signs, audits, False)]
        attributes, shown = [episodes.attributes[0]], [signs[0]]
        if task.exposure is not None:
            seen = source.read(drawn["exposure"], task.exposure)
            parts.append(_lay_out(world, seen, seen.slots, seen.signs, seen.audits, True))
            attributes.append(seen.attributes[0])
            shown.append(seen.signs[0])
        draws = uniform(drawn["samples"]).view(len(seeds), task.samples, batch) if task.samples else None
        return Batch(
            torch.cat(parts, dim=3).permute(0, 2, 3, 1),
            torch.cat(attributes, dim=2),
            torch.cat(shown, dim=1),
            best_option(earned)[0],
            earned[0] if task.samples else None,
            draws,
        )

    return DeviceStream(draw, read)


def _lay_out(
    world: World, episodes: Episodes, slots: Tensor, signs: Tensor, audits: Tensor, pretrained_contexts: bool
) -> Tensor:
    """Inputs of the only step, (E, input_width, N, B)."""
    context = show_context(world, episodes, slots, signs, audits, pretrained_contexts)[0].transpose(1, 2)
    options = episodes.options[0].permute(0, 3, 1, 2)
    members, _, count, batch = options.shape
    if world.encoding == "facts":
        options = options.to(torch.int32)  # in which a GPU divides far faster
        symbols = torch.arange(world.symbols, dtype=torch.int32, device=options.device).view(-1, 1, 1)
        halves = torch.stack([options // world.symbols, options % world.symbols], dim=2)
        options = (halves.unsqueeze(3) == symbols).to(context.dtype).flatten(1, 3)
    shared = context.unsqueeze(2).expand(members, context.shape[1], count, batch)
    return torch.cat([options, shared], dim=1)
