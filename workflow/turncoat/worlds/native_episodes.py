"""Episodes by the kernels of `native`, on a CPU: the bits of what `episodes` does by PyTorch, in less time."""

import ctypes
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from turncoat.native.library import native_library
from turncoat.native.structures import Layout, Part, Utilities
from turncoat.seeding import generator

SUMMED_IN_ORDER = 4  # numbers: of more, PyTorch may add up every fourth one first
SHORTEST = 1e-12  # PyTorch's normalize


def has_kernels(tensor: Tensor) -> bool:
    """Whether the kernels can be had for a tensor where it is."""
    return tensor.device.type == "cpu" and native_library() is not None


@cache
def _drawn(size: int) -> tuple[Tensor, Tensor]:
    """Attributes (S, E, N, B, size), stored as they are in training, and vectors (S, E, B, size)."""
    random = generator(0, "native episodes", size)
    attributes = torch.from_numpy(random.standard_normal((2, 2, size, 3, 77), dtype=np.float32)).movedim(2, -1)
    return attributes.transpose(0, 1), torch.from_numpy(random.standard_normal((2, 2, 77, size), dtype=np.float32))


@cache
def _scales_alike(size: int) -> bool:
    """Whether this PyTorch rounds vectors of this size as `scale_to_unit` does, looked at once."""
    vectors = _drawn(size)[1]
    return torch.equal(torch.nn.functional.normalize(vectors, dim=-1), scale_to_unit(vectors.clone()))


@cache
def _values_alike(size: int) -> bool:
    """Whether this PyTorch rounds utilities of so many attributes as `value_options` does, looked at once."""
    attributes, objectives = _drawn(size)
    expected = (attributes * objectives.unsqueeze(2)).sum(-1)
    return torch.equal(expected, value_options(attributes, objectives.unsqueeze(2)))


def can_describe(drawn: Tensor) -> bool:
    """Whether `describe` knows pairs of symbols like these."""
    return has_kernels(drawn) and drawn.dtype == torch.uint8


def describe(drawn: Tensor, facts: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs of symbols (E, S, N, B, d), bytes, as drawn, and their attributes under facts (d, kinds of pair); both of
    that shape, and stored as (E, S, d, N, B)."""
    members, steps, options, episodes, attributes = drawn.shape
    drawn = drawn.contiguous()
    pairs = drawn.new_empty(members, steps, attributes, options, episodes)
    values = torch.empty(pairs.shape, dtype=facts.dtype)
    _kernels().describe(
        *(tensor.data_ptr() for tensor in (drawn, facts, pairs, values)),
        *(members * steps, options * episodes, attributes, facts.shape[1]),
    )
    return pairs.movedim(2, -1), values.movedim(2, -1)


def can_scale(vectors: Tensor) -> bool:
    """Whether `scale_to_unit` knows vectors of this size."""
    return has_kernels(vectors) and vectors.is_contiguous() and _scales_alike(vectors.shape[-1])


def scale_to_unit(vectors: Tensor) -> Tensor:
    """Vectors (..., d) of length 1, in place of those given."""
    size = vectors.shape[-1]
    _kernels().scale_to_unit(vectors.data_ptr(), vectors.numel() // size, size, SHORTEST)
    return vectors


def can_value(attributes: Tensor, objectives: Tensor) -> bool:
    """Whether `value_options` knows attributes (S, E, N, B, d) that lie in memory as these, and such objectives."""
    stored, count = attributes.permute(1, 0, 4, 2, 3), attributes.shape[-1]
    alike = objectives.ndim == 5 and objectives.shape[2] == 1 and objectives.dtype == attributes.dtype == torch.float32
    return (
        has_kernels(attributes)
        and stored.is_contiguous()
        and alike
        and count <= SUMMED_IN_ORDER
        and _values_alike(count)
    )


def value_options(attributes: Tensor, objectives: Tensor) -> Tensor:
    """Utilities (S, E, N, B) of attributes (S, E, N, B, d), stored as (E, S, d, N, B), under objectives that broadcast
    to (S, E, 1, B, d)."""
    steps, members, options, episodes, count = attributes.shape
    served = objectives.expand(steps, members, 1, episodes, count)
    utilities = attributes.new_empty(steps, members, options, episodes)
    by_step, by_member, _, *others = served.stride()
    called = Utilities(members, steps, count, options, episodes, attributes.data_ptr(), served.data_ptr())
    called.strides, called.utilities = (by_member, by_step, *others), utilities.data_ptr()
    _kernels().value_options(ctypes.byref(called))
    return utilities


def can_write(pairs: Tensor | None, parts: Sequence[Tensor]) -> bool:
    """Whether `NativeWriter` knows parts of these types, and pairs of symbols, if there are any, that lie so."""
    known = pairs is None or (pairs.dtype == torch.uint8 and pairs.stride(3) == 1)
    return known and all(has_kernels(part) and part.dtype == torch.float32 for part in parts)


class NativeWriter:
    """Lays out one step after another in a buffer (E, inputs, N, B): pairs of symbols (S, E, N, B, d), bytes, as a one
    among `symbols` numbers for each; then parts (S, E, 1 or N, B, numbers)."""

    def __init__(self, pairs: Tensor | None, symbols: int, parts: Sequence[Tensor], options: int) -> None:
        self.kernel = _kernels().lay_out
        self.pairs = None if pairs is None else pairs.movedim(-1, 2)
        self.parts = [part.expand(-1, -1, options, -1, -1) for part in parts]
        self.steps, members, options, episodes, _ = self.parts[0].shape
        self.shown = (Part * len(parts))()
        self.begins = [(part.data_ptr(), part.stride(0) * part.element_size()) for part in self.parts]
        for place, part in zip(self.shown, self.parts, strict=True):
            place.count, place.strides = part.shape[-1], part.stride()[1:]
        self.layout = Layout(members, options, episodes, 0, symbols, len(parts))
        self.layout.shown = ctypes.addressof(self.shown)
        if self.pairs is not None:
            self.layout.attributes, self.layout.pair_strides = self.pairs.shape[2], self.pairs.stride()[1:4]
        inputs = 2 * symbols * self.layout.attributes + sum(part.shape[-1] for part in self.parts)
        self.shape = (members, inputs, options, episodes)

    def of_step(self, step: int) -> Layout:
        """How a step is laid out, but for where, until another is asked for. Raises IndexError where there is none."""
        if not 0 <= step < self.steps:
            raise IndexError(f"there is no step {step}; allowed: 0 to {self.steps - 1}")
        for place, (begin, stride) in zip(self.shown, self.begins, strict=True):
            place.numbers = begin + step * stride
        if self.pairs is not None:
            self.layout.pairs = self.pairs.data_ptr() + step * self.pairs.stride(0)
        return self.layout

    def __call__(self, step: int, out: Tensor) -> None:
        """Lay a step out. Raises ValueError for a buffer of another shape or type, IndexError for no step of these."""
        layout = Layout.from_buffer_copy(self.of_step(step))
        if out.shape != self.shape or out.stride(3) != 1 or out.dtype != torch.float32:
            raise ValueError(
                f"a buffer has shape {tuple(out.shape)}, strides {out.stride()} and is {out.dtype}; allowed: "
                f"{self.shape}, float32, its last numbers side by side"
            )
        layout.out, layout.out_strides = out.data_ptr(), out.stride()[:3]
        self.kernel(ctypes.byref(layout))


def _kernels() -> ctypes.CDLL:
    kernels = native_library()
    if kernels is None:
        raise RuntimeError("no kernels to be had: ask has_kernels first")
    return kernels
