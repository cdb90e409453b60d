"""Scores of networks by the kernel of `native`, on a CPU: the bits of `member_scores`, in less time."""

import ctypes
import logging
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from turncoat.native.library import SLOWER, borrowed, native_library
from turncoat.native.structures import Scoring
from turncoat.organisms.member_scores import ALIGNED, Member, block_size, score_member
from turncoat.organisms.mlp import SCORE_COLUMNS

log = logging.getLogger("turncoat")


def score_fastest(
    members: Sequence[Member], options: Tensor, contexts: Sequence[Tensor], found: Sequence[Tensor]
) -> None:
    """What `score_member` does for each of E members, by the kernel where it knows the case and gives the same bits:
    write scores (E, N, B) of options (E, N, B', F) in contexts (E, B, C), B <= B', into `found`."""
    if can_score(members, options, contexts, found) and _all_agree(members, options, contexts):
        score_natively(members, options, contexts, found)
    else:
        for index, member in enumerate(members):
            score_member(member, options[index], [part[index] for part in contexts], [part[index] for part in found])


def can_score(members: Sequence[Member], options: Tensor, contexts: Sequence[Tensor], found: Sequence[Tensor]) -> bool:
    """Whether the kernel knows such networks, options and contexts, and is to be had: the arguments of `score_fastest`,
    of rectifier networks, in float32 on a CPU with one thread, each block of episodes beginning at a boundary."""
    count, available, inputs = options.shape[1:]
    numbers, lengths = contexts[0].shape[2], [context.shape[1] for context in contexts]
    known = all(_is_plain(one) and (len(one.options), len(one.context)) == (inputs, numbers) for one in members)
    shapes: list[tuple[int, ...]] = [(len(members), count, available, inputs)]
    shapes += [(len(members), length, numbers) for length in lengths]
    shapes += [(len(members), count, length) for length in lengths]
    parts = [options, *contexts, *found]
    fits = [tuple(part.shape) for part in parts] == shapes and max(lengths) <= available
    plain = all(part.dtype == torch.float32 and part.is_cpu and part.is_contiguous() for part in parts)
    size = block_size(count, max(lengths))
    steps = [count * available * inputs, available * inputs if count > 1 else 0]
    steps += [length * numbers for length in lengths]
    steps += [size * inputs, size * numbers] if size < max(lengths) else []
    begins = [part.data_ptr() for part in (options, *contexts)] + [step * options.element_size() for step in steps]
    plain = plain and torch.get_num_threads() == 1 and not any(begin % ALIGNED for begin in begins)
    return known and fits and plain and native_library() is not None


def _is_plain(member: Member) -> bool:
    """Whether a network is what the kernel takes it for: of rectifiers, its parameters laid out as their shapes say."""
    first, *above = member.widths
    last, inputs, numbers = [first, *above][-1], len(member.options), len(member.context)
    parts = [member.options, member.context, *member.weights, *member.biases, member.readout, member.offset]
    shapes = [(inputs, first), (numbers, first), *pairwise([first, *above]), *((width,) for width in member.widths)]
    shapes += [(SCORE_COLUMNS, last), (SCORE_COLUMNS, 1)]
    fits = [tuple(part.shape) for part in parts] == shapes and min(inputs, numbers, *member.widths) > 0
    plain = all(part.dtype == torch.float32 and part.is_contiguous() and part.is_cpu for part in parts)
    return member.activation == "relu" and fits and plain


def score_natively(
    members: Sequence[Member], options: Tensor, contexts: Sequence[Tensor], found: Sequence[Tensor]
) -> None:
    """What `score_fastest` does, by the kernel. Raises ValueError for what `can_score` refuses."""
    library, functions = native_library(), borrowed()
    if library is None or functions is None or not can_score(members, options, contexts, found):
        raise ValueError(
            f"no kernel for {members[0].activation!r} networks and options {options.dtype} {tuple(options.shape)} on "
            f"{options.device}; allowed: relu, shapes that fit one another, contiguous float32 beginning at a boundary "
            f"of {ALIGNED} bytes, on a cpu with one thread, where there are a C compiler and PyTorch built with MKL"
        )
    count, available, inputs = options.shape[1:]
    lengths, numbers = [context.shape[1] for context in contexts], contexts[0].shape[2]
    size, widest = block_size(count, max(lengths)), max(max(one.widths) for one in members)
    room = {
        "shared": count * size * widest,
        "added": size * widest,
        "values": count * size * widest,
        "others": count * size * widest,
        "found": SCORE_COLUMNS * count * size,
    }
    rooms = {name: options.new_empty(amount) for name, amount in room.items()}
    for index, member in enumerate(members):
        arrays: dict[str, ctypes.Array[Any]] = {
            "widths": _numbers(member.widths),
            "lengths": _numbers(lengths),
            "context": _addresses(contexts, index),
            "scores": _addresses(found, index),
            "weights": _addresses(member.weights),
            "biases": _addresses(member.biases),
        }
        parts = {"of_options": member.options, "of_context": member.context, "readout": member.readout} | rooms
        depth = len(member.widths)
        scoring = Scoring(count, available, size, inputs, numbers, depth, len(contexts), SCORE_COLUMNS)
        scoring.shown = _begin(options, index)
        for name, array in arrays.items():
            setattr(scoring, name, ctypes.addressof(array))
        for name, tensor in parts.items():
            setattr(scoring, name, tensor.data_ptr())
        scoring.offset, scoring.products = member.offset[0].item(), functions["products"]
        library.score_options(ctypes.byref(scoring))


def _numbers(values: Sequence[int]) -> ctypes.Array[ctypes.c_int64]:
    return (ctypes.c_int64 * len(values))(*values)


def _addresses(tensors: Sequence[Tensor], index: int = 0) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(tensors))(*(_begin(tensor, index) for tensor in tensors))


def _begin(tensor: Tensor, index: int) -> int:
    """Where one member's numbers begin."""
    return tensor.data_ptr() + index * tensor.stride(0) * tensor.element_size()


def _all_agree(members: Sequence[Member], options: Tensor, contexts: Sequence[Tensor]) -> bool:
    lengths, numbers = tuple(context.shape[1] for context in contexts), contexts[0].shape[2]
    every = {tuple(member.widths) for member in members}
    return all(_agrees(widths, tuple(options.shape[1:]), lengths, numbers) for widths in every)


@cache
def _agrees(widths: tuple[int, ...], shape: tuple[int, int, int], lengths: tuple[int, ...], numbers: int) -> bool:
    """Whether the kernel gives PyTorch's bits for a network of these widths, options and contexts drawn at random."""
    random = torch.Generator().manual_seed(0)

    def draw(*sizes: int) -> Tensor:
        return torch.randn(*sizes, generator=random)

    first, last = widths[0], widths[-1]
    weights = [draw(above, below) / above**0.5 for above, below in pairwise(widths)]
    biases = [draw(width) for width in widths]
    head = draw(SCORE_COLUMNS, last), draw(SCORE_COLUMNS, 1)
    member = Member("relu", draw(shape[2], first), draw(numbers, first), weights, biases, *head)
    options, contexts = draw(1, *shape), [draw(1, length, numbers) for length in lengths]
    native, reference = ([options.new_empty(1, shape[0], length) for length in lengths] for _ in range(2))
    score_natively([member], options, contexts, native)
    score_member(member, options[0], [part[0] for part in contexts], [part[0] for part in reference])
    different = sum(int((one != other).sum()) for one, other in zip(native, reference, strict=True))
    if different:
        log.warning("%s: %d scores are other than PyTorch's", SLOWER, different)
    return different == 0
