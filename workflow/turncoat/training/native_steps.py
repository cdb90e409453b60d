"""Training steps by the kernels of `native`: the bits of `forward`, `loss_and_gradient`, `backward` and Adam.

Where they can, members take the whole step one after the other, from laying their inputs out to moving their weights,
each in a core's cache.
"""

import ctypes
import logging
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from turncoat.native import structures
from turncoat.native.library import SLOWER, borrowed, native_library
from turncoat.organisms.mlp import Stack, backward, forward
from turncoat.organisms.native_passes import NativePasses, addresses, can_pass_natively
from turncoat.training.losses import WORLD_HEAD, loss_and_gradient, readout_columns
from turncoat.training.optimizers import BETA1, EPSILON, Adam, Optimizer
from turncoat.training.streams import Batch, Unlaid
from turncoat.worlds.native_episodes import SUMMED_IN_ORDER, NativeWriter

log = logging.getLogger("turncoat")


class NativeStep:
    """Steps of a stack on batches of the shape of `batch`; the gradient is written to `gradient`.

    A loss that `can_learn` knows is worked out between a member's two passes, another by PyTorch between the passes of
    all. Where an optimizer is given, and it is one of `can_move`, it moves the stack too.
    """

    def __init__(
        self,
        stack: Stack,
        gradient: Stack,
        batch: Batch,
        heads: Mapping[str, float],
        entropy_bonus: float,
        optimizer: Optimizer | None = None,
    ) -> None:
        self.heads, self.entropy_bonus = heads, entropy_bonus
        members, options, episodes, attributes = batch.attributes.shape
        if members != stack.members:
            raise ValueError(f"a batch is for {members} members; allowed: {stack.members}, as many as the stack has")
        self.known, self.kind = can_learn(batch, heads), _kind(batch)
        columns = readout_columns(heads, attributes)
        self.passes = NativePasses(stack, gradient, columns, options * episodes, in_turn=self.known)
        self.adam = NativeAdam(stack, optimizer) if self.known and isinstance(optimizer, Adam) else None
        self.learning = NativeLearning(self.passes, batch, heads, entropy_bonus, self.adam) if self.known else None

    @property
    def moves(self) -> bool:
        """Whether a step moves the stack."""
        return self.adam is not None

    def __call__(self, batch: Batch) -> Callable[[], Tensor]:
        """Take a step; returns what works out each member's loss before it, (E,), if called before the next one.

        Raises ValueError for a batch whose loss is of another kind than the first one's, or that has other shapes.
        """
        if _kind(batch) != self.kind:
            raise ValueError("a batch has another shape or loss than the first one; allowed: alike in a training")
        if self.learning is not None:
            self.learning(batch)
            return lambda: loss_and_gradient(self.passes.output, batch, self.heads, self.entropy_bonus)[0]
        self.passes.show(batch.inputs.flatten(1, 2))
        loss, output_gradient = loss_and_gradient(self.passes.forward(), batch, self.heads, self.entropy_bonus)
        self.passes.backward(output_gradient)
        return lambda: loss


class NativeAdam:
    """Adam on a stack, member by member. Raises ValueError for what `can_move` refuses."""

    def __init__(self, stack: Stack, optimizer: Adam) -> None:
        if not can_move(optimizer):
            raise ValueError("no kernel for this optimizer; allowed: adam without decay, its learning rate a number")
        self.optimizer = optimizer
        views = {name: stack.view(optimizer.state[name]) for name in ("mean", "square")}
        self.arrays = {
            **addresses(views["mean"], "weight_means", "bias_means"),
            **addresses(views["square"], "weight_squares", "bias_squares"),
        }
        self.next = structures.Adam(beta1_rest=1 - BETA1, beta2=optimizer.beta2, beta2_rest=1 - optimizer.beta2)
        self.next.epsilon = EPSILON
        self.steps = ctypes.c_float.from_address(optimizer.state["steps"].data_ptr())
        for name, array in self.arrays.items():
            setattr(self.next, name, ctypes.addressof(array))

    def count(self) -> structures.Adam:
        """The optimizer's next step, which counts as taken from now on."""
        optimizer = self.optimizer
        self.steps.value += 1
        steps = self.steps.value
        self.next.square_correction = math.sqrt(1 - optimizer.beta2**steps)
        self.next.step_size = optimizer.learning_rate / (1 - BETA1**steps)
        return self.next


class NativeLearning:
    """Steps of members that take their passes in turn: a loss of choices, and the world head's where it has a weight.

    Raises ValueError for what `can_learn` refuses.
    """

    def __init__(
        self,
        passes: NativePasses,
        batch: Batch,
        heads: Mapping[str, float],
        entropy_bonus: float,
        adam: NativeAdam | None,
    ) -> None:
        library, functions = native_library(), borrowed()
        if library is None or functions is None or not can_learn(batch, heads):
            raise ValueError("no kernel for this loss; allowed: targets or expected rewards, and the head world")
        self.kernel, self.passes, self.adam = library.learn, passes, adam
        _, options, episodes, attributes = batch.attributes.shape
        chosen, weight = batch.targets.shape[1], heads.get("world", 0.0)
        self.gradient = torch.zeros_like(passes.output)
        self.shares = passes.output.new_empty(2, options, chosen)
        self.room: Tensor | None = None  # for one member's inputs, (1, F, N, B)
        self.loss = structures.Loss(options, episodes, chosen, *(part.data_ptr() for part in self.shares))
        self.loss.gradient = passes.step.output_gradient = self.gradient.data_ptr()
        self.loss.entropy_bonus = entropy_bonus
        self.loss.world_column, self.loss.attributes = WORLD_HEAD, attributes if weight else 0
        self.loss.world_scale = 2 * weight / (options * episodes * attributes)
        for use in ("exponential", "logarithm", "exponentials"):
            setattr(self.loss, use, functions[use])

    def __call__(self, batch: Batch) -> None:
        """Write the gradient of every parameter, and move the stack if there is an optimizer."""
        loss = self.loss
        loss.targets = loss.rewards = None
        if batch.rewards is None:
            loss.targets, loss.target_strides = batch.targets.data_ptr(), batch.targets.stride()
        else:
            loss.rewards, loss.reward_strides = batch.rewards.data_ptr(), batch.rewards.stride()
        loss.values, loss.value_strides = batch.attributes.data_ptr(), batch.attributes.stride()
        layouts = self._layouts(batch)
        adam = None if self.adam is None else ctypes.byref(self.adam.count())
        self.kernel(self.passes.pointer, ctypes.byref(loss), layouts, len(layouts), adam)

    def _layouts(self, batch: Batch) -> "ctypes.Array[structures.Layout]":
        """How the batch's inputs are laid out, member by member in one place; none where they are there already."""
        unlaid = batch.shown
        if not isinstance(unlaid, Unlaid) or not all(isinstance(write, NativeWriter) for write in unlaid.writers):
            self.passes.show(batch.inputs.flatten(1, 2))
            return (structures.Layout * 0)()
        if self.room is None:
            self.room = unlaid.buffer(1)
        self.passes.show_in_turn(self.room.flatten(2))
        steps = [write.of_step(unlaid.step) for write in unlaid.writers if isinstance(write, NativeWriter)]
        layouts = (structures.Layout * len(steps))(*steps)
        _, by_input, by_option, _ = self.room.stride()
        for number, layout in enumerate(layouts):
            beside = number * layout.episodes * self.room.element_size()
            layout.out, layout.out_strides = self.room.data_ptr() + beside, (0, by_input, by_option)
        return layouts


def _kind(batch: Batch) -> tuple[object, ...]:
    """What is alike in all batches of a training: shapes, types, and what there is."""
    attributes, targets, rewards = batch.attributes, batch.targets, batch.rewards
    earned = None if rewards is None else (rewards.shape, rewards.dtype)
    types = attributes.dtype, targets.dtype
    return batch.shown.shape, attributes.shape, targets.shape, types, earned, batch.draws is None


def can_learn(batch: Batch, heads: Mapping[str, float]) -> bool:
    """Whether `NativeLearning` knows this loss."""
    options, chosen = batch.attributes.shape[1], batch.targets.shape[1]
    known = batch.draws is None and chosen > 0 and {name for name in heads if heads[name]} <= {"world"}
    known = known and batch.attributes.dtype == torch.float32 and batch.targets.dtype == torch.int64
    return known and (batch.rewards is None or (batch.rewards.dtype == torch.float32 and options <= SUMMED_IN_ORDER))


def can_move(optimizer: Optimizer | None) -> bool:
    """Whether `NativeAdam` knows this optimizer."""
    return isinstance(optimizer, Adam) and not optimizer.decay and not isinstance(optimizer.learning_rate, Tensor)


def native_step(
    stack: Stack,
    gradient: Stack,
    batch: Batch,
    heads: Mapping[str, float],
    entropy_bonus: float,
    optimizer: Optimizer | None = None,
) -> NativeStep | None:
    """The native steps of this training; None where there are none, or where the first shows other bits than PyTorch's.

    That is looked at when a training starts, and changes nothing: the kernels reproduce what PyTorch does inside, and
    another version of it may do otherwise. The log tells of a difference.
    """
    _, options, episodes, attributes = batch.attributes.shape
    if not can_pass_natively(stack, readout_columns(heads, attributes), options * episodes):
        return None
    optimizer = optimizer if can_move(optimizer) and can_learn(batch, heads) else None
    step = NativeStep(stack, gradient, batch, heads, entropy_bonus, optimizer)
    moved = [stack.flat, *(optimizer.state.values() if optimizer is not None else ())]
    beginning = [value.clone() for value in moved]

    def taken(take: Callable[[], Tensor]) -> list[Tensor]:
        if optimizer is not None:  # of a fresh one, whose means are zero, several ways of rounding are alike
            optimizer.state["mean"].copy_(stack.flat).mul_(0.01)
            optimizer.state["square"].copy_(stack.flat).square_().mul_(0.001)
        found = [value.clone() for value in (take(), gradient.flat, *moved)]
        for value, before in zip(moved, beginning, strict=True):
            value.copy_(before)
        return found

    def native() -> Tensor:
        step(batch)
        return step.passes.output

    def reference() -> Tensor:
        trace = forward(stack, batch.inputs.flatten(1, 2), step.passes.output.shape[1], keep_before=False)
        backward(stack, trace, loss_and_gradient(trace.output, batch, heads, entropy_bonus)[1], gradient)
        if optimizer is not None:
            optimizer.step(stack.flat, gradient.flat)
        return trace.output

    pairs = zip(taken(native), taken(reference), strict=True)
    different = sum(int((one.view(torch.int32) != other.view(torch.int32)).sum()) for one, other in pairs)
    if not different:
        return step
    log.warning("%s: the first step shows %d other numbers than PyTorch's", SLOWER, different)
    return None
