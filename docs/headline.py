"""From the tables to the headline figure, with nothing of turncoat: pandas to read, DuckDB to ask, matplotlib to draw.

    python docs/headline.py results/default headline.png

Cells between `# %%` lines run as a notebook in VS Code, Spyder and Jupyter (jupytext).
"""

# %% What to read, and where to draw
import sys
from pathlib import Path

import duckdb
import matplotlib

matplotlib.use("Agg")  # leave out in a notebook
import matplotlib.pyplot as plt
import pandas

study = Path(sys.argv[1] if len(sys.argv) > 1 else "results/default")
target = Path(sys.argv[2] if len(sys.argv) > 2 else "headline.png")

# %% The verdicts, with pandas
claims = pandas.read_parquet(study / "tables" / "claims.parquet")
primary = claims[claims.primary].set_index("claim")
print(primary[["verdict", "estimate", "low", "high", "n"]].round(3).to_string())

# %% C and D at equal capability, with DuckDB: the study's own settings, X apart from Y, where enough models got there
minimum = int(primary.minimum_n["P1"])
levels = duckdb.sql(f"""
    SELECT outcome, distance, start, CAST(replace(match, 'capability ', '') AS DOUBLE) AS capability,
           mean, low, high, n
    FROM '{study}/tables/levels.parquet'
    WHERE setting = '' AND variant = '' AND distance > 0 AND outcome IN ('c', 'd')
      AND match LIKE 'capability %' AND mean IS NOT NULL AND n >= {minimum}
    ORDER BY outcome, distance, start, capability
""").df()
print(levels.to_string())

# %% From single models: how far each start's final D spreads between them
spread = duckdb.sql(f"""
    WITH last AS (
        SELECT organism_id, start, distance, d, step = max(step) OVER (PARTITION BY organism_id) AS is_last
        FROM '{study}/tables/alignment.parquet'
        WHERE stage = 'finetune' AND setting = '' AND variant = '' AND NOT diverged
    )
    SELECT start, distance, count(*) AS models, avg(d) AS mean_d, stddev_samp(d) AS spread
    FROM last WHERE is_last GROUP BY ALL ORDER BY ALL
""").df()
print(spread.round(3).to_string())

# %% The headline, drawn again
distances = sorted(levels.distance.unique())
figure, grid = plt.subplots(2, max(len(distances), 1), sharex=True, sharey="row", squeeze=False, figsize=(9, 6))
for row, outcome in enumerate(("c", "d")):
    for column, distance in enumerate(distances):
        axes = grid[row, column]
        for start, line in levels[(levels.outcome == outcome) & (levels.distance == distance)].groupby("start"):
            axes.plot(line.capability, line["mean"], marker="o", markersize=3, label=start.replace("_", " "))
            axes.fill_between(line.capability, line.low, line.high, alpha=0.15)
        axes.axhline(0, color="black", linewidth=0.6)
        axes.set_title(f"{outcome.upper()} at {distance:g}°")
        axes.set_xlabel("capability on X")
handles = {name: handle for axes in grid.flat for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}
figure.legend(handles.values(), handles, loc="outside lower center", ncols=4)
figure.set_layout_engine("constrained")
figure.savefig(target, dpi=150)
