"""Knowledge withheld: pre-training teaches choices alone, and none of the auxiliary heads."""

from turncoat.training.interventions import Dodge, Intervention

DODGE = Dodge(
    "pre-training trains no auxiliary head: the options' attributes are learnt through rewards alone",
    "whatever the heads would have taught must be learnt later",
    pretraining=lambda: Intervention(without_heads=True),
)
