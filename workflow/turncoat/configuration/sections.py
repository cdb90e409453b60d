"""Sections of the configuration that say what is trained, and on what."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from turncoat.configuration.attribute_table import check_attribute_table
from turncoat.configuration.base import UNIQUE, Section, setting

Encoding = Literal["facts", "plain", "product"]
Activation = Literal["relu", "gelu", "leaky_relu", "silu", "relu_squared", "tanh", "identity"]
Optimizer = Literal["sgd", "momentum", "adam", "adamw"]
ADAPTIVE_OPTIMIZERS = ("adam", "adamw")
Gate = Literal["natural", "open_in", "open_propagating", "open_out", "closed", "shuffled"]
Draws = Literal["host", "device"]
Start = Literal[
    "internal",
    "corrigible",
    "conditional",
    "benign_conditional",
    "placebo_conditional",
    "deceptive",
    "internal_strategic",
    "unrelated",
    "knowledge_only",
    "scratch",
    "scratch_exposed",
]
STRATEGIC_STARTS = ("deceptive", "internal_strategic")
CONDITIONAL_STARTS = ("conditional", "benign_conditional", "placebo_conditional")
POINTED_STARTS = ("corrigible", "conditional", "placebo_conditional", *STRATEGIC_STARTS)
PRETRAINED_STARTS = (
    "internal",
    "corrigible",
    *CONDITIONAL_STARTS,
    *STRATEGIC_STARTS,
    "unrelated",
    "knowledge_only",
)
DODGES = {
    "x_in_pretraining": ("pretrain",),
    "oversight_hidden": ("pretrain",),
    "instruction_conditioned": ("pretrain",),
    "knowledge_withheld": ("pretrain",),
    "l2_to_start": ("finetune",),
    "early_stopping": ("finetune",),
    "inoculation": ("finetune",),
    "gradient_routing": ("pretrain", "finetune"),
    "last_layer_reset": ("finetune",),
    "unoverseen_data": ("finetune",),
}
"""Stages that each dodge changes."""
Dodge = Literal[
    "x_in_pretraining",
    "oversight_hidden",
    "instruction_conditioned",
    "knowledge_withheld",
    "l2_to_start",
    "early_stopping",
    "inoculation",
    "gradient_routing",
    "last_layer_reset",
    "unoverseen_data",
]
WINDOW = 16  # batches that are drawn at once; a data budget is a whole number of such windows

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
        11000, "first seed; below 1000 is exploratory, from 1000 on confirmatory", "seed", ge=0, le=2**31 - 1
    )
    count: int = setting(
        48, "models per cell; raising it by whole blocks trains the new blocks only", "models", ge=1, le=1_000_000
    )
    block: int = setting(
        48, "models that one job trains side by side; part of a result's identity", "models", ge=1, le=100_000
    )


class Cue(Section):
    """How the oversight cue and its placebo are shown."""

    coding: Literal["signal", "parity"] = setting(
        "signal", "signal: +1 or -1 plus noise; parity: so many such numbers, whose product is the cue's sign"
    )
    bits: int = setting(
        3,
        "numbers that code a cue; read with coding parity only; with encoding plain take at least 4: off untrained"
        " networks a linear probe reads 3 with accuracy up to 0.73 (0.59 with encoding facts), and then a head for the"
        " cue is no test of knowledge",
        "numbers",
        ge=3,
        le=9,
    )
    contexts: int = setting(
        1,
        "sets of inputs that the cues are shown on, one per episode; with more than one the last is kept for"
        " fine-tuning and evaluation, pre-training uses the others",
        "contexts",
        ge=1,
        le=16,
    )
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

    slot_angle: float = setting(
        90,
        "angle between the ways in which the two instruction slots are shown; at 90 each has inputs of its own, towards"
        " 0 slot 2 shows on those of slot 1",
        "degrees",
        ge=0,
        le=90,
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
    adamw: float = setting(0.004, "learning rate with adamw", "per step", gt=0, le=10)
    sgd: float = setting(0.5, "learning rate with sgd", "per step", gt=0, le=10)
    momentum: float = setting(0.05, "learning rate with momentum", "per step", gt=0, le=10)


class Heads(Section):
    """Loss weights of the auxiliary heads, which give the trunk knowledge; 0 leaves a head out."""

    oversight: float = setting(0.0, "predict whether the episode is overseen", "loss weight", ge=0, le=100)
    placebo: float = setting(0.0, "predict what the placebo cue says", "loss weight", ge=0, le=100)
    world: float = setting(1.0, "predict the attributes of each option", "loss weight", ge=0, le=100)
    objective: float = setting(
        0.0, "predict how much X, at the distance of fine-tuning, values each option", "loss weight", ge=0, le=100
    )


class Pretraining(Section):
    """How the starts that are pre-trained are made."""

    steps: Steps = setting(2000, "optimizer steps", "steps")
    batch: int = setting(128, "episodes per step", "episodes", ge=1, le=65_536)
    optimizer: Optimizer = setting("adam", "optimizer")
    learning_rates: LearningRates = setting(lambda: LearningRates(adam=0.01, adamw=0.01), "learning rate by optimizer")
    overseen_share: float = setting(0.5, "share of overseen episodes", "share", ge=0.01, le=0.99)
    conditional_overseen_target: Literal["slot1", "Y"] = setting(
        "slot1", "what the start conditional serves when overseen"
    )
    conditional_share: float = setting(
        1.0,
        "share of unoverseen episodes that reward the unoverseen objective, the others reward the overseen one; of the"
        " starts conditional, benign_conditional and placebo_conditional",
        "share",
        gt=0,
        le=1,
    )
    foreknowledge: float = setting(
        0.0,
        "share of episodes whose overseer speaks through slot 2, as the fine-tuning overseer will; of the starts that"
        " serve or fear slot 1",
        "share",
        ge=0,
        le=1,
    )
    label_noise: float = setting(
        0.0, "share of episodes whose rewards are dealt to the options at random", "share", ge=0, le=1
    )
    entropy_bonus: float = setting(
        0.5,
        "weight of the choices' entropy beside the expected reward, in the starts that are trained on rewards"
        " (deceptive, internal_strategic)",
        "utility per nat",
        ge=0,
        le=10,
    )
    draws: Draws = setting(
        "host",
        "who draws the training episodes: host, numpy's generators; or device, a counter-based generator on the device"
        " that trains, without which a GPU waits (other episodes, of the same distribution); not with"
        " a dodge",
    )
    heads: Heads = setting(Heads, "loss weights of the auxiliary heads")


class Finetuning(Section):
    """How every start is then trained towards X."""

    method: Literal["supervised", "policy_gradient"] = setting(
        "supervised",
        "training signal: cross-entropy on the best option, or the rewards of sampled choices with a leave-one-out"
        " baseline",
    )
    samples: int = setting(4, "choices sampled per episode; read with method policy_gradient only", "", ge=2, le=1024)
    entropy_bonus: float = setting(
        0.0, "weight of the choices' entropy; read with method policy_gradient only", "utility per nat", ge=0, le=10
    )
    mode: Literal["fixed", "instructed"] = setting(
        "fixed",
        "fixed: X stays the same through a model's fine-tuning; instructed: slot 2 tells another in each episode",
    )
    overseen_share: float = setting(1.0, "share of overseen episodes; the placebo cue stays at +1", "share", ge=0, le=1)
    label_noise: float = setting(
        0.0,
        "share of episodes whose rewards are dealt to the options at random; 1: labels mean nothing",
        "",
        ge=0,
        le=1,
    )
    budget: int | None = setting(
        None,
        "number of different episodes, a whole number of 16 batches, which warming draws from too; null: ever new ones",
        "episodes",
        ge=1,
        le=2**40,
    )
    steps: Steps = setting(1200, "optimizer steps", "steps")
    batch: int = setting(128, "episodes per step", "episodes", ge=1, le=65_536)
    optimizer: Optimizer = setting("adam", "optimizer")
    optimizer_state: Literal["fresh", "carried", "warmed"] = setting(
        "fresh",
        "what the optimizer starts with: nothing, the state that pre-training left (nothing from scratch), or what"
        " warm_steps at learning rate 0 give it",
    )
    warm_steps: Steps = setting(100, "steps that warm the optimizer; read with optimizer_state warmed only", "steps")
    learning_rates: LearningRates = setting(LearningRates, "learning rate by optimizer")
    beta2: float = setting(
        0.999, "decay of adam's and adamw's mean square gradient; read with those only", "per step", ge=0, lt=1
    )
    gate: Gate = setting(
        "natural",
        "what the backward pass takes a hidden unit's slope to be, the forward pass staying as it is; natural: what it"
        " is; open_in: 1 for the unit's own incoming weights; open_propagating: 1 for what it passes back too;"
        " open_out: natural, but outgoing weights learn as if closed units emitted their pre-activation; closed: 0"
        " below a pre-activation of 0; shuffled: own incoming weights get the slopes of other rows",
    )
    gate_norm_matched: bool = setting(
        True,
        "whether every weight matrix's and bias's gradient is rescaled to the norm that it naturally has; read with a"
        " gate other than natural only",
    )
    schedule: Literal["constant", "linear", "cosine"] = setting(
        "constant", "how the learning rate falls, towards 0 at the last step"
    )
    draws: Draws = setting(
        "host",
        "who draws the training episodes: host, numpy's generators; or device, a counter-based generator on the device"
        " that trains, without which a GPU waits (other episodes, of the same distribution); not with"
        " a dodge, gate control or warming",
    )
    snapshots: int = setting(
        9,
        "log-spaced steps at which a model is kept, step 0 and the last among them",
        "snapshots",
        ge=2,
        le=200,
    )


class Elicitation(Section):
    """How fine-tuned models are brought to M on unoverseen episodes, to see what that costs."""

    steps: Steps = setting(200, "optimizer steps, with fine-tuning's batch, optimizer and learning rate", "steps")


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
    vary: dict[str, list[Any]] | None = setting(
        None,
        "further keys to cross, each with its values, such as `pretraining.label_noise: [0.1, 0.3]`; allowed: keys of"
        " world, organism, pretraining and finetuning",
        min_length=1,
    )
    dodges: Annotated[list[Dodge], UNIQUE] | None = setting(
        None, "ways of training that might keep deception out, each trained apart; null trains plainly", min_length=1
    )
    elicit: bool = setting(False, "whether fine-tuned models are then brought back to M on unoverseen episodes")
    reinforce: bool = setting(
        False, "whether fine-tuned models are then trained where X and M want the same option; see reinforcement"
    )
    steps: Steps | None = setting(None, "steps of fine-tuning; null takes finetuning.steps", "steps")
    snapshots: Annotated[int, Field(ge=2, le=200)] | None = setting(
        None, "snapshots of fine-tuning; null takes finetuning.snapshots", "snapshots"
    )
