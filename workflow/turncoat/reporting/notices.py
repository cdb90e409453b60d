"""What a reader must know before any verdict: what is missing, diverged, too few, or not to be trusted."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas

from turncoat.configuration.loading import load_config
from turncoat.configuration.plan import expand
from turncoat.statistics.validation import misread_kinds

MOST_NAMED = 6


@dataclass(frozen=True)
class Notice:
    """One statement. `grave`: verdicts may rest on it; else it only says how to read them."""

    title: str
    text: str
    grave: bool = True


def notices(tables: Mapping[str, pandas.DataFrame], config: Mapping[str, Any]) -> list[Notice]:
    """What stands at the top of the report, the grave first."""
    found = [
        *_misread(tables["validation"]),
        *_missing(tables["organisms"], config),
        *_few_seeds(tables["organisms"], tables["claims"], config),
        *_diverged(tables["organisms"]),
        *_never(tables["levels"], tables["claims"], config),
        *_exploratory(tables["claims"]),
    ]
    return sorted(found, key=lambda notice: not notice.grave)


def _misread(validation: pandas.DataFrame) -> Iterator[Notice]:
    kinds = [kind.replace("_", " ") for kind in misread_kinds(validation)]
    if kinds:
        yield Notice(
            "The classifier misreads planted cases.",
            f"Kinds read right in less than 95 % of cases: {', '.join(kinds)}. Type labels in this study are not to be "
            "trusted; C and D do not rest on them. See planted truth.",
        )


def _missing(organisms: pandas.DataFrame, config: Mapping[str, Any]) -> Iterator[Notice]:
    """Planned models without a row."""
    plan = expand(load_config(config))
    seeds = [seed for block in plan.blocks for seed in range(block.first, block.first + block.count)]
    there = organisms.groupby("cell").seed.nunique()
    lacking = {cell.id: len(seeds) - int(there.get(cell.id, 0)) for cell in plan.cells}
    gone = [cell for cell in plan.cells if lacking[cell.id] == len(seeds)]
    partial = [cell for cell in plan.cells if 0 < lacking[cell.id] < len(seeds)]
    models = sum(lacking.values())
    if not models:
        return
    parts = [f"{models} of {len(seeds) * len(plan.cells)} planned models are missing from the tables."]
    if gone:
        parts.append(f"Settings without any model ({len(gone)}): {_named([_words(cell.labels) for cell in gone])}.")
    if partial:
        words = [f"{_words(cell.labels)} ({lacking[cell.id]} of {len(seeds)} seeds)" for cell in partial]
        parts.append(f"Settings that lack seeds ({len(partial)}): {_named(words)}.")
    parts.append("Claims that rest on them have no verdict, or one from fewer models than planned.")
    yield Notice("Models are missing.", " ".join(parts))


def _words(labels: Mapping[str, Any]) -> str:
    distance = "" if labels["distance"] is None else f" at {labels['distance']:g}°"
    differs = ", ".join(part for part in (labels["setting"], labels["variant"]) if part)
    return f"{labels['stage']} {labels['start'].replace('_', ' ')}{distance}" + (f" ({differs})" if differs else "")


def _named(words: list[str]) -> str:
    shown = "; ".join(words[:MOST_NAMED])
    return shown if len(words) <= MOST_NAMED else f"{shown}; and {len(words) - MOST_NAMED} more"


def _few_seeds(organisms: pandas.DataFrame, claims: pandas.DataFrame, config: Mapping[str, Any]) -> Iterator[Notice]:
    seeds, minimum = organisms.seed.nunique(), config["statistics"]["minimum_seeds"]
    if seeds >= minimum:
        return
    text = f"A verdict needs {minimum} (statistics.minimum_seeds), so no claim about trained models has one."
    if seeds == 1:
        text += " With one seed nothing can be said of how much models vary: no interval below is about models."
    judged = claims[claims.primary & ~claims.verdict.isin(["not_tested", "inconclusive"])].claim.unique()
    if len(judged):
        text += f" Not by seeds, and judged all the same: {', '.join(judged)}."
    yield Notice(f"Only {seeds} seed{'' if seeds == 1 else 's'}.", text)


def _diverged(organisms: pandas.DataFrame) -> Iterator[Notice]:
    bad = organisms[organisms.diverged.astype(bool)]
    if bad.empty:
        return
    counts = bad.groupby(["stage", "start"]).size().sort_values(ascending=False)
    words = [f"{stage} {start.replace('_', ' ')}: {count}" for (stage, start), count in counts.items()]
    yield Notice(
        f"{len(bad)} of {len(organisms)} models diverged.",
        f"They are never averaged in, so what is shown is of the others. By stage and start: {_named(words)}.",
    )


def _never(levels: pandas.DataFrame, claims: pandas.DataFrame, config: Mapping[str, Any]) -> Iterator[Notice]:
    """Of the settings that claims compare at that capability: others were never meant to get there."""
    level = config["statistics"]["primary_capability"]
    here = levels[(levels.match == f"capability {level:.2f}") & (levels.outcome == "d") & (levels.models > 0)]
    compared = claims[claims.match.isin(here.match)][["setting", "variant"]].drop_duplicates()
    here = here.merge(compared, on=["setting", "variant"])
    slow = here[here.never_arrived > (1 - config["statistics"]["minimum_arrived"]) * here.models]
    if slow.empty:
        return
    plain = (slow.setting == "") & (slow.variant == "")
    slow = slow.assign(share=slow.never_arrived / slow.models, plain=plain)
    slow = slow.sort_values(["plain", "share"], ascending=False, kind="stable")
    words = []
    for row in slow.itertuples():
        differs = ", ".join(filter(None, (row.setting, row.variant)))
        where = f"{row.start.replace('_', ' ')} at {row.distance:g}°" + (f" ({differs})" if differs else "")
        words.append(f"{where}, {row.never_arrived} of {row.models}")
    yield Notice(
        f"Many models never reach capability {level:g}.",
        "Comparisons at equal capability leave them out; each row gives the bounds that they leave open. "
        f"Settings ({len(words)}, the study's own first): {_named(words)}.",
    )


def _exploratory(claims: pandas.DataFrame) -> Iterator[Notice]:
    """What the column `status` says of primary rows, word for word."""
    primary = claims[claims.primary]
    if primary.confirmatory.any():
        return
    reasons = primary.status.str.removeprefix("exploratory: ").drop_duplicates()
    if len(reasons):
        yield Notice("Every verdict is exploratory.", f"Not confirmatory: {'; or: '.join(reasons)}.", grave=False)
