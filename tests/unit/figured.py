"""A synthetic study's tables beside the figures that its report draws of them."""

from pathlib import Path

import pandas
import pytest
from aggregated import SMALL, study

from turncoat.configuration.loading import load_config
from turncoat.reporting import page
from turncoat.reporting.charts import Chart, Panel, Series

Made = tuple[dict[str, pandas.DataFrame], dict[str, Chart]]


def tables_and_figures(folder: Path) -> Made:
    """Write a study into `folder`; its tables by name, and its charts by name."""
    study(folder)
    tables = {name: pandas.read_parquet(folder / "tables" / f"{name}.parquet") for name in page.READ}
    return tables, {chart.name: chart for chart in page._charts(tables, load_config(SMALL).model_dump())}


def panel_of(chart: Chart, title: str) -> Panel:
    found = [panel for panel in chart.panels if panel.title == title]
    assert len(found) == 1, [panel.title for panel in chart.panels]
    return found[0]


def series_of(panel: Panel, name: str, kind: str | None = None) -> list[Series]:
    return [series for series in panel.series if series.name == name and kind in (None, series.kind)]


def frame_of(panel: Panel, name: str, kind: str | None = None) -> pandas.DataFrame:
    found = series_of(panel, name, kind)
    assert len(found) == 1, [series.name for series in panel.series]
    return found[0].data


def same(data: pandas.DataFrame, rows: pandas.DataFrame, **columns: str) -> None:
    """Each drawn column against one of the table's, and at least two rows of them."""
    assert len(rows) > 1
    for drawn, column in columns.items():
        assert data[drawn].to_numpy(float) == pytest.approx(rows[column].to_numpy(float), nan_ok=True), drawn
