"""Factors in the words of a setting or variant, such as `optimizer sgd, cue.coding parity`."""

PRETRAINING = "pretraining "
_SEPARATOR = ", "


def factors_of(words: str) -> list[str]:
    """Each factor with its value, without the word that marks pre-training; none for the study's own."""
    return [part.removeprefix(PRETRAINING) for part in words.split(_SEPARATOR) if part]


def without(words: str, factor: str) -> str:
    """The same words without one factor."""
    return _SEPARATOR.join(part for part in words.split(_SEPARATOR) if part.removeprefix(PRETRAINING) != factor)


def value_of(words: str, key: str) -> str | None:
    """The value of the factor with that key; None where it is the study's own."""
    for factor in factors_of(words):
        name, _, value = factor.rpartition(" ")
        if name == key:
            return value
    return None
