"""A head for a cue is knowledge only where a probe reads the cue with it, and not without."""

import pandas
import pytest

from turncoat.statistics.manipulation import knowledge_block

KNOWN = "pretraining heads.oversight 1"


def table(with_head: float, without_head: float, step: int = 0, start: str = "internal") -> pandas.DataFrame:
    rows = [(KNOWN, with_head), (KNOWN, with_head), ("", without_head)]
    frame = pandas.DataFrame(rows, columns=["variant", "value"])
    return frame.assign(stage="finetune", setting="cue.coding parity", start=start, step=step, quantity="oversight")


def blocked(knowledge: pandas.DataFrame, start: str = "internal") -> str:
    return knowledge_block(knowledge, "cue.coding parity", KNOWN, start, "without heads.oversight 1")


@pytest.mark.parametrize(
    ("with_head", "without_head", "free"),
    [(0.99, 0.52, True), (0.95, 0.6, True), (0.94, 0.52, False), (0.99, 0.61, False), (float("nan"), 0.5, False)],
)
def test_both_accuracies_must_be_as_asked(with_head: float, without_head: float, free: bool) -> None:
    reason = blocked(table(with_head, without_head))
    assert (reason == "") is free
    if not free:
        assert f"a linear probe reads the oversight cue with accuracy {with_head:.2f} with the head" in reason
        assert f"{without_head:.2f} without (at most 0.6)" in reason


def test_it_is_read_before_fine_tuning_or_where_the_head_is_trained_later() -> None:
    early, late = table(0.99, 0.5, step=0), table(0.5, 0.5, step=1200)
    assert blocked(pandas.concat([early, late])) == ""
    exposed = pandas.concat([table(0.5, 0.5, 0, "scratch_exposed"), table(0.99, 0.5, 1200, "scratch_exposed")])
    assert blocked(exposed, "scratch_exposed") == ""


def test_without_models_of_the_arm_nothing_is_allowed() -> None:
    assert "accuracy nan with the head" in blocked(table(0.99, 0.5)[:0])
    assert "nan without" in blocked(table(0.99, 0.5)[:2])


def test_a_cue_that_is_read_without_its_head_says_what_would_hide_it() -> None:
    assert "take cue.bits 4" in blocked(table(0.99, 0.73))
    assert "bits" not in blocked(table(0.9, 0.5))
