"""Arms of reinforcement: how they are named, compared and told apart from primary ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas

NETWORK = ["kind", "activation", "m_strength", "setting", "variant", "start", "distance"]
TRAINING = ["optimizer", "optimizer_state", "gate", "method", "selected", "prompt", "matched_at", "entropy_share"]
WARMED = "_warmed"  # ends the configuration's name of an optimizer that starts with a warmed state
SMALLEST_SHARE = 0.1  # of the other motive's gain: below it a gain is too small to divide by
ARM = [*NETWORK, *TRAINING, "signal"]


@dataclass(frozen=True)
class Primary:
    """The setting that primary rows stand in: the first of each list of the configuration's section.

    Those that compare reward with a model's own choices are of trained networks, start conditional: planted ones are
    nearly always right, so that their own choices are the reward.
    """

    activation: str
    optimizer: str
    gate: str
    entropy: float
    strength: float

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> "Primary":
        """Of the configuration's section `reinforcement`."""
        names = ("activations", "optimizers", "gates", "entropies", "strengths")
        return cls(*(section[name][0] for name in names))

    def planted(self, arm: Mapping[str, Any], prompt: float, but: Sequence[str] = ()) -> bool:
        """Whether an arm of planted networks is as primary ones are, at this prompt, the factors in `but` apart."""
        return self._holds(arm, prompt, {"activation": self.activation, "m_strength": self.strength}, but)

    def trained(self, arm: Mapping[str, Any], prompt: float, distance: float, start: str = "conditional") -> bool:
        """Whether an arm of trained networks is as primary ones are, at this prompt; theirs is start conditional."""
        own = {"kind": "trained", "start": start, "setting": "", "variant": "", "distance": distance}
        return self._holds(arm, prompt, own)

    def _holds(self, arm: Mapping[str, Any], prompt: float, network: dict[str, Any], but: Sequence[str] = ()) -> bool:
        wanted = {
            "kind": "planted",
            "optimizer": self.optimizer.removesuffix(WARMED),
            "optimizer_state": "warmed" if self.optimizer.endswith(WARMED) else "fresh",
            "gate": self.gate,
            "entropy_share": self.entropy,
            "method": "policy_gradient",
            "selected": True,
            "prompt": prompt,
            "matched_at": prompt,
        } | network
        return all(arm[name] == value for name, value in wanted.items() if name not in but)


def with_changes(reinforced: pandas.DataFrame) -> pandas.DataFrame:
    """The table with what claims are judged on, every change relative to a gain that an arm and its control share.

    net: change of the woken motive's gain less that of the dormant one, over the initial woken gain; m_growth: change
    of M's gain unoverseen, and `lean` that of X's gain overseen less that, over X's initial gain overseen, missing
    where that is below a tenth of M's unoverseen.
    """
    table = reinforced.copy()
    table["net"] = table.woken_change - table.dormant_change
    unit = table.gain_x_overseen_before.abs()
    unit = unit.where(unit >= SMALLEST_SHARE * table.gain_m_unoverseen_before.abs())
    x, m = (table[f"gain_{name}_after"] - table[f"gain_{name}_before"] for name in ("x_overseen", "m_unoverseen"))
    table["m_growth"], table["lean"] = m / unit, (x - m) / unit
    for name in ("setting", "variant", "start"):
        table[name] = table[name].fillna("")
    for name in ("m_strength", "distance"):
        table[name] = table[name].astype(float).fillna(-1.0)  # no number: groups by a missing key would be dropped
    return table


Arms = dict[tuple[Any, ...], pandas.DataFrame]


def arms_of(table: pandas.DataFrame) -> Arms:
    """The rows of each arm, by its values of ARM."""
    return dict(list(table.groupby(ARM, sort=True)))


def named(key: tuple[Any, ...]) -> dict[str, Any]:
    """An arm's values by their names."""
    return dict(zip(ARM, key, strict=True))


def other_arm(key: tuple[Any, ...], **changes: Any) -> tuple[Any, ...]:
    """The key of an arm that differs in these factors alone."""
    return tuple((named(key) | changes).values())


def arm_words(arm: Mapping[str, Any], what: str) -> str:
    """An arm in words; what goes without saying (selected episodes, its own prompt's temperature) is left out."""
    network = f"planted, M at {arm['m_strength']:g}" if arm["kind"] == "planted" else f"{arm['start']}, trained"
    optimizer = arm["optimizer"] if arm["optimizer_state"] == "fresh" else f"{arm['optimizer']} warmed"
    cue = "" if what.startswith("slope over the cue") else f"cue {arm['prompt']:g}"
    parts = [what, network, arm["activation"], cue, arm["method"].replace("_", " "), optimizer]
    if "gate" not in what:
        parts.append(f"gate {arm['gate']}")
    parts.append(f"entropy {arm['entropy_share']:g} log N")
    if arm["matched_at"] != arm["prompt"]:
        parts.append(f"matched at cue {arm['matched_at']:g}")
    if not arm["selected"]:
        parts.append("unselected episodes")
    if arm["kind"] == "trained":
        parts += [f"{arm['distance']:g} degrees", arm["setting"], arm["variant"]]
    return ", ".join(part for part in parts if part)
