"""Arms cross any key of the training sections, by lists of their own or by `vary`, and nothing else."""

import itertools
import re
from typing import Any

import numpy as np
import pytest

from turncoat.configuration.loading import load_config
from turncoat.configuration.models import Config
from turncoat.configuration.plan import Plan, expand
from turncoat.configuration.sections import DODGES, Arm
from turncoat.configuration.varying import SHORT, VARIED, combinations, with_values
from turncoat.training.schedules import check_steps

PLACE: dict[str, Any] = {"starts": ["internal", "scratch"], "distances": [90]}


def planned(arms: dict[str, Any], **values: Any) -> Plan:
    return expand(load_config({"arms": arms, **values}))


def test_every_combination_comes_once() -> None:
    arm = Arm(**PLACE, widths=[8, 16], steps=50, vary={"finetuning.label_noise": [0.0, 0.1, 0.2]})
    found = list(combinations(arm))
    assert [(one["organism.width"], one["finetuning.label_noise"]) for one in found] == list(
        itertools.product([8, 16], [0.0, 0.1, 0.2])
    )
    assert all(one["finetuning.steps"] == 50 and len(one) == 3 for one in found)
    assert list(combinations(Arm(**PLACE))) == [{}]


def test_values_are_replaced_in_a_copy() -> None:
    values = {"a": {"b": {"c": 1}, "d": 2}, "e": 3}
    changed = with_values(values, {"a.b.c": None, "e": [4]})
    assert changed == {"a": {"b": {"c": None}, "d": 2}, "e": [4]}
    assert values == {"a": {"b": {"c": 1}, "d": 2}, "e": 3}
    for path in ("a.b", "a.x", "x.b", "e.b", "a", "x"):
        with pytest.raises(KeyError, match=re.escape(repr(path))):
            with_values(values, {path: 1})


def leaves(values: dict[str, Any], path: str = "") -> list[str]:
    found = []
    for key, value in values.items():
        name = f"{path}.{key}" if path else key
        found += leaves(value, name) if isinstance(value, dict) else [name]
    return found


def test_every_key_of_the_training_sections_can_be_varied() -> None:
    own = Config().model_dump()
    keys = [key for name in VARIED for key in leaves(own[name], name)]
    assert len(keys) > 50 and set(SHORT) <= set(keys)
    for key in keys:
        value: Any = own
        for part in key.split("."):
            value = value[part]
        plain = planned({"main": PLACE})
        assert planned({"main": PLACE | {"vary": {key: [value]}}}).ids() == plain.ids(), key


@pytest.mark.parametrize(
    ("short", "key", "values"),
    [
        ("widths", "organism.width", [8, 48]),
        ("depths", "organism.depth", [1]),
        ("activations", "organism.activation", ["gelu"]),
        ("pretraining_steps", "pretraining.steps", [100, 200]),
        ("optimizers", "finetuning.optimizer", ["sgd", "momentum"]),
    ],
)
def test_a_list_of_its_own_and_vary_say_the_same(short: str, key: str, values: list[Any]) -> None:
    assert SHORT[key] == short
    one, other = (planned({"main": PLACE | change}) for change in ({short: values}, {"vary": {key: values}}))
    assert [(cell.id, cell.labels) for cell in one.cells] == [(cell.id, cell.labels) for cell in other.cells]


def test_what_is_varied_reaches_the_settings_of_its_stage_alone() -> None:
    arm = PLACE | {"vary": {"pretraining.label_noise": [0.0, 0.3], "finetuning.schedule": ["cosine"]}}
    plan = planned({"main": arm})
    pretrained = [cell.settings["training"] for cell in plan.cells if cell.stage == "pretrain"]
    assert [training["label_noise"] for training in pretrained] == [0.0, 0.3]
    tuned = [cell for cell in plan.cells if cell.stage == "finetune"]
    assert {(cell.settings["training"]["label_noise"], cell.settings["training"]["schedule"]) for cell in tuned} == {
        (0.0, "cosine")
    }
    assert [cell.labels["start"] for cell in tuned].count("scratch") == 1
    assert {cell.parent for cell in tuned} == {*plan.ids("pretrain"), None}


def test_a_study_is_told_what_differs_from_its_own_settings() -> None:
    """Not from the defaults: a study with noise varies the lack of it."""
    noisy = {"finetuning": {"label_noise": 0.3}}
    plan = planned({"main": PLACE | {"vary": {"finetuning.label_noise": [0.0, 0.3]}}}, **noisy)
    found = {cell.labels["setting"] for cell in plan.cells if cell.stage == "finetune"}
    assert found == {"label_noise 0", ""}


def test_an_arm_that_elicits_brings_each_of_its_models_back() -> None:
    arm = PLACE | {"elicit": True, "optimizers": ["adam", "sgd"], "snapshots": 5}
    plan = planned({"main": arm}, elicitation={"steps": 7})
    elicited = [cell for cell in plan.cells if cell.stage == "elicit"]
    assert {cell.parent for cell in elicited} == set(plan.ids("finetune"))
    for cell in elicited:
        parent, training = plan.cell(str(cell.parent)), cell.settings["training"]
        assert (training["target"], training["overseen_share"], training["steps"]) == ("m", 0.0, 7)
        assert training["optimizer"] == parent.settings["training"]["optimizer"]
        assert training["learning_rate"] == parent.settings["training"]["learning_rate"]
        same = ("start", "distance", "setting", "variant", "optimizer", "width")
        assert {name: cell.labels[name] for name in same} == {name: parent.labels[name] for name in same}
        assert cell.labels["arms"] == ["main"] and cell.labels["steps"] == 7
    assert plan.totals.jobs["elicit"] == len(elicited) == 4
    assert plan.totals.jobs["classify"] == len(plan.cells) - 4  # elicited models are not classified
    without = planned({"main": arm | {"elicit": False}}, elicitation={"steps": 7})
    assert without.ids() == plan.ids("pretrain") + plan.ids("finetune")
    assert "elicit" not in without.totals.jobs


def test_elicitation_is_looked_at_often_enough_to_time_it() -> None:
    """With few checks, times would be interpolated over most of elicitation: the first of them comes early, and no two
    lie farther apart than a quarter of all steps."""
    plan = planned({"main": PLACE | {"elicit": True}})
    for cell in plan.cells:
        if cell.stage == "elicit":
            training = cell.settings["training"]
            checks = check_steps(training["steps"], training["snapshots"])
            assert len(checks) > 20 and checks[:3] == [0, 2, 3]
            assert max(np.diff(checks)) <= training["steps"] / 4
            assert cell.labels["snapshots"] == training["snapshots"]


def test_elicitation_counts_for_elicited_cells_alone() -> None:
    before, after = (planned({"main": PLACE | {"elicit": True}}, elicitation={"steps": steps}) for steps in (7, 8))
    assert before.ids("finetune") == after.ids("finetune")
    assert not set(before.ids("elicit")) & set(after.ids("elicit"))


@pytest.mark.parametrize("dodge", DODGES)
def test_a_dodge_changes_no_other_cell(dodge: str) -> None:
    arm = {"starts": ["conditional", "scratch"], "distances": [45, 90]}
    plain = planned({"main": arm})
    both = planned({"main": arm, "dodges": arm | {"dodges": [dodge]}})
    assert set(plain.ids()) < set(both.ids())
    new = [cell for cell in both.cells if cell.id not in plain.ids()]
    tuned = [cell for cell in new if cell.stage == "finetune"]
    assert {(cell.labels["start"], cell.labels["distance"]) for cell in tuned} >= {
        ("conditional", 45.0),
        ("conditional", 90.0),
    }
    assert all(f"dodge {dodge}" in cell.labels["variant"] for cell in new)
    changed = {cell.stage for cell in new if cell.settings.get("dodge") == dodge}
    assert changed == set(DODGES[dodge])
    scratch = [cell for cell in tuned if cell.labels["start"] == "scratch"]
    assert len(scratch) == 2 * ("finetune" in DODGES[dodge])


def test_pretraining_knows_the_distance_only_where_it_is_told_of_x() -> None:
    arm = {"starts": ["conditional"], "distances": [45, 90]}
    assert len(planned({"main": arm}).ids("pretrain")) == 1
    assert len(planned({"main": arm | {"dodges": ["x_in_pretraining"]}}).ids("pretrain")) == 2
    assert len(planned({"main": arm | {"vary": {"pretraining.heads.objective": [1.0]}}}).ids("pretrain")) == 2
    assert len(planned({"main": arm | {"dodges": ["oversight_hidden"]}}).ids("pretrain")) == 1
