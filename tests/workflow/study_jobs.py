"""The jobs of a study as its plan gives them, and what is made from what: read apart from the rules, to test them."""

from collections.abc import Callable, Iterable
from typing import Any

from turncoat.configuration.plan import Plan, own_cells

Job = tuple[str, str, str]
"""Rule, cell and block; a rule's only job has neither."""
WHOLE = ("classify_planted", "probe_defection", "aggregate", "report")


def every_job(plan: Plan) -> set[Job]:
    """All jobs of a study."""
    found = {(rule, "", "") for rule in WHOLE}
    for cell in plan.cells:
        rules = [cell.stage]
        if cell.stage != "elicit":
            rules.append("classify")
        if cell.stage == "finetune":
            rules.append("probe_gating")
        if cell.id in plan.reinforced:
            rules.append("reinforce")
        found |= {(rule, cell.id, block.name) for rule in rules for block in plan.blocks}
    return found | {("reinforce_planted", "", block.name) for block in plan.blocks}


def made_of(job: Job, plan: Plan) -> set[Job]:
    """The jobs whose files a job is made from."""
    rule, cell, block = job
    if rule in ("finetune", "elicit"):
        parent = plan.cell(cell).parent
        return {(plan.cell(parent).stage, parent, block)} if parent else set()
    if rule == "classify":
        return {(plan.cell(cell).stage, cell, block)}
    if rule in ("probe_gating", "reinforce"):
        return {("finetune", cell, block)}
    if rule == "probe_defection":
        return {("finetune", own.id, each.name) for own in own_cells(plan) for each in plan.blocks}
    if rule == "aggregate":
        return {made for made in every_job(plan) if made[0] not in ("aggregate", "report")}
    return {("aggregate", "", "")} if rule == "report" else set()


def with_all_below(roots: Iterable[Job], plan: Plan) -> set[Job]:
    """The jobs of `roots`, and all that are made from what they make, in turn."""
    running, everything = set(roots), every_job(plan)
    assert running <= everything
    while True:
        more = {job for job in everything - running if made_of(job, plan) & running}
        if not more:
            return running
        running |= more


def of(*rules: str) -> Callable[[Plan], set[Job]]:
    """All jobs of these rules."""
    return lambda plan: {job for job in every_job(plan) if job[0] in rules}


def nothing(_: Plan) -> set[Job]:
    return set()


def of_cells(choose: Callable[[dict[str, Any]], bool], stage: str = "finetune") -> Callable[[Plan], set[Job]]:
    """The training of the cells of a stage whose labels are chosen."""

    def found(plan: Plan) -> set[Job]:
        cells = {cell.id for cell in plan.cells if cell.stage == stage and choose(cell.labels)}
        assert cells
        return {job for job in every_job(plan) if job[0] == stage and job[1] in cells}

    return found
