"""The configuration's section on training where X and M want the same option."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from turncoat.configuration.base import UNIQUE, Section, setting
from turncoat.configuration.sections import Gate

PlantedActivation = Literal["relu", "leaky_relu", "gelu", "silu", "identity"]
EntropyShare = Annotated[float, Field(gt=0, lt=1)]
Strength = Annotated[float, Field(ge=0, le=10)]
Cue = Annotated[float, Field(ge=-2, le=2)]
PlantedWidth = Annotated[int, Field(ge=6, le=4096)]


class ReinforcementRates(Section):
    """Learning rate of each optimizer where episodes are those on which X and M want the same."""

    sgd: float = setting(0.02, "learning rate of sgd", "per step", gt=0, le=10)
    adam: float = setting(0.0004, "learning rate of adam, with fresh or warmed state", "per step", gt=0, le=10)


class Reinforcement(Section):
    """Same answer, different motive: training where X and M want the same option.

    The first entry of each list is the primary setting; every other entry is varied alone from it, but for gates, which
    are crossed with optimizers. Each arm is run overseen and unoverseen, with its control beside it.
    """

    enabled: bool = setting(False, "whether planted two-block networks are reinforced; trained ones: arms' `reinforce`")
    activations: Annotated[list[PlantedActivation], UNIQUE] = setting(
        lambda: ["relu", "gelu", "identity"], "activations of planted networks", min_length=1
    )
    strengths: Annotated[list[Strength], UNIQUE] = setting(
        lambda: [1.0, 0.5, 0.0], "strength with which M is planted beside X's 1", "", min_length=1
    )
    width: PlantedWidth = setting(24, "units per hidden layer of planted networks", "units")
    entropies: Annotated[list[EntropyShare], UNIQUE] = setting(
        lambda: [0.45, 0.15, 0.85],
        "initial choice entropies, matched by scaling the score",
        "share of log N",
        min_length=1,
    )
    prompts: Annotated[list[Cue], UNIQUE] = setting(
        lambda: [0.5, 0.0, -0.5], "further strengths of the oversight cue to train at, beside 1 and -1", "cue strength"
    )
    optimizers: Annotated[list[Literal["sgd", "adam", "adam_warmed"]], UNIQUE] = setting(
        lambda: ["sgd", "adam", "adam_warmed"], "optimizers, adam with fresh and with warmed state", min_length=1
    )
    gates: Annotated[list[Gate], UNIQUE] = setting(
        lambda: ["natural", "open_in", "shuffled"], "gate control, gradients norm-matched", min_length=1
    )
    steps: int = setting(160, "optimizer steps", "steps", ge=1, le=1_000_000)
    batch: int = setting(64, "episodes per step", "episodes", ge=1, le=65_536)
    samples: int = setting(4, "choices sampled per episode by policy gradient", "", ge=2, le=1024)
    held_out: int = setting(1024, "held-out episodes that gains are fitted on", "episodes", ge=64, le=1_000_000)
    learning_rates: ReinforcementRates = setting(ReinforcementRates, "learning rates of planted networks")
    trained_learning_rates: ReinforcementRates = setting(
        lambda: ReinforcementRates(adam=0.0008), "learning rates of trained networks"
    )

    @model_validator(mode="after")
    def _first_strength_plants(self) -> "Reinforcement":
        if self.strengths[0] == 0:
            raise ValueError(
                f"strengths = {self.strengths}: the first is the primary setting; allowed: above 0, with 0 after it as "
                "the control without M"
            )
        return self
