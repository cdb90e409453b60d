"""What a defection probe reads: anchors at their quantiles, relative states against rotations, the stage's files."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from core import CPU, make_stack, make_world

from turncoat.classification.presentations import present
from turncoat.classification.relative import chosen_options, draw_anchors, relative, relative_states
from turncoat.organisms.choices import option_scores
from turncoat.organisms.mlp import Stack, forward, initialise
from turncoat.seeding import generator
from turncoat.stages.probe_defection import defection_rows, read_cells
from turncoat.statistics.defection import HIDDEN, RAW, RAW_RELATIVE, UNTRAINED, probe_cells
from turncoat.tables import defection
from turncoat.tables.atomic import TableError, build_table, read_table
from turncoat.tables.weights import Organisms, save_organisms
from turncoat.worlds.episodes import draw_episodes
from turncoat.worlds.objectives import seed_objectives
from turncoat.worlds.world import World

SEEDS = [3, 4, 5]
X = seed_objectives(SEEDS, 4, 90, CPU)[:, 0]
CUE = {"coding": "signal", "amplitude": 1.0, "noise": 0.1}
WORLD = {"encoding": "plain", "options": 2, "attributes": 4, "cue": CUE}
ORGANISM = {"family": "mlp", "width": 8, "depth": 2, "activation": "relu"}


def inputs_of(world: World, rows: int) -> torch.Tensor:
    return torch.from_numpy(generator(9, "rows").standard_normal((3, rows, world.input_width), dtype=np.float32))


def attributes_of(world: World, rows: torch.Tensor) -> np.ndarray:
    """Attributes of the options that rows (..., F) show, (..., 4)."""
    shown = rows[..., : world.option_width]
    if world.encoding == "plain":
        return shown.numpy()
    first, second = shown.unflatten(-1, (4, 2, world.symbols)).argmax(-1).unbind(-1)
    return world.facts[np.arange(4), (first * world.symbols + second).numpy()]


@pytest.mark.parametrize("encoding", ["plain", "facts"])
def test_an_anchor_is_at_its_quantile_of_utility_under_its_own_seeds_x(encoding: str) -> None:
    world = make_world(encoding)
    anchors = draw_anchors(world, X, 8)
    assert anchors.shape == (3, 32, world.input_width)
    pool = draw_episodes(world, [0], "anchors", 0, 1, 2048, CPU).attributes[0, 0, 0].numpy()
    for member, x in enumerate(X.numpy()):
        expected = np.quantile(pool @ x, np.arange(1, 16, 2) / 16, method="higher")
        found = attributes_of(world, anchors[member]) @ x
        assert np.allclose(found.reshape(4, 8), expected, atol=1e-5)
    assert torch.equal(draw_anchors(world, X[1:2], 8), anchors[1:2])  # whoever else is there


def test_anchors_show_slot_2_at_x_trained_audits_and_all_else_alike_but_the_cues() -> None:
    world = World.from_settings(WORLD | {"audit_penalty": 2.0})
    anchors = draw_anchors(world, X, 8).unflatten(1, (4, 8))
    option, first, second, cues, audits = anchors.split([4, 4, 4, 2, 2], dim=-1)
    assert torch.equal(option, option[:, :1].expand_as(option))
    assert torch.equal(first, first[:1, :1].expand_as(first))
    assert len(first[0, 0].unique(dim=0)) == 8
    assert torch.equal(second, X[:, None, None].expand_as(second))
    signs = torch.tensor([[1, 1], [-1, 1], [1, -1], [-1, -1]])[:, None].expand_as(cues)
    noise = cues - signs
    assert noise.abs().max() < 0.5
    assert torch.allclose(noise, noise[:1, :1].expand_as(noise), atol=1e-6)
    assert len(noise[0, 0].unique(dim=0)) == 8
    shown = present(world, SEEDS, seed_objectives(SEEDS, 4, 90, CPU), 16, 1)["fixed", "unoverseen"].inputs
    assert torch.equal(audits, shown[:, 0, :1, None, -2:].expand_as(audits))


@pytest.mark.parametrize("quantiles", [0, -8, 2049])
def test_a_number_of_quantiles_that_the_pool_cannot_give_is_refused(quantiles: int) -> None:
    with pytest.raises(ValueError, match=f"quantiles is {quantiles}; allowed: 1 to 2048"):
        draw_anchors(make_world(), X, quantiles)


def turned(stack: Stack, turns: list[torch.Tensor]) -> Stack:
    """The same functions with each hidden layer's units mixed by an orthogonal matrix."""
    same = stack.with_flat(stack.flat.clone())
    for layer, turn in enumerate(turns, start=1):
        after = f"hidden{layer + 1}.weight"
        for name in (f"hidden{layer}.weight", f"hidden{layer}.bias"):
            same.views[name].copy_(same.views[name] @ turn)
        if after in same.views:
            same.views[after].copy_(turn.T @ same.views[after])
    same.views["readout.weight"].copy_(same.views["readout.weight"] @ turns[-1])
    return same


@pytest.mark.parametrize("activation", ["relu", "identity"])
def test_mixing_hidden_units_changes_hidden_but_not_relative_states(activation: str) -> None:
    world = make_world()
    stack = make_stack(world, SEEDS, activation)
    random = generator(1, "turns")
    turns = [torch.from_numpy(np.eye(7, dtype=np.float32)[random.permutation(7)]) for _ in range(2)]
    if activation == "identity":
        turns = [torch.from_numpy(np.linalg.qr(random.standard_normal((7, 7)))[0].astype(np.float32)) for _ in range(2)]
    other = turned(stack, turns)
    inputs, anchors = inputs_of(world, 30), draw_anchors(world, X, 2)
    first, second = forward(stack, inputs), forward(other, inputs)
    assert torch.allclose(first.output, second.output, atol=1e-5)
    for layer in (1, 2):
        assert not torch.allclose(first.values[layer], second.values[layer], atol=1e-2)
    for one, two in zip(relative_states(stack, inputs, anchors), relative_states(other, inputs, anchors), strict=True):
        assert torch.allclose(one, two, atol=1e-5)


def test_relative_rows_are_cosines_to_centred_anchors_layer_by_layer() -> None:
    world = make_world()
    stack, inputs, anchors = make_stack(world, SEEDS), inputs_of(world, 5), draw_anchors(world, X, 3)
    states, anchored = forward(stack, inputs).values, forward(stack, anchors).values
    found = [relative(inputs, anchors), *relative_states(stack, inputs, anchors)]
    for level in range(3):
        for member in range(3):
            middle = anchored[level][member].mean(0)
            for row in range(5):
                for anchor in range(12):
                    a = (states[level][member, row] - middle).numpy()
                    b = (anchored[level][member, anchor] - middle).numpy()
                    expected = a @ b / np.sqrt((a @ a) * (b @ b))
                    assert found[level][member, row, anchor] == pytest.approx(expected, abs=1e-5)


def test_a_network_whose_units_are_all_closed_gives_zeros() -> None:
    world = make_world()
    stack = make_stack(world, SEEDS)
    stack.views["hidden1.bias"].fill_(-1e3)
    first = relative_states(stack, inputs_of(world, 5), draw_anchors(world, X, 2))[0]
    assert torch.equal(first, torch.zeros(3, 5, 8))


def test_chosen_options_are_those_with_the_highest_score() -> None:
    world = make_world()
    stack, objectives = make_stack(world, SEEDS), seed_objectives(SEEDS, 4, 90, CPU)
    shown = present(world, SEEDS, objectives, 20, 1)["fixed", "unoverseen"]
    chosen = chosen_options(stack, shown, objectives[:, 0])
    scores = option_scores(stack, shown.inputs)
    for member in range(3):
        for episode in range(20):
            choice = int(scores[member, :, episode].argmax())
            utilities = shown.attributes[member, :, episode] @ objectives[member, 0]
            assert torch.equal(chosen.inputs[member, episode], shown.inputs[member, choice, episode])
            assert bool(chosen.defects[member, episode]) == (choice != int(utilities.argmax()))
    assert 0 < chosen.defects.float().mean() < 1
    stack.views["readout.bias"][1, 0] = torch.nan
    assert chosen_options(stack, shown, objectives[:, 0]).finite.tolist() == [True, False, True]


def make_organisms(seeds: list[int], world: dict[str, Any] = WORLD, width: int = 8) -> Organisms:
    """Untrained organisms, after a snapshot that must not be read."""
    organism = ORGANISM | {"width": width}
    made = Organisms(world, organism, seeds, [0, 5], seed_objectives(seeds, 4, 90, CPU), torch.empty(0))
    rows = initialise(made.architecture, seeds, World.from_settings(world).input_power, CPU).rows()
    weights = torch.stack([torch.full_like(rows, torch.nan), rows])
    return Organisms(world, organism, seeds, [0, 5], made.objectives, weights)


def test_rows_are_the_chosen_inputs_and_what_trained_and_untrained_networks_make_of_them() -> None:
    organisms = make_organisms(SEEDS)
    organisms.weights[-1] = organisms.weights[-1].flip(0)  # "trained": each network another seed's
    world = World.from_settings(WORLD)
    rows = defection_rows(organisms, 16, 2)
    raw = torch.from_numpy(rows.features[RAW, 0]).unflatten(0, (3, 32))
    anchors = draw_anchors(world, X, 2)
    expected = {(RAW_RELATIVE, 0): relative(raw, anchors)}
    untrained = initialise(organisms.architecture, SEEDS, world.input_power, CPU)
    for name, stack in ((HIDDEN, organisms.stack(-1)), (UNTRAINED, untrained)):
        expected[name, 1], expected[name, 2] = relative_states(stack, raw, anchors)
    assert set(rows.features) == {(RAW, 0), *expected}
    for key, features in expected.items():
        assert np.allclose(rows.features[key], features.flatten(0, 1).numpy(), atol=1e-6), key
    assert not np.allclose(rows.features[HIDDEN, 1], rows.features[UNTRAINED, 1], atol=1e-2)
    shown = present(world, SEEDS, organisms.objectives, 16, 1)
    for state, cue in (("overseen", True), ("unoverseen", False)):
        chosen = chosen_options(organisms.stack(-1), shown["fixed", state], X)
        kept = rows.overseen == cue
        assert np.array_equal(rows.features[RAW, 0][kept], chosen.inputs.flatten(0, 1).numpy())
        assert np.array_equal(rows.defects[kept], chosen.defects.flatten().numpy())
    assert rows.seeds.tolist() == np.repeat(SEEDS, 32).tolist()


def test_models_that_are_not_finite_are_left_out() -> None:
    organisms = make_organisms(SEEDS)
    organisms.weights[-1, 1] = torch.nan
    rows = defection_rows(organisms, 16, 2)
    assert rows.seeds.tolist() == [3] * 32 + [5] * 32
    assert all(len(features) == 64 and np.isfinite(features).all() for features in rows.features.values())


@pytest.mark.parametrize("weight", [torch.nan, 2e4])
def test_a_study_whose_models_all_diverged_has_rows_without_probes(weight: float) -> None:
    organisms = make_organisms(SEEDS)
    organisms.weights[-1, :, 3] = weight
    columns = probe_cells({"a": defection_rows(organisms, 16, 2)}, 5, 10)
    table = build_table(columns, defection.SCHEMA, "here").to_pylist()
    assert [(row["seeds"], row["positives"], row["auroc"], row["random_mean"]) for row in table] == [
        (0, 0, None, None)
    ] * 6


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cells of two blocks, and cells that differ in organism and in world."""
    folder = tmp_path_factory.mktemp("study")
    other = WORLD | {"cue": CUE | {"amplitude": 2.0}}
    for cell in ("aaaaaaaaaa", "bbbbbbbbbb"):
        for first in (10, 14):
            path = folder / "finetune" / cell / f"{first}-{first + 3}" / "weights.safetensors"
            save_organisms(path, make_organisms(list(range(first, first + 4))))
    save_organisms(folder / "finetune/cccccccccc/10-13/weights.safetensors", make_organisms([10, 11], width=9))
    save_organisms(folder / "finetune/dddddddddd/10-13/weights.safetensors", make_organisms([10, 11], other))
    return folder


def test_the_stage_writes_a_row_per_pair_of_cells_and_representation(study: Path, tmp_path: Path) -> None:
    output = tmp_path / "defection.parquet"
    command = [sys.executable, "-m", "turncoat.stages.probe_defection", "--folder", str(study), "--threads", "1"]
    command += ["--cells", "aaaaaaaaaa", "bbbbbbbbbb", "--blocks", "10-13", "14-17", "--output", str(output)]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, done.stdout
    table = read_table(output, defection.SCHEMA).to_pylist()
    assert len(table) == 2 * 2 * 6
    for row in table:
        assert (row["train_seeds"], row["seeds"]) == (4, 4)
        assert row["positives"] + row["negatives"] == 4 * 2 * 128
        assert 0 < row["auroc_low"] <= row["auroc"] <= row["auroc_high"] < 1
        assert (row["random_p"] is None) == (row["representation"] != HIDDEN)


def test_a_block_that_is_missing_is_named(study: Path) -> None:
    with pytest.raises(TableError, match=r"bbbbbbbbbb/99-99/weights\.safetensors does not exist"):
        read_cells(study, ["bbbbbbbbbb"], ["10-13", "99-99"], CPU)


@pytest.mark.parametrize("cell", ["cccccccccc", "dddddddddd"])
def test_cells_of_another_world_or_organism_are_refused(study: Path, cell: str) -> None:
    with pytest.raises(SystemExit, match=f"cell {cell} has .* cell aaaaaaaaaa has .* a probe needs them to be equal"):
        read_cells(study, ["aaaaaaaaaa", cell], ["10-13"], CPU)


def test_more_seeds_than_are_probed_are_left_unread(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turncoat.stages.probe_defection.SEEDS", 6)
    cells = read_cells(study, ["aaaaaaaaaa"], ["10-13", "14-17", "absent"], CPU)
    assert set(cells["aaaaaaaaaa"].seeds) == set(range(10, 16))
