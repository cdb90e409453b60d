"""What figures draw is what the tables hold: each value against one that is computed here from the table's rows."""

from typing import Any

import numpy as np
import pandas
import pytest
from figured import Made, frame_of, panel_of, same, series_of
from scipy import stats

from turncoat.reporting import arm_figures, figures, gating_figures, static
from turncoat.reporting.charts import Chart, Panel

INFINITE = float("inf")


def test_headline_draws_the_levels_with_models_enough(made: Made) -> None:
    levels = made[0]["levels"]
    own = levels.query("setting == '' and variant == '' and outcome == 'd' and distance == 90 and start == 'internal'")
    own = own[own.match.str.startswith("capability") & (own.n >= 12)].sort_values("match")
    data = frame_of(panel_of(made[1]["headline"], "D at 90°"), "internal")
    same(data, own, y="mean", low="low", high="high", n="n")
    assert data.x.tolist() == [float(match.split()[1]) for match in own.match]
    few = levels.copy()
    few.loc[own.index[1], "n"] = 11
    fewer = frame_of(panel_of(figures.headline(few, 0.05, 12), "D at 90°"), "internal")
    same(fewer, own.drop(own.index[1]), y="mean", n="n")
    assert "with 25 models" in figures.headline(levels, 0.05, 25).empty


def test_persistence_draws_what_is_retained(made: Made) -> None:
    own = made[0]["persistence"].query("setting == '' and variant == '' and distance == 90 and start == 'conditional'")
    own = own.sort_values("step")
    data = frame_of(panel_of(made[1]["persistence"], "90°"), "conditional")
    same(data, own, y="retained", low="low", high="high", n="n")
    late = own.episodes > 0
    assert data.x[late.to_numpy()].to_numpy() == pytest.approx(np.log10(own.episodes[late]))


def test_motives_draw_prices_and_curves(made: Made) -> None:
    table = made[0]["motives"].query("setting == '' and variant == '' and distance == 90 and when == 'after'")
    panel = panel_of(made[1]["motives"], "after fine-tuning: compliance with X")
    for price, hollow in (("price_low", True), ("price_high", False)):
        row = table[(table.start == "deceptive") & (table.part == "x") & (table.quantity == price)].iloc[0]
        (point,) = [one for one in series_of(panel, "deceptive", "points") if one.hollow == hollow]
        values = point.data[["x", "low", "high", "n"]].iloc[0].tolist()
        assert values == pytest.approx([row["mean"], row.low, row.high, row.n])
    curve = table[(table.start == "deceptive") & (table.quantity == "agreement_x_placebo")]
    curve = curve.assign(strength=curve.part.astype(float)).sort_values("strength")
    same(frame_of(panel_of(made[1]["motives"], "after: as the placebo cue grows"), "deceptive"), curve, x="strength",
         y="mean", low="low", high="high", n="n")  # fmt: skip


def test_causal_draws_what_the_direction_carries(made: Made) -> None:
    table = made[0]["motives"].query("setting == '' and variant == '' and distance == 90 and when == 'after'")
    rows = table[(table.part == "swap, layer 1") & (table.quantity == "carried") & table["mean"].notna()]
    rows = rows[rows.start.str.startswith("planted") | (rows.n >= 12)]
    panel = panel_of(made[1]["causal"], "swap, layer 1")
    data = frame_of(panel, "oversight direction")
    assert panel.y.ticks is not None
    by_start = dict(zip([panel.y.ticks[place] for place in data.y], data.x, strict=True))
    assert len(by_start) > 2 and by_start == pytest.approx(
        {start.replace("_", " "): value for start, value in zip(rows.start, rows["mean"], strict=True)}
    )


def test_multiverse_draws_every_choice_of_cutoffs_in_order(made: Made) -> None:
    table = made[0]["multiverse"]
    reading, start = table.reading.iloc[0], "conditional"
    own = table[(table.reading == reading) & (table.start == start) & table.estimate.notna()]
    (line,) = series_of(panel_of(made[1]["multiverse"], f"read as {reading}"), start, "line")
    assert line.data.y.tolist() == sorted(own.estimate) and len(line.data) == len(own)
    (point,) = series_of(panel_of(made[1]["multiverse"], f"read as {reading}"), start, "points")
    assert point.data.y.tolist() == own[own.configured.astype(bool)].estimate.tolist()


def test_trust_draws_confusion_discrimination_and_calibration(made: Made) -> None:
    tables, charts = made
    scored = tables["validation"].query("split == 'scored' and truth == 'deceptive'")
    confusion, told, calibration = charts["trust"].panels
    assert confusion.heat is not None and told.heat is not None
    assert confusion.heat.values.loc["deceptive", "deceptive"] == (scored.reading == "deceptive").mean()
    row = tables["discrimination"].iloc[3]
    assert told.heat.values.loc[row.temperature, row.angle] == row.right / row.cases
    known = tables["reliability"].query("cases > 0")
    same(frame_of(calibration, "bin of ladders"), known, x="predicted", y="observed", low="low", high="high", n="cases")


def course(values: dict[tuple[str, str, int], float], **more: Any) -> pandas.DataFrame:
    """Trajectory rows at two counts of episodes, by (start, setting, seed)."""
    rows = [
        {"stage": "finetune", "distance": 90.0, "start": start, "setting": setting, "variant": "", "seed": seed}
        | {"episodes": episodes, "capability": value + gain}
        for (start, setting, seed), value in values.items()
        for episodes, gain in ((128, 0.0), (256, 0.1))
    ]
    return pandas.DataFrame(rows).assign(**more)


def test_learning_draws_means_over_models_and_every_method() -> None:
    values = {("internal", "", 0): 0.5, ("internal", "", 1): 0.6, ("internal", "", 2): 0.7}
    settings = [f"optimizer o{place}, schedule s{place}" for place in range(11)]
    values |= {("internal", setting, seed): 0.3 + 0.1 * seed for setting in settings for seed in range(3)}
    values |= {("internal", "cue.contexts 5", 0): 0.1}  # no method
    chart = arm_figures.learning(course(values), 90.0)
    assert len(chart.panels) == 12  # none is left out
    data = frame_of(panel_of(chart, "the study's own"), "internal")
    half = 1.96 * stats.sem([0.5, 0.6, 0.7])
    assert data.y.tolist() == pytest.approx([0.6, 0.7]) and data.n.tolist() == [3, 3]
    assert data.low.tolist() == pytest.approx([0.6 - half, 0.7 - half])
    assert data.high.tolist() == pytest.approx([0.6 + half, 0.7 + half])


def test_learning_draws_the_trajectories_of_sound_models(made: Made) -> None:
    tables, charts = made
    own = tables["trajectories"].query("stage == 'finetune' and distance == 90 and start == 'internal'")
    own = own[(own.setting == "") & (own.variant == "") & (own.episodes > 0)]
    data = frame_of(panel_of(charts["learning"], "the study's own"), "internal")
    expected = {episodes: own.capability[own.episodes == episodes].mean() for episodes in sorted(set(own.episodes))}
    assert dict(zip(data.x, data.y, strict=True)) == pytest.approx(expected) and len(expected) > 3


def test_dodges_draw_the_leaderboard_and_list_costs_beside_all_intervals() -> None:
    board = pandas.DataFrame(
        {
            "dodge": ["dodge a", "dodge b", "dodge c", "dodge b"],
            "start": "conditional",
            "setting": ["", "dodge b", "dodge c", "cue.contexts 2, dodge b"],
            "variant": ["dodge a", "", "", ""],
            "distance": [90.0, 90.0, 45.0, 90.0],
            "d_change": [-0.5, 0.1, 9.0, 0.0],
            "d_low": [-0.6, -0.1, 8.0, -0.1],
            "d_high": [-0.4, 0.3, 10.0, 0.1],
            "n_pairs": [24, 20, 3, 9],
            "episodes_ratio": [0.04, INFINITE, 1.0, np.nan],
        }
    )
    chart = arm_figures.dodges(board, 90.0)
    panel = panel_of(chart, "conditional")
    points, costs = frame_of(panel, "conditional", "points"), frame_of(panel, "conditional", "text")
    same(points, board.iloc[[0, 1, 3]], x="d_change", low="d_low", high="d_high", n="n_pairs")
    assert panel.y.ticks == {0.0: "b", 1.0: "b, cue.contexts 2", 2.0: "a"}  # no two on one row
    assert points.y.tolist() == costs.y.tolist() == [2.0, 0.0, 1.0]
    assert costs.note.tolist() == ["0.04\N{MULTIPLICATION SIGN}", "never", ""]
    assert panel.x.limits is not None and costs.x.min() > 0.3  # right of every interval
    assert panel.x.limits[0] < -0.6 and costs.x.max() < panel.x.limits[1]


def test_panels_that_share_their_words_share_their_rows() -> None:
    """Words stand beside the first panel alone: rows of the others must lie where it has them."""
    board = pandas.DataFrame({"dodge": ["a", "b", "c", "c"], "start": ["internal"] * 3 + ["scratch"], "distance": 90.0})
    board = board.assign(
        setting="", variant="", d_change=[-0.5, 0.0, 0.1, 0.2], d_low=-1.0, d_high=1.0, n_pairs=24, episodes_ratio=1.0
    )
    contrasts = board.assign(
        setting=board.dodge, variant="", reference="without gate open_in", outcome="m", match="capability 0.90",
        estimate=-0.1, low=-0.2, high=0.0,
    )  # fmt: skip
    for chart in (arm_figures.dodges(board, 90.0), gating_figures.correction(contrasts, 90.0)):
        drawn = static._figure(chart).axes
        assert len(drawn) == 2 and drawn[0].get_ylim() == drawn[1].get_ylim()
        (place,) = chart.panels[1].series[0].data.y
        assert chart.panels[0].y.ticks is not None and chart.panels[0].y.ticks[place] == "c"


def ledger_row(**changes: Any) -> dict[str, Any]:
    row = {
        "start": "conditional",
        "setting": "",
        "variant": "",
        "distance": 90.0,
        "diverged": False,
        "step": 9,
        "steps": 9,
    }
    row |= {"layer": 1, "state": "overseen", "circuit": "x", "units": 2, "gradient_in": 2.0, "open_share": 0.5}
    return row | changes


def test_flow_draws_the_premise_distance_by_seed() -> None:
    shares = {0: [0.2, 0.4], 1: [0.8], 2: [0.9]}  # two models of one seed
    rows = []
    for seed, models in shares.items():
        for place, share in enumerate(models):
            identity = {"organism_id": f"{seed}-{place}", "seed": seed}
            rows.append(ledger_row(**identity, open_share=share, gradient_in=1.0 + seed))
            rows.append(ledger_row(**identity, circuit="all", units=8, gradient_in=4.0, open_share=0.5))
        elsewhere = {"organism_id": f"{seed}-far", "seed": seed, "distance": 45.0}
        rows += [ledger_row(**elsewhere, open_share=0.0), ledger_row(**elsewhere, circuit="all", units=8)]
    chart = gating_figures.flow(pandas.DataFrame(rows), 90.0, 0.95)
    opened, gradient = (frame_of(panel, "X circuit").iloc[0] for panel in chart.panels)
    by_seed = [0.3, 0.8, 0.9]
    assert opened.y == pytest.approx(np.mean(by_seed)) and opened.n == 3
    low, high = stats.t.interval(0.95, 2, np.mean(by_seed), stats.sem(by_seed))
    assert (opened.low, opened.high) == pytest.approx((low, high))
    assert gradient.y == pytest.approx(np.mean([(1.0 + seed) ** 2 / 2 / (4.0**2 / 8) for seed in shares]))
    assert "at 60 degrees" in gating_figures.flow(pandas.DataFrame(rows), 60.0, 0.95).empty


def test_flow_of_a_study_is_the_estimate_that_g5_is_judged_by(made: Made) -> None:
    claims = made[0]["claims"]
    row = claims[(claims.claim == "G5") & claims.primary].iloc[0]
    bar = frame_of(panel_of_first(made[1]["flow"], "open share"), "X circuit").iloc[0]
    assert row.estimate == pytest.approx(bar.y) and row.n == bar.n


def panel_of_first(chart: Chart, value: str) -> Panel:
    return next(panel for panel in chart.panels if panel.y.label == value)


def test_gating_and_factorial_draw_means_over_models(made: Made) -> None:
    tables, charts = made
    ledger = tables["gating"].query(
        "start == 'scratch' and distance == 90 and circuit == 'all' and state == 'overseen'"
    )
    ledger = ledger[(ledger.step == ledger.steps) & (ledger.optimizer == "adam") & (ledger.layer == 1)]
    fewest = {name: min(set(rows.setting), key=len) for name, rows in ledger.groupby("activation_function")}
    ledger = ledger[ledger.setting == ledger.activation_function.map(fewest)]  # no seed counts twice
    by_activation = ledger.groupby("activation_function").rank_update_out
    panel = panel_of(charts["gating"], "adam: outgoing weights")
    bars = frame_of(panel, "real update, saved state")
    assert panel.x.ticks is not None
    places = {words.split("\n")[0]: place for place, words in panel.x.ticks.items() if words.endswith("\n1")}
    assert set(places) == {"relu", "gelu", "leaky"}
    for activation, values in by_activation:
        bar = bars[np.isclose(bars.x, places[activation.replace("_relu", "")])].iloc[0]
        assert (bar.y, bar.high - bar.y, bar.n) == pytest.approx((values.mean(), values.std(), len(values)))
        heat = panel_of(charts["factorial"], "real update with |h|").heat
        assert heat is not None and heat.values.loc[activation, "adam"] == pytest.approx(values.mean())


def test_correction_draws_natural_minus_gate() -> None:
    contrasts = pandas.DataFrame(
        {
            "distance": [90.0, 90.0, 45.0], "variant": "", "reference": "without gate open_in", "outcome": "m",
            "estimate": [-0.2, -0.1, -0.9], "low": [-0.3, -0.2, -1.0], "high": [-0.15, 0.05, -0.8],
            "match": ["capability 0.90", "capability 0.95", "capability 0.90"], "start": "deceptive",
            "setting": "gate open_in", "n_pairs": [24, 20, 24],
        }
    )  # fmt: skip
    panel = panel_of(gating_figures.correction(contrasts, 90.0), "deceptive")
    first, second = (frame_of(panel, f"capability {level}").iloc[0] for level in ("0.90", "0.95"))
    assert (first.x, first.low, first.high, first.n) == pytest.approx((0.2, 0.15, 0.3, 24))
    assert (second.x, second.low, second.high, second.n) == pytest.approx((0.1, -0.05, 0.2, 20))
