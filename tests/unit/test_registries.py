"""What the configuration allows is what the library has: two lists, because planning must not wait for torch."""

from typing import get_args

from turncoat.classification.types import CUTOFFS, TYPES
from turncoat.configuration import sections
from turncoat.configuration.types import TypeCutoffs
from turncoat.organisms.activations import ACTIVATIONS
from turncoat.organisms.mlp import FAMILIES
from turncoat.statistics.claims import CLAIMS
from turncoat.tables import alignment, measurements
from turncoat.training.losses import HEADS
from turncoat.training.optimizers import OPTIMIZERS
from turncoat.training.starts import PRETRAINED_STARTS, UNTRAINED_STARTS
from turncoat.worlds.objectives import OBJECTIVES
from turncoat.worlds.world import CUE_CODINGS, ENCODINGS


def test_allowed_values_are_those_that_exist() -> None:
    assert set(get_args(sections.Encoding)) == set(ENCODINGS)
    assert set(get_args(sections.Activation)) == set(ACTIVATIONS)
    assert set(get_args(sections.Optimizer)) == set(OPTIMIZERS)
    assert set(get_args(sections.Start)) == {*PRETRAINED_STARTS, *UNTRAINED_STARTS}
    assert set(sections.PRETRAINED_STARTS) == set(PRETRAINED_STARTS)
    assert set(sections.Heads.model_fields) == set(HEADS)
    assert set(sections.LearningRates.model_fields) == set(OPTIMIZERS)
    assert set(get_args(sections.Organism.model_fields["family"].annotation)) == set(FAMILIES)
    assert set(get_args(sections.Cue.model_fields["coding"].annotation)) == set(CUE_CODINGS)


def test_cutoffs_and_types_have_the_same_names_everywhere() -> None:
    assert set(TypeCutoffs.model_fields) == set(CUTOFFS)
    assert set(alignment.TYPES) == set(TYPES)
    assert set(OBJECTIVES) <= set(measurements.OBJECTIVES)


def test_every_claim_is_declared() -> None:
    expected = {"P1", "P2", "P3", "P4a", "P4b", "P4c", "P4d", "P5a", "P5b", "P5c", *(f"P{n}" for n in range(6, 12))}
    assert set(CLAIMS) == expected | {f"G{n}" for n in range(1, 10)}
