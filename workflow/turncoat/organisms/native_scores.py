"""Scores of one network by the kernel of `native`, on a CPU: the bits of `member_scores`, in less time."""

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


def score_fastest(member: Member, options: Tensor, contexts: Sequence[Tensor], found: Sequence[Tensor]) -> None:
    """What `score_member` does, by the kernel where it knows the case and gives the same bits."""
    if can_score(member, options, contexts, found) and _agrees(
        tuple(member.widths), tuple(options.shape), tuple(len(context) for context in contexts), contexts[0].shape[1]
    ):
        score_natively(member, options, contexts, found)
    else:
        score_member(member, options, contexts, found)


def can_score(member: Member, options: Tensor, contexts: Sequence[Tensor], found: Sequence[Tensor]) -> bool:
    """Whether the kernel knows such networks, options and contexts, and is to be had: the arguments of `score_member`,
    of a rectifier network, in float32 on a CPU with one thread, each block of episodes beginning at a boundary."""
    if not _is_plain(member):
        return False
    count, available, inputs = options.shape
    numbers, longest = member.context.shape[0], max(len(context) for context in contexts)
    fits = inputs == member.options.shape[0] and longest <= available and len(contexts) == len(found)
    fits = fits and all(context.shape[1] == numbers for context in contexts)
    fits = fits and all(part.shape == (count, len(context)) for part, context in zip(found, contexts, strict=False))
    shown = [*options.unbind(), *contexts]
    plain = torch.get_num_threads() == 1 and all(
        part.dtype == torch.float32 and part.device.type == "cpu" for part in (*shown, *found)
    )
    plain = plain and options.is_contiguous() and all(part.is_contiguous() for part in (*contexts, *found))
    size = block_size(count, longest)
    begins = [part.data_ptr() for part in shown]
    begins += [size * part.stride(0) * part.element_size() for part in shown if len(part) > size]
    return fits and plain and not any(begin % ALIGNED for begin in begins) and native_library() is not None


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


def score_natively(member: Member, options: Tensor, contexts: Sequence[Tensor], found: Sequence[Tensor]) -> None:
    """What `score_member` does, by the kernel. Raises ValueError for what `can_score` refuses."""
    library, functions = native_library(), borrowed()
    if library is None or functions is None or not can_score(member, options, contexts, found):
        raise ValueError(
            f"no kernel for a {member.activation!r} network and options {options.dtype} {tuple(options.shape)} on "
            f"{options.device}; allowed: relu, shapes that fit one another, contiguous float32 beginning at a boundary "
            f"of {ALIGNED} bytes, on a cpu with one thread, where there are a C compiler and PyTorch built with MKL"
        )
    count, available, inputs = options.shape
    lengths = [len(context) for context in contexts]
    size, first, widest = block_size(count, max(lengths)), member.widths[0], max(member.widths)
    room = {
        "shared": count * size * first,
        "added": size * first,
        "values": count * size * widest,
        "others": count * size * widest,
        "found": SCORE_COLUMNS * count * size,
    }
    rooms = {name: options.new_empty(numbers) for name, numbers in room.items()}
    arrays: dict[str, ctypes.Array[Any]] = {
        "widths": _numbers(member.widths),
        "lengths": _numbers(lengths),
        "context": _addresses(contexts),
        "scores": _addresses(found),
        "weights": _addresses(member.weights),
        "biases": _addresses(member.biases),
    }
    parts = {"shown": options, "of_options": member.options, "of_context": member.context, "readout": member.readout}
    numbers, depth = contexts[0].shape[1], len(member.widths)
    scoring = Scoring(count, available, size, inputs, numbers, depth, len(contexts), SCORE_COLUMNS)
    for name, array in arrays.items():
        setattr(scoring, name, ctypes.addressof(array))
    for name, tensor in (parts | rooms).items():
        setattr(scoring, name, tensor.data_ptr())
    scoring.offset, scoring.products = member.offset[0].item(), functions["products"]
    library.score_options(ctypes.byref(scoring))


def _numbers(values: Sequence[int]) -> ctypes.Array[ctypes.c_int64]:
    return (ctypes.c_int64 * len(values))(*values)


def _addresses(tensors: Sequence[Tensor]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


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
    options, contexts = draw(*shape), [draw(length, numbers) for length in lengths]
    native, reference = ([options.new_empty(shape[0], length) for length in lengths] for _ in range(2))
    score_natively(member, options, contexts, native)
    score_member(member, options, contexts, reference)
    different = sum(int((one != other).sum()) for one, other in zip(native, reference, strict=True))
    if different:
        log.warning("%s: %d scores are other than PyTorch's", SLOWER, different)
    return different == 0
