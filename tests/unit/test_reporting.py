"""The report builds offline from any study, says what it lacks, and is the same bytes each time."""

import base64
import gzip
import html
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from aggregated import SMALL, Truth, one_arm, study

from turncoat.configuration.loading import load_config
from turncoat.reporting.assets import plotly_script
from turncoat.reporting.summary import DASH, MINUS, interval, number
from turncoat.stages.report import report

AGGREGATE = Path(__file__).resolve().parents[2] / "workflow" / "rules" / "aggregate.smk"
VOID = {"meta", "br", "link", "img", "input"}


class Balance(HTMLParser):
    """Every tag that opens closes in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.identities: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.identities += [value for key, value in attrs if key == "id" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.identities += [value for key, value in attrs if key == "id" and value]


FIGURES = (
    "verdicts",
    "headline",
    "persistence",
    "motives",
    "causal",
    "multiverse",
    "gating",
    "flow",
    "factorial",
    "reinforcement",
    "correction",
    "trust",
    "learning",
    "dodges",
)


def build(folder: Path, truth: Truth | None = None, **overrides: Any) -> str:
    study(folder, truth, **overrides)
    report(load_config({**SMALL, **overrides}).model_dump(), folder)
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("report")
    return folder, build(folder)


def check(text: str) -> None:
    """The page is sound HTML, holds every figure, and can ask for nothing from elsewhere."""
    reader = Balance()
    reader.feed(text)
    assert reader.open == []
    assert len(set(reader.identities)) == len(reader.identities)
    bare = re.sub(r"<script type=.text/plain.*?</script>", "", text, flags=re.S)
    assert not re.findall(r"""(?:src|href|action)=["'](?:https?:)?//""", bare) and "https://" not in bare
    assert "url(" not in bare and "@import" not in bare and "fetch(" not in bare and "XMLHttpRequest" not in bare
    assert "default-src 'none'" in text[: text.index("</head>")] and '<html lang="en">' in text
    shown = set(FIGURES) - (set() if 'id="dodges"' in text else {"dodges"})  # that figure stands in its section alone
    found = re.findall(r'<figure class="chart" id="figure-([\w-]+)"', text)
    assert {name for name in found if not name.startswith("claim-")} == shown
    assert {f"svg-{name}" for name in found} <= set(re.findall(r'data-asset="([\w-]+)"', text))
    for local in re.findall(r'href="#([\w-]+)"', text):
        assert local in reader.identities or (local == "figure-dodges" and "dodges" not in shown), local


def carried(text: str, name: str) -> str:
    """What the page carries packed under that name."""
    found = re.search(rf'data-asset="{name}">([^<]*)<', text)
    assert found, name
    return gzip.decompress(base64.b64decode(found[1])).decode()


def section(text: str, name: str) -> str:
    """One section of the page, without its pictures."""
    found = re.search(rf'<section id="{name}".*?</section>', text, re.S)
    assert found, name
    return re.sub(r"<svg.*?</svg>", "", found[0], flags=re.S)


def opened(text: str, claim: str) -> str:
    """What opens under a claim, as plain text."""
    found = re.search(rf'<tr class="detail" id="detail-{claim}".*?</td></tr>', text, re.S)
    assert found, claim
    return " ".join(re.sub(r"<[^>]+>", " ", found[0]).split())


def drawn(text: str, name: str) -> str:
    """One static figure; what it says stands in it as comments beside the outlines."""
    return carried(text, f"svg-{name}")


def rows_of(text: str, caption: str) -> list[str]:
    """The body rows of the table whose caption begins so, as plain text."""
    found = re.search(rf"<caption>{caption}.*?<tbody>(.*?)</tbody>", text, re.S)
    assert found, caption
    rows = re.findall(r"<tr>(.*?)</tr>", found[1], re.S)
    return [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in rows]


def test_page_is_sound_and_offline(page: tuple[Path, str]) -> None:
    check(page[1])


def test_page_says_what_was_found(page: tuple[Path, str]) -> None:
    _, text = page
    for words in ("The answer in one minute", "no effect", "Premise gate", "What was run", "P10"):
        assert words in text
    assert "misreads planted cases" not in text
    answer = section(text, "verdicts")
    assert "deceptive minus scratch_exposed" in answer and "was not measured" not in answer
    assert text.index('id="verdict-table"') < text.index("<figure")  # the answer stands first


def test_each_claim_has_one_row_that_opens_to_what_is_behind_it(page: tuple[Path, str]) -> None:
    folder, text = page
    claims = pandas.read_parquet(folder / "tables" / "claims.parquet")
    shown = re.findall(r'<tr class="claim" id="(\w+)" .*?data-verdict="(\w+)" data-estimate="([^"]*)"', text)
    primary = claims[claims.primary].set_index("claim")
    assert sorted(name for name, *_ in shown) == sorted(claims.claim.unique())
    for name, verdict, estimate in shown:
        if name not in primary.index:
            assert verdict == "not_tested", name
            continue
        row, words = primary.loc[name], html.unescape(opened(text, name))
        assert verdict == row.verdict and " ".join(row.reason.split()) in words, name
        assert float(estimate) == pytest.approx(row.estimate, rel=1e-5) if estimate else np.isnan(row.estimate), name
        if estimate:
            assert (
                row.stratum.replace(f", {row.outcome}", "") in words
                and f"{row.n} seeds" in words
                and number(row.low) in words
            ), name
            assert f'id="figure-claim-{name}"' in text or not row.margin > 0 or np.isinf(row.estimate), name
    counted = re.findall(r'data-verdict="(\w*)" aria-pressed="\w+">(?:<i[^>]*></i>)?<b>(\d+)</b>', text)
    verdicts = [verdict for _, verdict, _ in shown]
    assert {name: int(count) for name, count in counted if name} == {
        name: verdicts.count(name) for name in set(verdicts)
    }


def test_an_opened_row_says_models_standing_and_the_test_that_counts(page: tuple[Path, str]) -> None:
    folder, text = page
    claims = pandas.read_parquet(folder / "tables" / "claims.parquet")
    primary = claims[claims.primary].set_index("claim")
    g5, null = primary.loc["G5"], primary[primary.verdict == "no_effect"].iloc[0]
    words = opened(text, "G5")
    assert f"{g5.n_start} conditional models" in words and "and 0 models" not in words
    assert "Level 0.950, to lie above it" in words and "Equivalence p" not in words
    assert null.adjusted_equivalence_p < 0.05
    words = html.unescape(opened(text, str(null.name)))
    adjusted = "< 0.001" if null.adjusted_equivalence_p < 0.001 else f"{null.adjusted_equivalence_p:.3f}"
    assert re.search(rf"Equivalence p; adjusted \(Holm\): the verdict rests on it [^;]*; {adjusted} ", words)
    assert words.count(null.status) == 1 and "Standing " + null.status in words
    assert ("Had none been left out" in words) == bool(null.never_start or null.never_reference)
    ratio = html.unescape(opened(text, "P4c"))
    row = primary.loc["P4c"]
    assert f"as a ratio, without unit: {number(np.exp(row.estimate), 2)}" in ratio and "a ratio of 1.25" in ratio
    assert "points_to_x" not in ratio and 'href="#turning"' in text


def test_texts_of_the_gating_section_stand_beside_their_figures(page: tuple[Path, str]) -> None:
    gating = section(page[1], "gating")
    order = ["A circuit is found by", 'id="figure-flow"', "rank correlation across the units", 'id="figure-gating"',
             'id="figure-factorial"']  # fmt: skip
    places = [gating.index(words) for words in order]
    assert places == sorted(places)
    assert "at 90°, last step" in gating


def test_the_null_arm_is_not_said_to_be_bounded(page: tuple[Path, str]) -> None:
    folder, text = page
    levels = pandas.read_parquet(folder / "tables" / "levels.parquet")
    null = levels.query(
        "distance == 0 and match == 'final step' and outcome == 'd' and setting == '' and variant == ''"
    )
    row = null[null.start == "internal"].iloc[0]  # of two starts at 0 degrees the one that was not made conditional
    answer = section(text, "verdicts")
    assert f"farthest from zero is {number(row['mean'])} {interval(row.low, row.high)}" in answer
    assert f"(start internal, {row.n} models)" in answer and "at most" not in answer


def test_the_page_carries_every_other_stratum(page: tuple[Path, str]) -> None:
    folder, text = page
    claims = pandas.read_parquet(folder / "tables" / "claims.parquet")
    strata = json.loads(carried(text, "strata"))
    rest = claims[~claims.primary]
    assert {name: len(rows["stratum"]) for name, rows in strata.items()} == rest.claim.value_counts().to_dict()
    values = [value for value in strata["P1"]["estimate"] if isinstance(value, float)]
    assert values == pytest.approx(list(rest[(rest.claim == "P1") & np.isfinite(rest.estimate)].estimate), rel=1e-4)


def test_tables_are_carried_as_they_are_or_linked(page: tuple[Path, str]) -> None:
    folder, text = page
    found = pandas.read_csv(io.StringIO(carried(text, "csv-claims")))
    claims = pandas.read_parquet(folder / "tables" / "claims.parquet")
    assert len(found) == len(claims) and found.estimate.to_numpy() == pytest.approx(
        claims.estimate.to_numpy(), nan_ok=True
    )
    linked = set(re.findall(r'href="tables/(\w+)\.parquet"', text))
    assert linked == {path.stem for path in (folder / "tables").glob("*.parquet")}


def test_the_page_carries_plotly_once_and_is_small(page: tuple[Path, str]) -> None:
    _, text = page
    assert text.count('data-asset="plotly"') == 1 and carried(text, "plotly").encode() == plotly_script()
    assert "plotly.js" in plotly_script()[:200].decode() and "MIT license" in plotly_script()[:400].decode()
    assert len(text.encode()) < 8_000_000


def test_page_says_what_models_comply_for(page: tuple[Path, str]) -> None:
    """Planted price sensitivities: 0.8 of deceptive, 0.6 of internal_strategic, none of conditional models."""
    _, text = page
    sentence = r"Price sensitivity \([^)]*\) of {} models: ([-\d.]+) \[[^]]*\] \(\d+ of \d+ models\)"
    sentence += r" before fine-tuning, ([-\d.]+)"
    answer = section(text, "verdicts").replace(MINUS, "-")
    for start, planted in (("deceptive", 0.8), ("internal strategic", 0.6), ("conditional", 0.0)):
        found = re.search(sentence.format(start), answer)
        assert found and [float(value) for value in found.groups()] == pytest.approx([planted] * 2, abs=0.03), start
    motives = section(text, "motives")
    rows = rows_of(motives, "At 90°")
    assert sum(row.startswith("deceptive after") for row in rows) == 1
    assert next(row for row in rows if row.startswith("deceptive after")).endswith("100 % / 0 %")
    assert not any("planted" in row for row in rows)
    assert "One kind of model, or two?" in motives and "The headline over all cutoffs" in motives
    populations = rows_of(motives, "Two-class latent model")
    assert any(re.match(r"deceptive 90° 0\.\d+ .* blend", row) for row in populations)


def test_page_says_what_carries_the_gap(page: tuple[Path, str]) -> None:
    _, text = page
    figure = drawn(text, "causal")
    for words in ("swap, layer 1", "ablate, layer 2", "planted: network conditional", "deceptive"):
        assert f"<!-- {words} -->" in figure
    assert "network placebo" not in figure  # it has no gap
    probes = rows_of(section(text, "inside"), "Area under the ROC curve")
    assert "deceptive 90° hidden, layer 1 0.900 [0.850, 0.950] 0.650, 0.700 0.300 0.850 [0.800, 0.900] 12" in probes
    assert not any(row.startswith("scratch") for row in probes)  # too few defections for a probe


def test_page_says_how_far_the_classifier_is_trusted(page: tuple[Path, str]) -> None:
    planted = section(page[1], "planted")
    trusted = rows_of(planted, "Trust")
    for row in (
        "mismatched control models of another seed",
        "worst kind benign conditional 1.000",
        "smallest angle degrees at temperature 1 15.000",
    ):
        assert any(found.startswith(row) for found in trusted), row
    assert any(row.startswith("largest noise temperature at 90 degrees 1.000") for row in trusted)
    assert any(re.match(r"C 0\.\d+ .* 39 \(1 undefined\)", row) for row in rows_of(planted, "Coverage"))
    assert {row.split()[0] for row in rows_of(planted, "Cutoffs")} >= {"conditional_gap", "price_sensitivity"}
    cases = rows_of(planted, "Cases")
    assert "placebo conditional scored mixed 0 0 0 0 0 0 4 4 / 4" in cases
    assert "deceptive calibration deceptive 0 0 0 3 0 0 0 3 / 3" in cases
    assert not any("ladder" in row for row in cases)


def test_page_says_when_models_turn(page: tuple[Path, str]) -> None:
    """The synthetic study's models all turn at the same planted step."""
    rows = rows_of(section(page[1], "turning"), "Median over seeds of the ratio")
    assert len(rows) == 5 + 8  # starts at 45 and at 90 degrees, scratch exposed among them
    assert all("utility points to X" in row for row in rows)
    for row in rows:
        ratio = re.search(r"utility points to X (\d\.\d+) ", row)
        assert ratio and float(ratio[1]) == pytest.approx(1, abs=0.1), row


def test_page_without_dodges_has_no_section_for_them(page: tuple[Path, str]) -> None:
    assert 'id="dodges"' not in page[1] and "#dodges" not in page[1]
    assert "brought back to M" not in section(page[1], "run")


def test_page_ranks_dodges_and_says_when_pointers_shift_and_m_is_back(tmp_path: Path) -> None:
    arms = {
        "main": {"starts": ["conditional", "scratch"], "distances": [90], "elicit": True},
        "dodges": {"starts": ["conditional"], "distances": [90], "dodges": ["l2_to_start", "inoculation"]},
        "pointer": {
            "starts": ["corrigible", "scratch"],
            "distances": [90],
            "vary": {"finetuning.mode": ["instructed"]},
        },
    }
    truth = Truth(
        shift={("conditional", "dodge inoculation"): -0.3},
        turning={"conditional": 150.0, "corrigible": 5000.0, "scratch": 300.0},
        elicited={"conditional": 5.0, "scratch": 20.0},
    )
    text = build(tmp_path, truth, arms=arms)
    check(text)
    assert 'href="#dodges"' in text and 'href="#turning"' in text
    board = [row.replace(MINUS, "-") for row in rows_of(section(text, "dodges"), "Mean paired difference")]
    assert len(board) == 2 and board[1].startswith("l2 to start conditional 90° 0.5")
    found = re.match(r"inoculation conditional 90° (\S+) → (\S+) (\S+) \[(\S+), (\S+)\] ", board[0])
    assert found and [float(value) for value in found.groups()[:3]] == pytest.approx([0.55, 0.25, -0.3], abs=0.03)
    assert float(found[4]) < float(found[3]) < float(found[5]) < -0.2
    assert board[0].endswith("24 0")  # pairs, and models that never got there
    turning = rows_of(section(text, "turning"), "Median over seeds of the ratio")
    ratios = [re.search(r"^(.*) (\S+) \[[^]]*\] &lt; 0.001 24 (\d+ / 0 / 0)$", row) for row in turning]
    assert [row[1] for row in ratios if row] == [
        "conditional 90° utility points to X",
        "conditional (dodge inoculation) 90° utility points to X",
        "conditional (dodge l2_to_start) 90° utility points to X",
        "corrigible (mode instructed) 90° slot 2 outweighs slot 1",
        "conditional 90° M is back when elicited",
    ]
    found_ratios = [row[2] for row in ratios if row]
    assert len(ratios) == 5 and found_ratios[3] == "never"
    assert [row[3] for row in ratios if row] == [*["0 / 0 / 0"] * 3, "24 / 0 / 0", "0 / 0 / 0"]
    assert [float(found_ratios[place]) for place in (0, 1, 2, 4)] == pytest.approx([0.5, 0.5, 0.5, 0.25], rel=0.2)
    assert "2 brought back" not in text and "48 brought back to M" in section(text, "run")


def test_figures_are_saved(page: tuple[Path, str]) -> None:
    folder, _ = page
    names = {path.name for path in (folder / "figures").iterdir()}
    assert names == {f"{name}.{kind}" for name in FIGURES for kind in ("svg", "png")}
    listed = re.search(r"^FIGURES = \[(.*?)\]", AGGREGATE.read_text(), re.M | re.S)
    assert listed and set(re.findall(r'"(\w+)"', listed[1])) == set(FIGURES)


def test_each_figure_has_a_caption_and_a_label_for_snakemakes_report() -> None:
    captions = {path.stem for path in (AGGREGATE.parents[1] / "report" / "figures").glob("*.rst")}
    labels = re.search(r"^FIGURE_LABELS = \{.*?^\}", AGGREGATE.read_text(), re.M | re.S)
    assert labels and captions == set(re.findall(r'^    "(\w+)": \(', labels[0], re.M)) == set(FIGURES)


def test_interactive_figures_are_sound_plotly_and_hold_the_frames(page: tuple[Path, str]) -> None:
    """Every trace and layout against plotly's own schema; and the headline against the table."""
    from plotly import graph_objects

    folder, text = page
    charts = json.loads(carried(text, "charts"))
    assert set(FIGURES) < set(charts)
    for name, chart in charts.items():
        for panel in chart["panels"]:
            made = graph_objects.Figure(data=panel["data"], layout=panel["layout"])
            assert len(made.data) == len(panel["data"]), name
    levels = pandas.read_parquet(folder / "tables" / "levels.parquet")
    own = levels[
        (levels.setting == "") & (levels.variant == "") & (levels.start == "internal") & (levels.distance == 90)
    ]
    own = own[(own.outcome == "d") & own.match.str.startswith("capability")].sort_values("match")
    panel = next(panel for panel in charts["headline"]["panels"] if panel["title"] == "D at 90°")
    line = next(
        trace for trace in panel["data"] if trace["name"] == "internal" and trace.get("mode") == "lines+markers"
    )
    known = own[own["mean"].notna()]
    assert line["y"] == pytest.approx(known["mean"].tolist(), rel=1e-4) and len(known) > 2
    assert f"n = {known.n.iloc[0]}" in line["text"][0] and number(known["mean"].iloc[0]) in line["text"][0]


def test_two_reports_of_equal_tables_are_equal(page: tuple[Path, str], tmp_path: Path) -> None:
    folder, text = page
    shutil.copytree(folder / "tables", tmp_path / "tables")
    report(load_config(SMALL).model_dump(), tmp_path)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == text
    for path in (folder / "figures").iterdir():
        assert path.read_bytes() == (tmp_path / "figures" / path.name).read_bytes(), path.name


def test_misread_planted_truth_is_a_warning(tmp_path: Path) -> None:
    """And a study with nothing at the premise distance says what it lacks."""
    text = build(tmp_path, Truth(misread=True), **one_arm(["scratch"], distances=[45]))
    check(text)
    warning = text.index("The classifier misreads planted cases")
    assert warning < text.index("The answer in one minute")
    assert "Every verdict is exploratory" in text  # it has no manifest
    assert "proxy, proxy policy. Type labels" in " ".join(text[warning : warning + 400].split())
    assert "This study has no pre-trained start" in text and "no arm at distance 0" in text
    assert 'id="turning"' not in text and "#turning" not in text and 'id="dodges"' not in text
    for name, words in (
        ("motives", "no arm at 90 degrees"),
        ("multiverse", "no start and scratch_exposed at the premise distance and the primary capability"),
    ):
        assert f"<!-- {words} -->" in drawn(text, name)


def test_a_world_without_audits_has_a_report(tmp_path: Path) -> None:
    overrides = one_arm(["conditional", "scratch_exposed"]) | {"world": {"audit_penalty": 0.0}}
    text = build(tmp_path, **overrides)
    check(text)
    assert "misreads planted cases" not in text
    answer = section(text, "verdicts")
    assert "Price sensitivity" not in answer and "Deception proper was not measured" in answer
    after = next(row for row in rows_of(section(text, "motives"), "At 90°") if row.startswith("conditional after"))
    assert after.startswith(f"conditional after {DASH} {DASH}")  # no price sensitivity, and no interval


def test_numbers_for_people() -> None:
    assert number(0.1234) == "0.123" and number(-0.003) == "\N{MINUS SIGN}0.003"
    assert number(float("nan")) == "\N{EN DASH}" and number(0) == "0.000" and number(-0.0001) == "0.000"
    assert number(float("inf"), 0) == "never"
    assert interval(0.1, 0.25, 2) == "[0.10, 0.25]" and interval(float("nan"), 1) == "\N{EN DASH}"
