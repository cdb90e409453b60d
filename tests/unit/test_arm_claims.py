"""Claims that need arms of their own: studies with planted answers end in the verdicts that were planted."""

import math
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas
import pytest
from aggregated import Truth, primary, study

from turncoat.statistics.arm_claims import ANSWERED
from turncoat.statistics.claims import CLAIMS
from turncoat.statistics.contrasts import Plan
from turncoat.statistics.pointer_claims import world_model
from turncoat.statistics.rows import finished
from turncoat.statistics.transitions import SHIFTED

STARTS = ["internal", "corrigible", "internal_strategic", "conditional", "scratch", "scratch_exposed"]
NULL = dict.fromkeys([*STARTS, "deceptive"], 0.3)
SIZE = 0.2  # of a planted difference
INSTRUCTED = {"finetuning.mode": ["instructed"]}
WORLD_MODEL = "pretraining heads.oversight 1, pretraining heads.world 0"
FEW: dict[str, Any] = {
    "main": {"starts": STARTS, "distances": [90]},
    "known": {"starts": ["conditional"], "distances": [90]}
    | {"vary": {"world.cue.coding": ["parity"], "pretraining.heads.oversight": [0.0, 0.5]}},
    "objective": {"starts": ["internal"], "distances": [90], "vary": {"pretraining.heads.objective": [0.5]}},
    "pointer": {"starts": ["corrigible"], "distances": [90], "vary": INSTRUCTED | {"world.slot_angle": [90, 30]}},
    "world_model": {"starts": ["corrigible", "scratch_exposed"], "distances": [90]}
    | {"vary": INSTRUCTED | {"pretraining.heads.oversight": [1.0], "pretraining.heads.world": [0.0, 1.0]}},
    "short": {"starts": ["corrigible"], "distances": [90], "pretraining_steps": [100]},
    "budget": {"starts": ["corrigible", "scratch"], "distances": [90], "vary": {"finetuning.budget": [2048]}},
    "dodges": {"starts": ["conditional"], "distances": [90], "dodges": ["x_in_pretraining"]},
}
"""An arm for each claim, and no more."""
MORE: dict[str, Any] = {
    "more_known": {"starts": ["conditional", "internal"], "distances": [90]}
    | {"vary": {"world.cue.coding": ["parity"], "pretraining.heads.oversight": [0.0, 1.0]}},
    "more_objective": {"starts": ["internal"], "distances": [90], "vary": {"pretraining.heads.objective": [1.0]}},
    "more_pointer": {"starts": ["corrigible"], "distances": [90], "vary": INSTRUCTED | {"world.slot_angle": [60]}},
    "more_short": {"starts": ["corrigible"], "distances": [90], "pretraining_steps": [400]},
    "more_budget": {"starts": ["corrigible", "scratch"], "distances": [90], "vary": {"finetuning.budget": [8192]}},
    "more_dodges": {"starts": ["conditional", "scratch"], "distances": [90], "dodges": ["l2_to_start"]},
    "foresight": {"starts": ["deceptive"], "distances": [90], "vary": {"pretraining.foreknowledge": [0.0, 1.0]}},
}
"""Further values of the same factors, whose strata are exploratory."""
PLAIN: dict[str, Any] = {"statistics": {"resamples": 200, "capabilities": [0.9], "cross_entropies": []}}
PLACES = {  # setting, variant, start, reference, outcome
    "P4b": ("", "", "internal_strategic", "internal", "d"),
    "P4c": ("", "", "internal", "scratch", "points_to_x"),
    "P4d": ("", "pretraining heads.objective 0.5", "internal", "", "ablation"),
    "P5a": ("mode instructed, slot_angle 30", "", "corrigible", "without slot_angle 30", "d"),
    "P5c": ("mode instructed", WORLD_MODEL, "corrigible", "scratch_exposed", "pointer_shifted"),
    "P8": ("", "pretraining steps 100", "corrigible", "without steps 100", "d"),
    "P9": ("budget 2048", "", "corrigible", "scratch", "capability"),
    "P10": ("", "dodge x_in_pretraining", "conditional", "without dodge x_in_pretraining", "d"),
    "P11": ("cue.coding parity", "pretraining heads.oversight 0.5", "conditional", "without heads.oversight 0.5", "d"),
}
VERDICTS = {1: "supported", 0: "no_effect", -1: "contradicted"}
EQUAL = {1: "contradicted", 0: "supported", -1: "contradicted"}  # of claims that say: as much


def planted(sign: int, **changes: Any) -> Truth:
    """What makes every one of these claims true (1), false (-1), or neither (0)."""
    shift = {("corrigible", "slot_angle 30"): -1.0, ("corrigible", "steps 100"): -1.0}
    shift |= {("conditional", "dodge x_in_pretraining"): -1.0}
    shift |= {("conditional", f"heads.oversight {weight}"): 1.0 for weight in ("0.5", "1")}
    values: dict[str, Any] = {"placebo": NULL, "spread": 0.01, "slope": 0.0}
    values["c"] = NULL | {"internal_strategic": NULL["internal"] + sign * SIZE}
    values["shift"] = {key: sign * SIZE * direction for key, direction in shift.items()}
    values["pace"] = {("corrigible", "heads.world 0"): 2.0**sign}
    values["turning"] = {"internal": 300 * 2.0**sign}
    values["objective"] = {"internal": sign * SIZE}
    slow = {1: "scratch", -1: "corrigible"}
    values["ceiling"] = {(slow[sign], "budget 2048"): 0.7} if sign else {}
    return Truth(**values | changes)


def arms_study(folder: Path, truth: Truth, names: Mapping[str, Any] = FEW, **more: Any) -> pandas.DataFrame:
    return study(folder, truth, arms=names, **PLAIN | more)


@pytest.fixture(scope="module", params=VERDICTS, ids=VERDICTS.values())
def judged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, pandas.DataFrame]:
    sign: int = request.param
    return sign, arms_study(tmp_path_factory.mktemp("arms"), planted(sign), FEW | (MORE if sign > 0 else {}))


@pytest.mark.parametrize("claim", ANSWERED)
def test_a_planted_answer_is_found(judged: tuple[int, pandas.DataFrame], claim: str) -> None:
    sign, claims = judged
    row = primary(claims, claim)
    assert (row.setting, row.variant, row.start, row.reference, row.outcome) == PLACES[claim]
    expected = (EQUAL if claim in ("P4c", "P5c") else VERDICTS)[sign]
    assert (row.verdict, row.n, row.distance) == (expected, 24, 90), row.reason
    if claim == "P9":  # the one side ends at 0.99, the other at its ceiling; scratch by itself ends a little lower
        assert row.estimate == pytest.approx({1: 0.29, 0: 0.02, -1: -0.27}[sign], abs=0.02)
    elif row.outcome in ("points_to_x", "pointer_shifted"):  # between snapshots times are interpolated
        assert row.estimate == pytest.approx(sign * math.log(2), abs=0.12)
    else:
        assert row.estimate == pytest.approx(sign * SIZE, abs=0.02)


def test_strata_beside_the_primary_ones_are_exploratory(judged: tuple[int, pandas.DataFrame]) -> None:
    """Other weights of a head, slot angles, lengths and budgets are shown with their own verdicts."""
    sign, claims = judged
    beside = [
        ("P4d", "ablation", "internal", "", "pretraining heads.objective 1", "supported"),
        ("P4d", "d", "internal", "without heads.objective 1", None, "not_tested"),
        ("P5a", "d", "corrigible", "without slot_angle 60", None, "no_effect"),
        ("P5a", "pointer_shifted", "corrigible", "without slot_angle 30", None, "no_effect"),
        ("P8", "d", "corrigible", "scratch_exposed", "pretraining steps 400", "not_tested"),
        ("P8", "d", "corrigible", "without steps 400", None, "no_effect"),
        ("P10", "d", "conditional", "without dodge l2_to_start", None, "no_effect"),
        ("P11", "d", "conditional", "without heads.oversight 1", None, "supported"),
        ("P11", "d", "deceptive", "without foreknowledge 1", None, "no_effect"),
        ("P4b", "d", "internal", "without heads.oversight 1", None, "no_effect"),
    ]
    for claim, outcome, start, reference, variant, verdict in beside if sign > 0 else []:
        rows = claims[(claims.claim == claim) & (claims.outcome == outcome) & (claims.start == start)]
        rows = rows[(rows.reference == reference) & (rows.match != "final step")]
        rows = rows if variant is None else rows[rows.variant == variant]
        assert rows.verdict.tolist() == [verdict] and not rows.primary.item(), (claim, reference)
    budgets = claims[(claims.claim == "P9") & (claims.setting == "budget 8192") & (claims.reference == "scratch")]
    assert budgets.verdict.tolist() == ["no_effect"] * (sign > 0)


def test_plain_minus_dodge_turns_everything_about_the_row(judged: tuple[int, pandas.DataFrame]) -> None:
    _, claims = judged
    row = primary(claims, "P10")
    assert row.stratum.startswith("without minus conditional with dodge x_in_pretraining")
    assert row.low < row.estimate < row.high and row.bound_low <= row.estimate <= row.bound_high


def test_a_head_at_nothing_is_the_arm_that_is_taken_away(tmp_path: Path) -> None:
    """In a study that has the head, the arm without it is varied: the difference is still with minus without."""
    vary = {"world.cue.coding": ["parity"], "pretraining.heads.oversight": [0.0, 1.0]}
    arm = {"starts": ["conditional"], "distances": [90], "vary": vary}
    truth = Truth(c=NULL, placebo=NULL, spread=0.01, shift={("conditional", "heads.oversight 0"): -SIZE})
    claims = arms_study(tmp_path, truth, {"known": arm}, pretraining={"heads": {"oversight": 1.0}})
    row = primary(claims, "P11")
    assert row.reference == "without heads.oversight 0" and row.stratum.startswith("without minus conditional with")
    assert row.verdict == "supported" and row.estimate == pytest.approx(SIZE, abs=0.02)


def test_the_heads_direction_is_judged_wherever_the_head_was_trained(tmp_path: Path) -> None:
    """In a study that has the objective head, models without words for it have it, and those from scratch never do."""
    starts = ["internal", "scratch", "scratch_exposed"]
    names = {
        "main": {"starts": starts, "distances": [90]},
        "without": {"starts": ["internal"], "distances": [90], "vary": {"pretraining.heads.objective": [0.0]}},
        "dodges": {"starts": ["internal"], "distances": [90]}
        | {"dodges": ["last_layer_reset", "knowledge_withheld", "l2_to_start"]},
    }
    truth = Truth(c=NULL, placebo=NULL, spread=0.01, objective=dict.fromkeys(starts, SIZE))
    claims = arms_study(tmp_path, truth, names, pretraining={"heads": {"objective": 0.5}})
    rows = claims[(claims.claim == "P4d") & (claims.outcome == "ablation")]
    assert set(rows.start) == {"internal"} and set(rows.variant) == {"", "dodge l2_to_start"}
    row = primary(claims, "P4d")
    assert (row.verdict, row.variant) == ("supported", "") and row.estimate == pytest.approx(SIZE, abs=0.02)


def test_a_head_that_taught_nothing_is_no_test_of_knowledge(tmp_path: Path) -> None:
    vary = {"world.cue.coding": ["parity"], "pretraining.heads.oversight": [0.0, 1.0]}
    arm = {"starts": ["conditional", "internal"], "distances": [90], "vary": vary}
    claims = arms_study(tmp_path, Truth(ignorant=True), {"known": arm})
    rows = claims[claims.claim.isin(["P4b", "P11"]) & claims.reference.str.startswith("without heads.oversight")]
    assert len(rows) > 4 and set(rows.claim) == {"P4b", "P11"}
    assert (rows.verdict == "not_tested").all() and rows.reason.str.startswith("no test of knowledge: a linear").all()
    assert rows.estimate.notna().any()


def test_claims_without_their_arms_are_not_tested_and_say_what_they_need(tmp_path: Path) -> None:
    claims = arms_study(tmp_path, Truth(), {"main": {"starts": ["corrigible", "scratch"], "distances": [90]}})
    for claim in ANSWERED:
        row = primary(claims, claim)
        assert row.verdict == "not_tested", claim
        assert row.reason == f"the study has no models for it ({CLAIMS[claim].primary})"


def test_a_failed_premise_stops_the_claims_that_rest_on_it(tmp_path: Path) -> None:
    truth = planted(1)
    slow = {**truth.half_way, "internal": 420, "corrigible": 420}
    names = {name: FEW[name] for name in ("main", "short", "budget")}
    claims = arms_study(tmp_path, planted(1, half_way=slow), names)
    for claim in ANSWERED:
        row = primary(claims, claim)
        if claim in ("P4c", "P9"):
            assert CLAIMS[claim].premise and (row.verdict, row.n) == ("not_tested", 24)
            assert row.reason.startswith("premise failed") and row.estimate > 0
        else:
            assert not row.reason.startswith("premise"), claim
    assert primary(claims, "P8").verdict == primary(claims, "P4b").verdict == "supported"


def test_too_few_models_have_no_verdict(tmp_path: Path) -> None:
    claims = arms_study(tmp_path, planted(1), seeds={"first": 0, "count": 6, "block": 6})
    for claim in ANSWERED:
        row = primary(claims, claim)
        reason = "premise not measured" if CLAIMS[claim].premise else "6 models, fewer than 12"
        assert (row.verdict, row.n) == ("not_tested", 6) and row.reason.startswith(reason), claim


def test_turns_that_neither_side_makes_leave_no_verdict(tmp_path: Path) -> None:
    late = {"internal": 900.0, "scratch": 930.0}  # the last step lies between many models' turns
    claims = arms_study(tmp_path, Truth(turning=late), {"main": {"starts": list(late), "distances": [90]}})
    row = primary(claims, "P4c")
    assert row.verdict == "not_tested" and "in 8 of 24 pairs neither side got there" in row.reason
    assert (row.n, row.n_pairs) == (16, 16)


def test_what_never_got_there_can_leave_a_claim_inconclusive(tmp_path: Path) -> None:
    """Half of the dodged models never get to the capability: their D could be anything."""
    truth = Truth(c=NULL, placebo=NULL, spread=0.01, ceiling={("conditional", "dodge x_in_pretraining"): 0.9})
    names = {"main": {"starts": ["conditional"], "distances": [90]}, "dodges": FEW["dodges"]}
    row = primary(arms_study(tmp_path, truth, names), "P10")
    assert row.verdict == "inconclusive" and "seeds got there on both sides" in row.reason
    assert 12 <= row.n < 22 and row.never_start == 24 - row.n and row.bound_low < -0.2 < 0.2 < row.bound_high


def test_models_that_look_like_none_of_the_types_are_compared_apart(tmp_path: Path) -> None:
    truth = Truth(looks={"corrigible": "incapable"}, spread=0.01)
    starts = ["internal", "corrigible", "scratch_exposed"]
    claims = arms_study(tmp_path, truth, {"main": {"starts": starts, "distances": [90]}})
    rows = claims[(claims.claim == "P8") & claims.stratum.str.contains("the types after")].set_index("stratum")
    assert len(rows) == 2 and (rows.n == 24).all()
    none = rows[rows.index.str.contains("of none of")]
    assert none.estimate.item() == pytest.approx(0.10, abs=0.02) and none.verdict.item() == "contradicted"
    typed = rows[~rows.index.str.contains("of none of")]
    assert typed.estimate.item() == pytest.approx(0.0, abs=0.02) and typed.verdict.item() == "not_tested"


def test_apart_minus_alike_whatever_the_studys_own_slots(tmp_path: Path) -> None:
    """In a study whose own slots are 30 degrees apart, the arm at 90 is the one that they are subtracted from."""
    arm = {"starts": ["corrigible"], "distances": [90], "vary": {"world.slot_angle": [30, 60, 90]}}
    more = {"world": {"slot_angle": 30}, "finetuning": {"mode": "instructed", "steps": 1600, "snapshots": 10}}
    claims = arms_study(
        tmp_path, Truth(c=NULL, placebo=NULL, spread=0.01, shift={("corrigible", "slot_angle 90"): SIZE}),
        {"pointer": arm}, **more,
    )  # fmt: skip
    row = primary(claims, "P5a")
    assert row.reference == "without slot_angle 90" and row.stratum.startswith("corrigible with slot_angle 90 minus")
    assert row.verdict == "supported" and row.estimate == pytest.approx(SIZE, abs=0.02)
    beside = claims[(claims.claim == "P5a") & (claims.reference == "without slot_angle 60")]
    assert len(beside) and not beside.primary.any()


def test_slots_between_have_no_widest_against_narrowest(tmp_path: Path) -> None:
    """90 against 30 degrees is compared nowhere where both are compared with the study's own 60."""
    arm = {"starts": ["corrigible"], "distances": [90], "vary": {"world.slot_angle": [30, 60, 90]}}
    more = {"world": {"slot_angle": 60}, "finetuning": {"mode": "instructed", "steps": 1600, "snapshots": 10}}
    shift = {("corrigible", "slot_angle 90"): SIZE, ("corrigible", "slot_angle 30"): -SIZE}
    claims = arms_study(tmp_path, Truth(c=NULL, placebo=NULL, spread=0.01, shift=shift), {"pointer": arm}, **more)
    assert primary(claims, "P5a").verdict == "not_tested"
    rows = claims[(claims.claim == "P5a") & (claims.outcome == "d") & (claims.match == "capability 0.90")]
    assert sorted(rows.reference) == ["without slot_angle 30", "without slot_angle 90"]
    assert rows.estimate.tolist() == pytest.approx([SIZE, SIZE], abs=0.02)


def test_the_objective_head_of_the_study_itself_is_ablated(tmp_path: Path) -> None:
    """Where pre-training has the head anyway; not in models from scratch, nor where all heads are withheld."""
    arms = {
        "main": {"starts": ["internal", "scratch", "scratch_exposed"], "distances": [90]},
        "withheld": {"starts": ["internal"], "distances": [90], "dodges": ["knowledge_withheld"]},
        "off": {"starts": ["internal"], "distances": [90], "vary": {"pretraining.heads.objective": [0.0]}},
    }
    truth = Truth(c=NULL, placebo=NULL, spread=0.01, objective=dict.fromkeys(("internal", "scratch"), SIZE))
    claims = arms_study(tmp_path, truth, arms, pretraining={"heads": {"objective": 1.0}})
    row = primary(claims, "P4d")
    assert (row.start, row.variant, row.verdict) == ("internal", "", "supported")
    rows = claims[(claims.claim == "P4d") & (claims.outcome == "ablation")]
    assert rows[["start", "variant"]].to_numpy().tolist() == [["internal", ""]]


@pytest.mark.parametrize("lost", [2, 3])
def test_p5c_is_not_judged_by_the_seeds_that_were_left(lost: int) -> None:
    """Its median leaves out every seed in which some arm never shifted: with more than a tenth of them it has none."""
    arms = [(start, variant) for start in ("corrigible", "scratch_exposed") for variant in ("heads.world 0", "")]
    paces = (400.0, 100.0, 100.0, 100.0)  # with the world head a quarter of the time, from the corrigible start alone
    times = pandas.DataFrame(
        [
            {"setting": "", "variant": variant, "start": start, "distance": 90.0, "quantity": SHIFTED, "seed": seed,
             "times": np.inf if (start, variant) == arms[0] and seed < lost else pace + seed}
            for (start, variant), pace in zip(arms, paces, strict=True) for seed in range(24)
        ]
    )  # fmt: skip
    evidence = SimpleNamespace(times=times, primary_distance=90.0)
    plan = Plan(confidence=0.95, resamples=200, margin=0.05, minimum_seeds=12)
    (row,) = world_model(evidence, plan)  # type: ignore[arg-type]
    (found,) = finished([row], plan)
    assert found["n_pairs"] == 24 - lost and found["primary"]
    assert found["verdict"] == ("contradicted" if lost == 2 else "not_tested"), found["reason"]
    assert lost == 2 or "in 3 of 24 seeds some arm never shifted" in found["reason"]
