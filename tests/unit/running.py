"""What the tests of the stages share: small settings, and a stage's program run as Snakemake runs it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

WORLD = {
    "encoding": "facts",
    "options": 2,
    "attributes": 4,
    "symbols": 3,
    "cue": {"coding": "signal", "amplitude": 1.0, "noise": 0.1},
    "audit_penalty": 6.0,
}
ORGANISM = {"family": "mlp", "width": 8, "depth": 2, "activation": "relu"}
TRAINING = {"steps": 24, "batch": 8, "optimizer": "adam", "learning_rate": 0.01}
PRETRAIN: dict[str, Any] = {
    "stage": "pretrain",
    "world": WORLD,
    "organism": ORGANISM,
    "start": "internal",
    "training": TRAINING | {"overseen_share": 0.5, "heads": {"world": 1.0}},
}
FINETUNE: dict[str, Any] = {
    "stage": "finetune",
    "world": WORLD,
    "organism": ORGANISM,
    "distance": 90,
    "parent": "aaaaaaaaaa",
    "exposure": None,
    "training": TRAINING | {"method": "supervised", "mode": "fixed", "snapshots": 3},
}
STRATEGIC = PRETRAIN | {"start": "deceptive", "training": PRETRAIN["training"] | {"entropy_bonus": 0.5}}
EVALUATION = {
    "episodes": 40,
    "fit_episodes": 30,
    "price_episodes": 160,
    "curve_episodes": 30,
    "causal_episodes": 30,
    "reference_episodes": 100,
    "ridge": 0.001,
    "newton_steps": 25,
}


def run_stage(stage: str, *arguments: str, code: int = 0) -> str:
    """Run a stage as Snakemake does and return what it logged."""
    command = [sys.executable, "-m", f"turncoat.stages.{stage}", "--threads", "1", *arguments]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == code, done.stdout
    return done.stdout


def train(stage: str, cell: str, settings: dict[str, Any], folder: Path, *more: str, code: int = 0) -> str:
    return run_stage(
        stage, "--cell", cell, "--settings", json.dumps(settings), "--first-seed", "7", "--seed-count", "3",
        "--output", str(folder), *more, code=code,
    )  # fmt: skip
