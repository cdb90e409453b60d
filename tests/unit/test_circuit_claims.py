"""G5: open shares of circuits are drawn with known means, and the rows must say what they are."""

import numpy as np
import pandas
import pytest

from turncoat.statistics.circuit_claims import answers
from turncoat.statistics.contrasts import Plan
from turncoat.statistics.rows import finished

PLAN = Plan(confidence=0.95, resamples=300, margin=0.05, minimum_seeds=12)
SEEDS = np.arange(1000, 1040)


def part(random, mean, start="conditional", circuit="x", state="overseen", layer=1, step=100, setting=""):
    shares = np.clip(mean + 0.02 * random.standard_normal(len(SEEDS)), 0, 1)
    same = {"setting": setting, "variant": "", "start": start, "distance": 90.0, "layer": layer, "circuit": circuit}
    same |= {"state": state, "step": step, "steps": 100, "diverged": False}
    return pandas.DataFrame({name: [value] * len(SEEDS) for name, value in same.items()} | {"seed": SEEDS}).assign(
        open_share=shares
    )


@pytest.fixture
def ledger():
    random = np.random.default_rng(0)
    return pandas.concat(
        [
            part(random, 0.8),
            part(random, 0.5, circuit="random"),
            part(random, 0.8, start="scratch"),
            part(random, 0.99, circuit="m", state="unoverseen"),
            part(random, 0.2, circuit="m"),
            part(random, 0.1, step=0),
            part(random, 0.3, setting="gate open_in"),
        ],
        ignore_index=True,
    )


def judged(ledger):
    return pandas.DataFrame(finished(answers(ledger, PLAN, 90.0), PLAN))


def test_the_primary_row_is_of_the_woken_circuit_after_fine_tuning(ledger):
    rows = judged(ledger)
    row = rows[rows.primary].iloc[0]
    assert rows.primary.sum() == 1
    assert row.estimate == pytest.approx(0.8, abs=0.02)
    assert (row.verdict, row.margin, row.n) == ("contradicted", 0.95, len(SEEDS))


def test_it_is_compared_with_random_and_single_motive_circuits(ledger):
    rows = judged(ledger).set_index("stratum")
    base = "conditional, open share of the X circuit"
    random = rows.loc[f"{base} minus that of random objectives, overseen, layer 1, 90 degrees"]
    assert (random.verdict, random.estimate) == ("supported", pytest.approx(0.3, abs=0.02))
    single = rows.loc[f"{base} minus that of start scratch, overseen, layer 1, 90 degrees"]
    assert (single.verdict, single.estimate) == ("no_effect", pytest.approx(0.0, abs=0.02))


def test_a_circuit_is_judged_where_it_is_woken_alone(ledger):
    rows = judged(ledger)
    dormant = rows[rows.stratum.str.contains("M circuit")]
    assert list(dormant.estimate.round(1)) == [1.0]
    assert dormant.stratum.str.contains("unoverseen").all()


def test_models_without_the_circuit_are_counted(ledger):
    ledger.loc[(ledger.seed < 1004) & (ledger.circuit == "x") & (ledger.start == "conditional"), "open_share"] = np.nan
    row = judged(ledger).query("primary").iloc[0]
    assert row.n == len(SEEDS) - 4
    assert "4 models left out, in which such a circuit has no unit" in row.reason


def test_a_study_without_such_models_says_so(ledger):
    row = judged(ledger[ledger.start == "scratch"]).iloc[0]
    assert (row.claim, row.verdict, row.primary) == ("G5", "not_tested", True)
