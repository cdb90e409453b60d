"""Benchmarks: contenders do the same training, and what is read off a study is what its files say."""

import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import study, table, verdict
from benchmarks.contenders import Contender, Eager, Turncoat, TurncoatWithoutKernels, Vmap, drawer
from benchmarks.limit import Products
from benchmarks.timing import measure, steps_for
from benchmarks.training import LIMIT, _add_shares
from benchmarks.workload import WORLDS, Workload, parameters_of
from turncoat.native.library import native_library
from turncoat.organisms.mlp import backward, forward
from turncoat.training import loop
from turncoat.training.losses import loss_and_gradient, readout_columns
from turncoat.training.streams import WINDOW
from turncoat.worlds.objectives import OBJECTIVES

CPU = torch.device("cpu")


def kinds() -> list[type[Contender]]:
    try:
        from benchmarks.jaxed import Jax
    except ImportError:  # the extra `jax`
        return [Eager, Vmap]
    return [Eager, Vmap, Jax]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)  # as in a job: turncoat's own kernels use one


@pytest.mark.parametrize("kind", kinds())
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("width", [16, 64])
@pytest.mark.parametrize(("steps", "tolerance"), [(10, 0.002), (100, 0.03)])
def test_contenders_do_the_same_training(kind: type, world: str, width: int, steps: int, tolerance: float) -> None:
    """From the same weights on the same batches, in float32: the share of the way by which their weights differ. Adam
    makes rounding grow, and XLA rounds otherwise than PyTorch: 1 % of the way after 100 steps."""
    workload = Workload(world, width, 2, CPU)
    batches = list(itertools.islice(workload.batches(), steps))
    began = parameters_of(workload, workload.stack())
    ours, theirs = Turncoat(workload).follow(batches), kind(workload).follow(batches)
    for name, value in ours.items():
        # The bias of the score has no gradient but rounding, which Adam makes as large as any other.
        columns = slice(1, None) if name == "readout.bias" else slice(None)
        if value[:, columns].numel():
            moved = (value - began[name])[:, columns].norm()
            assert moved > 0.001
            assert (value - theirs[name])[:, columns].norm() < tolerance * moved, name


@pytest.mark.parametrize("world", WORLDS)
def test_without_kernels_turncoat_trains_to_the_same_bits(world: str, monkeypatch: pytest.MonkeyPatch) -> None:
    workload, taken, find = Workload(world, 64, 3, CPU), [], loop.native_step

    def watched(*arguments: object) -> object:
        taken.append(find(*arguments))
        return taken[-1]

    monkeypatch.setattr(loop, "native_step", watched)
    found = []
    for kind in (Turncoat, TurncoatWithoutKernels):
        contender = kind(workload)
        contender.run(WINDOW)
        batches = list(itertools.islice(workload.batches(), 4))
        found.append([contender.chunks[0][0].flat, *contender.follow(batches).values()])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    assert not torch.equal(found[0][0], workload.stack().flat)
    assert [step is None for step in taken] == [native_library() is None] * 2 + [True] * 2


@pytest.mark.parametrize("world", WORLDS)
def test_a_step_is_autograds_in_float64(world: str) -> None:
    workload = Workload(world, 16, 2, CPU)
    stack, batch = workload.stack(), next(workload.batches())
    exact = stack.with_flat(stack.flat.double())
    inputs = batch.inputs.flatten(1, 2).double()
    columns = readout_columns(workload.heads, workload.world.attributes)

    def total(flat: torch.Tensor) -> torch.Tensor:
        output = forward(exact.with_flat(flat), inputs, columns).output
        scores = output[:, 0].unflatten(1, (workload.world.options, -1)).log_softmax(1)
        found = -scores.gather(1, batch.targets.unsqueeze(1)).mean((1, 2)).sum()
        if workload.heads:
            told = batch.attributes.flatten(1, 2).mT.double()
            found = found + workload.heads["world"] * (output[:, 3:7] - told).square().mean((1, 2)).sum()
        return found

    leaf = exact.flat.clone().requires_grad_()
    with torch.enable_grad():
        (wanted,) = torch.autograd.grad(total(leaf), leaf)
    gradient = exact.with_flat(torch.zeros_like(exact.flat))
    trace = forward(exact, inputs, columns, keep_before=False)
    _, output_gradient = loss_and_gradient(trace.output, batch, workload.heads)
    backward(exact, trace, output_gradient, gradient)
    assert wanted.abs().max() > 1e-3
    assert torch.allclose(gradient.flat, wanted, atol=1e-12)


def trained_weights(contender: object) -> np.ndarray:
    """The first member's first weights, as they now are."""
    holder = {"Turncoat": "chunks", "Eager": "leaves", "Vmap": "parameters", "Jax": "state"}[type(contender).__name__]
    kept = getattr(contender, holder)
    if holder == "chunks":
        return kept[0][0].views["hidden1.weight"][0].numpy().copy()
    weights = (kept[0] if holder == "state" else kept)["hidden1.weight"]
    found = np.array(weights) if holder == "state" else weights.detach().numpy().copy()
    return found[0] if found.ndim == 3 else found


def test_every_contender_trains_on_data_of_its_own() -> None:
    workload = Workload("facts", 8, 3, CPU)
    initial = parameters_of(workload, workload.stack())["hidden1.weight"][0].numpy()
    for kind in [Turncoat, *kinds()]:
        contender = kind(workload)
        assert np.allclose(trained_weights(contender), initial), kind
        contender.run(WINDOW)
        found = trained_weights(contender)
        assert np.isfinite(found).all() and np.abs(found - initial).max() > 1e-3, kind
    products = Products(workload)
    products.run(1)
    for (one, other), result in zip(products.pairs, products.results, strict=True):
        assert torch.allclose(result, torch.einsum("eij,ejk->eik", one, other), atol=1e-4)


@pytest.mark.parametrize("world", WORLDS)
def test_drawn_batches_look_and_reward_as_turncoats_do(world: str) -> None:
    """Means and variances of every input, and targets by the definition of the lesson."""
    workload = Workload(world, 8, 40, CPU)
    inputs, attributes, targets = drawer(workload)(40)
    ours = next(workload.batches()).inputs
    assert inputs.shape == ours.shape
    for statistic in (torch.mean, torch.std):
        assert torch.allclose(statistic(inputs, (0, 1, 2)), statistic(ours, (0, 1, 2)), atol=0.06)
    width = workload.world.option_width
    slot, sign = inputs[:, 0, :, width : width + 4], inputs[:, 0, :, width + 8]
    own = workload.objectives()[:, OBJECTIVES.index("m"), None].expand_as(slot)
    served = torch.where(sign.unsqueeze(-1) > 0, slot, own)
    assert torch.equal(targets, (attributes * served.unsqueeze(1)).sum(-1).argmax(1))
    assert (sign > 0).float().mean() == pytest.approx(0.5, abs=0.03)


def test_turncoats_row_goes_on_through_its_stream() -> None:
    workload = Workload("plain", 8, 2, CPU)
    parts, whole = Turncoat(workload), Turncoat(workload)
    parts.run(WINDOW)
    first = parts.chunks[0][0].rows()
    parts.run(WINDOW)
    whole.run(WINDOW)
    assert torch.equal(whole.chunks[0][0].rows(), first)
    assert parts.window == 2 and not torch.equal(parts.chunks[0][0].rows(), first)


def test_timing_takes_turns_and_counts_steps() -> None:
    told: list[tuple[str, int]] = []
    ticks = itertools.count()
    runs = {name: lambda steps, name=name: told.append((name, steps)) for name in ("one", "other")}
    found = measure(runs, {"one": 4, "other": 2}, 3, lambda: float(next(ticks)))
    assert told == [("one", 4), ("other", 2)] * 4
    assert found["one"].median == 0.25 and found["other"].steps == 6
    assert found["one"].spread == (0.25, 0.25)
    assert steps_for(lambda _: None, 5.0, lambda: float(next(ticks)), unit=16) == 80
    assert steps_for(lambda _: None, 0.1, lambda: float(next(ticks)), unit=16) == 16


def test_shares_are_of_the_fastest() -> None:
    times = [(LIMIT, 50.0), (LIMIT, 60.0), ("turncoat", 100.0), ("turncoat", 400.0), ("other", 200.0)]
    rows = [{"contender": name, "microseconds": time} for name, time in times]
    _add_shares(rows)
    assert [row["share_of_limit"] for row in rows] == [1, 50 / 60, 0.5, 0.125, 0.25]
    assert [row["times_turncoat"] for row in rows] == [0.5, 0.6, 1, 4, 2]


def test_the_limit_counts_its_operations() -> None:
    workload = Workload("plain", 64, 2, CPU)
    rows, inputs, width, read = 512, workload.world.input_width, 64, 2
    products = 2 * inputs * width + 3 * width * width + 3 * read * width
    assert Products(workload).operations == 2 * rows * products


def write_study(folder: Path, half_widths: dict[str, float]) -> Path:
    """A study of 10 seeds: `internal` and its reference, pre-trained, fine-tuned, classified."""
    root = folder / "results" / "mine"
    lines = {
        "pretrain/aaaaaaaaaa/0-9": (20.0, "00:00:02 trained 10 models in 15.0 s (1 models/s), capability 1"),
        "finetune/bbbbbbbbbb/0-9": (12.0, "00:00:02 trained 10 models in 10.0 s (1 models/s), capability 1"),
        "finetune/cccccccccc/0-9": (12.0, "00:00:02 trained 10 models in 10.0 s (1 models/s), capability 1"),
        "finetune/dddddddddd/0-9": (99.0, "00:00:02 trained 10 models in 90.0 s (1 models/s), capability 1"),
        "classify/bbbbbbbbbb/0-9": (6.0, "00:00:02 measured 10 models x snapshots in 4.5 s (2 a second)"),
        "aggregate": (9.0, "00:00:58 stage aggregate\n00:01:05 tables of 10 models"),
        "report": (4.0, "00:00:02 wrote the report in 3.0 s"),
        "planted/planted": (7.0, "00:00:02 measured planted models in 6.0 s"),
    }
    for name, (seconds, log) in lines.items():
        for path, text in (
            (root / "benchmarks" / f"{name}.tsv", f"s\tcpu_time\n{seconds}\t1\n"),
            (root / "logs" / f"{name}.log", f"00:00:01 stage\n{log}\n"),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    (root / "logs" / "aggregate.log").write_text("23:59:58 stage aggregate\n00:00:05 tables of 10 models\n")
    (root / "config.yaml").write_text(
        "seeds: {first: 0, count: 10, block: 10}\nstatistics: {primary_capability: 0.9}\n"
    )
    (root / "manifest.json").write_text(json.dumps({"cores": 2, "models": 30}))
    (root / "tables").mkdir()
    plain = {"setting": "", "variant": "", "dodge": ""}
    pd.DataFrame(
        [
            ("aaaaaaaaaa", "pretrain", "internal", None, None),
            ("bbbbbbbbbb", "finetune", "internal", 90, "aaaaaaaaaa-3"),
            ("cccccccccc", "finetune", "scratch_exposed", 90, None),
            ("dddddddddd", "finetune", "scratch", 90, None),
        ],
        columns=["cell", "stage", "start", "distance", "parent_id"],
    ).assign(**plain).to_parquet(root / "tables" / "organisms.parquet")
    row = {"claim": "P3", "start": "internal", "reference": "scratch_exposed", "distance": 90.0, "n_pairs": 10}
    row |= {"match": "capability 0.90", "stratum": "internal", "setting": "", "variant": ""}
    claims = [row | {"outcome": name, "low": -half, "high": half} for name, half in half_widths.items()]
    claims += [claims[0] | {"claim": "P2", "high": 9.0}, claims[0] | {"match": "final step", "high": 9.0}]
    claims += [claims[0] | {"outcome": "m", "high": 9.0}, claims[0] | {"reference": "scratch", "high": 9.0}]
    pd.DataFrame(claims).to_parquet(root / "tables" / "claims.parquet")
    return root


def test_time_to_verdict_scales_the_widest_interval(tmp_path: Path) -> None:
    root = write_study(tmp_path, {"c": 0.02, "d": 0.005})
    of_other_seeds = root / "benchmarks" / "finetune" / "bbbbbbbbbb" / "50-59.tsv"
    of_other_seeds.write_text("s\tcpu_time\n77.0\t1\n")
    found = verdict.time_to_verdict(root)
    assert [(row["outcome"], row["seeds"]) for row in found.contrasts] == [("c", 40), ("d", 3)]
    assert (found.seeds, found.models) == (40, 40 * 3)  # cells a, b and c: d is no part of P3's contrasts
    assert found.seconds_a_seed == {"pretrain": 2.0, "finetune": 2.4, "classify": 0.6, "gating": 0.0}
    # Of 120 models and not 40, the aggregate takes three times as long; it and the report use one core of the two.
    assert (found.planted, found.aggregate, found.report) == (7.0, pytest.approx(27.0), 4.0)
    assert found.minutes == pytest.approx(((40 * 5.0 + 7.0) / 2 + 27.0 + 4.0) / 60)
    assert [row["core_seconds"] for row in verdict.rows_of(found)[1][4:]] == [7.0, pytest.approx(27.0), 4.0]
    assert "40 seeds" in verdict.headline(found) and "1 of 2" in verdict.headline(found)


def test_time_to_verdict_refuses_what_it_cannot_tell(tmp_path: Path) -> None:
    root = write_study(tmp_path, {"c": float("nan"), "d": 0.005})
    with pytest.raises(ValueError, match="has no interval"):
        verdict.time_to_verdict(root)
    with pytest.raises(ValueError, match="no contrast of P3"):
        verdict.contrasts_of(pd.read_parquet(root / "tables" / "claims.parquet"), "capability 0.85", 10)
    assert verdict.insert("a <!-- time to verdict -->b<!-- /time to verdict --> c", r"\1") == (
        "a <!-- time to verdict -->\n\\1\n<!-- /time to verdict --> c"
    )
    with pytest.raises(ValueError, match="the page has no"):
        verdict.insert("a", "b")


def test_a_studys_time_is_told_by_stage_and_by_cause(tmp_path: Path) -> None:
    root = write_study(tmp_path, {"c": 0.02})
    by_stage, by_cause = study.report(root, share=0.25)
    assert {row["stage"]: (row["jobs"], row["core_seconds"], row["work"]) for row in by_stage} == {
        "pretrain": (1, 20.0, 15.0),
        "finetune": (3, 123.0, 110.0),
        "classify": (1, 6.0, 4.5),
        "aggregate": (1, 9.0, 7.0),
        "planted": (1, 7.0, 6.0),
        "report": (1, 4.0, 3.0),
    }
    causes = {row["cause"]: row["core_seconds"] for row in by_cause}
    assert causes["training: episodes"] == pytest.approx(125 / 4)
    assert causes[study.START] == pytest.approx(169 - 125 - 4.5 - 7 - 6 - 3)
    assert causes["all"] == 169 and sum(row["share"] for row in by_cause) == pytest.approx(2)
    logs = tmp_path / ".snakemake" / "log"
    logs.mkdir(parents=True)
    (logs / "one.log").write_text("results/mine\n7 of 7 steps (100%) done\nElapsed time: 0:01:40.500000\n")
    (logs / "other.log").write_text("results/mine\n1 of 1 steps (100%) done\nElapsed time: 1:00:00\n")
    (logs / "theirs.log").write_text("results/yours\n70 of 70 steps (100%) done\nElapsed time: 1:00:00\n")
    total = study.report(root, share=0.25)[1][-1]
    assert total["core_seconds"] == 201.0 and total["models_a_minute"] == pytest.approx(30 / 100.5 * 60)
    with pytest.raises(ValueError, match=r"holds no \*\.tsv"):
        list(study.jobs_of(tmp_path))


def test_a_table_is_written_to_be_read(tmp_path: Path) -> None:
    table.write(tmp_path, "mine", [{"a": 1, "b": 123.4}, {"a": 2, "b": None, "c": 0.12345}], {"torch": "2"})
    text = (tmp_path / "mine.md").read_text()
    assert "| a | b | c |" in text and "| 1 | 123 |  |" in text and "| 2 |  | 0.123 |" in text
    assert pd.read_parquet(tmp_path / "mine.parquet")["b"][0] == 123.4
