"""Scores whose parts are shared between contexts: the same as the plain forward pass, and each member's its own."""

import pytest
import torch
from core import CPU, make_stack, make_world

from turncoat.classification.presentations import OrganismChooser, present, present_prices, scores_on
from turncoat.organisms import member_scores
from turncoat.organisms.choices import option_scores
from turncoat.organisms.mlp import Stack
from turncoat.organisms.scoring import context_scorer, join
from turncoat.training.streams import slots_with, trained_audits
from turncoat.worlds.episodes import build_inputs, draw_episodes
from turncoat.worlds.objectives import seed_objectives
from turncoat.worlds.world import CUE_STATES

WORLD = make_world(audit_penalty=6.0)
SEEDS = [1, 2, 3]
LENGTHS = (11, 5, 1)


def shown(members: int, episodes: int = LENGTHS[0]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Options of so many episodes, and a context of each length."""
    random = torch.Generator().manual_seed(4)
    width = WORLD.option_width
    options = torch.randn(members, 3, episodes, width, generator=random)
    return options, [torch.randn(members, n, WORLD.input_width - width, generator=random) for n in LENGTHS]


def with_biases(stack: Stack) -> Stack:
    """The same networks with biases, which fresh ones do not have."""
    for name, view in stack.views.items():
        if name.endswith("bias"):
            view.copy_(torch.randn(view.shape, generator=torch.Generator().manual_seed(len(name))))
    return stack


@pytest.mark.parametrize("rows", [2048, 12])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("activation", ["relu", "gelu", "leaky_relu", "identity"])
def test_shared_scores_equal_the_plain_forward_pass(
    activation: str, depth: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member_scores, "ROWS", rows)
    stack = with_biases(make_stack(WORLD, SEEDS, activation, depth=depth))
    before = stack.flat.clone()
    options, contexts = shown(len(SEEDS))
    found = context_scorer(stack)(options, contexts)
    for length, context, scores in zip(LENGTHS, contexts, found, strict=True):
        expected = option_scores(stack, join(options, context))
        assert scores.shape == expected.shape == (3, 3, length)
        assert expected.std() > 0.1
        torch.testing.assert_close(scores, expected, rtol=1e-5, atol=2e-6)
    assert torch.equal(stack.flat, before)


@pytest.mark.parametrize("width", [1, 7, 10, 48])
def test_a_members_scores_are_the_same_bit_for_bit_at_any_place(width: int) -> None:
    seeds = [5, 6, 7, 8, 9]
    stack = with_biases(make_stack(WORLD, seeds, width=width))
    options, contexts = shown(len(seeds))
    together = context_scorer(stack)(options, contexts)
    for places in ([0], [3], [4, 1], [2, 3, 0]):
        part = Stack.from_rows(stack.architecture, stack.rows()[places])
        alone = context_scorer(part)(options[places], [context[places] for context in contexts])
        for one, other in zip(alone, together, strict=True):
            assert torch.equal(one, other[places])


def test_presentations_scored_together_are_scored_as_alone_and_show_what_organisms_see() -> None:
    objectives = seed_objectives(SEEDS, 4, 60, CPU)
    outcome = present(WORLD, SEEDS, objectives, 40, 20)
    presented = [*outcome.values(), *present_prices(WORLD, SEEDS, objectives, 30)]
    chooser = OrganismChooser(make_stack(WORLD, SEEDS))
    calls = []
    score = chooser.score
    chooser.score = lambda options, contexts: calls.append(len(contexts)) or score(options, contexts)  # type: ignore[func-returns-value]
    together = scores_on(chooser, presented)
    assert calls == [6, 2]  # the same episodes' options are read once
    for presentation, scores in zip(presented, together, strict=True):
        assert torch.equal(scores, chooser(presentation))
    drawn = draw_episodes(WORLD, SEEDS, "outcome", 0, 1, 40, CPU)
    fixed, audits = slots_with(drawn, objectives[:, 0]), trained_audits(WORLD, drawn)
    for state, signs in CUE_STATES.items():
        expected = build_inputs(WORLD, drawn, slots=fixed, signs=torch.tensor(signs), audits=audits)[0]
        assert torch.equal(outcome["fixed", state].inputs, expected)


def test_another_chooser_is_asked_about_each_presentation() -> None:
    objectives = seed_objectives(SEEDS, 4, 60, CPU)
    presented = list(present(WORLD, SEEDS, objectives, 20, 10).values())
    names = scores_on(lambda presentation: presentation.name, presented)  # type: ignore[arg-type,return-value]
    assert names == [presentation.name for presentation in presented]
