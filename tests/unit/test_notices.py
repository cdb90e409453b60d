"""What stands at the top of the report: each shortcoming of a study is said, and none that it does not have."""

import html
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from aggregated import SMALL, Truth, one_arm, study

from turncoat.configuration.loading import load_config
from turncoat.configuration.plan import expand
from turncoat.reporting.notices import notices
from turncoat.reporting.page import write_report

SEEDS = range(1000, 1024)


def tables(seeds: Any = SEEDS, **changes: pandas.DataFrame) -> dict[str, pandas.DataFrame]:
    """The tables of a study in which nothing is wrong, but for what is given."""
    cells = expand(load_config(SMALL)).cells
    organisms = pandas.DataFrame(
        {
            "cell": np.repeat([cell.id for cell in cells], len(seeds)),
            "seed": np.tile(list(seeds), len(cells)),
            "stage": np.repeat([cell.stage for cell in cells], len(seeds)),
            "start": np.repeat([cell.labels["start"] for cell in cells], len(seeds)),
            "diverged": False,
        }
    )
    claims = pandas.DataFrame({"claim": ["P1"], "primary": [True], "confirmatory": [True], "verdict": ["no_effect"]})
    claims = claims.assign(status="confirmatory", match="capability 0.90", setting="", variant="")
    levels = pandas.DataFrame(
        {
            "match": ["capability 0.90"] * 2, "outcome": "d", "setting": "", "variant": "", "models": 24,
            "never_arrived": [0, 2], "start": ["internal", "scratch"], "distance": 90.0,
        }
    )  # fmt: skip
    validation = pandas.DataFrame({"split": ["scored"], "kind": ["internal"], "correct": [True], "truth": ["internal"]})
    validation["reading"] = "internal"
    found = {"organisms": organisms, "claims": claims, "levels": levels, "validation": validation}
    return found | changes


def said(found: dict[str, pandas.DataFrame], **config: Any) -> dict[str, str]:
    settings = load_config({**SMALL, **config}).model_dump()
    return {item.title: item.text for item in notices(found, settings)}


def test_a_whole_study_has_no_notice() -> None:
    assert said(tables()) == {}


def test_missing_cells_and_seeds_are_named() -> None:
    organisms = tables()["organisms"]
    cells = expand(load_config(SMALL)).cells
    gone = next(cell for cell in cells if cell.stage == "finetune" and cell.labels["start"] == "corrigible")
    partial = next(cell for cell in cells if cell.labels["start"] == "deceptive" and cell.stage == "finetune")
    left = organisms[(organisms.cell != gone.id) & ((organisms.cell != partial.id) | (organisms.seed < 1019))]
    found = said(tables(organisms=left))
    assert list(found) == ["Models are missing."]
    text = found["Models are missing."]
    assert f"29 of {24 * len(cells)} planned models" in text
    assert "Settings without any model (1): finetune corrigible at 45°." in text
    assert "Settings that lack seeds (1): finetune deceptive at 90° (5 of 24 seeds)." in text


def test_one_seed_and_few_seeds_are_said() -> None:
    one = said(tables(range(1000, 1001)), seeds={"first": 1000, "count": 1, "block": 1})
    assert list(one) == ["Only 1 seed."] and "nothing can be said of how much models vary" in one["Only 1 seed."]
    assert "judged all the same: P1" in one["Only 1 seed."]
    few = said(tables(range(1000, 1011)), seeds={"first": 1000, "count": 11, "block": 11})
    assert list(few) == ["Only 11 seeds."] and "A verdict needs 12" in few["Only 11 seeds."]


def test_divergence_and_slow_models_are_counted() -> None:
    organisms, levels = tables()["organisms"], tables()["levels"]
    organisms.loc[(organisms.start == "internal") & (organisms.seed < 1002), "diverged"] = True
    levels.loc[0, "never_arrived"] = 3  # of 24: more than a tenth
    found = said(tables(organisms=organisms, levels=levels))
    bad = int(organisms.diverged.sum())
    slow, counted = "Many models never reach capability 0.9.", f"{bad} of {len(organisms)} models diverged."
    assert bad > 0 and set(found) == {slow, counted}
    assert "finetune internal: " in found[counted]
    assert "internal at 90°, 3 of 24" in found[slow]


def test_slow_models_of_every_setting_are_counted_the_studys_own_first() -> None:
    levels = pandas.concat([tables()["levels"]] * 4, ignore_index=True)
    levels["setting"] = ["", "", "gate open_in", "gate open_in", "", "", "optimizer sgd", "optimizer sgd"]
    levels["variant"] = [""] * 4 + ["steps 100"] * 2 + [""] * 2
    levels["never_arrived"] = [0, 3, 0, 24, 5, 0, 2, 2]  # of 24: two are fewer than a tenth
    claims = pandas.concat([tables()["claims"]] * 3, ignore_index=True)
    claims["setting"], claims["variant"] = ["", "gate open_in", ""], ["", "", "steps 100"]
    text = said(tables(levels=levels, claims=claims))["Many models never reach capability 0.9."]
    found = text[text.index("Settings") :]
    assert found == (
        "Settings (3, the study's own first): scratch at 90°, 3 of 24; scratch at 90° (gate open_in), 24 of 24; "
        "internal at 90° (steps 100), 5 of 24."
    )
    claims["match"] = ["capability 0.90", "final step", "capability 0.95"]
    text = said(tables(levels=levels, claims=claims))["Many models never reach capability 0.9."]
    assert "Settings (1, the study's own first): scratch at 90°, 3 of 24." in text


@pytest.mark.parametrize(
    "reason",
    ["seeds below 1000", "2 jobs are missing; edited since the first start: claims or the code that judges them"],
)
def test_why_verdicts_are_exploratory_is_what_the_table_says(reason: str) -> None:
    claims = pandas.DataFrame(
        {
            "claim": ["P1", "P2", "P1"],
            "primary": [True, True, False],
            "confirmatory": False,
            "verdict": "no_effect",
            "match": "capability 0.90",
            "setting": "",
            "variant": "",
            "status": [f"exploratory: {reason}"] * 2 + [f"exploratory: not the claim's primary stratum; {reason}"],
        }
    )
    assert said(tables(claims=claims)) == {"Every verdict is exploratory.": f"Not confirmatory: {reason}."}
    claims.loc[1, "confirmatory"] = True
    assert said(tables(claims=claims)) == {}


def test_a_real_tables_reason_stands_at_the_top(tmp_path: Path) -> None:
    """The aggregate stage's own words, of a study without a manifest."""
    claims = study(tmp_path, **one_arm(["internal", "scratch"]))
    write_report(load_config({**SMALL, **one_arm(["internal", "scratch"])}).model_dump(), tmp_path)
    text = (tmp_path / "report.html").read_text()
    reason = claims.status[claims.primary].iloc[0].removeprefix("exploratory: ")
    assert reason and f"Not confirmatory: {reason}." in html.unescape(text[: text.index("The answer in one minute")])


def test_a_study_of_one_seed_with_a_diverged_model_still_builds(tmp_path: Path) -> None:
    """The whole way, and the tables lack an arm that the configuration plans."""
    overrides = one_arm(["internal", "scratch"]) | {"seeds": {"first": 1000, "count": 1, "block": 1}}
    study(tmp_path, Truth(diverging={("internal", 1000)}), **overrides)
    planned = overrides | one_arm(["internal", "scratch", "deceptive"])
    write_report(load_config({**SMALL, **planned}).model_dump(), tmp_path)
    text = (tmp_path / "report.html").read_text()
    top = text[: text.index("The answer in one minute")]
    assert "Models are missing." in top and "finetune deceptive at 90°" in top
    assert "Only 1 seed." in top and re.search(r"1 of \d+ models diverged", top)
    assert set(re.findall(r'<tr class="claim" id="P\w+" .*?data-verdict="(\w+)"', text)) == {"not_tested"}


def test_the_notebook_draws_the_headline_from_the_tables(tmp_path: Path) -> None:
    """docs/headline.py, as its reader runs it, on a study's tables alone."""
    claims = study(tmp_path / "made", **one_arm(["internal", "scratch", "scratch_exposed"]))
    script = Path(__file__).resolve().parents[2] / "docs" / "headline.py"
    picture = tmp_path / "headline.png"
    command = [sys.executable, str(script), str(tmp_path / "made"), str(picture)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 10_000
    estimate = claims[(claims.claim == "P1") & claims.primary].iloc[0].estimate
    assert re.search(rf"^P1 .*{estimate:.3f}"[:40].replace("-", r"\-"), run.stdout, re.M)
    assert re.search(r"internal +90\.0 +24 ", run.stdout)
