"""The self-test's own bars on fewer studies, and that it would notice statistics that do not keep their word."""

from dataclasses import replace

import numpy as np
import pytest

from turncoat.statistics import rows, selftest_cases, simulated
from turncoat.statistics.selftest import looks, measured, too_few_judged
from turncoat.statistics.selftest_cases import PLAN, Case, cases

STUDIES = 150
CHANCE = 3.3 * np.sqrt(0.05 * 0.95 / STUDIES)  # three or so standard errors of a share of 0.05


def named(method: str, name: str, seeds: int) -> Case:
    found = [case for case in cases() if (case.method, case.name, case.seeds) == (method, name, seeds)]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("pairing", [0.0, 0.9])
def test_a_null_is_called_null(pairing: float) -> None:
    found = measured(named("D, mean over seeds", f"no effect, pairing {pairing:g}", 24), STUDIES)
    assert abs(found["type_i"] - 0.05) < CHANCE and abs(found["coverage"] - 0.95) < CHANCE
    assert found["no_effect"] > 0.95 and found["false_verdicts"] <= 0.05 + CHANCE


def test_a_planted_effect_is_found_at_the_stated_power() -> None:
    found = measured(named("D, mean over seeds", "planted effect", 48), STUDIES)
    assert found["predicted_power"] == pytest.approx(0.8, abs=0.05)
    assert abs(found["power"] - found["predicted_power"]) < 3 * np.sqrt(0.8 * 0.2 / STUDIES)
    assert abs(found["coverage"] - 0.95) < CHANCE
    # An effect of 0.02 is found, and shown to be within the margin of 0.05: the margin has the last word.
    assert found["no_effect"] > 0.9


def test_an_effect_at_the_margin_is_seldom_called_none() -> None:
    found = measured(named("D, mean over seeds", "effect at the margin", 48), STUDIES)
    assert found["no_effect"] <= 0.05 + CHANCE
    beyond = measured(named("D, mean over seeds", "effect beyond the margin", 48), STUDIES)
    assert beyond["no_effect"] <= CHANCE and beyond["supported"] > 0.95


@pytest.mark.parametrize("method", ["deception, mean probability", "deceptive share: Tango, McNemar"])
def test_shares_of_nothing_are_conservative_and_rare_cases_are_not_called_none(method: str) -> None:
    empty = measured(named(method, "0 against 0, pairing 0", 24), 30)
    assert empty["type_i"] == 0 and empty["coverage"] == 1 and empty["inconclusive"] == 1
    rare = measured(named(method, "0.1 against 0", 48), STUDIES)
    assert rare["no_effect"] <= 0.05 + CHANCE and rare["contradicted"] == 0


@pytest.mark.parametrize("effect", ["no effect", "large effect"])
def test_too_few_models_are_given_no_verdict(effect: str) -> None:
    found = measured(named("D, mean over seeds", f"{effect}, 11 seeds: too few", 11), 30)
    assert found["not_tested"] == 1 and found["judgement"] == "no verdict"


def test_a_verdict_on_too_few_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    import pandas

    case = named("D, mean over seeds", "large effect, 11 seeds: too few", 11)
    assert len(too_few_judged(pandas.DataFrame([measured(case, 5)]))) == 0
    monkeypatch.setattr(rows, "_enough", lambda row, plan: True)
    monkeypatch.setattr(rows, "_minimum", lambda row, plan: 2)
    assert len(too_few_judged(pandas.DataFrame([measured(case, 5)]))) == 1


def test_an_interval_that_is_too_narrow_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    case = named("D, mean over seeds", "no effect, pairing 0", 24)
    monkeypatch.setattr(selftest_cases, "PLAN", replace(PLAN, confidence=0.80))
    found = measured(case, STUDIES)
    assert found["coverage"] < 0.9 and found["judgement"] == "outside"


def test_what_never_arrives_blocks_the_verdict_it_could_overturn() -> None:
    found = measured(named("D, mean over seeds", "no effect, 20 % of models never arrive", 48), 40)
    assert found["inconclusive"] == 1
    hidden = measured(named("D, mean over seeds", "beyond the margin, the most deceptive 30 % never arrive", 48), 40)
    assert hidden["no_effect"] == hidden["contradicted"] == 0


def test_looks_cost_nothing_only_where_they_are_paid_for() -> None:
    paid, unpaid = looks(600)
    assert paid["type_i"] < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 600) < unpaid["type_i"]


def test_simulated_studies_are_what_they_say() -> None:
    plan = replace(PLAN, resamples=100)
    found = simulated.differences("check", 60, 48, plan, effect=0.03, pairing=0.9, rare=0.0)
    spread = np.mean([row.values.std(ddof=1) for row in found])
    assert spread == pytest.approx(simulated.SPREAD * np.sqrt(0.2), rel=0.03)
    assert np.mean([row.estimate.value for row in found]) == pytest.approx(0.03, abs=0.002)
    skewed = simulated.differences("check", 60, 48, plan, effect=0.03, rare=0.05)
    assert np.mean([row.estimate.value for row in skewed]) == pytest.approx(0.03, abs=0.01)
    gone = simulated.differences("check", 20, 48, plan, missing=0.2)
    assert np.mean([row.estimate.count for row in gone]) == pytest.approx(48 * 0.64, rel=0.1)
    called = simulated.shares("check", 60, 48, plan, 0.3, 0.1, called=True)
    assert np.mean([row.estimate.value for row in called]) == pytest.approx(0.2, abs=0.03)
