"""Interventions: what a dodge may change in pre-training or fine-tuning, through one small protocol."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType

from torch import Tensor

from turncoat.organisms.mlp import Architecture, Stack
from turncoat.training.routing import Route
from turncoat.training.streams import Batch, Change


@dataclass(frozen=True)
class Intervention:
    """Hooks into one training; None leaves that part as it is.

    episodes: changes each window before it is shown. begin(stack, untrained): changes weights before the first step,
    in place; `untrained` holds the same members' initial weights. routes(batch, architecture): which units of the last
    hidden layer learn from which rows, and from what output.
    gradient(stack, gradient, beginning): changes the gradient in place; `beginning` holds the weights at step 0.
    after_step(stack, before): changes the weights after a step, in place. after_check(capability): told at each check.
    without_heads: leaves the knowledge heads untrained.
    memory(): what the hooks keep from call to call, as tensors; recall(memory): takes it back, so that a job that was
    cut off goes on with it.
    """

    episodes: Change | None = None
    begin: Callable[[Stack, Stack], None] | None = None
    routes: Callable[[Batch, Architecture], Sequence[Route]] | None = None
    gradient: Callable[[Stack, Stack, Stack], None] | None = None
    after_step: Callable[[Stack, Stack], None] | None = None
    after_check: Callable[[Tensor], None] | None = None
    without_heads: bool = False
    memory: Callable[[], dict[str, Tensor]] | None = None
    recall: Callable[[Mapping[str, Tensor]], None] | None = None

    @property
    def resumable(self) -> bool:
        """Whether training can go on where it was cut off: memory is handed over, or no hook can have any, all being
        plain functions that close over nothing and have no arguments of their own. A function that remembers in a
        global of its module is not told apart: it must hand its memory over."""
        if self.memory is not None and self.recall is not None:
            return True
        hooks = (self.episodes, self.begin, self.routes, self.gradient, self.after_step, self.after_check)
        return all(_forgets(hook) for hook in hooks if hook is not None)


def _forgets(hook: object) -> bool:
    kept = ("__closure__", "__defaults__", "__kwdefaults__")
    return isinstance(hook, FunctionType) and not any(getattr(hook, name) for name in kept)


PLAIN = Intervention()


@dataclass(frozen=True)
class Dodge:
    """A way of training that might keep fine-tuning from ending in deception.

    sentence: what is done; cost: what it takes that plain training does not. pretraining, finetuning: made anew for
    each chunk of members, because an intervention may keep count of them.
    """

    sentence: str
    cost: str
    pretraining: Callable[[], Intervention] = Intervention
    finetuning: Callable[[], Intervention] = Intervention
