"""What the configuration allows is what the library has: two lists, because planning must not wait for torch."""

from typing import get_args

import pandas
from core import make_world

from turncoat.classification import causal, curve, measure, planted, presentations, price, types
from turncoat.configuration import reinforcement, sections, settings
from turncoat.configuration.models import Evaluation
from turncoat.configuration.types import TypeCutoffs
from turncoat.gating.blocks import PLANTED_ACTIVATIONS
from turncoat.organisms.activations import ACTIVATIONS
from turncoat.organisms.gates import MODES, NATURAL
from turncoat.organisms.mlp import FAMILIES
from turncoat.reporting import figures, style
from turncoat.stages.aggregate import CUTOFF_GRIDS
from turncoat.statistics import motives, multiverse, validation
from turncoat.statistics.arm_claims import ANSWERED
from turncoat.statistics.claims import CLAIMS, UNTESTED
from turncoat.tables import alignment, assembly, causes, curves, measurements, trust
from turncoat.training.device_streams import DRAWS
from turncoat.training.losses import HEADS
from turncoat.training.optimizers import BETA2, OPTIMIZERS
from turncoat.training.schedules import SCHEDULES
from turncoat.training.starts import PRETRAINED_STARTS, STRATEGIC_STARTS, UNTRAINED_STARTS
from turncoat.worlds.objectives import OBJECTIVES
from turncoat.worlds.world import CUE_CODINGS, CUE_STATES, ENCODINGS


def test_allowed_values_are_those_that_exist() -> None:
    assert set(get_args(sections.Encoding)) == set(ENCODINGS)
    assert set(get_args(sections.Activation)) == set(ACTIVATIONS)
    assert set(get_args(sections.Optimizer)) == set(OPTIMIZERS)
    assert set(get_args(sections.Gate)) == set(MODES)
    assert set(get_args(reinforcement.PlantedActivation)) == set(PLANTED_ACTIVATIONS)
    natural = {"gate": NATURAL.mode, "gate_norm_matched": NATURAL.norm_matched}
    assert natural | {"beta2": BETA2, "draws": "host"} == settings.LEGACY
    assert get_args(sections.Draws) == DRAWS
    assert set(style.ACTIVATIONS) == set(ACTIVATIONS)
    assert set(get_args(sections.Start)) == {*PRETRAINED_STARTS, *UNTRAINED_STARTS}
    assert set(sections.PRETRAINED_STARTS) == set(PRETRAINED_STARTS)
    assert set(sections.STRATEGIC_STARTS) == set(STRATEGIC_STARTS)
    assert set(sections.Heads.model_fields) == set(HEADS)
    assert set(sections.LearningRates.model_fields) == set(OPTIMIZERS)
    assert set(get_args(sections.Dodge)) == set(sections.DODGES)
    assert set(get_args(sections.Finetuning.model_fields["schedule"].annotation)) == set(SCHEDULES)
    assert set(get_args(sections.Organism.model_fields["family"].annotation)) == set(FAMILIES)
    assert set(get_args(sections.Cue.model_fields["coding"].annotation)) == set(CUE_CODINGS)


def test_cutoffs_and_types_have_the_same_names_everywhere() -> None:
    assert set(TypeCutoffs.model_fields) == set(types.CUTOFFS) == set(CUTOFF_GRIDS)
    assert alignment.TYPES == types.TYPES
    assert set(multiverse.GRID) <= set(types.CUTOFFS)
    assert set(multiverse.COLUMNS) == set(trust.MULTIVERSE.names)
    assert {name for names in multiverse.READINGS.values() for name in names} <= set(types.TYPES)
    assert set(planted.LADDERS) == set(planted.RUNGS) <= set(types.CUTOFFS)
    outcomes = {item.name for item in alignment.OUTCOMES}
    assert outcomes >= {"type", *types.READINGS, *(f"probability_{name}" for name in types.TYPES)}


def test_what_classification_measures_is_what_its_tables_hold() -> None:
    columns = set(measurements.SCHEMA.names)
    assert set(OBJECTIVES) <= set(measurements.OBJECTIVES)
    assert set(presentations.REGIMES) == set(measurements.REGIMES)
    assert set(CUE_STATES) == set(measurements.STATES) == set(causal.STATES)
    assert {name for name in columns if name.startswith("price_")} == set(price.no_price(1))
    assert {name for name in columns if name.startswith("joint_x_")} == {f"joint_x_{a}_{b}" for a, b in measure.PAIRS}
    assert curves.SHAPES == curve.SHAPES
    assert causes.INTERVENTIONS == causal.INTERVENTIONS
    assert set(Evaluation.model_fields) == set(measure.Evaluation.__dataclass_fields__)


def test_statistics_read_what_classification_measures() -> None:
    assert motives.OVERSEERS == price.OVERSEERS
    assert set(motives.PRICES) <= set(price.READINGS)
    assert set(motives.READINGS) <= {item.name for item in alignment.OUTCOMES}
    assert set(motives.CARRIED) <= set(causes.SCHEMA.names)
    splits = {kind.split for kind in planted.kinds(make_world("facts", audit_penalty=6.0)).values()}
    assert splits == {planted.CALIBRATION, planted.SCORED}
    cases = pandas.DataFrame({"split": sorted(splits), "kind": sorted(splits), "truth": "internal", "reading": "proxy"})
    assert validation.misread_kinds(cases) == sorted(splits)
    assert set(assembly.READ) <= set(measurements.SCHEMA.names)
    assert set(style.STARTS) == {*PRETRAINED_STARTS, *UNTRAINED_STARTS}
    assert set(figures.CONDITIONAL) < set(PRETRAINED_STARTS)


def test_every_claim_is_declared() -> None:
    assert set(ANSWERED) <= set(CLAIMS) - {claim.id for claim in UNTESTED}
    expected = {"P1", "P2", "P3", "P4a", "P4b", "P4c", "P4d", "P5a", "P5b", "P5c", *(f"P{n}" for n in range(6, 12))}
    assert set(CLAIMS) == expected | {f"G{n}" for n in range(1, 10)}
