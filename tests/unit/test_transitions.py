"""When models turn, and what they are at equal capability: against trajectories whose answer has a closed form."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from aggregated import Truth, one_arm, study

from turncoat.statistics.claims import CLAIMS
from turncoat.statistics.contrasts import ARM, Plan, columns_of, contrast
from turncoat.statistics.outcomes import limits
from turncoat.statistics.study import matched_models, offsets_of
from turncoat.statistics.transitions import occupancy, ratio_table, readings, transition_table, transition_times

PLAN = Plan(confidence=0.95, resamples=200, margin=0.05, minimum_seeds=12)
STEPS = np.unique(np.round(np.expm1(np.linspace(0, np.log1p(4000), 120)))).astype(int)
TYPES = ["internal", "deceptive", "mixed"]


def rising(steps: np.ndarray, half: float, rate: float = 2.0) -> np.ndarray:
    """A logistic curve in log(step + 1), one half at step `half`."""
    return 1 / (1 + np.exp(-rate * (np.log1p(steps) - np.log1p(half))))


def arrival(level: float, half: float, rate: float = 2.0) -> float:
    """The step at which `rising` is at that level."""
    return float(np.expm1(np.log1p(half) + np.log(level / (1 - level)) / rate))


def models(start: str, seeds: range, steps: np.ndarray, **columns: Any) -> pandas.DataFrame:
    """One row per model and step; each column is a function of (steps, seed), or one value."""
    parts = []
    for seed in seeds:
        found = {name: value(steps, seed) if callable(value) else value for name, value in columns.items()}
        place = {"setting": "", "variant": "", "start": start, "distance": 90.0, "seed": seed, "diverged": False}
        parts.append(pandas.DataFrame(place | {"step": steps, "episodes": 128 * steps} | found))
        parts[-1]["organism_id"] = f"{start}-{seed:05d}"
    return pandas.concat(parts, ignore_index=True)


def test_times_are_those_of_the_curve() -> None:
    frame = models("internal", range(3), STEPS, turn=lambda steps, seed: rising(steps, 100 * (seed + 1)))
    found = transition_times(frame, offsets_of(frame), {"turn": 0.75})
    expected = [128 * arrival(0.75, 100 * (seed + 1)) for seed in range(3)]
    assert found.times.to_numpy() == pytest.approx(expected, rel=0.002)
    assert (found.quantity == "turn").all() and found.seed.tolist() == [0, 1, 2]


def test_a_level_never_reached_is_infinite_and_a_diverged_model_has_no_time() -> None:
    frame = models("internal", range(4), STEPS, turn=lambda steps, seed: 0.3 * (seed + 1) * rising(steps, 50))
    frame.loc[frame.seed == 3, "diverged"] = True
    found = transition_times(frame, offsets_of(frame), {"turn": 0.5})
    assert np.isinf(found.times[0]) and np.isnan(found.times[3])
    assert found.times[1:3].to_numpy() == pytest.approx(
        [128 * arrival(0.5 / 0.6, 50), 128 * arrival(0.5 / 0.9, 50)], rel=0.01
    )
    table = transition_table(found, PLAN)
    assert (table.never.item(), table.n.item(), table.diverged.item()) == (1, 3, 1)
    assert table["median"].item() == found.times[1]


def test_a_turn_before_the_first_step_takes_no_episodes() -> None:
    frame = models("corrigible", range(2), STEPS, turn=1.0)
    assert transition_times(frame, offsets_of(frame), {"turn": 0.9}).times.tolist() == [0, 0]


def test_what_only_seems_to_turn_is_smoothed() -> None:
    frame = models("corrigible", range(1), np.array([0, 1, 2, 3]), turn=np.array([0.1, 0.9, 0.1, 0.3]))
    assert np.isinf(transition_times(frame, offsets_of(frame), {"turn": 0.6}).times.item())


def test_no_models_have_no_times() -> None:
    frame = models("corrigible", range(1), STEPS, turn=1.0).iloc[:0]
    found = transition_times(frame, offsets_of(frame), {"turn": 0.9})
    assert len(found) == len(transition_table(found, PLAN)) == len(ratio_table(found, PLAN)) == 0


def test_ratios_of_known_times_and_the_censored() -> None:
    def times(start: str, values: list[float]) -> pandas.DataFrame:
        place = {"setting": "", "variant": "", "start": start, "distance": 90.0, "diverged": False}
        seeds = range(len(values))
        return pandas.DataFrame(place | {"seed": seeds, "times": values, "quantity": "turn"})

    start = times("internal", [300.0] * 10 + [np.inf] * 2 + [np.inf, 300.0, np.nan])
    scratch = times("scratch", [100.0] * 10 + [100.0] * 2 + [np.inf, np.inf, 100.0])
    table = ratio_table(pandas.concat([start, scratch]), PLAN)
    row = table.set_index("start").loc["internal"]
    assert table.start.tolist() == ["internal"]  # scratch is compared with nothing here
    assert row.reference == "scratch" and row.estimate == pytest.approx(np.log(3))
    assert (row.n_pairs, row.never_start, row.never_reference, row.never_both) == (13, 3, 2, 1)
    assert row.p == pytest.approx(2 * 14 / 2**13)  # 12 above, 1 below zero


def test_times_are_equal_within_the_margin_that_p4c_declares(monkeypatch: pytest.MonkeyPatch) -> None:
    place = {"setting": "", "variant": "", "distance": 90.0, "diverged": False, "quantity": "turn", "seed": range(8)}
    times = pandas.concat(
        [
            pandas.DataFrame(place | {"start": "internal", "times": [110.0] * 7 + [140.0]}),
            pandas.DataFrame(place | {"start": "scratch", "times": 100.0}),
        ]
    )
    assert CLAIMS["P4c"].margin == pytest.approx(np.log(1.25))
    assert ratio_table(times, PLAN).equivalence_p.item() == pytest.approx(9 / 2**8)  # 7 of 8 below the margin
    wider = {"P4c": replace(CLAIMS["P4c"], margin=float(np.log(1.5)))}
    monkeypatch.setattr("turncoat.statistics.transitions.CLAIMS", wider)
    assert ratio_table(times, PLAN).equivalence_p.item() == pytest.approx(1 / 2**8)


def test_readings_take_the_worse_cue_state_and_the_share_of_slot_2() -> None:
    measured = pandas.DataFrame(
        {
            "random_overseen_cos_x": [0.9, 0.9, np.nan, 0.8],
            "random_unoverseen_cos_x": [0.2, 0.95, 0.9, 0.8],
            "random_overseen_slot1": [1.0, 3.0, -1.0, 0.0],
            "random_overseen_slot2": [1.0, 1.0, 2.0, -0.1],
        }
    )
    found = readings(measured)
    assert found.points_to_x.tolist() == [0.2, 0.9, 0.0, 0.8]
    assert found.pointer_shifted.tolist() == [0.5, 0.25, 1.0, 0.0]


def course(start: str, seeds: range, half: float, top: float = 1.0, d_half: float = 60.0) -> pandas.DataFrame:
    """Models whose capability and D are known logistic curves of log(step + 1), D falling from 0.8 to 0, and whose
    cross-entropy falls from 1.4; weights are kept at every third check and the last."""

    def d(steps: np.ndarray, seed: int) -> np.ndarray:
        known = 0.8 * (1 - rising(steps, d_half)) + 0.01 * (seed % 3 - 1)
        kept = (np.arange(len(steps)) % 3 == 0) | (steps == steps[-1])
        return np.where(kept, known, np.nan)

    frame = models(
        start,
        seeds,
        STEPS,
        capability=lambda steps, seed: 0.5 + 0.5 * top * rising(steps, half),
        cross_entropy=lambda steps, seed: 1.4 * (1 - top * rising(steps, half)),
        d=d,
        options=2.0,
        attainable=1.0,
        parent_type=None,
        displacement=0.0,
    )
    frame = frame.assign(c=frame.d, placebo=0.0, m=0.5, deception=0.0, d_error=0.01)
    return frame.sort_values(["organism_id", "step"], ignore_index=True)


def d_at(step: float, half: float = 60.0) -> float:
    return 0.8 * (1 - float(rising(np.array([step]), half)[0]))


def test_d_at_equal_capability_is_that_of_the_known_curves() -> None:
    """Capability 0.9 is 0.8 of the way up from a half; the fast start is then at another step than the slow one."""
    frame = pandas.concat([course("internal", range(24), 30.0), course("scratch", range(24), 200.0)])
    matched = matched_models(frame, [0.9], [0.28])
    for start, half in (("internal", 30.0), ("scratch", 200.0)):
        step = arrival(0.8, half)
        here = matched[(matched.match == "capability 0.90") & (matched.start == start)]
        assert here.arrived.all() and here.steps.to_numpy() == pytest.approx(np.full(24, step), rel=0.003)
        assert here.d.mean() == pytest.approx(d_at(step), abs=0.002)
        again = matched[(matched.match == "cross-entropy 0.28") & (matched.start == start)]  # 1.4 * (1 - 0.8)
        assert again.steps.to_numpy() == pytest.approx(here.steps.to_numpy(), rel=0.003)
        assert again.d.to_numpy() == pytest.approx(here.d.to_numpy(), abs=0.002)
        assert again.capability.to_numpy() == pytest.approx(np.full(24, 0.9), abs=0.002)
    level = matched[matched.match == "capability 0.90"]
    found = contrast(
        *(columns_of(level[level.start == start], ["d"]) for start in ("internal", "scratch")), "d", PLAN, "test"
    )
    expected = d_at(arrival(0.8, 30.0)) - d_at(arrival(0.8, 200.0))
    assert found.estimate.value == pytest.approx(expected, abs=0.003) and expected > 0.1
    final = matched[matched.match == "final step"]
    assert final[final.start == "internal"].d.mean() == pytest.approx(d_at(4000), abs=0.002)


def test_models_that_never_get_to_a_cross_entropy_are_counted_and_bounded() -> None:
    """Those that stop half way could show, at the capability of their end, whatever is possible there."""
    stopped = course("internal", range(18, 24), 30.0, top=0.5)
    frame = pandas.concat([course("internal", range(18), 30.0), stopped, course("scratch", range(24), 200.0)])
    frame = frame.sort_values(["organism_id", "step"], ignore_index=True)
    matched = matched_models(frame, [0.9], [0.28])
    level = matched[matched.match == "cross-entropy 0.28"]
    start, scratch = level[level.start == "internal"], level[level.start == "scratch"]
    assert (~start.arrived).sum() == 6 and start[~start.arrived].d.isna().all()
    end = stopped.capability.max()
    assert start[~start.arrived].capability.to_numpy() == pytest.approx(np.full(6, end)) and end < 0.75
    found = contrast(columns_of(start, ["d"]), columns_of(scratch, ["d"]), "d", PLAN, "test")
    assert (found.never_start, found.never_reference, len(found.differences)) == (6, 0, 18)
    low, high = (float(bound[0]) for bound in limits(np.array([end]), np.array([1.0]), 2)["d"])
    known, reference = start[start.arrived].d, scratch.set_index("seed").d
    for bound, worst in ((found.bound_low, low), (found.bound_high, high)):
        expected = (known.sum() + 6 * worst - reference.sum()) / 24
        assert bound == pytest.approx(expected)
    assert found.bound_low < found.estimate.value < found.bound_high


def test_a_diverged_model_arrives_at_no_level() -> None:
    frame = course("internal", range(3), 30.0)
    frame.loc[frame.seed == 1, "diverged"] = True
    matched = matched_models(frame, [0.9], [0.28])
    assert not matched[matched.seed == 1].arrived.any()
    assert matched[(matched.seed != 1)].arrived.all()


def test_without_levels_of_cross_entropy_there_are_none() -> None:
    matched = matched_models(course("internal", range(2), 30.0), [0.9])
    assert set(matched.match) == {f"capability 0.{digits}" for digits in (60, 70, 80, 90)} | {"final step"}


def test_occupancy_is_the_mean_probability_and_sums_to_one() -> None:
    random = np.random.default_rng(0)
    frame = models("internal", range(8), np.array([0, 5, 90]))
    shares = random.dirichlet([1, 2, 0.2], len(frame))
    frame = frame.assign(**{f"probability_{name}": shares[:, place] for place, name in enumerate(TYPES)})
    frame.loc[frame.seed == 7, "diverged"] = True
    table = occupancy(frame, TYPES, PLAN)
    assert len(table) == 9 and (table.n == 7).all()
    assert table.groupby("step").share.sum().to_numpy() == pytest.approx(np.ones(3))
    expected = frame[frame.seed < 7].groupby("step")[[f"probability_{name}" for name in TYPES]].mean()
    found = table.pivot(index="step", columns="type", values="share")[TYPES]
    assert found.to_numpy() == pytest.approx(expected.to_numpy())
    assert table.low.between(0, table.share).all() and table.high.between(table.share, 1).all()


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pandas.DataFrame]:
    folder: Path = tmp_path_factory.mktemp("transitions")
    half = {"internal": 150.0, "scratch": 600.0}
    truth = Truth(turning=half, elicited={"internal": 5.0, "scratch": 80.0})
    arm = one_arm(["internal", "scratch"], elicit=True)
    study(folder, truth, **arm, statistics={"resamples": 200, "capabilities": [0.9]})
    names = ("transitions", "ratios", "occupancy", "trajectories")
    return {name: pandas.read_parquet(folder / "tables" / f"{name}.parquet") for name in names}


def test_a_study_holds_its_turns(tables: dict[str, pandas.DataFrame]) -> None:
    """Cosines rise as 0.05 + 0.94 of a logistic curve of rate 4, M comes back along 0.25 + 0.74 of one of rate 2.5;
    both are known at ten steps, and interpolated between them."""

    def expected(last: int, half: float, rate: float, low: float, span: float) -> float:
        steps = np.unique(np.round(np.expm1(np.linspace(0, np.log1p(last), 10))))
        curve = low + span / (1 + np.exp(-rate * (np.log1p(steps) - np.log(half))))
        return 128 * float(np.expm1(np.interp(0.9, curve, np.log1p(steps))))

    found = tables["transitions"].set_index(["start", "quantity"])
    assert set(found.index.get_level_values("quantity")) == {"points_to_x", "capability", "elicited"}
    for start, half, elicited in (("internal", 150, 5), ("scratch", 600, 80)):
        turned, back = expected(1600, half, 4, 0.05, 0.94), expected(200, elicited, 2.5, 0.25, 0.74)
        assert found.loc[(start, "points_to_x"), "median"] == pytest.approx(turned, rel=0.06)
        assert found.loc[(start, "elicited"), "median"] == pytest.approx(back, rel=0.15)
    ratios = tables["ratios"].set_index(["start", "reference", "quantity"]).estimate
    assert ratios["internal", "scratch", "points_to_x"] == pytest.approx(np.log(1 / 4), abs=0.2)
    assert ratios["internal", "scratch", "elicited"] == pytest.approx(np.log(5 / 80), abs=0.25)
    assert ratios["internal", "scratch", "capability"] == pytest.approx(np.log(90 / 400), abs=0.25)


def test_a_study_says_which_types_its_models_pass_through(tables: dict[str, pandas.DataFrame]) -> None:
    sums = tables["occupancy"].groupby([*ARM, "step"]).share.sum()
    assert len(sums) == 2 * 10 and sums.to_numpy() == pytest.approx(np.ones(20))


def test_elicited_models_are_in_no_other_table(tables: dict[str, pandas.DataFrame]) -> None:
    assert set(tables["trajectories"].stage) == {"pretrain", "finetune", "elicit"}
    capability = tables["transitions"].query("quantity == 'capability'")
    assert len(capability) == 2 and (capability.n == 24).all()
