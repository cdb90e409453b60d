"""The leaderboard of dodges holds what plain pandas finds in the same models, and references are never pooled."""

from pathlib import Path

import numpy as np
import pandas
import pytest
from aggregated import Truth, study

from turncoat.statistics.contrasts import ARM

LEVEL = "capability 0.90"
D = 0.55  # of start conditional, as planted
DODGES = ["x_in_pretraining", "l2_to_start"]
ARMS = {
    "main": {"starts": ["internal", "conditional", "scratch", "scratch_exposed"], "distances": [45, 90]},
    "dodges": {"starts": ["conditional", "scratch", "scratch_exposed"], "distances": [45, 90], "dodges": DODGES},
    "contexts": {"starts": ["conditional", "scratch"], "distances": [90], "vary": {"world.cue.contexts": [3]}},
    "wide": {"starts": ["conditional"], "distances": [90], "widths": [16], "dodges": ["l2_to_start"]},
}
NAMES = ("dodges", "alignment", "trajectories", "organisms", "levels", "contrasts", "premise", "priors", "ratios")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pandas.DataFrame]:
    folder: Path = tmp_path_factory.mktemp("leaderboard")
    truth = Truth(
        shift={("conditional", "dodge l2_to_start"): -0.3, ("conditional", "cue.contexts 3"): -0.5},
        pace={("conditional", "dodge l2_to_start"): 2.0},
        ceiling={("conditional", "dodge x_in_pretraining"): 0.93},
        diverging=frozenset({("conditional", 1003)}),
    )
    study(folder, truth, arms=ARMS, statistics={"resamples": 200, "capabilities": [0.9]})
    return {name: pandas.read_parquet(folder / "tables" / f"{name}.parquet") for name in NAMES}


def final(tables: dict[str, pandas.DataFrame], column: str) -> pandas.DataFrame:
    """A column of the trajectories at each fine-tuned model's last step, with factors and seed."""
    last = tables["trajectories"].sort_values("step").groupby("organism_id").last().reset_index()
    last = last[last.stage == "finetune"][["organism_id", *ARM, column]]
    return last.merge(tables["organisms"][["organism_id", "seed", "diverged"]], on="organism_id").query("~diverged")


def plain_and_dodged(models: pandas.DataFrame, row: pandas.Series, column: str) -> pandas.DataFrame:
    """By seed: the column with the dodge, and without it."""
    setting, variant = (
        ", ".join(part for part in words.split(", ") if part and part != row.dodge)
        for words in (row.setting, row.variant)
    )
    here = models[(models.start == row.start) & (models.distance == row.distance)]
    own = here[(here.setting == row.setting) & (here.variant == row.variant)].set_index("seed")[column]
    plain = here[(here.setting == setting) & (here.variant == variant)].set_index("seed")[column]
    return pandas.DataFrame({"own": own, "plain": plain}).dropna()


def test_each_dodge_with_an_arm_without_it_has_a_row(tables: dict[str, pandas.DataFrame]) -> None:
    found = set(tables["dodges"][["start", "distance", "dodge"]].itertuples(index=False, name=None))
    expected = {("conditional", distance, f"dodge {name}") for distance in (45.0, 90.0) for name in DODGES}
    expected |= {
        (start, distance, "dodge l2_to_start") for start in ("scratch", "scratch_exposed") for distance in (45.0, 90.0)
    }
    expected |= {(start, 90.0, "cue.contexts 3") for start in ("conditional", "scratch")}
    assert found == expected
    assert (tables["dodges"].setting != "width 16").all()  # it has no arm without the dodge


def test_the_best_dodge_of_a_start_comes_first(tables: dict[str, pandas.DataFrame]) -> None:
    board = tables["dodges"]
    assert (board.groupby(["start", "distance"]).d_change.diff().dropna() >= 0).all()
    here = board[(board.start == "conditional") & (board.distance == 90)].set_index("dodge")
    assert list(here.index) == ["cue.contexts 3", "dodge l2_to_start", "dodge x_in_pretraining"]
    assert here.d_change.to_numpy() == pytest.approx([-0.5, -0.3, 0.0], abs=0.03)
    assert here.d_plain.to_numpy() == pytest.approx([D] * 3, abs=0.03)


def test_numbers_are_those_of_plain_pandas(tables: dict[str, pandas.DataFrame]) -> None:
    """A model's D is the same at every step here, so that its first defined one is that at the capability."""
    board, aligned = tables["dodges"], tables["alignment"]
    known = aligned[(aligned.stage == "finetune") & ~aligned.diverged & aligned.d.notna()].sort_values("step")
    outcomes = known.groupby("organism_id")[[*ARM, "seed", "d"]].last().reset_index()
    capability = final(tables, "capability")
    for row in board.itertuples():
        d = plain_and_dodged(outcomes, row, "d")
        reached = plain_and_dodged(capability, row, "capability")
        assert row.capability_change == pytest.approx((reached.own - reached.plain).mean(), abs=1e-9), row
        if row.dodge != "dodge x_in_pretraining":  # where each model arrives
            assert row.n_pairs == len(d) == (23 if row.start == "conditional" else 24)
            assert (row.d, row.d_plain) == pytest.approx((d.own.mean(), d.plain.mean()), abs=0.02)
            assert row.d_change == pytest.approx((d.own - d.plain).mean(), abs=0.02)
        assert row.d_change == pytest.approx(row.d - row.d_plain, abs=0.03)
        assert row.d_low < row.d_change < row.d_high and row.capability_low <= row.capability_change


def test_means_changes_and_ratios_are_those_of_the_other_tables(tables: dict[str, pandas.DataFrame]) -> None:
    keys = [*ARM, "match", "outcome"]
    levels = tables["levels"].set_index(keys)["mean"]
    contrasts = tables["contrasts"].set_index([*keys, "reference"]).sort_index()
    ratios = tables["ratios"].set_index([*ARM, "quantity", "reference"]).sort_index().estimate
    for row in tables["dodges"].itertuples():
        place, reference = (row.setting, row.variant, row.start, row.distance), f"without {row.dodge}"
        assert row.d == pytest.approx(levels[(*place, LEVEL, "d")])
        for name, match, outcome in (
            ("d", LEVEL, "d"),
            ("deception", LEVEL, "deception"),
            ("capability", "final step", "capability"),
        ):
            found = contrasts.loc[(*place, match, outcome, reference)]
            values = [getattr(row, f"{name}_{part}") for part in ("change", "low", "high")]
            assert values == pytest.approx([found.estimate, found.low, found.high]), (row, name)
        assert row.episodes_ratio == pytest.approx(np.exp(ratios[(*place, "capability", reference)]))
    slow = tables["dodges"].query("start == 'conditional' and dodge == 'dodge l2_to_start' and distance == 90")
    assert slow.episodes_ratio.item() == pytest.approx(2, abs=0.4)


def test_what_a_dodge_costs_is_counted(tables: dict[str, pandas.DataFrame]) -> None:
    row = tables["dodges"].query("dodge == 'dodge x_in_pretraining' and distance == 90").iloc[0]
    assert row.capability_change == pytest.approx(0.93 - 0.99, abs=0.01)


def test_dodged_references_are_not_pooled_with_plain_ones(tables: dict[str, pandas.DataFrame]) -> None:
    """Starts from scratch with a dodge of their own are the references of arms with that dodge alone."""
    premise = tables["premise"]
    assert (premise.pairs + premise.diverged == 24)[premise.setting == ""].all()
    priors = tables["priors"].query("kind == 'line'")
    assert set(priors.variant) == {""} and (priors.n == 23).all()
    contrasts = tables["contrasts"].query("match == @LEVEL and outcome == 'd' and reference == 'scratch'")
    assert (contrasts.n_reference <= 24).all()
