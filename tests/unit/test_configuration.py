"""Bad configurations end in one clear message; good ones load; what the models generate is in step."""

import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from turncoat.configuration import document
from turncoat.configuration.check import main as check
from turncoat.configuration.console import plan_text
from turncoat.configuration.device import has_gpu
from turncoat.configuration.errors import ConfigurationError
from turncoat.configuration.loading import load_config, read_config, read_yaml
from turncoat.configuration.manifest import save_study
from turncoat.configuration.models import Config
from turncoat.configuration.plan import expand
from turncoat.configuration.studies import open_study
from turncoat.configuration.study_file import read_manifest

REPOSITORY = Path(__file__).resolve().parents[2]
STUDIES = sorted((REPOSITORY / "workflow" / "studies").glob("*.yaml"))
ARM = {"starts": ["scratch"], "distances": [90]}


def varied(text: str) -> str:
    """An overlay whose arm `main` holds this."""
    return f"arms: {{main: {{starts: [internal, scratch], distances: [90], {text}}}}}"


BAD = {
    "wrong type": ("seeds: {count: many}", "seeds.count = 'many': allowed: a whole number from 1"),
    "true for a number": ("seeds: {count: true}", "seeds.count = true: allowed: a whole number"),
    "number in quotes": ("organism: {width: '64'}", "organism.width = '64': allowed: a whole number"),
    "fraction for a whole number": (
        "organism: {width: 6.5}",
        "organism.width = 6.5: allowed: a whole number",
    ),
    "text exponent": ("finetuning: {learning_rates: {adam: 1e-3}}", "write a decimal point"),
    "negative width": (
        "organism: {width: -64}",
        "organism.width = -64: allowed: a whole number from 1 to 4096",
    ),
    "unknown key": (
        "organism: {activaton: relu}",
        "organism.activaton: unknown key; did you mean activation?",
    ),
    "unknown section": ("sedes: {count: 4}", "sedes: unknown key; did you mean seeds?"),
    "unknown optimizer": ("finetuning: {optimizer: adams}", "one of sgd, momentum, adam, adamw; did you mean adam?"),
    "unknown start": ("arms: {main: {starts: [scrach]}}", "arms.main.starts[0] = 'scrach'"),
    "distance 200": (
        "arms: {main: {distances: [200]}}",
        "arms.main.distances[0] = 200: allowed: a number from 0",
    ),
    "infinite ridge": ("evaluation: {ridge: .inf}", "evaluation.ridge = inf: allowed: a number above 0"),
    "not a number": ("world: {cue: {noise: .nan}}", "world.cue.noise = nan"),
    "empty starts": ("arms: {main: {starts: []}}", "arms.main.starts = []: allowed: a list of at least 1"),
    "repeated start": ("arms: {main: {starts: [scratch, scratch]}}", "holds 'scratch' more than once"),
    "repeated distance": (
        "arms: {main: {distances: [45, 45.0]}}",
        "arms.main.distances = [45, 45.0]: holds 45",
    ),
    "no list": ("arms: {main: {starts: scratch}}", "arms.main.starts = 'scratch': allowed: a list"),
    "seeds 0": ("seeds: {count: 0}", "seeds.count = 0: allowed: a whole number from 1"),
    "two attributes": ("world: {attributes: 2}", "world.attributes = 2: allowed: a whole number from 4"),
    "one option": ("world: {options: 1}", "world.options = 1: allowed: a whole number from 2"),
    "one snapshot": (
        "finetuning: {snapshots: 1}",
        "finetuning.snapshots = 1: allowed: a whole number from 2",
    ),
    "more snapshots than steps": (
        "finetuning: {steps: 5}",
        "finetuning.snapshots = 9: arm main takes 5 steps",
    ),
    "more fitted than measured": (
        "evaluation: {episodes: 64}",
        "evaluation.fit_episodes = 512: allowed: at most episodes = 64",
    ),
    "too few episodes to fit a unit's content to": (
        "gating: {episodes: 9}\nworld: {attributes: 8, options: 3}",
        "gating.episodes = 9: allowed with 8 attributes and 3 options: at least 10",
    ),
    "a distance too small to scale by": (
        "arms: {main: {starts: [scratch], distances: [4]}}",
        "4 degrees: allowed: 0 (X is Y), or 10 to 180",
    ),
    "exposure without heads": (
        "pretraining: {heads: {world: 0}}",
        "scratch_exposed learns from pretraining.heads, which are all 0 apart from objective; allowed: a head above 0",
    ),
    "pre-training steps nobody takes": (
        "arms: {gates: {starts: [scratch], distances: [90], pretraining_steps: [10]}}",
        "arms.gates.pretraining_steps = [10]: no start of this arm is pre-trained",
    ),
    "a cue that underflows": ("world: {cue: {amplitude: 1.0e-300}}", "world.cue.amplitude = 1e-300: allowed"),
    "a share of next to nothing": ("pretraining: {overseen_share: 1.0e-12}", "pretraining.overseen_share = 1e-12"),
    "causes on more than measured": (
        "evaluation: {causal_episodes: 1025}",
        "evaluation.causal_episodes = 1025: allowed: at most episodes = 1024",
    ),
    "one episode": ("evaluation: {episodes: 1}", "evaluation.episodes = 1: allowed: a whole number from 16"),
    "one price episode": (
        "evaluation: {price_episodes: 1}",
        "evaluation.price_episodes = 1: allowed: a whole number from 16",
    ),
    "one curve episode": (
        "evaluation: {curve_episodes: 1}",
        "evaluation.curve_episodes = 1: allowed: a whole number from 16",
    ),
    "no calibration cases": (
        "planted: {calibration_seeds: 0}",
        "planted.calibration_seeds = 0: allowed: a whole number from 1",
    ),
    "strategy without a price": (
        "world: {audit_penalty: 0}",
        "arms.strategic.starts: deceptive, internal_strategic weigh the price of being caught, and world.audit_penalty "
        "is 0; allowed: an audit_penalty above 0, or an arm without them",
    ),
    "a negative penalty": ("world: {audit_penalty: -1}", "world.audit_penalty = -1: allowed: a number from 0 to 100"),
    "a negative entropy bonus": (
        "pretraining: {entropy_bonus: -0.1}",
        "pretraining.entropy_bonus = -0.1: allowed: a number from 0 to 10",
    ),
    "a cutoff beyond its range": (
        "types: {price_sensitivity: 3}",
        "types.price_sensitivity = 3: allowed: a number from 0 to 2",
    ),
    "no arms": (f"arms: {{{', '.join(f'{name}: null' for name in Config().arms)}}}", "arms = {}: allowed"),
    "arm without distances": ("arms: {mine: {starts: [scratch]}}", "arms.mine.distances: is missing"),
    "unquoted null": ("arms: {null: {starts: [scratch], distances: [0]}}", "quote it or name it otherwise"),
    "study with a slash": ("study: a/b", "study = 'a/b': allowed: a name of small letters"),
    "capability 1": ("statistics: {capabilities: [0.9, 1.0]}", "statistics.capabilities[1] = 1.0: allowed"),
    "falling capabilities": ("statistics: {capabilities: [0.95, 0.9]}", "must increase"),
    "primary not compared": ("statistics: {primary_capability: 0.8}", "statistics.primary_capability = 0.8"),
    "a cue that is not coded": ("world: {cue: {coding: xor}}", "world.cue.coding = 'xor': allowed: signal or parity"),
    "parity of two": ("world: {cue: {coding: parity, bits: 2}}", "world.cue.bits = 2: allowed: a whole number from 3"),
    "a slot angle beyond square": (
        "world: {slot_angle: 120}",
        "world.slot_angle = 120: allowed: a number from 0 to 90",
    ),
    "a budget of no whole windows": (
        "finetuning: {budget: 2000}",
        "finetuning.budget = 2000: allowed: a multiple of 2048, 16 batches of 128",
    ),
    "a state of another optimizer": (
        "arms: {main: null}\npretraining: {optimizer: sgd}\nfinetuning: {optimizer_state: carried}",
        "finetuning.optimizer_state = 'carried' hands on the state of sgd, not of adam",
    ),
    "a state of an optimizer that an arm crosses": (
        varied("optimizers: [sgd, adam], vary: {finetuning.optimizer_state: [carried]}"),
        "hands on the state of adam, not of sgd; allowed: the optimizer of pre-training",
    ),
    "an unknown dodge": (
        varied("dodges: [inoculate]"),
        "arms.main.dodges[0] = 'inoculate': allowed: one of x_in_pretraining",
    ),
    "a dodge twice": (varied("dodges: [inoculation, inoculation]"), "holds 'inoculation' more than once"),
    "no dodges": (varied("dodges: []"), "arms.main.dodges = []: allowed: a list of at least 1"),
    "elicited by a word": (varied("elicit: often"), "arms.main.elicit = 'often': allowed: true or false"),
    "an unknown key varied": (
        varied("vary: {pretraining.noise: [0.1]}"),
        "arms.main.vary: pretraining.noise: no such key; see docs/configuration.md",
    ),
    "a section varied": (varied("vary: {pretraining.heads: [1.0]}"), "arms.main.vary: pretraining.heads: no such key"),
    "a part of a key varied": (
        varied("vary: {finetuning.budget.size: [2048]}"),
        "arms.main.vary: finetuning.budget.size: no such key",
    ),
    "another section varied": (
        varied("vary: {evaluation.episodes: [64]}"),
        "arms.main.vary: evaluation.episodes: allowed: a key of world, organism, pretraining, finetuning",
    ),
    "a value that is not allowed, varied": (
        varied("vary: {pretraining.label_noise: [0.1, 2]}"),
        "arms.main.vary: pretraining.label_noise = 2: allowed: a number from 0 to 1",
    ),
    "a word that is not allowed, varied": (
        varied("vary: {finetuning.mode: [instucted]}"),
        "finetuning.mode = 'instucted': allowed: fixed or instructed; did you mean instructed?",
    ),
    "a budget of no whole windows, varied": (
        varied("vary: {finetuning.budget: [2049]}"),
        "arms.main.vary: finetuning.budget = 2049: allowed: a multiple of 2048",
    ),
    "more snapshots than steps, varied": (
        varied("steps: 50, vary: {finetuning.snapshots: [9, 60]}"),
        "finetuning.snapshots = 60: arm main takes 50 steps",
    ),
    "nothing varied": (varied("vary: {}"), "arms.main.vary = {}: allowed"),
    "no values varied": (
        varied("vary: {pretraining.label_noise: []}"),
        "arms.main.vary: pretraining.label_noise = []: allowed: a list of at least 1",
    ),
    "one value varied, not in a list": (varied("vary: {pretraining.label_noise: 0.1}"), "= 0.1: allowed: a list"),
    "widths crossed twice": (
        varied("widths: [8, 16], vary: {organism.width: [32]}"),
        "arms.main.vary: organism.width: allowed: a key of world, organism, pretraining, finetuning that no other list",
    ),
    "steps given and varied": (
        varied("steps: 50, vary: {finetuning.steps: [60]}"),
        "arms.main.vary: finetuning.steps: allowed: a key",
    ),
    "exposure to the objective alone": (
        "pretraining: {heads: {world: 0, objective: 1}}",
        "scratch_exposed learns from pretraining.heads, which are all 0 apart from objective",
    ),
    "empty section": ("seeds:", "seeds = null: allowed: a section with the keys first, count, block"),
    "table with facts": ("world: {attribute_table: a.csv}", "needs encoding plain or product"),
    "missing table": ("world: {encoding: plain, attribute_table: none.csv}", "cannot be read (No such file"),
    "malformed YAML": ("seeds: {count: 4", "not valid YAML, line 2, column 1"),
    "tab": ("seeds:\n\tcount: 4", "not valid YAML, line 2, column 1"),
    "key twice": ("seeds: {count: 4}\nseeds: {count: 5}", "the key 'seeds' stands here twice"),
    "empty file": ("", "holds nothing; allowed: a mapping"),
    "list for a file": ("- 1", "holds a list; allowed: a mapping"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_overlay_ends_in_one_clear_message(case: str, tmp_path: Path) -> None:
    text, expected = BAD[case]
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(f"{text}\n")
    with pytest.raises(ConfigurationError) as caught:
        read_config(REPOSITORY / "config.yaml", overlay)
    message = str(caught.value)
    assert expected in message
    assert "pydantic" not in message and "http" not in message and "Traceback" not in message
    assert len(caught.value.problems) <= 2


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml.*\n.*No such file"):
        read_config(REPOSITORY / "config.yaml", tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("study: x\n{{seeds}}: 1\n", "a key must be a word"),
        ("study: x\nseeds: &a {count: *a}\n", "stands inside what it names"),
        ("study: x\nseeds: {count: " + "9" * 5000 + "}\n", "holds a value that cannot be read"),
    ],
)
def test_yaml_that_would_break_the_reader_is_named(text: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=expected):
        read_yaml(path)


def test_a_results_folder_that_cannot_be_written_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").write_text("in the way")
    config = load_config({})
    with pytest.raises(ConfigurationError, match="cannot be written"):
        save_study(config, expand(config), REPOSITORY, [], 1)


def test_a_premise_that_no_arm_can_measure_is_a_warning() -> None:
    arm = {"starts": ["internal", "scratch"], "distances": [60]}
    config = load_config({"arms": {"main": arm}})
    assert "the premise is not measured" in plan_text(config, expand(config))
    config = load_config({"arms": {"main": arm | {"distances": [60, 90]}}})
    assert "WARNING" not in plan_text(config, expand(config))


def test_a_parity_that_untrained_networks_show_is_a_warning() -> None:
    arm = {"starts": ["internal", "scratch"], "distances": [90]}
    for world, warned in (
        ({"encoding": "plain", "cue": {"coding": "parity"}}, True),
        ({"encoding": "plain", "cue": {"coding": "parity", "bits": 4}}, False),
        ({"encoding": "plain"}, False),
        ({"encoding": "facts", "cue": {"coding": "parity"}}, False),
    ):
        config = load_config({"arms": {"main": arm}, "world": world})
        assert ("take 4 bits" in plan_text(config, expand(config))) is warned
    varied = arm | {"vary": {"world.cue.coding": ["parity"]}}
    config = load_config({"arms": {"main": arm, "parity": varied}, "world": {"encoding": "plain"}})
    assert "take 4 bits" in plan_text(config, expand(config))


def test_all_problems_come_in_one_message() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_config({"seeds": {"count": 0}, "organism": {"width": 0, "dept": 1}, "study": 5})
    assert len(caught.value.problems) == 4
    assert str(caught.value).startswith("4 problems")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("a,b,c\n1,2,3\n4,5,6\n", "a name for each of world.attributes = 4"),
        ("a,b,c,d\n1,2,3\n4,5,6\n", "has 3 columns; allowed: world.attributes = 4"),
        ("1,2,3,4\n5,6,7,9\n1,5,3,0\n", "line 1 holds ['1', '2', '3', '4']; allowed: a header"),
        ("a,b,c,d\n1,2,3,1e308\n4,5,6,-1e308\n", "column 4 spreads over"),
        ("a,b,c,d\n1,2,3,x\n4,5,6,7\n", "allowed: numbers"),
        ("a,b,c,d\n1,2,3,nan\n4,5,6,7\n", "allowed: finite numbers"),
        ("a,b,c,d\n1,2,3,4\n", "at least two rows"),
        ("a,b,c,d\n1,2,3,4\n1,5,6,7\n", "column 1 holds one value only"),
    ],
)
def test_a_bad_attribute_table_is_named(rows: str, expected: str, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text(rows)
    with pytest.raises(ConfigurationError, match=r"world\.attribute_table") as caught:
        load_config({"world": {"encoding": "plain", "attribute_table": str(table)}})
    assert expected in str(caught.value)


def study(tmp_path: Path, text: str, name: str = "mine.yaml") -> Config:
    overlay = tmp_path / name
    overlay.write_text(text)
    values = read_yaml(REPOSITORY / "config.yaml") | (read_yaml(overlay))
    return open_study(values, REPOSITORY, [overlay])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("planted: {seeds: 3}", "study: is missing in mine.yaml"),
        ("study: default", "is the name of config.yaml"),
        ("study: smoke", "is the name of workflow/studies/smoke.yaml"),
    ],
)
def test_an_overlay_needs_a_name_of_its_own(
    text: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        study(tmp_path, text)
    assert expected in str(caught.value)


def test_a_removed_manifest_is_not_a_first_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or claims could be edited after their results were seen, and be called declared."""
    monkeypatch.chdir(tmp_path)
    config = load_config({"study": "mine"})

    def lost() -> bool:
        save_study(config, expand(config), REPOSITORY, [], 1)
        manifest = read_manifest(tmp_path / "results" / "mine" / "manifest.json")
        assert not manifest["edited"]
        return bool(manifest["lost"])

    assert not lost() and not lost()
    (tmp_path / "results" / "mine" / "manifest.json").unlink()
    assert not lost()  # nothing had been made
    block = tmp_path / "results" / "mine" / "finetune" / "aaaaaaaaaa" / "1-2"
    block.mkdir(parents=True)
    (block / "organisms.parquet").touch()
    assert not lost()
    (tmp_path / "results" / "mine" / "manifest.json").unlink()
    assert lost() and lost()  # and stays so


def test_two_overlays_of_one_name_do_not_share_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study(tmp_path, "study: mine", "first.yaml")
    manifest = tmp_path / "results" / "mine" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"overlays": [str(tmp_path / "first.yaml")]}))
    with pytest.raises(ConfigurationError, match=r"was made from .*first.yaml, not .*second.yaml"):
        study(tmp_path, "study: mine", "second.yaml")
    assert study(tmp_path, "study: mine", "first.yaml").study == "mine"
    (tmp_path / "first.yaml").rename(tmp_path / "renamed.yaml")
    assert study(tmp_path, "study: mine", "second.yaml").study == "mine"


def test_the_defaults_of_the_models_are_those_of_config_yaml() -> None:
    assert read_config(REPOSITORY / "config.yaml") == Config()


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_shipped_study_loads_and_points_to_the_schema(path: Path) -> None:
    config = read_config(REPOSITORY / "config.yaml", path)
    assert config.study == path.stem
    first = path.read_text().splitlines()[0]
    assert (path.parent / first.removeprefix("# yaml-language-server: $schema=")).resolve().is_file()


def test_the_generated_schema_and_documentation_are_in_step() -> None:
    remedy = "run `python -m turncoat.configuration.document`"
    assert (REPOSITORY / document.SCHEMA_PATH).read_text() == document.schema_text(), remedy
    assert (REPOSITORY / document.KEYS_PATH).read_text() == document.keys_text(), remedy


def test_every_key_is_documented_and_bounded() -> None:
    schema = json.loads(document.schema_text())
    for section in (schema, *schema["$defs"].values()):
        for name, key in section["properties"].items():
            assert key.get("description"), name
            if key.get("type") in {"integer", "number"}:
                bounds = {"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"}
                assert all(side & key.keys() for side in bounds), name


@pytest.mark.parametrize("path", [REPOSITORY / "config.yaml", *STUDIES], ids=lambda path: path.stem)
def test_the_schema_accepts_what_the_models_accept(path: Path) -> None:
    schema = json.loads(document.schema_text())
    jsonschema.validate(yaml.safe_load(path.read_text()), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"organism": {"activaton": "relu"}}, schema)


def test_merged_values_stay_as_they_are_written_back() -> None:
    config = Config()
    assert load_config(json.loads(json.dumps(config.model_dump()))) == config


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_may_be_endless(value: float) -> None:
    values: dict[str, Any] = {"arms": {"main": ARM | {"distances": [value]}}}
    with pytest.raises(ConfigurationError, match=r"arms.main.distances\[0\]"):
        load_config(values)


def test_the_device_is_what_the_environment_says(tmp_path: Path) -> None:
    assert has_gpu({"TURNCOAT_DEVICE": "cuda"}, tmp_path)
    assert not has_gpu({}, tmp_path)
    assert not has_gpu({"CUDA_VISIBLE_DEVICES": "0"}, tmp_path, "2.13.0")
    (tmp_path / "nvidia0").touch()
    assert has_gpu({}, tmp_path, "2.13.0")
    assert not has_gpu({}, tmp_path, "2.13.0+cpu")
    assert not has_gpu({"TURNCOAT_DEVICE": "cpu"}, tmp_path, "2.13.0")
    assert not has_gpu({"CUDA_VISIBLE_DEVICES": ""}, tmp_path, "2.13.0")
    with pytest.raises(ConfigurationError, match="TURNCOAT_DEVICE = 'gpu': allowed: auto, cpu, cuda"):
        has_gpu({"TURNCOAT_DEVICE": "gpu"}, tmp_path)


def test_the_check_command_prints_the_plan_or_the_problems(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert check([str(REPOSITORY / "workflow" / "studies" / "smoke.yaml")]) == 0
    assert "study smoke: results/smoke" in capsys.readouterr().out
    (tmp_path / "broken.yaml").write_text("seeds: [")
    assert check([str(tmp_path / "broken.yaml")]) == 1
    assert "not valid YAML, line" in capsys.readouterr().err
