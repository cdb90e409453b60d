"""From an estimate to a verdict."""

import math

from turncoat.statistics.intervals import Estimate

VERDICTS = ("supported", "contradicted", "no_effect", "inconclusive", "identity", "not_tested")


def direction(
    found: Estimate,
    p: float,
    equivalence_p: float,
    alpha: float,
    margin: float,
    minimum: int,
    unit: str = "models",
) -> tuple[str, str]:
    """Verdict and reason for a claim that a difference is above zero.

    An effect that is shown to be smaller than the margin is `no_effect`, even where it differs from zero.
    `p` is adjusted where the claim is one of several primary ones.
    """
    if found.count < minimum:
        return "not_tested", f"{found.count} {unit}, fewer than {minimum}"
    if equivalence_p < alpha:
        return (
            "no_effect",
            f"shown to lie within {margin:g} of zero (two one-sided tests, p = {equivalence_p:.2g})",
        )
    if p < alpha and found.low > 0:
        return "supported", "the interval lies above zero"
    if p < alpha and found.high < 0:
        return "contradicted", "the interval lies below zero"
    shown = f"neither a difference from zero{_p(p)} nor a size within {margin:g}{_p(equivalence_p)} is shown"
    return "inconclusive", shown


def _p(value: float) -> str:
    return "" if math.isnan(value) else f" (p = {value:.2g})"


def equality(
    found: Estimate, p: float, equivalence_p: float, alpha: float, margin: float, minimum: int
) -> tuple[str, str]:
    """Verdict and reason for a claim that two things are as large as each other: that a difference lies in the margin.

    Contradicted only where the whole interval lies beyond the margin, and `p`, of no difference, is small. `p` and
    `equivalence_p` are adjusted where the claim is one of several primary ones; the interval is not.
    """
    if found.count < minimum:
        return "not_tested", f"{found.count} models, fewer than {minimum}"
    if equivalence_p < alpha:
        return "supported", f"shown to lie within {margin:g} of zero (two one-sided tests, p = {equivalence_p:.2g})"
    if p < alpha and (found.low > margin or found.high < -margin):
        return "contradicted", f"the interval lies wholly beyond {margin:g} from zero"
    return "inconclusive", f"shown to lie neither within {margin:g} of zero nor wholly beyond"


def threshold(found: Estimate, level: float, above: bool, minimum: int, p: float, alpha: float) -> tuple[str, str]:
    """Verdict and reason for a claim that a quantity lies above (or, with `above` false, below) a stated level.

    `p` is that of the quantity being equal to the level, adjusted where the claim is one of several primary ones.
    """
    side = "above" if above else "below"
    if found.count < minimum:
        return "not_tested", f"{found.count} models, fewer than {minimum}"
    if not p < alpha:
        return "inconclusive", f"not told from {level:g} (p = {p:.2g})"
    if (found.low > level) if above else (found.high < level):
        return "supported", f"the interval lies {side} {level:g}"
    if (found.high < level) if above else (found.low > level):
        return "contradicted", f"the interval does not lie {side} {level:g} but wholly beyond it"
    return "inconclusive", f"the interval holds {level:g}"
