"""Cells in words: settings become words, words become factors again, and two cells never share them."""

import itertools
from typing import Any

import pytest

from turncoat.configuration.errors import ConfigurationError
from turncoat.configuration.loading import load_config
from turncoat.configuration.plan import Cell, expand
from turncoat.configuration.wording import differences, words
from turncoat.statistics.contrasts import references_of
from turncoat.statistics.dodges import dodges_of
from turncoat.statistics.factors import factors_of, value_of, without

VALUES: dict[str, list[Any]] = {
    "optimizer": ["sgd", "adamw"],
    "steps": [600, 1_048_576],
    "heads.world": [0.0, 0.25],
    "cue.coding": ["parity"],
    "budget": [2048, "none"],
    "dodge": ["x_in_pretraining"],
}
SUBSETS = [
    dict(zip(keys, values, strict=True))
    for size in range(len(VALUES) + 1)
    for keys in itertools.combinations(VALUES, size)
    for values in itertools.product(*(VALUES[key] for key in keys))
]


def plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


@pytest.mark.parametrize("prefix", ["", "pretraining "])
def test_words_and_factors_are_inverse(prefix: str) -> None:
    """Over every combination of these values: each factor is found again, and can be taken out."""
    assert len(SUBSETS) == 3**4 * 2**2
    seen = set()
    for found in SUBSETS:
        text = words(found, prefix)
        seen.add(text)
        assert sorted(factors_of(text)) == sorted(f"{key} {plain(value)}" for key, value in found.items())
        for key, value in found.items():
            assert value_of(text, key) == plain(value)
            rest = {name: kept for name, kept in found.items() if name != key}
            assert without(text, f"{key} {plain(value)}") == words(rest, prefix)
        for key in VALUES.keys() - found.keys():
            assert value_of(text, key) is None
        assert without(text, "width 3") == text
    assert len(seen) == len(SUBSETS)


def test_a_key_is_not_mistaken_for_another_that_ends_like_it() -> None:
    assert value_of("warm_steps 30, heads.world 0", "steps") is None
    assert value_of("pretraining steps 30", "steps") == "30"
    assert without("steps 600, warm_steps 600", "steps 600") == "warm_steps 600"
    assert without("steps 60", "steps 6") == "steps 60"


def test_the_order_of_words_is_that_of_no_dictionary() -> None:
    found = {"label_noise": 0.1, "cue.noise": 2.0, "steps": 5, "activation": "gelu", "optimizer": "sgd"}
    expected = "optimizer sgd, activation gelu, steps 5, cue.noise 2, label_noise 0.1"
    assert words(found) == words(dict(reversed(found.items()))) == expected


def test_what_follows_from_another_difference_is_not_said() -> None:
    own = {
        "training": {"optimizer": "adam", "learning_rate": 0.004, "method": "supervised"},
        "world": {"cue": {"a": 1}},
    }
    chosen = {"training": {"optimizer": "sgd", "learning_rate": 0.5, "method": "policy_gradient", "samples": 4}}
    chosen |= {"world": {"cue": {"a": 1, "bits": 3}, "attribute_table": "here.csv", "attribute_table_sha256": "ab"}}
    found = differences(chosen, own, ("world", "training"), 0.5)
    assert found == {"attribute_table_sha256": "ab", "optimizer": "sgd", "method": "policy_gradient"}
    chosen["training"]["samples"] = 16
    assert differences(chosen, own, ("training",), 0.5)["samples"] == 16
    assert differences(own, chosen, ("training",), 0.004)["samples"] == "none"
    slower = {"training": own["training"] | {"learning_rate": 0.001}}
    assert differences(slower, own, ("training",), 0.004) == {"learning_rate": 0.001}


def tuned(arm: dict[str, Any], **values: Any) -> dict[tuple[str, str, str], Cell]:
    """Fine-tuned cells by start, setting and variant."""
    plan = expand(load_config({"arms": {"main": {"distances": [90], **arm}}, **values}))
    cells = [cell for cell in plan.cells if cell.stage == "finetune"]
    found = {(cell.labels["start"], cell.labels["setting"], cell.labels["variant"]): cell for cell in cells}
    assert len(found) == len(cells)
    return found


VARIED = [
    ({"finetuning.label_noise": [0.3]}, "label_noise 0.3", ""),
    ({"pretraining.label_noise": [0.3]}, "", "pretraining label_noise 0.3"),
    ({"pretraining.heads.oversight": [1]}, "", "pretraining heads.oversight 1"),
    ({"pretraining.heads.objective": [1.0]}, "", "pretraining heads.objective 1"),
    ({"world.cue.coding": ["parity"]}, "cue.coding parity", ""),
    ({"world.cue.coding": ["parity"], "world.cue.bits": [5]}, "cue.bits 5, cue.coding parity", ""),
    ({"world.slot_angle": [30]}, "slot_angle 30", ""),
    ({"finetuning.budget": [4096]}, "budget 4096", ""),
    ({"finetuning.method": ["policy_gradient"]}, "method policy_gradient", ""),
    ({"finetuning.optimizer_state": ["carried"]}, "", "pretraining optimizer_state carried"),
    ({"finetuning.optimizer_state": ["warmed"]}, "optimizer_state warmed", ""),
    ({"finetuning.learning_rates.adam": [0.01]}, "learning_rate 0.01", ""),
    ({"organism.depth": [3], "finetuning.mode": ["instructed"]}, "depth 3, mode instructed", ""),
    ({"finetuning.label_noise": [0.0]}, "", ""),
    ({"finetuning.gate": ["open_in"]}, "gate open_in", ""),
    (
        {"finetuning.gate": ["closed"], "finetuning.gate_norm_matched": [False]},
        "gate closed, gate_norm_matched False",
        "",
    ),
    ({"finetuning.gate_norm_matched": [False]}, "", ""),
    ({"finetuning.beta2": [0.9]}, "beta2 0.9", ""),
    ({"finetuning.beta2": [0.9], "finetuning.optimizer": ["adamw"]}, "optimizer adamw, beta2 0.9", ""),
    ({"finetuning.beta2": [0.9], "finetuning.optimizer": ["sgd"]}, "optimizer sgd", ""),
    ({"finetuning.learning_rates.sgd": [0.1]}, "", ""),
    ({"pretraining.optimizer": ["sgd"]}, "", "pretraining optimizer sgd"),
    (
        {"pretraining.optimizer": ["sgd"], "pretraining.learning_rates.sgd": [0.1]},
        "",
        "pretraining optimizer sgd, pretraining learning_rate 0.1",
    ),
]


@pytest.mark.parametrize(("vary", "setting", "variant"), VARIED, ids=lambda value: str(value))
def test_cells_are_described_by_what_is_varied(vary: dict[str, list[Any]], setting: str, variant: str) -> None:
    assert list(tuned({"starts": ["internal"], "vary": vary})) == [("internal", setting, variant)]


@pytest.mark.parametrize(
    ("own", "vary", "setting"),
    [
        ({"gate": "open_in", "gate_norm_matched": False}, {"finetuning.gate": ["natural"]}, "gate natural"),
        ({"gate": "open_in", "gate_norm_matched": False}, {"finetuning.gate": ["closed"]}, "gate closed"),
        ({"gate": "open_in"}, {"finetuning.gate_norm_matched": [False]}, "gate_norm_matched False"),
        (
            {"gate": "open_in", "gate_norm_matched": False},
            {"finetuning.gate_norm_matched": [True]},
            "gate_norm_matched True",
        ),
        ({"beta2": 0.9}, {"finetuning.beta2": [0.999]}, "beta2 0.999"),
        ({"beta2": 0.9}, {"finetuning.optimizer": ["sgd"]}, "optimizer sgd"),
        ({"optimizer": "sgd", "beta2": 0.9}, {"finetuning.optimizer": ["adam"]}, "optimizer adam, beta2 0.9"),
    ],
)
def test_what_a_study_has_of_its_own_is_not_said_but_its_lack_is(
    own: dict[str, Any], vary: dict[str, list[Any]], setting: str
) -> None:
    assert list(tuned({"starts": ["scratch"]}, finetuning=own)) == [("scratch", "", "")]
    assert list(tuned({"starts": ["scratch"], "vary": vary}, finetuning=own)) == [("scratch", setting, "")]


def test_learning_rates_are_told_wherever_they_are_not_the_studys_own_for_that_optimizer() -> None:
    vary = {"finetuning.learning_rates.sgd": [0.1, 0.5, 0.004]}
    found = tuned({"starts": ["scratch"], "optimizers": ["adam", "sgd"], "vary": vary})
    rates = {key[1]: cell.settings["training"]["learning_rate"] for key, cell in found.items()}
    assert rates == {
        "": 0.004,
        "optimizer sgd, learning_rate 0.1": 0.1,
        "optimizer sgd": 0.5,
        "optimizer sgd, learning_rate 0.004": 0.004,  # equal to the study's own with its own optimizer
    }


def test_gates_and_betas_cross_and_leave_cells_that_had_none_as_they_were() -> None:
    vary = {"finetuning.gate": ["natural", "open_in"], "finetuning.gate_norm_matched": [True, False]}
    vary |= {"finetuning.beta2": [0.999, 0.9]}
    found = tuned({"starts": ["scratch"], "optimizers": ["adam", "sgd"], "vary": vary})
    legacy = {"gate": "natural", "gate_norm_matched": True, "beta2": 0.999}
    settings = {key[1]: cell.settings["training"] for key, cell in found.items()}
    said = {key: {name: training[name] for name in legacy if name in training} for key, training in settings.items()}
    open_, free = {"gate": "open_in"}, {"gate": "open_in", "gate_norm_matched": False}
    assert said == {
        "": {},
        "gate open_in": open_,
        "gate open_in, gate_norm_matched False": free,
        "beta2 0.9": {"beta2": 0.9},
        "beta2 0.9, gate open_in": open_ | {"beta2": 0.9},
        "beta2 0.9, gate open_in, gate_norm_matched False": free | {"beta2": 0.9},
        "optimizer sgd": {},
        "optimizer sgd, gate open_in": open_,
        "optimizer sgd, gate open_in, gate_norm_matched False": free,
    }
    plain = tuned({"starts": ["scratch"]})
    assert found["scratch", "", ""].id == plain["scratch", "", ""].id
    assert all(not set(legacy) & set(cell.settings["training"]) for cell in plain.values())


def test_elicitation_keeps_the_beta_of_its_optimizer_and_passes_natural_gates() -> None:
    arm = {"starts": ["scratch"], "distances": [90], "elicit": True}
    vary = {"finetuning.gate": ["open_in"], "finetuning.beta2": [0.9]}
    cells = expand(load_config({"arms": {"main": arm | {"vary": vary}}})).cells
    (elicited,) = (cell.settings["training"] for cell in cells if cell.stage == "elicit")
    assert elicited["beta2"] == 0.9
    assert "gate" not in elicited


def test_what_pretraining_does_leaves_models_from_scratch_as_they_are() -> None:
    starts = ["internal", "scratch", "scratch_exposed"]
    carried = tuned({"starts": starts, "vary": {"finetuning.optimizer_state": ["fresh", "carried"]}})
    assert {key for key in carried if key[0] == "scratch"} == {("scratch", "", "")}
    assert ("internal", "", "pretraining optimizer_state carried") in carried
    heads = tuned({"starts": starts, "vary": {"pretraining.heads.oversight": [0.0, 1.0]}})
    assert {key for key in heads if key[0] == "scratch"} == {("scratch", "", "")}
    assert ("scratch_exposed", "", "pretraining heads.oversight 1") in heads


def test_dodges_are_variants_of_the_stage_that_they_change() -> None:
    dodges = ["x_in_pretraining", "l2_to_start", "gradient_routing"]
    found = tuned({"starts": ["conditional", "scratch"], "dodges": dodges})
    expected = {("conditional", "", f"dodge {name}") for name in dodges}
    expected |= {("scratch", "", "")} | {("scratch", "", f"dodge {name}") for name in dodges[1:]}
    assert set(found) == expected
    labels = {key[2]: cell.labels["dodge"] for key, cell in found.items() if key[0] == "conditional"}
    assert labels == {"dodge x_in_pretraining": "", "dodge l2_to_start": "l2_to_start"} | {
        "dodge gradient_routing": "gradient_routing"
    }
    assert dodges_of("cue.contexts 2, steps 5", "pretraining steps 5, dodge l2_to_start") == [
        "cue.contexts 2",
        "dodge l2_to_start",
    ]


def test_two_cells_of_the_same_words_are_an_error() -> None:
    vary = {"world.cue.noise": [0.2, 0.20000001]}
    arm = {"starts": ["scratch"], "distances": [90], "vary": vary, "optimizers": ["sgd"]}
    with pytest.raises(ConfigurationError, match=r"arms: cells \w+ and \w+ differ, but both are described as"):
        expand(load_config({"arms": {"main": arm}}))


def test_references_by_factor() -> None:
    found = [
        ("", "", "scratch"),
        ("steps 3200", "", "scratch"),
        ("", "pretraining heads.oversight 1", "scratch_exposed"),
        ("cue.coding parity", "", "internal"),
    ]
    own = references_of("", "pretraining heads.oversight 1, dodge inoculation", "conditional", "final step", found)
    assert own == {
        "scratch": ("", "", "scratch"),
        "scratch_exposed": ("", "", "scratch_exposed"),
        "benign_conditional": ("", "pretraining heads.oversight 1, dodge inoculation", "benign_conditional"),
        "unrelated": ("", "pretraining heads.oversight 1, dodge inoculation", "unrelated"),
        "without heads.oversight 1": ("", "dodge inoculation", "conditional"),
        "without dodge inoculation": ("", "pretraining heads.oversight 1", "conditional"),
        "scratch, 3200 steps": ("steps 3200", "", "scratch"),
    }
    exposed = references_of("", "pretraining heads.oversight 1", "corrigible", "capability 0.90", found)
    assert exposed["scratch_exposed"] == ("", "pretraining heads.oversight 1", "scratch_exposed")
    assert not any(name.startswith("scratch, ") for name in exposed)
    elsewhere = references_of("cue.coding parity", "", "internal", "final step", found)
    assert elsewhere["without cue.coding parity"] == ("", "", "internal")
    assert not any(name.startswith("scratch, ") for name in elsewhere)
    for start in ("unrelated", "scratch", "scratch_exposed"):
        assert start not in references_of("", "", start, "final step", found)
