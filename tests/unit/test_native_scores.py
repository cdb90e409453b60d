"""Scores by the kernel in C: bit for bit those of PyTorch; and networks without the units that never do anything."""

import logging
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from core import CPU, make_stack, make_world
from torch import Tensor

import turncoat.organisms.native_scores as native_scores
from turncoat.classification.policies import SHARPNESS
from turncoat.native.library import native_library, without_kernels
from turncoat.organisms import activations, member_scores
from turncoat.organisms.choices import option_scores
from turncoat.organisms.handbuilt import Circuit, build
from turncoat.organisms.member_scores import Member, member_of, members_of, score_member
from turncoat.organisms.mlp import SCORE_COLUMNS, Stack
from turncoat.organisms.native_scores import can_score, score_fastest, score_natively
from turncoat.organisms.scoring import context_scorer, join
from turncoat.worlds.objectives import seed_objectives

needs_kernels = pytest.mark.skipif(native_library() is None, reason="no C compiler, or PyTorch without MKL")
WORLD = make_world(audit_penalty=6.0)
SHOWN = WORLD.option_width


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def unknown() -> Iterator[None]:
    """As in a process that has not yet compared the kernel with PyTorch."""
    native_scores._agrees.cache_clear()
    yield
    native_scores._agrees.cache_clear()


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def member(inputs: int, numbers: int, *widths: int, activation: str = "relu") -> Member:
    below = [drawn(width, before, width) / before**0.5 for before, width in pairwise(widths)]
    biases = [drawn(10 + width, width) for width in widths]
    head = drawn(7, SCORE_COLUMNS, widths[-1]), drawn(8, SCORE_COLUMNS, 1)
    return Member(activation, drawn(1, inputs, widths[0]), drawn(2, numbers, widths[0]), below, biases, *head)


def shown(options: int, inputs: int, numbers: int, *lengths: int) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Options of the longest context's episodes, the contexts, and room for scores."""
    contexts = [drawn(30 + number, length, numbers) for number, length in enumerate(lengths)]
    room = [torch.full((options, length), torch.nan) for length in lengths]
    return drawn(20, options, max(lengths), inputs), contexts, room


def as_block(
    one: Member, options: Tensor, contexts: list[Tensor], room: list[Tensor]
) -> tuple[list[Member], Tensor, list[Tensor], list[Tensor]]:
    """One member's as those of a block of one."""
    return [one], options[None], [part[None] for part in contexts], [part[None] for part in room]


def both(one: Member, options: Tensor, contexts: list[Tensor], room: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Scores by the kernel, and by PyTorch."""
    expected = [torch.full_like(part, torch.nan) for part in room]
    score_member(one, options, contexts, expected)
    given = as_block(one, options, contexts, room)
    assert can_score(*given)
    score_natively(*given)
    return room, expected


@needs_kernels
@pytest.mark.parametrize(
    "widths", [(48, 48), (48,), (64, 64, 64), (256, 256), (7, 3), (158, 148, 2), (1, 1), (600, 40)]
)
@pytest.mark.parametrize(
    ("options", "inputs", "numbers", "lengths"),
    [(2, 48, 12, (1024, 1024, 512)), (2, 48, 12, (2048, 2048)), (3, 16, 16, (700, 1, 690)), (4, 3, 5, (48,))],
)
def test_scores_are_pytorchs_bit_for_bit(
    widths: tuple[int, ...], options: int, inputs: int, numbers: int, lengths: tuple[int, ...]
) -> None:
    found, expected = both(member(inputs, numbers, *widths), *shown(options, inputs, numbers, *lengths))
    for one, other in zip(found, expected, strict=True):
        assert one.isfinite().all() and torch.equal(one, other)


@needs_kernels
@pytest.mark.parametrize("broken", ["weight", "bias", "lowest bias", "option"])
def test_numbers_that_are_not_finite_are_pytorchs_too(broken: str) -> None:
    one, (options, contexts, room) = member(16, 8, 32, 16), shown(2, 16, 8, 64)
    if broken == "weight":
        one.weights[0][3, 4] = torch.nan
    elif broken == "bias":
        one.biases[1][5] = torch.inf
    elif broken == "lowest bias":
        one.biases[1][5] = -torch.inf
    else:
        options[1, 7, 3] = torch.nan
    found, expected = both(one, options, contexts, room)
    count = {"weight": 128, "bias": 128, "lowest bias": 0, "option": 1}[broken]
    assert (~expected[0].isfinite()).sum() == count
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=0, equal_nan=True)


@needs_kernels
def test_the_kernel_takes_what_a_study_shows_and_refuses_what_it_does_not_know() -> None:
    one, (options, contexts, room) = member(48, 12, 48, 48), shown(2, 48, 12, 1024, 512)
    assert can_score(*as_block(one, options, contexts, room))
    unaligned = torch.empty(2 * 1024 * 48 + 1)[1:].view(2, 1024, 48)
    uneven = drawn(1, 2, 1023, 47)
    refused = {
        "an option not at a boundary": (member(47, 12, 48), uneven, [drawn(2, 1008, 12)], [torch.empty(2, 1008)]),
        "a block not at a boundary": (member(3, 12, 48), drawn(1, 3, 1600, 3), *shown(3, 3, 12, 1600)[1:]),
        "no inputs": (member(0, 12, 48), drawn(1, 2, 64, 0), *shown(2, 0, 12, 64)[1:]),
        "no context": (member(48, 0, 48), *shown(2, 48, 0, 64)),
        "turned weights": (replace(one, weights=[one.weights[0].T]), options, contexts, room),
        "strided bias": (replace(one, biases=[drawn(1, 96)[::2], one.biases[1]]), options, contexts, room),
        "turned readout": (replace(one, readout=one.readout.T.contiguous().T), options, contexts, room),
        "float64 weights": (replace(one, weights=[one.weights[0].double()]), options, contexts, room),
        "float64 offset": (replace(one, offset=one.offset.double()), options, contexts, room),
        "weights of other layers": (replace(one, weights=[drawn(1, 47, 48)]), options, contexts, room),
        "a layer too few": (replace(one, weights=[]), options, contexts, room),
        "one readout": (replace(one, readout=one.readout[:1]), options, contexts, room),
        "gelu": (replace(one, activation="gelu"), options, contexts, room),
        "float64": (one, options.double(), contexts, room),
        "not at a boundary": (one, unaligned, contexts, room),
        "turned": (one, options.mT.contiguous().mT, contexts, room),
        "more episodes than options": (one, options[:, :512].contiguous(), contexts, room),
        "other inputs": (one, options[..., :47].contiguous(), contexts, room),
        "other context": (one, options, [part[:, :11].contiguous() for part in contexts], room),
        "no room": (one, options, contexts, room[:1]),
        "too little room": (one, options, contexts, [room[1], room[1]]),
        "no units": (member(48, 12, 48, 0), options, contexts, room),
    }
    assert {name for name, given in refused.items() if can_score(*as_block(*given))} == set()
    with pytest.raises(ValueError, match=r"no kernel for 'gelu' networks .* allowed: relu"):
        score_natively(*as_block(*refused["gelu"]))
    torch.set_num_threads(2)
    assert not can_score(*as_block(one, options, contexts, room))


@needs_kernels
@pytest.mark.parametrize("widths", [[(48, 48)] * 3, [(158, 4), (158, 148), (16, 200)]])
def test_members_are_scored_side_by_side_each_as_by_pytorch(widths: list[tuple[int, int]]) -> None:
    """Members may differ in width: of hand-built networks, units that do nothing are left out."""
    members = [member(48, 12, *each) for each in widths]
    options, contexts = drawn(1, 3, 2, 1040, 48), [drawn(2, 3, 1040, 12), drawn(3, 3, 32, 12)]
    found, expected = ([torch.full((3, 2, length), torch.nan) for length in (1040, 32)] for _ in range(2))
    assert can_score(members, options, contexts, found)
    score_fastest(members, options, contexts, found)
    for index, one in enumerate(members):
        own = [part[index] for part in contexts], [part[index] for part in expected]
        score_member(one, options[index], *own)
    for one_part, other in zip(found, expected, strict=True):
        assert torch.equal(one_part, other)


@needs_kernels
def test_blocks_of_members_that_do_not_fit_are_refused() -> None:
    members = [member(48, 12, 48, 48) for _ in range(3)]
    options, contexts, found = drawn(1, 3, 2, 64, 48), [drawn(2, 3, 64, 12)], [torch.empty(3, 2, 64)]
    assert can_score(members, options, contexts, found)
    refused = {
        "a member too few": (members[:2], options, contexts, found),
        "one of another kind": ([*members[:2], replace(members[2], activation="gelu")], options, contexts, found),
        "one that sees less": ([*members[:2], member(47, 12, 48, 48)], options, contexts, found),
        "contexts of fewer": (members, options, [contexts[0][:2]], found),
        "room for fewer": (members, options, contexts, [found[0][:2]]),
        "members not at a boundary": (
            [member(3, 12, 48)] * 3, drawn(1, 3, 1, 5, 3), [drawn(2, 3, 4, 12)], [torch.empty(3, 1, 4)]
        ),
        "contexts not at a boundary": (members, options, [drawn(2, 3, 63, 12)], [torch.empty(3, 2, 63)]),
    }  # fmt: skip
    assert {name for name, given in refused.items() if can_score(*given)} == set()


@needs_kernels
def test_studies_are_scored_by_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    exact = native_scores.score_natively
    monkeypatch.setattr(native_scores, "score_natively", lambda *given: calls.append(given) or exact(*given))
    stack, numbers = make_stack(WORLD, [1, 2, 3], width=48), WORLD.input_width - WORLD.option_width
    options = drawn(3, 3, 2, 64, WORLD.option_width)
    contexts = [drawn(length, 3, length, numbers) for length in (64, 32)]
    found = context_scorer(stack)(options, contexts)
    assert len(calls) >= 1 and calls[-1][0][2].widths == [48, 48]
    with without_kernels():
        expected = context_scorer(stack)(options, contexts)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


@needs_kernels
def test_where_a_bit_differs_pytorch_scores_and_the_log_says_so(
    unknown: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    exact = native_scores.score_member

    def other(one: Member, options: Tensor, contexts: list[Tensor], room: list[Tensor]) -> None:
        exact(one, options, contexts, room)
        room[0][0, 0] += 1

    monkeypatch.setattr(native_scores, "score_member", other)
    one, (options, contexts, room) = member(48, 12, 48, 48), shown(2, 48, 12, 64)
    expected = torch.empty_like(room[0])
    other(one, options, contexts, [expected])
    with caplog.at_level(logging.WARNING, "turncoat"):
        for _ in range(2):
            score_fastest(*as_block(one, options, contexts, room))
            assert torch.equal(room[0], expected)
    assert caplog.text.count("slower and gives the same bits: 1 scores are other than PyTorch's") == 1


def handbuilt(seeds: list[int]) -> Stack:
    world = make_world(options=2, audit_penalty=6.0)
    return build(world, Circuit("slot2", "m", strategic=True), seed_objectives(seeds, 4, 90, CPU), SHARPNESS)


@pytest.mark.parametrize("kernels", [True, False])
def test_units_that_never_do_anything_are_left_out_and_change_no_score(kernels: bool) -> None:
    stack, world = handbuilt([1, 2]), make_world(options=2, audit_penalty=6.0)
    one = member_of(stack, 0, world.option_width)
    assert max(one.widths) == stack.architecture.width and min(one.widths) < stack.architecture.width
    options = drawn(1, 2, 2, 50, world.option_width)
    contexts = [drawn(2, 2, 50, world.input_width - world.option_width)]
    if kernels:
        found = context_scorer(stack)(options, contexts)[0]
    else:
        with without_kernels():
            found = context_scorer(stack)(options, contexts)[0]
    expected = option_scores(stack, join(options, contexts[0]))
    assert expected.std() > 1
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4 * expected.std().item())


def test_a_unit_that_is_idle_but_says_something_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where h(0) is not 0, a unit without weights adds to what reads it."""
    lifted = replace(activations.ACTIVATIONS["tanh"], value=lambda z: torch.tanh(z) + 1, value_=None)
    monkeypatch.setitem(activations.ACTIVATIONS, "tanh", lifted)
    stack = make_stack(WORLD, [1], "tanh", width=6)
    for part in ("weight", "bias"):
        stack.views[f"hidden2.{part}"][..., 2] = 0
    assert member_of(stack, 0, SHOWN).widths == [6, 6]
    options, contexts = drawn(1, 1, 3, 9, SHOWN), [drawn(2, 1, 9, WORLD.input_width - SHOWN)]
    found = context_scorer(stack)(options, contexts)[0]
    expected = option_scores(stack, join(options, contexts[0]))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-6)


def test_a_network_of_idle_units_alone_gives_its_offset() -> None:
    stack = make_stack(WORLD, [1], width=5)
    stack.flat.zero_()
    stack.views["readout.bias"][0, 0] = 0.25
    assert member_of(stack, 0, SHOWN).widths == [0, 0]
    options, contexts = drawn(1, 1, 3, 9, SHOWN), [drawn(2, 1, 9, WORLD.input_width - SHOWN)]
    assert torch.equal(context_scorer(stack)(options, contexts)[0], torch.full((1, 3, 9), 0.25))


@pytest.mark.parametrize("kernels", [True, False])
def test_units_are_left_out_of_those_members_alone_where_they_are_idle(kernels: bool) -> None:
    stack = with_idle_unit(make_stack(WORLD, [1, 2, 3], width=16))
    assert [one.widths for one in members_of(stack, SHOWN)] == [[16, 16], [15, 16], [16, 16]]
    untouched = make_stack(WORLD, [1, 2, 3], width=16)
    assert [one.widths for one in members_of(untouched, SHOWN)] == [[16, 16]] * 3
    options, contexts = drawn(1, 3, 2, 32, SHOWN), [drawn(2, 3, 32, WORLD.input_width - SHOWN)]
    with nullcontext() if kernels else without_kernels():
        found, before = (context_scorer(each)(options, contexts)[0] for each in (stack, untouched))
    torch.testing.assert_close(found, option_scores(stack, join(options, contexts[0])), rtol=1e-5, atol=2e-6)
    assert torch.equal(found[[0, 2]], before[[0, 2]]) and not torch.equal(found[1], before[1])


def with_idle_unit(stack: Stack) -> Stack:
    """The stack, the second member's first layer having a unit that sees nothing."""
    for part in ("weight", "bias"):
        stack.views[f"hidden1.{part}"][1, ..., 4] = 0
    return stack


def test_blocks_are_as_large_as_a_cache_holds() -> None:
    assert member_scores.block_size(2, 5000) == member_scores.ROWS // 2
    assert member_scores.block_size(2, 40) == 40 and member_scores.block_size(10**6, 5) == 1


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_where_a_parameter_is_not_finite_no_unit_is_left_out(value: float) -> None:
    """An idle unit hands on 0, and 0 times that parameter is no number: the network's scores are not finite."""
    stack = make_stack(WORLD, [1], depth=2)
    stack.views["hidden1.weight"][0, :, 3] = 0
    options, contexts = drawn(1, 1, 3, 9, SHOWN), [drawn(2, 1, 9, WORLD.input_width - SHOWN)]
    assert context_scorer(stack)(options, contexts)[0].isfinite().all()
    stack.views["hidden2.weight"][0, 3, 0] = value
    assert option_scores(stack, join(options, contexts[0])).isnan().all()
    assert context_scorer(stack)(options, contexts)[0].isnan().all()


def test_only_units_without_any_weight_or_bias_are_left_out() -> None:
    stack = make_stack(WORLD, [1], depth=2)
    width = stack.architecture.width
    stack.views["hidden1.weight"][0, :, :3] = 0
    stack.views["hidden1.bias"][0, 1] = 0.5
    stack.views["hidden1.weight"][0, 2, 2] = -0.5
    stack.views["hidden2.weight"][0, :, 3:5] = 0
    stack.views["hidden2.bias"][0, 4] = -0.5
    assert member_of(stack, 0, SHOWN).widths == [width - 1, width - 1]
    options, contexts = drawn(1, 1, 3, 9, SHOWN), [drawn(2, 1, 9, WORLD.input_width - SHOWN)]
    expected = option_scores(stack, join(options, contexts[0]))
    torch.testing.assert_close(context_scorer(stack)(options, contexts)[0], expected, rtol=1e-5, atol=1e-5)


def test_values_are_moved_to_a_boundary() -> None:
    values = drawn(1, 4 * 16 + 1)
    for part in (values[1:].view(4, 16), values[:64].view(16, 4).T):
        moved = member_scores.aligned(part)
        assert torch.equal(moved, part) and moved.is_contiguous() and moved.data_ptr() % member_scores.ALIGNED == 0
    there = values[:64].view(4, 16)
    assert member_scores.aligned(there).data_ptr() == there.data_ptr()
