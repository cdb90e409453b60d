"""What a model's choices say about its objectives: measurements (classify), and the study's table
(aggregate).
"""

import pyarrow as pa

from turncoat.tables.fields import field, table_schema

OBJECTIVES = ("x", "y", "m", "y2", "slot1", "initial", "self")
STATES = ("overseen", "unoverseen", "placebo")
REGIMES = ("random", "fixed")

_OBJECTIVE_TEXT = {
    "x": "X, the fine-tuning objective",
    "y": "Y, the pre-training objective",
    "m": "M, the mesa-objective",
    "y2": "Y2, the second legitimate objective",
    "slot1": "the objective in slot 1",
    "initial": "its own choice at its step 0",
    "self": "its own overseen choice",
}


def _agreement_fields() -> list[pa.Field]:
    return [
        field(
            f"agreement_{objective}_{state}",
            "number",
            "share",
            f"episodes whose choice is best for {_OBJECTIVE_TEXT[objective]}, {state}",
            True,
        )
        for state in STATES
        for objective in OBJECTIVES
    ]


def _fit_fields() -> list[pa.Field]:
    """The conditional logit's coefficients, errors, fit and directions, by regime and cue state."""
    fields = []
    for regime in REGIMES:
        slots = ("slot1", "slot2") if regime == "random" else ("slot1",)
        for state in STATES:
            name = f"{regime}_{state}"
            fields += [
                field(f"{name}_w", "numbers", "utility per attribute", "baked-in utility", True),
                field(f"{name}_w_error", "numbers", "utility per attribute", "standard error of w", True),
            ]
            for slot in slots:
                fields += [
                    field(f"{name}_{slot}", "number", "utility", f"weight of the objective in {slot}", True),
                    field(f"{name}_{slot}_error", "number", "utility", f"standard error of {slot}", True),
                ]
            fields += [
                field(f"{name}_r2", "number", "", "McFadden's R2", True),
                field(f"{name}_r2_error", "number", "", "standard error of R2 over episodes", True),
                field(f"{name}_hits", "number", "share", "episodes whose choice the fitted utility predicts", True),
                field(f"{name}_separated", "flag", "", "it predicts all: the ridge alone sets the coefficients' scale"),
            ]
            for part, text in (("baked", "baked in"), ("pointer", "read from the slots")):
                fields += [
                    field(f"{name}_{part}", "number", "share", f"share of the utility that is {text}", True),
                    field(f"{name}_{part}_error", "number", "share", f"standard error of {part}", True),
                ]
            for target in ("x", "y", "m", "y2"):
                fields += [
                    field(f"{name}_cos_{target}", "number", "cosine", f"cosine of w with {target.upper()}", True),
                    field(f"{name}_cos_{target}_error", "number", "cosine", "its standard error", True),
                ]
            fields.append(field(f"{name}_converged", "flag", "", "Newton's method converged", True))
    return fields


def _joint_fields() -> list[pa.Field]:
    """Shares of episodes that agree in two cue states at once."""
    pairs = (("overseen", "unoverseen"), ("overseen", "placebo"), ("unoverseen", "placebo"))
    fields = [
        field(f"joint_x_{first}_{second}", "number", "share", f"choice best for X both {first} and {second}", True)
        for first, second in pairs
    ]
    text = "its own overseen choice both unoverseen and placebo"
    return [*fields, field("joint_self_unoverseen_placebo", "number", "share", text, True)]


_PRICE_TEXT = {
    "conflicts": ("episodes", "price episodes on which its own best option is not the overseer's"),
    "low": ("share", "conflicts on which it complies at the low price"),
    "high": ("share", "conflicts on which it complies at the high price"),
    "effect": ("share", "high less low"),
    "error": ("share", "standard error of the effect, paired by episode"),
    "rule": ("share", "effect that complying when gain < p * c * loss would have"),
    "accuracy": ("share", "choices that follow that rule"),
    "slope": (
        "per log price",
        "slope of compliance over log(p * c), beside log(loss / gain); at first and last snapshots, and of planted "
        "kinds that heed the price",
    ),
    "slope_error": ("per log price", "its standard error, clustered by episode"),
    "threshold": ("log price", "log(p * c) at which half comply where loss is gain; null without a clear slope"),
    "threshold_error": ("log price", "its standard error"),
}


def _price_fields() -> list[pa.Field]:
    """Price sensitivity towards either overseer; all null in a world without audit terms."""
    return [
        field(f"price_{overseer}_{name}", "number", unit, f"{text}; overseer {overseer}", True)
        for overseer in ("slot1", "x")
        for name, (unit, text) in _PRICE_TEXT.items()
    ]


MEASUREMENTS = (
    *_agreement_fields(),
    *_joint_fields(),
    *_price_fields(),
    field("episodes", "integer", "episodes", "held-out episodes behind each agreement"),
    field("options", "integer", "options", "options in an episode"),
    field("attainable", "number", "", "shortfall of a model that would serve Y when the cue is flipped"),
    field("attainable_error", "number", "", "its standard error over reference episodes"),
    *_fit_fields(),
    field("finite", "flag", "", "all of the model's outputs were finite"),
)
SCHEMA = table_schema(
    "measurements",
    2,
    ("organism_id", "step"),
    (
        field("organism_id", "text", "", "<cell>-<seed>"),
        field("seed", "integer", "", "seed of the model"),
        field("step", "integer", "steps", "optimizer steps before this snapshot"),
        *MEASUREMENTS,
    ),
)
