"""What the rows of claims with arms of their own share: which contrasts they take, and rows of time ratios."""

from collections.abc import Callable, Iterator

import pandas

from turncoat.statistics.claims import CLAIMS
from turncoat.statistics.contrasts import ARM, FINAL, Plan, capability_match
from turncoat.statistics.equivalence import median_equivalence_p
from turncoat.statistics.evidence import Evidence, compared, stratum
from turncoat.statistics.manipulation import knowledge_block
from turncoat.statistics.rows import Row

CUE_HEADS = ("without heads.oversight", "without heads.placebo")


def is_nothing(item: pandas.Series) -> bool:
    """Whether the factor that the reference lacks is a head or share at 0: then it is the reference that has it."""
    return bool(item.reference.startswith("without ") and item.reference.endswith(" 0"))


def unknown(evidence: Evidence, item: pandas.Series) -> str:
    """Why a head for a cue was no test of knowledge; empty where it was, or where no such head is compared."""
    if not item.reference.startswith(CUE_HEADS):
        return ""
    return knowledge_block(evidence.knowledge, item.setting, item.variant, item.start, item.reference)


def chosen_contrasts(evidence: Evidence, wanted: Callable[[pandas.Series], bool]) -> Iterator[pandas.Series]:
    """Contrasts of C, D and deception at a compared capability or the final step, apart from X = Y."""
    table = evidence.contrasts
    matches = [*map(capability_match, evidence.capabilities), FINAL]
    table = table[table.match.isin(matches) & (table.distance > 0) & table.outcome.isin(["c", "d", "deception"])]
    for item in table[table.estimate.notna() | table.outcome.isin(["c", "d"])].itertuples():
        if wanted(item):
            yield item


def primary_place(evidence: Evidence, item: pandas.Series, outcome: str = "d") -> bool:
    """Whether a contrast stands where primary ones do: that outcome, the primary capability, the premise distance."""
    match = capability_match(evidence.primary_capability)
    return bool(item.outcome == outcome and item.match == match and item.distance == evidence.primary_distance)


def ratio_row(
    claim: str, item: pandas.Series, plan: Plan, primary: bool, kind: str, blocked: str = "", turned: bool = False
) -> Row:
    """A row from one of the time ratios; `turned` divides the other way round."""
    names, estimate = compared(item, turned)
    margin = CLAIMS[claim].margin_of(item.quantity, plan.margin)
    what = f"{names[0]} over {names[1]}, {item.quantity}"
    words = stratum(item.setting, item.variant, what, f"{item.distance:g} degrees")
    note = f"natural log of the ratio of episodes; never got there: {item.never_start} {item.start}, "
    note += f"{item.never_reference} {item.reference} ({item.never_both} pairs undecided)"
    counts = ("n_start", "n_reference", "n_pairs", "never_start", "never_reference")
    facts = {name: getattr(item, name) for name in (*ARM, "reference", *counts)}
    return Row(
        claim,
        item.quantity,
        words,
        "median over seeds of the log-ratio of times in episodes",
        kind,
        margin,
        estimate,
        item.p,
        median_equivalence_p(item.logs, margin),
        primary,
        blocked=undecided(item.n_pairs, item.never_both, plan) or blocked,
        note=note,
        values=-item.logs if turned else item.logs,
        median=True,
        facts=facts,
    )


def undecided(pairs: int, never_both: int, plan: Plan) -> str:
    """Why a median over `pairs` is not judged: it says little where many other pairs have no order; empty otherwise."""
    if never_both and pairs < plan.minimum_arrived * (pairs + never_both):
        return f"in {never_both} of {pairs + never_both} pairs neither side got there within its budget"
    return ""
