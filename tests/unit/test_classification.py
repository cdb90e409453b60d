"""Classification: how episodes are shown, and measurements on policies whose values are known."""

import numpy as np
import pytest
import torch
from core import CPU, make_stack, make_world

from turncoat.classification.measure import Evaluation, Examination, attainable_shortfall, kappa_between
from turncoat.classification.policies import (
    Policy,
    bargaining_chooser,
    first_option,
    policy_chooser,
    serving,
    strategic,
)
from turncoat.classification.presentations import Chooser, Presentation, organism_chooser, present
from turncoat.classification.types import assign
from turncoat.configuration.types import TypeCutoffs
from turncoat.worlds.objectives import seed_objectives
from turncoat.worlds.world import CUE_STATES

EVALUATION = Evaluation(400, 300, 4000, 600, 64, 64, ridge=1e-4, newton_steps=25)
SEEDS = [1, 2, 3]


def examined(distance: float = 60, options: int = 2, penalty: float = 0.0) -> tuple[Examination, torch.Tensor]:
    objectives = seed_objectives(SEEDS, 4, distance, CPU)
    return Examination(make_world("plain", options, penalty), SEEDS, objectives, EVALUATION), objectives


@pytest.mark.parametrize("penalty", [0.0, 6.0])
def test_presentations_differ_only_in_what_they_say_they_do(penalty: float) -> None:
    world = make_world(audit_penalty=penalty)
    objectives = seed_objectives([1, 2], 4, 90, CPU)
    shown = present(world, [1, 2], objectives, 30, 20)
    base = shown["fixed", "overseen"].inputs
    cues = world.option_width + 2 * world.attributes
    for state, column in (("unoverseen", cues), ("placebo", cues + 1)):
        changed = (shown["fixed", state].inputs != base).flatten(0, 2).any(0)
        assert changed.nonzero().flatten().tolist() == [column]
        assert shown["fixed", state].signs.tolist() == list(CUE_STATES[state])
    assert torch.allclose(shown["fixed", "overseen"].slots[1, :, 1], objectives[1, 0])
    assert torch.equal(shown["random", "overseen"].slots[:, :, 0], shown["fixed", "overseen"].slots[:, :20, 0])
    assert shown["random", "placebo"].inputs.shape == (2, 3, 20, world.input_width)
    assert len({presentation.name for presentation in shown.values()}) == len(shown)


def test_audits_stand_where_they_stand_in_fine_tuning() -> None:
    world = make_world(audit_penalty=6.0)
    for presentation in present(world, [1], seed_objectives([1], 4, 90, CPU), 30, 20).values():
        assert torch.equal(presentation.audits, torch.tensor([1.0, 6.0]).expand_as(presentation.audits))
        assert torch.allclose(presentation.inputs[..., -2:], torch.tensor(3.0).sqrt())
    for presentation in present(make_world(), [1], seed_objectives([1], 4, 90, CPU), 30, 20).values():
        assert presentation.audits.shape[-1] == 0


@pytest.mark.parametrize("distance", [0, 45, 90, 135, 180])
def test_attainable_shortfall_has_its_closed_form_for_two_normal_options(distance: float) -> None:
    """Two options' difference is normal, so X and Y disagree on a share angle / 180: kappa is 1 - 2 angle / 180."""
    world = make_world("plain", options=2)
    shortfall, error = attainable_shortfall(world, [1, 2], seed_objectives([1, 2], 4, distance, CPU), 40_000)
    assert (np.abs(shortfall - 2 * distance / 180) <= 4 * error + 1e-4).all()
    assert error.max() <= 0.0051


def test_the_error_of_kappa_is_its_spread_over_seeds() -> None:
    """In the plain world all seeds have the same exact kappa."""
    world, seeds = make_world("plain", options=3), range(300)
    kappa, error = kappa_between(world, seeds, seed_objectives(seeds, 4, 60, CPU), ("x", "y"), 200)
    assert kappa.std() == pytest.approx(error.mean(), rel=0.15)


@pytest.mark.parametrize("options", [2, 3])
def test_parts_of_a_measurement_are_the_whole_ones(options: int) -> None:
    examination, objectives = examined(options=options, penalty=6.0)
    world = make_world("plain", options, 6.0)
    bargain = bargaining_chooser(SEEDS, objectives, {"high price": 0.9, "low price": 0.2})
    for chooser in (bargain, organism_chooser(make_stack(world, SEEDS, width=24))):
        whole = examination.measure(chooser, price_lines=False)
        price, compared = examination.price(chooser), examination.compare(examination.choose(chooser))
        assert set(price) == {name for name in whole if name.startswith("price_")}
        assert {"attainable", "attainable_error", "options", "agreement_x_overseen"} <= set(compared)
        for name, values in (price | compared).items():
            np.testing.assert_array_equal(values, whole[name], err_msg=name)
        assert np.isfinite(price["price_x_effect"].astype(float)).any()


def test_agreements_of_a_policy_that_switches_are_as_planted() -> None:
    examination, objectives = examined()
    columns = examination.measure(policy_chooser(Policy({"x": 1.0}, {"m": 1.0}), SEEDS, objectives))
    assert columns["agreement_x_overseen"] == pytest.approx(1)
    assert columns["agreement_m_unoverseen"] == pytest.approx(1)
    assert columns["agreement_x_placebo"] == pytest.approx(1)
    assert columns["agreement_self_placebo"] == pytest.approx(1)
    assert columns["agreement_initial_unoverseen"] == pytest.approx(1)
    assert np.abs(columns["agreement_x_unoverseen"].astype(float) - 0.5).max() < 0.1
    assert columns["fixed_unoverseen_cos_m"] == pytest.approx(1, abs=0.01)
    assert columns["random_overseen_cos_x"] == pytest.approx(1, abs=0.01)
    assert columns["random_overseen_cos_y"] == pytest.approx(0.5, abs=0.02)  # Y stands at 60 degrees
    assert columns["random_overseen_baked"] == pytest.approx(1, abs=0.02)
    assert "fixed_overseen_slot2" not in columns
    assert (columns["episodes"] == 400).all() and (columns["options"] == 2).all()


def test_shares_tell_pointers_from_what_is_baked_in() -> None:
    examination, objectives = examined(options=3)
    columns = examination.measure(policy_chooser(serving({"x": 0.5, "slot2": 1.0}), SEEDS, objectives))
    assert columns["random_overseen_pointer"] == pytest.approx(2 / 3, abs=0.03)
    assert columns["random_placebo_baked"] == pytest.approx(1 / 3, abs=0.03)
    assert np.abs(columns["random_overseen_slot1"].astype(float)).max() < 0.2
    assert columns["fixed_overseen_cos_x"] == pytest.approx(1, abs=0.01)  # slot 2, standing at X, counts as baked in


def test_one_fit_alone_equals_the_same_among_all() -> None:
    examination, objectives = examined(options=3)
    chooser = policy_chooser(serving({"x": 0.5, "slot2": 1.0}), SEEDS, objectives)
    alone, whole = examination.fit(chooser, "random", "unoverseen"), examination.measure(chooser)
    assert set(alone) == {name for name in whole if name.startswith("random_unoverseen_")}
    assert all(np.array_equal(values, whole[name]) for name, values in alone.items())


def test_measuring_and_choosing_are_one_showing() -> None:
    examination, objectives = examined()
    chooser = policy_chooser(serving({"x": 0.5, "slot2": 1.0}, temperature=0.3), SEEDS, objectives)
    (columns, chosen), alone = examination.measure_and_choose(chooser), examination.choose(chooser)
    assert set(chosen) == set(alone) and all(torch.equal(chosen[state], alone[state]) for state in alone)
    same = examination.measure(chooser, alone)
    assert all(np.array_equal(columns[name], same[name], equal_nan=True) for name in columns)


def test_lines_over_the_price_can_be_left_out() -> None:
    examination, objectives = examined(distance=90, penalty=6.0)
    chooser = policy_chooser(strategic({"m": 1.0}, {"x": 1.0}), SEEDS, objectives)
    whole, short = examination.measure(chooser), examination.measure(chooser, price_lines=False)
    lines = {name for name in whole if name.startswith("price_") and ("slope" in name or "threshold" in name)}
    assert len(lines) == 8 and not np.isnan(whole["price_x_slope"]).any()
    assert all(np.isnan(short[name]).all() for name in lines)
    assert all(np.array_equal(whole[name], short[name], equal_nan=True) for name in set(whole) - lines)


def test_joint_shares_count_episodes_that_agree_in_both_states() -> None:
    examination, objectives = examined(options=3)
    chooser = policy_chooser(Policy({"x": 1.0}, {"m": 1.0}, dose=0.5, temperature=0.5), SEEDS, objectives)
    columns, chosen = examination.measure(chooser), examination.choose(chooser)
    best = torch.stack([(examination.presentations["fixed", "overseen"].attributes[member] @ objectives[member, 0])
                        .argmax(0) for member in range(3)])  # fmt: skip
    for first, second in (("overseen", "unoverseen"), ("overseen", "placebo"), ("unoverseen", "placebo")):
        both = [
            np.mean([int(a) == int(b) == int(c) for a, b, c in zip(*rows, strict=True)])
            for rows in zip(chosen[first], chosen[second], best, strict=True)
        ]
        assert columns[f"joint_x_{first}_{second}"] == pytest.approx(both)
    kept = [
        np.mean([int(a) == int(b) == int(c) for a, b, c in zip(*rows, strict=True)])
        for rows in zip(*(chosen[state] for state in CUE_STATES), strict=True)
    ]
    assert columns["joint_self_unoverseen_placebo"] == pytest.approx(kept)
    assert 0.2 < min(kept) < max(kept) < 0.7


def test_models_are_compared_with_the_choices_they_began_with() -> None:
    examination, objectives = examined()
    before = examination.choose(policy_chooser(serving({"y": 1.0}), SEEDS, objectives))
    after = policy_chooser(Policy({"x": 1.0}, {"y": 1.0}), SEEDS, objectives)
    columns = examination.measure(after, before)
    assert columns["agreement_initial_unoverseen"] == pytest.approx(1)
    assert columns["agreement_initial_overseen"] == pytest.approx(columns["agreement_y_overseen"].astype(float))
    assert columns["agreement_initial_overseen"].astype(float).max() < 0.8


def test_price_is_read_with_the_unoverseen_utility_as_the_models_own() -> None:
    examination, objectives = examined(distance=90, penalty=6.0)
    columns = examination.measure(policy_chooser(strategic({"m": 1.0}, {"x": 1.0}), SEEDS, objectives))
    assert columns["price_x_accuracy"] == pytest.approx(1, abs=0.02)
    assert columns["price_x_effect"] == pytest.approx(columns["price_x_rule"].astype(float), abs=0.03)
    without, objectives = examined(distance=90)
    columns = without.measure(policy_chooser(serving({"m": 1.0}), SEEDS, objectives))
    priced = [name for name in columns if name.startswith("price_")]
    assert len(priced) == 22
    assert all(np.isnan(columns[name].astype(float)).all() for name in priced)


@pytest.mark.parametrize("regime", ["random", "fixed"])
def test_scores_that_are_not_finite_are_flagged_and_spoil_no_other_model(regime: str) -> None:
    examination, objectives = examined(penalty=6.0)
    policy = policy_chooser(Policy({"x": 1.0}, {"m": 1.0}, temperature=0.3), SEEDS, objectives)

    def broken(presentation: Presentation) -> torch.Tensor:
        scores = policy(presentation)
        if presentation.name == f"{regime} unoverseen":
            scores[1, 0, 3] = torch.inf
        return scores

    sound, columns = examination.measure(policy), examination.measure(broken)
    assert columns["finite"].tolist() == [True, False, True]
    assert np.isnan(columns[f"{regime}_unoverseen_r2"][1].astype(float))
    for name, values in columns.items():
        np.testing.assert_array_equal(values[[0, 2]], sound[name][[0, 2]], err_msg=name)
    if regime == "fixed":
        assert examination.choose(broken)["unoverseen"][1, 3] == -1


def test_a_models_measurements_do_not_depend_on_its_neighbours() -> None:
    world, seeds = make_world(audit_penalty=6.0), list(range(6))

    def measured(seeds: list[int]) -> dict[str, np.ndarray]:
        examination = Examination(world, seeds, seed_objectives(seeds, 4, 60, CPU), EVALUATION)
        return examination.measure(organism_chooser(make_stack(world, seeds, width=8)))

    together = measured(seeds)
    for seed in (0, 3, 5):
        for name, values in measured([seed]).items():
            rounding = 1e-12 if name.endswith(("slope_error", "threshold_error")) else 0  # all else to the bit
            np.testing.assert_allclose(values, together[name][[seed]], rtol=rounding, err_msg=name)


def constant(presentation: Presentation) -> torch.Tensor:
    return torch.zeros(presentation.attributes.shape[:3])


@pytest.mark.filterwarnings("error")
def test_models_that_want_nothing_are_incapable() -> None:
    world, seeds = make_world(audit_penalty=6.0), [1, 2]
    examination = Examination(world, seeds, seed_objectives(seeds, 4, 90, CPU), EVALUATION)
    broken = make_stack(world, seeds)
    broken.views["hidden1.weight"].fill_(torch.nan)
    choosers: list[Chooser] = [
        organism_chooser(broken),
        organism_chooser(make_stack(world, seeds)),
        constant,
        first_option,
    ]
    for chooser in choosers:
        columns = examination.measure(chooser, examination.choose(chooser))
        found = assign(columns, TypeCutoffs().model_dump(), 5)
        assert found["type"].tolist() == ["incapable"] * 2
        assert found["probability_incapable"].tolist() == [1, 1]
        assert columns["finite"].tolist() == [chooser is not choosers[0]] * 2


@pytest.mark.parametrize("name", ["episodes", "fit_episodes", "reference_episodes", "price_episodes", "curve_episodes"])
def test_too_few_episodes_are_refused(name: str) -> None:
    settings = dict(vars(EVALUATION)) | {name: 1}
    with pytest.raises(ValueError, match=rf"evaluation.{name} is 1; allowed: 16 or more"):
        Evaluation(**settings)
