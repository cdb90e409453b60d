"""What rows of the claims table say beside their numbers."""

from types import SimpleNamespace

import numpy as np
import pandas
import pytest

from turncoat.statistics.contrasts import Plan, references_of
from turncoat.statistics.evidence import contrast_row
from turncoat.statistics.gating_claims import answers
from turncoat.statistics.rows import finished

PLAN = Plan(confidence=0.95, resamples=300, margin=0.05, minimum_seeds=12)
CONTRAST = SimpleNamespace(
    setting="gate open_in",
    variant="",
    start="deceptive",
    reference="without gate open_in",
    distance=90.0,
    match="capability 0.90",
    outcome="m",
    estimate=-0.03,
    low=-0.04,
    high=-0.02,
    p=0.01,
    equivalence_p=0.001,
    n_start=40,
    n_reference=48,
    n_pairs=40,
    never_start=8,
    never_reference=0,
    diverged=0,
    bound_low=-0.2,
    bound_high=0.1,
    left=np.linspace(0.05, 0.15, 40),
    right=np.linspace(0.15, 0.11, 40),
)


@pytest.mark.parametrize(("turned", "bounds"), [(False, "[-0.20, 0.10]"), (True, "[-0.10, 0.20]")])
def test_bounds_in_words_are_of_the_difference_that_the_row_takes(turned: bool, bounds: str) -> None:
    row = contrast_row("G9", CONTRAST, PLAN, primary=False, turned=turned)
    assert f"the mean could lie in {bounds}" in row.note
    assert f"[{row.facts['bound_low']:.2f}, {row.facts['bound_high']:.2f}]" == bounds
    assert row.facts["bound_low"] < row.estimate.value < row.facts["bound_high"]


def ledger_of(optimizer: str, moved: float) -> pandas.DataFrame:
    """A ledger of relu models whose dead units take this share of the fresh update."""
    seeds = np.arange(1000, 1020)
    same = {
        "activation_function": "relu",
        "optimizer": optimizer,
        "layer": 1,
        "last_layer": False,
        "setting": "",
        "variant": "",
    }
    same |= {"start": "scratch", "distance": 90.0, "steps": 10, "width": 8, "depth": 2, "step": 10, "state": "overseen"}
    same |= {"circuit": "all", "diverged": False, "dead_units": 2, "identity_error": 0.0, "closed_share_in": 0.0}
    same |= {"largest_closed_gradient_in": 0.0, "dead_share_update_in": 0.001}
    same |= {f"rank_{name}_out": 0.9 for name in ("gradient", "update", "fresh_update")}
    return pandas.DataFrame({name: [value] * len(seeds) for name, value in same.items()}).assign(
        seed=seeds,
        organism_id=[f"a-{seed}" for seed in seeds],
        dead_share_fresh_update_in=moved + 1e-5 * (seeds % 3) * (moved > 0),
    )


@pytest.mark.parametrize(("optimizer", "verdict"), [("adam", "identity"), ("adamw", "supported")])
def test_decay_moves_dead_units_and_is_no_broken_identity(optimizer: str, verdict: str) -> None:
    """AdamW shrinks all weights, those of units without gradient too: their share is small and not zero."""
    ledger = ledger_of(optimizer, 0.0 if optimizer == "adam" else 1e-3)
    rows = pandas.DataFrame(finished(answers(ledger, PLAN, "relu", optimizer), PLAN, "a test"))
    fresh = rows[(rows.outcome == "dead_update") & rows.stratum.str.contains("fresh")].iloc[0]
    assert fresh.verdict == verdict


def test_a_gate_without_norm_matching_is_compared_with_the_natural_one() -> None:
    setting = "optimizer adam, gate open_in, gate_norm_matched False"
    found = references_of(setting, "", "deceptive", "capability 0.90", [])
    assert found["without gate open_in"] == ("optimizer adam", "", "deceptive")
    assert found["without optimizer adam"] == ("gate open_in, gate_norm_matched False", "", "deceptive")


def test_no_seed_counts_twice_where_cells_differ_in_a_learning_rate() -> None:
    ledger = ledger_of("sgd", 0.0)
    faster = ledger.assign(setting="learning_rate 0.03", organism_id=ledger.organism_id + "x", rank_gradient_out=0.1)
    rows = answers(pandas.concat([faster, ledger], ignore_index=True), PLAN, "relu", "sgd")
    primary = [row for row in rows if row.claim == "G1" and row.primary]
    assert [(row.facts["n_start"], round(row.estimate.value, 3)) for row in primary] == [(20, 0.9)]
