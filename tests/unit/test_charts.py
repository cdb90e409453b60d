"""Both drawings of a chart come from one frame, and a frame that cannot be drawn is refused."""

import pandas
import pytest
from matplotlib.collections import PolyCollection

from turncoat.reporting import static
from turncoat.reporting.charts import Axis, Chart, Heat, Panel, Series, frame, nothing, places
from turncoat.reporting.interactive import interactive
from turncoat.reporting.style import style

LINE = Series("internal", frame(x=[1, 2, 3], y=[0.1, 0.2, 0.4], low=[0.0, 0.1, 0.2], high=[0.2, 0.3, 0.6], n=[5, 5, 4]))
BARS = Series("bars", frame(x=[0.5, 0.7], y=[0, 1], low=[0.4, 0.5], high=[0.7, 0.8]), "bars", across=True)


def axes_of(panel: Panel):  # type: ignore[no-untyped-def]
    with style():
        return static._figure(Chart("one", "what it shows", [panel])).axes[0]


def test_a_line_has_the_same_points_in_both() -> None:
    panel = Panel("a", [LINE], Axis("capability"), Axis("D"))
    drawn = axes_of(panel)
    assert drawn.lines[0].get_xydata().tolist() == [[1, 0.1], [2, 0.2], [3, 0.4]]
    band = next(item for item in drawn.collections if isinstance(item, PolyCollection))
    assert {tuple(point) for point in band.get_paths()[0].vertices.round(6)} >= {(1, 0.0), (3, 0.6), (2, 0.3)}
    shade, line = interactive(Chart("one", "it", [panel]))["panels"][0]["data"]
    assert (line["x"], line["y"]) == ([1, 2, 3], [0.1, 0.2, 0.4])
    assert list(zip(shade["x"], shade["y"], strict=True)) == [
        (1, 0.2),
        (2, 0.3),
        (3, 0.6),
        (3, 0.2),
        (2, 0.1),
        (1, 0.0),
    ]
    assert line["text"][2] == "<b>internal</b><br>capability 3<br>D 0.400 [0.200, 0.600]<br>n = 4"


def test_bars_across_have_their_intervals_in_both() -> None:
    panel = Panel("", [BARS], Axis("share"), Axis(ticks=places(["one", "two"]), reversed=True))
    drawn = axes_of(panel)
    assert [bar.get_width() for bar in drawn.patches] == [0.5, 0.7] and drawn.yaxis_inverted()
    ends = drawn.collections[0].get_segments()
    assert [segment[:, 0].tolist() for segment in ends] == [pytest.approx([0.4, 0.7]), pytest.approx([0.5, 0.8])]
    trace = interactive(Chart("one", "it", [panel]))["panels"][0]["data"][0]
    assert trace["orientation"] == "h" and trace["x"] == [0.5, 0.7]
    assert trace["error_x"]["array"] == pytest.approx([0.2, 0.1])
    assert trace["error_x"]["arrayminus"] == pytest.approx([0.1, 0.2])
    assert trace["text"][1].startswith("<b>bars</b><br>two<br>share 0.700 [0.500, 0.800]")


def test_a_heat_reads_from_the_top_in_both() -> None:
    values = pandas.DataFrame([[0.0, 1.0], [0.25, float("nan")]], index=["a", "b"], columns=["c", "d"])
    panel = Panel(
        "", (), Axis(ticks=places(["c", "d"])), Axis(ticks=places(["a", "b"]), reversed=True), heat=Heat(values, 0, 1)
    )
    drawn = axes_of(panel)
    assert drawn.yaxis_inverted() and drawn.images[0].get_array().filled(9).tolist() == [[0, 1], [0.25, 9]]
    found = interactive(Chart("one", "it", [panel]))["panels"][0]
    assert found["data"][0]["z"] == [[0, 1], [0.25, None]] and found["layout"]["yaxis"]["autorange"] == "reversed"


def test_infinite_and_missing_values_are_no_numbers_for_the_page() -> None:
    data = frame(x=[1, 2], y=[float("inf"), 0.5], low=[0.1, float("nan")], high=[float("inf"), float("nan")])
    panel = Panel("", [Series("a", data, "points")])
    trace = interactive(Chart("one", "it", [panel]))["panels"][0]["data"][0]
    assert trace["y"] == [None, 0.5] and "never" in trace["text"][0]
    assert len(axes_of(panel).lines) > 0  # and the static one is drawn


def test_series_of_one_name_share_a_legend_entry() -> None:
    other = Series("other", frame(x=[1], y=[1]), "points", "#123456", "s")
    chart = Chart(
        "one", "it", [Panel("", [LINE]), Panel("", [LINE, other, Series("x", frame(x=[1], y=[1]), legend=False)])]
    )
    found = interactive(chart)
    assert [item["name"] for item in found["legend"]] == ["internal", "other"] == chart.names()
    assert found["legend"][1]["color"] == "#123456"
    assert interactive(Chart("one", "it", [Panel("", [LINE])]))["legend"] == []  # nothing to tell apart


def test_what_cannot_be_drawn_is_refused_or_said() -> None:
    with pytest.raises(ValueError, match=r"kind of the series 'a': 'pie'; allowed: line, points, bars, text"):
        Series("a", frame(x=[1], y=[1]), "pie")
    with pytest.raises(ValueError, match=r"needs x and y"):
        Series("a", frame(x=[1]))
    with pytest.raises(ValueError, match="differ in length"):
        frame(x=[1, 2], y=[1, 2, 3])
    assert frame(x=pandas.Series([1, 2], index=[7, 8]), y=0.5).to_dict("list") == {"x": [1, 2], "y": [0.5, 0.5]}
    assert interactive(nothing("a", "b", "no models"))["empty"] == "no models"
    assert "no models" in static.svg(nothing("a", "b", "no models"))
