"""The plan: which cells a configuration names, what keeps their identity, and what they cost."""

from pathlib import Path
from typing import Any

import pytest

from turncoat.configuration import cells, costs
from turncoat.configuration.cells import canonical_json, cell_id
from turncoat.configuration.loading import load_config
from turncoat.configuration.plan import Plan, expand, own_cells
from turncoat.worlds.world import World

ARM = {"starts": ["internal", "scratch"], "distances": [45, 90]}


def planned(**values: Any) -> Plan:
    values.setdefault("arms", {"main": ARM})
    return expand(load_config(values))


def test_an_arm_is_the_full_cross_of_its_lists() -> None:
    arm = ARM | {"activations": ["relu", "gelu"], "optimizers": ["sgd", "adam"]}
    plan = planned(arms={"main": arm})
    assert len(plan.ids("pretrain")) == 2  # one per activation: the optimizers are those of fine-tuning
    assert len(plan.ids("finetune")) == 2 * 2 * 2 * 2
    assert len(set(plan.ids())) == len(plan.cells)


def test_a_fine_tuned_cell_knows_its_parent() -> None:
    plan = planned()
    parent = plan.ids("pretrain")[0]
    parents = {cell.labels["start"]: cell.parent for cell in plan.cells if cell.stage == "finetune"}
    assert parents == {"internal": parent, "scratch": None}
    for cell in plan.cells:
        if cell.stage == "finetune":
            assert cell.settings["parent"] == cell.parent
            assert "start" not in cell.settings


def test_exposure_alone_tells_scratch_exposed_from_scratch() -> None:
    plan = planned(arms={"main": {"starts": ["scratch", "scratch_exposed"], "distances": [90]}})
    plain, exposed = (cell.settings for cell in plan.cells)
    assert (plain["exposure"], exposed["exposure"]) == (None, 0.5)
    assert "heads" not in plain["training"] and "heads" in exposed["training"]


def test_cells_that_two_arms_name_are_one() -> None:
    plan = planned(arms={"main": ARM, "again": {"starts": ["scratch"], "distances": [90.0, 135]}})
    assert len(plan.ids("finetune")) == 5
    shared = [cell for cell in plan.cells if cell.labels["arms"] == ["again", "main"]]
    assert [cell.labels["distance"] for cell in shared] == [90.0]


def test_seeds_are_split_into_blocks_that_growth_leaves_alone() -> None:
    few = planned(seeds={"first": 1000, "count": 96, "block": 48}).blocks
    more = planned(seeds={"first": 1000, "count": 100, "block": 48}).blocks
    assert [block.name for block in few] == ["1000-1047", "1048-1095"]
    assert more[:2] == few
    assert (more[2].name, more[2].first, more[2].count) == ("1096-1099", 1096, 4)


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": {"count": 96}},
        {"evaluation": {"episodes": 2048}},
        {"evaluation": {"price_episodes": 2048, "curve_episodes": 64, "causal_episodes": 64}},
        {"gating": {"episodes": 64}},
        {"types": {"cosine": 0.8}},
        {"statistics": {"margin": 0.1}},
        {"types": {"price_sensitivity": 0.5}},
        {"planted": {"seeds": 2, "calibration_seeds": 2}},
        {"study": "other"},
        {"finetuning": {"learning_rates": {"sgd": 0.3}}},
    ],
)
def test_what_training_does_not_read_leaves_every_cell(change: dict[str, Any]) -> None:
    assert planned(**change).ids() == planned().ids()


@pytest.mark.parametrize(
    ("change", "pretrained_stays"),
    [
        ({"finetuning": {"steps": 99}}, True),
        ({"finetuning": {"learning_rates": {"adam": 0.01}}}, True),
        ({"pretraining": {"steps": 99}}, False),
        ({"world": {"symbols": 7}}, False),
        ({"world": {"audit_penalty": 2.0}}, False),
        ({"organism": {"width": 32}}, False),
    ],
)
def test_what_training_reads_makes_new_cells(change: dict[str, Any], pretrained_stays: bool) -> None:
    before, after = planned(), planned(**change)
    assert not set(before.ids("finetune")) & set(after.ids("finetune")) or change.keys() == {"pretraining"}
    assert (before.ids("pretrain") == after.ids("pretrain")) is pretrained_stays


def test_pretraining_leaves_models_from_scratch_alone() -> None:
    before, after = planned(), planned(pretraining={"steps": 99})
    assert len(set(before.ids("finetune")) & set(after.ids("finetune"))) == 2


def test_the_entropy_bonus_counts_where_rewards_are_trained_on() -> None:
    arm = {"starts": ["internal", "deceptive", "internal_strategic", "scratch"], "distances": [90]}
    before, after = (planned(arms={"main": arm}, **more) for more in ({}, {"pretraining": {"entropy_bonus": 0.1}}))
    changed = {cell.labels["start"] for cell in after.cells if cell.id not in before.ids()}
    assert changed == {"deceptive", "internal_strategic"}


def test_a_world_without_audits_is_what_it_was_before_there_were_any() -> None:
    for cell in planned(world={"audit_penalty": 0}).cells:
        assert "audit_penalty" not in cell.settings["world"]
    assert {cell.settings["world"]["audit_penalty"] for cell in planned().cells} == {6.0}


def test_probes_compare_cells_that_differ_in_start_and_distance_alone() -> None:
    values: dict[str, Any] = {
        "arms": {
            "main": {"starts": ["internal", "scratch"], "distances": [0, 45, 90], "pretraining_steps": [100, 2000]},
            "gates": {"starts": ["scratch"], "distances": [90], "activations": ["relu", "gelu"], "steps": 600},
        }
    }
    config = load_config(values)
    found = [(cell.labels["start"], cell.labels["distance"]) for cell in own_cells(expand(config))]
    assert sorted(found) == [("internal", 45), ("internal", 90), ("scratch", 45), ("scratch", 90)]


@pytest.mark.parametrize(
    ("arm", "expected"),
    [
        ({"starts": ["internal"], "distances": [0]}, {("relu", 0.0)}),  # no X apart from Y: then what there is
        ({"starts": ["scratch"], "distances": [90], "activations": ["gelu", "identity"]}, {("gelu", 90.0)}),
    ],
)
def test_probes_without_the_studys_own_settings_take_the_first(arm: dict[str, Any], expected: set[Any]) -> None:
    config = load_config({"arms": {"main": arm}})
    found = own_cells(expand(config))
    assert {(cell.labels["activation"], cell.labels["distance"]) for cell in found} == expected


def test_symbols_count_only_where_they_are_read() -> None:
    assert planned(world={"encoding": "plain", "symbols": 7}).ids() == planned(world={"encoding": "plain"}).ids()


def test_a_table_of_attributes_counts_by_its_content(tmp_path: Path) -> None:
    identities = []
    for name, last in (("one.csv", 8), ("two.csv", 8), ("three.csv", 9)):
        (tmp_path / name).write_text(f"a,b,c,d\n1,2,3,4\n5,6,7,{last}\n")
        table = str(tmp_path / name)
        identities.append(planned(world={"encoding": "plain", "attribute_table": table}).ids())
    assert identities[0] == identities[1] != identities[2]


def test_canonical_json_does_not_see_order_or_integral_floats() -> None:
    assert canonical_json({"b": 1.0, "a": [90.0, 0.5]}) == '{"a":[90,0.5],"b":1}'
    assert canonical_json({"flag": True}) == '{"flag":true}'
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json({"a": float("nan")})


def test_identities_stay_for_ever() -> None:
    """Frozen: a change here orphans every result there is."""
    settings = {
        "stage": "pretrain",
        "organism": {"width": 64},
        "training": {"learning_rate": 0.002, "steps": 10},
    }
    assert cell_id(settings) == "7895426f89"


def test_a_new_factor_at_its_legacy_value_changes_no_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    old = {"stage": "finetune", "training": {"steps": 10}}
    monkeypatch.setitem(cells.LEGACY, "training.momentum", 0.0)
    assert cell_id({"stage": "finetune", "training": {"steps": 10, "momentum": 0}}) == cell_id(old)
    assert cell_id({"stage": "finetune", "training": {"steps": 10, "momentum": 0.9}}) != cell_id(old)


def without_legacy(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings as they were before the factors that stand at their legacy value."""
    kept: dict[str, Any] = {}
    for key, value in settings.items():
        if cells.LEGACY.get(f"{prefix}{key}", ...) != value:
            kept[key] = without_legacy(value, f"{prefix}{key}.") if isinstance(value, dict) else value
    return kept


def test_the_default_cells_are_those_from_before_every_new_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = expand(load_config({}))
    older = [without_legacy(cell.settings) for cell in plan.cells]
    assert all(older[row] != cell.settings for row, cell in enumerate(plan.cells))
    monkeypatch.setattr(cells, "LEGACY", {})
    assert [cell_id(settings) for settings in older] == plan.ids()
    assert cell_id(plan.cells[0].settings) != plan.cells[0].id


def test_cells_of_the_first_versions_keep_their_identity() -> None:
    """Frozen, as those versions wrote them down: every factor since then stands at its legacy value."""
    arm = {"starts": ["conditional", "scratch_exposed"], "distances": [90]}
    world = {"symbols": 6, "audit_penalty": 6.0, "options": 2, "attributes": 4}
    organism = {"width": 48, "depth": 2}
    pretraining = {"steps": 2000, "batch": 128, "learning_rates": {"adam": 0.01}}
    finetuning = {"steps": 1200, "batch": 128, "learning_rates": {"adam": 0.004}, "snapshots": 9}
    values = {"world": world, "organism": organism, "pretraining": pretraining, "finetuning": finetuning}
    assert planned(arms={"main": arm}, **values).ids() == ["8a41e421e4", "b00a72e7b0", "843e793b2e"]


@pytest.mark.parametrize("path", cells.LEGACY)
def test_a_legacy_value_is_that_of_the_defaults(path: str) -> None:
    """So that a study which does not mention the factor is what it was; every other value is another cell."""
    arm = {"starts": ["conditional", "scratch"], "distances": [90]}
    plan = planned(arms={"main": arm})
    values = []
    for cell in plan.cells:
        settings: Any = cell.settings
        for part in path.split("."):
            settings = settings.get(part) if isinstance(settings, dict) else None
        values += [] if settings is None else [settings]
    assert cells.LEGACY[path] in values
    assert set(values) <= {cells.LEGACY[path], 0.5}  # 0.5: the overseen share of pre-training, which is older


def test_totals_count_models_jobs_and_steps() -> None:
    plan = planned(seeds={"count": 10, "block": 4}, pretraining={"steps": 100}, finetuning={"steps": 50})
    assert plan.totals.models == 5 * 10
    assert plan.totals.model_steps == 10 * (100 + 4 * 50)
    assert plan.totals.jobs == {
        "pretrain": 3,
        "finetune": 12,
        "classify": 15,
        "probe_gating": 12,
        "classify_planted": 1,
        "probe_defection": 1,
        "aggregate": 1,
        "report": 1,
    }
    assert plan.totals.core_minutes > 0 and plan.totals.megabytes > 0


def test_costs_know_how_wide_each_cells_inputs_are() -> None:
    """The widths that training uses, whatever a cell's cue coding, contexts, encoding and symbols."""
    vary = {"world.cue.coding": ["signal", "parity"], "world.cue.bits": [4], "world.cue.contexts": [1, 3]}
    arms = {"main": {"starts": ["scratch"], "distances": [90], "vary": vary}}
    for world in ({}, {"encoding": "plain", "audit_penalty": 0.0}, {"encoding": "product", "attributes": 5}):
        found = set()
        for cell in planned(arms=arms, world=world).cells:
            width = World.from_settings(cell.settings["world"]).input_width
            assert costs.input_width(cell.settings["world"]) == width
            found.add(width)
        assert len(found) == 4
    wide, narrow = (
        planned(arms={"main": {"starts": ["scratch"], "distances": [90], "vary": {"world.cue.contexts": [count]}}})
        for count in (16, 1)
    )
    assert wide.totals.core_minutes > narrow.totals.core_minutes and wide.totals.megabytes > narrow.totals.megabytes
