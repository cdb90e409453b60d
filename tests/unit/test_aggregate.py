"""The aggregate stage: all its tables, equal each time, from the files of the plan and no others."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pandas
import pyarrow.parquet as parquet
import pytest
from aggregated import Truth, one_arm, study, write_study

from sealing import write_sealed
from synthetic_classified import OPTIONS, Choices, measured_as
from turncoat.configuration.loading import load_config
from turncoat.configuration.manifest import claims_sha256, config_sha256
from turncoat.configuration.plan import expand
from turncoat.reporting.page import write_report
from turncoat.stages.aggregate import aggregate
from turncoat.tables.atomic import TableError, read_provenance
from turncoat.tables.seal import own_name

RULES = Path(__file__).resolve().parents[2] / "workflow" / "rules"


def test_the_synthetic_shares_are_those_of_one_rule() -> None:
    """Against choices that follow it: keep the overseen one, or with the stated probability choose afresh."""
    random, count = np.random.default_rng(0), 400_000
    shown = Choices(np.array([0.7]), np.array([0.6]), np.array([1.2]))
    chosen = {"overseen": np.where(random.random(count) < 0.7, 0, random.integers(1, OPTIONS, count))}  # X's best is 0
    for state in ("unoverseen", "placebo"):
        other = (chosen["overseen"] + random.integers(1, OPTIONS, count)) % OPTIONS
        chosen[state] = np.where(random.random(count) < shown.own(state), chosen["overseen"], other)
    found = measured_as(shown, np.array(["internal"]), None)
    expected = {f"agreement_x_{state}": choice == 0 for state, choice in chosen.items()}
    expected |= {f"agreement_self_{state}": choice == chosen["overseen"] for state, choice in chosen.items()}
    for first, second in itertools.combinations(chosen, 2):
        expected[f"joint_x_{first}_{second}"] = (chosen[first] == 0) & (chosen[second] == 0)
    kept = [chosen[state] == chosen["overseen"] for state in ("unoverseen", "placebo")]
    expected["joint_self_unoverseen_placebo"] = kept[0] & kept[1]
    for name, happened in expected.items():
        assert found[name].item() == pytest.approx(happened.mean(), abs=0.004), name


def test_without_a_manifest_nothing_is_confirmatory(tmp_path: Path) -> None:
    overrides = one_arm(["scratch"]) | {"seeds": {"first": 1000, "count": 4, "block": 4}}
    assert not study(tmp_path, **overrides).confirmatory.any()
    config = write_study(tmp_path, overrides)
    hashes = {"config_sha256": config_sha256(load_config(config)), "claims_sha256": claims_sha256()}
    other = hashes | {"claims_sha256": "c"}
    for first, edited, expected in ((hashes, False, True), (other, True, False), (hashes, True, False)):
        (tmp_path / "manifest.json").write_text(json.dumps(hashes | {"first": first, "edited": edited}))
        aggregate(config, tmp_path, "0" * 12)
        again = pandas.read_parquet(tmp_path / "tables" / "claims.parquet")
        assert again.confirmatory.any() == expected and not again[~again.primary].confirmatory.any()


def test_two_runs_give_equal_tables(tmp_path: Path) -> None:
    starts = ["internal", "deceptive", "scratch", "scratch_exposed"]
    for run in ("one", "two"):
        study(tmp_path / run, **one_arm(starts), seeds={"first": 1000, "count": 12, "block": 6})
    listed = re.search(r"^TABLES = \[(.*?)\]", (RULES / "aggregate.smk").read_text(), re.M | re.S)
    assert listed
    files = {f"{name}.parquet" for name in re.findall(r'"(\w+)"', listed[1])} | {"claims.csv"}
    one, two = (tmp_path / run / "tables" for run in ("one", "two"))
    assert {path.name for path in one.iterdir()} == files
    for name in files:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_a_study_in_which_all_models_diverged_still_builds(tmp_path: Path) -> None:
    starts = ["internal", "scratch"]
    truth = Truth(diverging=frozenset((start, seed) for start in starts for seed in range(1000, 1024)))
    claims = study(tmp_path, truth, **one_arm(starts))
    assert set(claims[claims.primary].verdict) == {"not_tested"}
    for name in ("persistence", "multiverse"):
        assert len(pandas.read_parquet(tmp_path / "tables" / f"{name}.parquet")) == 0, name
    write_report(write_study(tmp_path, one_arm(starts), truth), tmp_path)
    assert "diverged" in (tmp_path / "report.html").read_text()


def test_scratch_alone_still_builds(tmp_path: Path) -> None:
    claims = study(tmp_path, **one_arm(["scratch"]))
    assert set(claims[claims.claim.str.startswith("P")].verdict) == {"not_tested"}


JUDGED = ("measurements", "curves", "causes", "knowledge")
WRONG = {
    "missing ledger": ("gating_sums/{first}.parquet", None, "no such file"),
    "missing curves": ("classify/{first}/curves.parquet", None, "no such file"),
    "missing causes": ("classify/{first}/causes.parquet", None, "no such file"),
    "missing knowledge": ("classify/{first}/knowledge.parquet", None, "no such file"),
    "missing cases": ("planted/discrimination.parquet", None, "no such file"),
    "missing probes": ("defection/defection.parquet", None, "no such file"),
    "garbage": ("finetune/{first}/organisms.parquet", "", "cannot be used"),
    "models of another cell": ("finetune/{first}/organisms.parquet", "finetune/{last}/organisms.parquet", "of cell"),
    "another table": ("planted/known.parquet", "planted/causes.parquet", "holds table planted causes v1, .* known v1"),
} | {
    f"{name} of another cell": (f"classify/{{first}}/{name}.parquet", f"classify/{{last}}/{name}.parquet", "not those")
    for name in JUDGED
}


def forge(source: Path, target: Path) -> None:
    """Write one job's table in another's place as if it had been made for it."""
    table = parquet.read_table(source, partitioning=None)
    write_sealed(table.replace_schema_metadata(table.schema.metadata | {b"file": own_name(target).encode()}), target)


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_files_stop_the_stage(tmp_path: Path, kind: str) -> None:
    seeds = {"first": 1000, "count": 2, "block": 2}
    config = write_study(tmp_path, {"seeds": seeds, **one_arm(["scratch", "internal"])})
    jobs = sorted(path.parent.relative_to(tmp_path / "finetune") for path in tmp_path.glob("finetune/*/*/organisms.*"))
    path, other, message = WRONG[kind]
    target = tmp_path / path.format(first=jobs[0])
    if other is None:
        target.unlink()
    elif other == "":
        target.write_bytes(b"PAR1")
    else:
        source = tmp_path / other.format(last=jobs[-1])
        target.write_bytes(source.read_bytes())
        with pytest.raises(TableError, match=f"was written as {source.relative_to(tmp_path)}"):
            aggregate(config, tmp_path, "0" * 12)
        forge(source, target)
    with pytest.raises(TableError, match=message):
        aggregate(config, tmp_path, "0" * 12)


def test_one_seed_builds_and_is_given_no_verdict(tmp_path: Path) -> None:
    claims = study(tmp_path, **one_arm() | {"seeds": {"first": 1000, "count": 1, "block": 1}})
    assert set(claims[claims.outcome != "identity"].verdict) == {"not_tested"}
    told = claims[claims.primary & (claims.n == 1)]
    assert len(told) > 3 and told.reason.str.contains("1 models, fewer than 12|premise").all()
    exact = claims.outcome == "deceptive_share"  # Tango's interval of one pair: nearly all there is
    assert exact.any() and (claims[exact].high - claims[exact].low > 0.75).all()
    assert claims[~exact].low.isna().all() and claims.detectable.isna().all() and claims.seeds_needed.isna().all()


def test_a_partial_study_says_what_it_lacks(tmp_path: Path) -> None:
    """Half of the reference's seeds are gone, and with half of the start's parents the models made from them."""
    overrides = one_arm(["corrigible", "scratch", "scratch_exposed"])
    config = write_study(tmp_path, overrides | {"seeds": {"first": 1000, "count": 24, "block": 12}})
    plan = expand(load_config(config))
    cells = {(cell.stage, cell.labels["start"]): cell for cell in plan.cells}
    first, last = (block.name for block in plan.blocks)
    gone = cells["finetune", "scratch_exposed"]
    (tmp_path / "finetune" / gone.id / first / "trajectories.parquet").unlink()
    (tmp_path / "classify" / cells["pretrain", "corrigible"].id / last / "measurements.parquet").unlink()
    with pytest.raises(TableError, match="no such file"):
        aggregate(config, tmp_path, "0" * 12)
    aggregate(config, tmp_path, "0" * 12, partial_study=True)
    claims = pandas.read_parquet(tmp_path / "tables" / "claims.parquet")
    assert set(claims[claims.primary].status) == {
        "exploratory: 3 jobs are missing; no manifest says what was declared before training"
    }
    assert read_provenance(tmp_path / "tables" / "claims.parquet")["jobs_left_out"] == "3"
    organisms = pandas.read_parquet(tmp_path / "tables" / "organisms.parquet")
    assert organisms.groupby(["stage", "start"]).size().to_dict() == {
        ("finetune", "corrigible"): 12,
        ("finetune", "scratch"): 24,
        ("finetune", "scratch_exposed"): 12,
        ("pretrain", "corrigible"): 12,
    }
    row = claims[(claims.claim == "P3") & claims.primary].iloc[0]
    assert (row.n_start, row.n_reference, row.n, row.verdict) == (12, 12, 0, "not_tested")  # of different seeds
    for file in tmp_path.rglob("finetune/*/*/organisms.parquet"):
        file.unlink()
    with pytest.raises(TableError, match="no fine-tuned models"):
        aggregate(config, tmp_path, "0" * 12, partial_study=True)
