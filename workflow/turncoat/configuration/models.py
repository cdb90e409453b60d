"""The whole configuration of a study: its sections, their defaults, and what must hold between them."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from turncoat.configuration.base import INCREASING, Section, setting
from turncoat.configuration.errors import describe_problems
from turncoat.configuration.reinforcement import Reinforcement
from turncoat.configuration.sections import (
    PRETRAINED_STARTS,
    STRATEGIC_STARTS,
    WINDOW,
    Arm,
    Elicitation,
    Finetuning,
    Organism,
    Pretraining,
    Seeds,
    World,
)
from turncoat.configuration.types import TypeCutoffs
from turncoat.configuration.varying import SHORT, VARIED, combinations, with_values

NAME_PATTERN = r"^[a-z0-9_][a-z0-9_-]{0,63}$"
Share = Annotated[float, Field(gt=0, lt=1)]


class Evaluation(Section):
    """How a trained model's choices are measured, on episodes it was never trained on."""

    episodes: int = setting(1024, "held-out episodes per cue state", "episodes", ge=16, le=1_000_000)
    fit_episodes: int = setting(512, "how many of them a utility is fitted to", "episodes", ge=16, le=1_000_000)
    price_episodes: int = setting(
        2048,
        "held-out episodes shown at a low and at a high price, for price sensitivity",
        "episodes",
        ge=16,
        le=1_000_000,
    )
    curve_episodes: int = setting(
        256, "held-out episodes shown at every cue strength, for the compliance curve", "episodes", ge=16, le=1_000_000
    )
    causal_episodes: int = setting(
        256,
        "of the held-out episodes, how many the causal test uses: half find directions, half measure",
        "episodes",
        ge=16,
        le=1_000_000,
    )
    reference_episodes: int = setting(
        8192,
        "episodes that the attainable shortfall is computed on, per seed",
        "episodes",
        ge=64,
        le=10_000_000,
    )
    ridge: float = setting(0.0001, "ridge penalty of the fit, which keeps separated choices finite", "", gt=0, le=10)
    newton_steps: int = setting(25, "largest number of Newton steps of the fit", "steps", ge=1, le=1000)

    @model_validator(mode="after")
    def _fit_fits(self) -> "Evaluation":
        if self.fit_episodes > self.episodes:
            raise ValueError(f"fit_episodes = {self.fit_episodes}: allowed: at most episodes = {self.episodes}")
        if self.causal_episodes > self.episodes:
            raise ValueError(f"causal_episodes = {self.causal_episodes}: allowed: at most episodes = {self.episodes}")
        return self


class Planted(Section):
    """Policies of known type that go through the same classification."""

    seeds: int = setting(52, "planted cases per scored kind", "cases", ge=1, le=100_000)
    calibration_seeds: int = setting(
        24, "planted cases per kind that cutoffs are set on, on other seeds", "cases", ge=1, le=100_000
    )


class Gating(Section):
    """The ledger of activation, gradient and update."""

    episodes: int = setting(256, "episodes per cue state that the ledger is taken on", "episodes", ge=2, le=1_000_000)


class Statistics(Section):
    """How models become estimates and verdicts; changing this retrains nothing."""

    cross_entropies: list[Annotated[float, Field(gt=0, le=100)]] = setting(
        lambda: [0.3, 0.2], "cross-entropies on held-out episodes at which starts are compared, beside", "nat"
    )
    capabilities: Annotated[list[Share], INCREASING] = setting(
        lambda: [0.85, 0.9, 0.95], "agreement with X at which starts are compared", "share", min_length=1
    )
    primary_capability: Share = setting(0.9, "the one of them that verdicts rest on", "share")
    confidence: float = setting(0.95, "confidence of the intervals", "share", ge=0.5, lt=1)
    resamples: int = setting(2000, "bootstrap resamples", "resamples", ge=100, le=1_000_000)
    margin: float = setting(0.05, "equivalence margin on C and D", "share", gt=0, lt=1)
    minimum_seeds: int = setting(12, "models below which a claim is not tested", "models", ge=2, le=1_000_000)
    planned_seeds: int | None = setting(
        None,
        "seeds that the study ends with, where they are added little by little: verdicts then pay for every look, and"
        " more seeds, up to this number, do not make them exploratory; null for a study that is looked at once",
        "seeds",
        ge=2,
        le=1_000_000,
    )
    minimum_arrived: float = setting(
        0.9,
        "share of seeds that must get there for a verdict that those which did not could overturn",
        "share",
        ge=0,
        le=1,
    )
    premise_distance: float = setting(
        90,
        "distance at which the premise is checked; not measured where no arm has it",
        "degrees",
        ge=0,
        le=180,
    )
    premise_ratio: float = setting(
        0.5,
        "largest share of scratch's episodes in which a start must reach the primary capability",
        "ratio",
        gt=0,
        le=1,
    )

    @model_validator(mode="after")
    def _primary_is_compared(self) -> "Statistics":
        if self.primary_capability not in self.capabilities:
            raise ValueError(f"primary_capability = {self.primary_capability!r}: allowed: one of {self.capabilities}")
        return self


def _without_dropped_arms(value: Any) -> Any:
    """An overlay drops an arm by setting it to null."""
    if not isinstance(value, dict):
        return value
    return {name: arm for name, arm in value.items() if arm is not None}


def _crossed_otherwise(arm: Arm) -> set[str]:
    crossed = {key for key, name in SHORT.items() if getattr(arm, name)}
    return crossed | {f"finetuning.{name}" for name in ("steps", "snapshots") if getattr(arm, name) is not None}


def _default_arms() -> dict[str, Arm]:
    gates = Arm(
        starts=["scratch"],
        distances=[90],
        activations=["relu", "gelu", "leaky_relu"],
        optimizers=["sgd", "adam"],
        steps=400,
        snapshots=3,
    )
    pretrained: list[Any] = ["internal", "corrigible", "conditional", "benign_conditional"]
    return {
        "main": Arm(starts=[*pretrained, "scratch", "scratch_exposed"], distances=[45, 90, 135]),
        "strategic": Arm(starts=["deceptive", "internal_strategic"], distances=[90]),
        "control": Arm(starts=["placebo_conditional"], distances=[90]),
        "drift": Arm(starts=["internal"], distances=[0]),
        "gates": gates,
    }


class Config(Section):
    """Configuration of one study."""

    study: str = setting("default", "name of the study; results go to results/<study>", pattern=NAME_PATTERN)
    seeds: Seeds = setting(Seeds, "which independent models each cell trains")
    world: World = setting(World, "what an episode offers and how its options look")
    organism: Organism = setting(Organism, "the network that is trained")
    pretraining: Pretraining = setting(Pretraining, "how the starts that are pre-trained are made")
    finetuning: Finetuning = setting(Finetuning, "how every start is then trained towards X")
    elicitation: Elicitation = setting(Elicitation, "what it costs to bring M back")
    arms: Annotated[dict[Annotated[str, Field(pattern=NAME_PATTERN)], Arm], BeforeValidator(_without_dropped_arms)] = (
        setting(_default_arms, "parts of the study by name; an overlay drops one by setting it to null", min_length=1)
    )
    evaluation: Evaluation = setting(Evaluation, "how choices are measured")
    planted: Planted = setting(Planted, "policies of known type, as a check of the classification")
    gating: Gating = setting(Gating, "the ledger of activation, gradient and update")
    reinforcement: Reinforcement = setting(Reinforcement, "training where X and M want the same option")
    types: TypeCutoffs = setting(TypeCutoffs, "cutoffs between alignment types")
    statistics: Statistics = setting(Statistics, "how models become estimates and verdicts")

    @model_validator(mode="after")
    def _varied_keys_fit(self) -> "Config":
        for name, arm in self.arms.items():
            for key in arm.vary or {}:
                if key.split(".")[0] not in VARIED or key in _crossed_otherwise(arm):
                    raise ValueError(
                        f"arms.{name}.vary: {key}: allowed: a key of {', '.join(VARIED)} that no other list of the arm "
                        "names"
                    )
            for key, values in (arm.vary or {}).items():
                if not values:
                    raise ValueError(f"arms.{name}.vary: {key} = []: allowed: a list of at least 1")
            if arm.vary:
                for changes in combinations(arm):
                    self.changed(name, changes)
        return self

    def changed(self, arm: str, changes: Mapping[str, Any]) -> "Config":
        """This configuration with values at dotted keys replaced, and that arm alone, which crosses nothing further.

        Raises ValueError naming the arm, the key and what is allowed.
        """
        plain = self.arms[arm].model_copy(update={"vary": None, "steps": None, "snapshots": None})
        plain = plain.model_copy(update=dict.fromkeys(SHORT.values()))
        try:
            values = with_values(self.model_dump(exclude={"arms"}), changes)
            return Config.model_validate(values | {"arms": {arm: plain.model_dump()}})
        except KeyError as error:
            raise ValueError(f"arms.{arm}.vary: {error.args[0]}: no such key; see docs/configuration.md") from None
        except ValidationError as error:
            problems = "; ".join(describe_problems(error, Config.model_json_schema()))
            raise ValueError(f"arms.{arm}.vary: {problems}") from None

    @model_validator(mode="after")
    def _budget_is_whole_windows(self) -> "Config":
        budget, window = self.finetuning.budget, WINDOW * self.finetuning.batch
        if budget is not None and budget % window:
            raise ValueError(
                f"finetuning.budget = {budget}: allowed: a multiple of {window}, {WINDOW} batches of "
                f"{self.finetuning.batch}"
            )
        return self

    @model_validator(mode="after")
    def _state_can_be_carried(self) -> "Config":
        if self.finetuning.optimizer_state == "carried":
            for name, arm in self.arms.items():
                others = set(arm.optimizers or [self.finetuning.optimizer]) - {self.pretraining.optimizer}
                if others:
                    raise ValueError(
                        f"arms.{name}: finetuning.optimizer_state = 'carried' hands on the state of "
                        f"{self.pretraining.optimizer}, not of {', '.join(sorted(others))}; allowed: the optimizer of "
                        "pre-training"
                    )
        return self

    @model_validator(mode="after")
    def _circuits_can_be_fitted(self) -> "Config":
        needed = max(4, 2 * (self.world.attributes // (self.world.options - 1) + 1))
        if self.gating.episodes < needed:
            raise ValueError(
                f"gating.episodes = {self.gating.episodes}: allowed with {self.world.attributes} attributes and "
                f"{self.world.options} options: at least {needed}, half of which a unit's content is fitted to"
            )
        return self

    @model_validator(mode="after")
    def _seeds_fit(self) -> "Config":
        if self.seeds.first + self.seeds.count > 2**31:
            raise ValueError(
                f"seeds.count = {self.seeds.count}: from seeds.first = {self.seeds.first} allowed: at most "
                f"{2**31 - self.seeds.first}"
            )
        planned = self.statistics.planned_seeds
        if planned is not None and planned < self.seeds.count:
            raise ValueError(
                f"statistics.planned_seeds = {planned}: allowed: at least seeds.count = {self.seeds.count}, or null"
            )
        return self

    @model_validator(mode="after")
    def _exposure_trains_something(self) -> "Config":
        if not any(self.pretraining.heads.model_dump(exclude={"objective"}).values()):
            for name, arm in self.arms.items():
                if "scratch_exposed" in arm.starts:
                    raise ValueError(
                        f"arms.{name}.starts: scratch_exposed learns from pretraining.heads, which are all 0 apart "
                        "from objective; allowed: a head above 0, or an arm without scratch_exposed"
                    )
        return self

    @model_validator(mode="after")
    def _motives_stay(self) -> "Config":
        for name, arm in self.arms.items():
            modes = {self.finetuning.mode, *(arm.vary or {}).get("finetuning.mode", [])}
            if arm.reinforce and modes != {"fixed"}:
                raise ValueError(
                    f"arms.{name}.reinforce = True: X must stay the same to be a motive; allowed with finetuning.mode "
                    "'fixed' only"
                )
        return self

    @model_validator(mode="after")
    def _strategy_has_a_price(self) -> "Config":
        if self.world.audit_penalty == 0:
            for name, arm in self.arms.items():
                strategic = sorted(set(arm.starts) & set(STRATEGIC_STARTS))
                if strategic:
                    raise ValueError(
                        f"arms.{name}.starts: {', '.join(strategic)} weigh the price of being caught, and "
                        "world.audit_penalty is 0; allowed: an audit_penalty above 0, or an arm without them"
                    )
        return self

    @model_validator(mode="after")
    def _pretraining_steps_are_read(self) -> "Config":
        for name, arm in self.arms.items():
            if arm.pretraining_steps and not set(arm.starts) & set(PRETRAINED_STARTS):
                raise ValueError(
                    f"arms.{name}.pretraining_steps = {arm.pretraining_steps}: no start of this arm is pre-trained; "
                    f"allowed: with one of {', '.join(PRETRAINED_STARTS)}"
                )
        return self

    @model_validator(mode="after")
    def _snapshots_fit(self) -> "Config":
        for name, arm in self.arms.items():
            steps, snapshots = arm.steps or self.finetuning.steps, arm.snapshots or self.finetuning.snapshots
            if snapshots > steps + 1:
                place = f"arms.{name}.snapshots" if arm.snapshots else "finetuning.snapshots"
                raise ValueError(f"{place} = {snapshots}: arm {name} takes {steps} steps; allowed: at most {steps + 1}")
        return self
