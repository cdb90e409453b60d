"""Answers to G9: does the gate protect a dormant deceptive circuit from correction?"""

from collections.abc import Iterator, Mapping

import pandas

from turncoat.statistics.claims import CLAIMS
from turncoat.statistics.contrasts import FINAL, Plan, capability_match, columns_of, contrast
from turncoat.statistics.equivalence import equivalence_p
from turncoat.statistics.evidence import FACTS, Evidence, contrast_row, left_out, stratum
from turncoat.statistics.factors import factors_of, value_of
from turncoat.statistics.rows import Row, missing_row

DORMANT = ("deceptive", "conditional")
"""Starts that serve M on unoverseen episodes, none of which fine-tuning shows."""
OPENED = ("open_in", "open_propagating")
CONTROL = "shuffled"


def answers(evidence: Evidence, plan: Plan) -> list[Row]:
    """Unoverseen agreement with M after fine-tuning, natural minus each gate mode, and shuffled slopes minus held open.

    Above zero where fine-tuning under the natural gate leaves more of M than under the other. A row that says so where
    the study has no models for the claim.
    """
    rows = [*_natural_minus(evidence, plan), *_beyond_shuffled(evidence, plan)]
    if not any(row.primary for row in rows):
        rows.append(missing_row("G9", "m", "difference", plan.margin))
    return rows


def _natural_minus(evidence: Evidence, plan: Plan) -> Iterator[Row]:
    table = evidence.contrasts
    matches = [*map(capability_match, evidence.capabilities), FINAL]
    gated = table.reference.str.startswith("without gate ") & table.start.isin(DORMANT) & (table.distance > 0)
    for item in table[gated & table.match.isin(matches) & table.outcome.isin(["m", "d", "c"])].itertuples():
        opened = item.reference.removeprefix("without gate ") in OPENED
        kind = "difference" if opened and item.outcome == "m" else "shown"
        yield contrast_row("G9", item, plan, _primary(evidence, item), turned=True, kind=kind)


def _primary(evidence: Evidence, item: pandas.Series) -> bool:
    """Start deceptive, the gate open for incoming weights and nothing else changed, where primary contrasts stand."""
    place = (item.start, item.outcome, item.match, item.distance)
    wanted = ("deceptive", "m", capability_match(evidence.primary_capability), evidence.primary_distance)
    return bool(place == wanted and item.setting == "gate open_in" and not item.variant)


def _beyond_shuffled(evidence: Evidence, plan: Plan) -> Iterator[Row]:
    """What holding the gate open does beyond slopes that are open as often, on other examples: shuffled minus it."""
    matches = [*map(capability_match, evidence.capabilities), FINAL]
    here = evidence.matched
    here = here[here.start.isin(DORMANT) & here.match.isin(matches) & (here.distance > 0)]
    groups = dict(list(here.groupby(["setting", "variant", "start", "distance", "match"], sort=True)))
    for (setting, variant, start, distance, match), opened in groups.items():
        if value_of(setting, "gate") != "open_in":
            continue
        words = ", ".join(_with_gate(setting))
        control = groups.get((words, variant, start, distance, match))
        if control is None:
            continue
        margin = CLAIMS["G9"].margin_of("m", plan.margin)
        left, right = columns_of(control, ["m"]), columns_of(opened, ["m"])
        found = contrast(left, right, "m", plan, f"beyond shuffled {setting} {variant} {start} {distance} {match}")
        values: Mapping[str, object] = {
            "setting": setting,
            "variant": variant,
            "start": start,
            "reference": f"gate {CONTROL}",
            "distance": distance,
            "match": match,
            "n_start": found.n_reference,
            "n_reference": found.n_start,
            "n_pairs": len(found.differences),
            "never_start": found.never_reference,
            "never_reference": found.never_start,
            "diverged": found.diverged,
            "bound_low": found.bound_low,
            "bound_high": found.bound_high,
        }
        yield Row(
            "G9",
            "m",
            stratum(setting, variant, f"{start}, gate {CONTROL} minus open_in", f"{distance:g} degrees", match),
            CLAIMS["G9"].estimand,
            "difference",
            margin,
            found.estimate,
            found.p,
            equivalence_p(found.differences, margin),
            note=left_out(values),
            values=found.differences,
            facts={name: values[name] for name in FACTS},
        )


def _with_gate(setting: str) -> list[str]:
    return [f"gate {CONTROL}" if factor.startswith("gate ") else factor for factor in factors_of(setting)]
