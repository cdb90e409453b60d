"""The manipulation check: a head for a cue is knowledge only where a probe reads the cue with it, and not without."""

import pandas

from turncoat.statistics.factors import without

HEAD = "heads."
HINT = "; in untrained networks a parity of 3 bits is read at up to 0.73 with encoding plain: take cue.bits 4 there"
KNOWN, UNKNOWN = 0.95, 0.6  # accuracies of a linear probe on held-out episodes (DESIGN 3)


def knowledge_block(knowledge: pandas.DataFrame, setting: str, variant: str, start: str, reference: str) -> str:
    """Why an arm with a cue's head cannot be compared with the same arm without (`reference`); empty where it can.

    `knowledge` is that table, with setting, variant, start, stage, step and quantity; read at the start of fine-tuning,
    for scratch_exposed, which learns while it is fine-tuned, at the end.
    """
    factor = reference.removeprefix("without ")
    cue = factor.removeprefix(HEAD).split(" ")[0]
    own = knowledge[(knowledge.stage == "finetune") & (knowledge.quantity == cue) & (knowledge.setting == setting)]
    own = own[own.start == start]
    exposed = start == "scratch_exposed"
    own = own[(own.step > 0) == exposed]
    accuracies = [own[own.variant == words].value.mean() for words in (variant, without(variant, factor))]
    if factor.endswith(" 0"):  # the arm that is compared lacks the head
        accuracies.reverse()
    if accuracies[0] >= KNOWN and accuracies[1] <= UNKNOWN:
        return ""
    hint = HINT if accuracies[1] > UNKNOWN else ""
    return (
        f"no test of knowledge: a linear probe reads the {cue} cue with accuracy {accuracies[0]:.2f} with the head "
        f"(needed: {KNOWN}) and {accuracies[1]:.2f} without (at most {UNKNOWN}){hint}"
    )
