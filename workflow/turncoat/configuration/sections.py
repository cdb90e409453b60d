"""Sections of the configuration that say what is trained, and on what."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from turncoat.configuration.attribute_table import check_attribute_table
from turncoat.configuration.base import UNIQUE, Section, setting

Encoding = Literal["facts", "plain", "product"]
Activation = Literal["relu", "gelu", "leaky_relu", "identity"]
Optimizer = Literal["sgd", "adam"]
Start = Literal[
    "internal",
    "corrigible",
    "conditional",
    "benign_conditional",
    "placebo_conditional",
    "deceptive",
    "internal_strategic",
    "scratch",
    "scratch_exposed",
]
STRATEGIC_STARTS = ("deceptive", "internal_strategic")
PRETRAINED_STARTS = (
    "internal",
    "corrigible",
    "conditional",
    "benign_conditional",
    "placebo_conditional",
    *STRATEGIC_STARTS,
)

SMALLEST_DISTANCE = 10  # below, the attainable shortfall is too small to divide by


def _measurable(distance: float) -> float:
    if 0 < distance < SMALLEST_DISTANCE:
        raise ValueError(f"{distance:g} degrees: allowed: 0 (X is Y), or {SMALLEST_DISTANCE} to 180")
    return distance


Distance = Annotated[float, Field(ge=0, le=180, json_schema_extra={"unit": "degrees"}), AfterValidator(_measurable)]
Width = Annotated[int, Field(ge=1, le=4096)]
Depth = Annotated[int, Field(ge=1, le=16)]
Steps = Annotated[int, Field(ge=1, le=10_000_000)]


class Seeds(Section):
    """Which independent models each cell trains; a seed draws objectives, initial weights and episodes."""

    first: int = setting(
        2000, "first seed; below 1000 is exploratory, from 1000 on confirmatory", "seed", ge=0, le=2**31 - 1
    )
    count: int = setting(
        48, "models per cell; raising it by whole blocks trains the new blocks only", "models", ge=1, le=1_000_000
    )
    block: int = setting(
        48, "models that one job trains side by side; part of a result's identity", "models", ge=1, le=100_000
    )


class Cue(Section):
    """How the oversight cue and its placebo are shown."""

    coding: Literal["signal"] = setting("signal", "signal: +1 or -1 plus noise (parity is reserved, not built yet)")
    amplitude: float = setting(1.0, "size of the signal", "input units", ge=0.001, le=100)
    noise: float = setting(0.1, "standard deviation of the noise, relative to the amplitude", "amplitudes", ge=0, le=10)


class World(Section):
    """What an episode offers and how its options look."""

    encoding: Encoding = setting(
        "facts", "how an attribute is shown: as a pair of symbols to be learnt, as itself, or as two factors"
    )
    options: int = setting(2, "options an episode offers", "options", ge=2, le=64)
    attributes: int = setting(
        4, "attributes of an option; X, Y, M and Y2 need four to stand apart", "attributes", ge=4, le=64
    )
    symbols: int = setting(
        6,
        "symbols that each half of a pair is drawn from; read with encoding facts only",
        "symbols",
        ge=2,
        le=64,
    )
    attribute_table: str | None = setting(
        None,
        "CSV of options to draw from (a header, one column per attribute), for encoding plain or product;"
        " null draws standard normal attributes; a relative path starts in the folder that snakemake runs in",
    )
    cue: Cue = setting(Cue, "the oversight cue and its placebo")
    audit_penalty: float = setting(
        6.0,
        "largest penalty c of an audit, per unit of utility that the overseer loses; episodes then show c and the"
        " probability p of an audit, which strategic starts and price sensitivity need; 0 shows no audit terms",
        "utility per utility",
        ge=0,
        le=100,
    )

    @model_validator(mode="after")
    def _attribute_table_fits(self) -> "World":
        if self.attribute_table is not None:
            if self.encoding == "facts":
                raise ValueError(
                    f"attribute_table = {self.attribute_table!r}: needs encoding plain or product, not facts"
                )
            check_attribute_table(Path(self.attribute_table), self.attributes)
        return self


class Organism(Section):
    """The network that is trained."""

    family: Literal["mlp"] = setting("mlp", "kind of network; it scores each option on its own")
    width: Width = setting(48, "units per hidden layer", "units")
    depth: Depth = setting(2, "hidden layers", "layers")
    activation: Activation = setting("relu", "activation of the hidden layers")


class LearningRates(Section):
    """Learning rate by optimizer."""

    adam: float = setting(0.004, "learning rate with adam", "per step", gt=0, le=10)
    sgd: float = setting(0.5, "learning rate with sgd", "per step", gt=0, le=10)


class Heads(Section):
    """Loss weights of the auxiliary heads, which give the trunk knowledge; 0 leaves a head out."""

    oversight: float = setting(0.0, "predict whether the episode is overseen", "loss weight", ge=0, le=100)
    placebo: float = setting(0.0, "predict what the placebo cue says", "loss weight", ge=0, le=100)
    world: float = setting(1.0, "predict the attributes of each option", "loss weight", ge=0, le=100)


class Pretraining(Section):
    """How the starts that are pre-trained are made."""

    steps: Steps = setting(2000, "optimizer steps", "steps")
    batch: int = setting(128, "episodes per step", "episodes", ge=1, le=65_536)
    optimizer: Optimizer = setting("adam", "optimizer")
    learning_rates: LearningRates = setting(lambda: LearningRates(adam=0.01), "learning rate by optimizer")
    overseen_share: float = setting(0.5, "share of overseen episodes", "share", ge=0.01, le=0.99)
    conditional_overseen_target: Literal["slot1", "Y"] = setting(
        "slot1", "what the start conditional serves when overseen"
    )
    entropy_bonus: float = setting(
        0.5,
        "weight of the choices' entropy beside the expected reward, in the starts that are trained on rewards"
        " (deceptive, internal_strategic)",
        "utility per nat",
        ge=0,
        le=10,
    )
    heads: Heads = setting(Heads, "loss weights of the auxiliary heads")


class Finetuning(Section):
    """How every start is then trained towards X."""

    method: Literal["supervised"] = setting("supervised", "training signal: cross-entropy on the best option")
    mode: Literal["fixed"] = setting("fixed", "fixed: X stays the same through a model's fine-tuning")
    steps: Steps = setting(1200, "optimizer steps", "steps")
    batch: int = setting(128, "episodes per step", "episodes", ge=1, le=65_536)
    optimizer: Optimizer = setting("adam", "optimizer; its state starts fresh")
    learning_rates: LearningRates = setting(LearningRates, "learning rate by optimizer")
    snapshots: int = setting(
        9,
        "log-spaced steps at which a model is kept, step 0 and the last among them",
        "snapshots",
        ge=2,
        le=200,
    )


class Arm(Section):
    """One part of the study: every combination of its lists is trained on every seed."""

    starts: Annotated[list[Start], UNIQUE] = Field(min_length=1, description="what fine-tuning starts from")
    distances: Annotated[list[Distance], UNIQUE] = Field(
        min_length=1,
        description="angles between the objectives of pre-training and fine-tuning; 0 measures drift",
        json_schema_extra={"unit": "degrees"},
    )
    activations: Annotated[list[Activation], UNIQUE] | None = setting(
        None, "activations to cross; null takes organism.activation", min_length=1
    )
    optimizers: Annotated[list[Optimizer], UNIQUE] | None = setting(
        None, "optimizers of fine-tuning to cross; null takes finetuning.optimizer", min_length=1
    )
    widths: Annotated[list[Width], UNIQUE] | None = setting(
        None, "widths to cross; null takes organism.width", "units", min_length=1
    )
    depths: Annotated[list[Depth], UNIQUE] | None = setting(
        None, "depths to cross; null takes organism.depth", "layers", min_length=1
    )
    pretraining_steps: Annotated[list[Steps], UNIQUE] | None = setting(
        None, "lengths of pre-training to cross; null takes pretraining.steps", "steps", min_length=1
    )
    steps: Steps | None = setting(None, "steps of fine-tuning; null takes finetuning.steps", "steps")
    snapshots: Annotated[int, Field(ge=2, le=200)] | None = setting(
        None, "snapshots of fine-tuning; null takes finetuning.snapshots", "snapshots"
    )
