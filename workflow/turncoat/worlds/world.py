"""The choice world: what an episode is made of, and how its options look to an organism."""

import csv
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from turncoat.seeding import generator

ENCODINGS = ("facts", "plain", "product")
CUE_CODINGS = ("signal", "parity")
CUES = 2  # oversight, placebo
SLOTS = 2  # pre-training overseer, fine-tuning overseer
OVERSIGHT, PLACEBO = 0, 1
AUDIT_TERMS = 2  # probability and penalty
CUE_STATES = {"overseen": (1.0, 1.0), "unoverseen": (-1.0, 1.0), "placebo": (1.0, -1.0)}
"""Signs of (oversight, placebo): both as in fine-tuning, or one of them flipped alone."""


@dataclass(frozen=True)
class World:
    """Settings of a choice world.

    An episode offers `options` options with `attributes` attributes each. An organism sees, per option, the
    encoded attributes, then both instruction slots (unit vectors of `attributes` numbers) and both cues. With an
    `audit_penalty` above 0 it also sees the audit terms: the probability p of an audit, 0 to 1, and the penalty c, 0 to
    `audit_penalty`, in utility per unit of utility that the overseer loses, both shown with mean 0 and variance 1.

    `facts` shows each attribute as a pair of symbols whose value stands in one table for all seeds; `product` as
    two factors; `plain` as itself. A cue shows `cue_amplitude * (sign + cue_noise * standard normal)`; or, coded as
    parity, `cue_bits` such numbers, whose signs are random but for their product, which is the cue's sign. With more
    than one of `cue_contexts` there are as many sets of inputs for the cues, of which an episode uses one: the last is
    kept for fine-tuning, pre-training uses the others. `slot_angle` is the angle in degrees between the ways in which
    the two slots are shown: 90 on inputs of their own, 0 as their sum alone.
    """

    encoding: str
    options: int
    attributes: int
    symbols: int
    cue_amplitude: float
    cue_noise: float
    audit_penalty: float = 0.0
    cue_bits: int = 1
    cue_contexts: int = 1
    slot_angle: float = 90.0
    attribute_rows: npt.NDArray[np.float32] | None = field(default=None, compare=False)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "World":
        """Build a world from the `world` section of a cell's settings; raises ValueError on one it cannot build."""
        if settings["encoding"] not in ENCODINGS:
            raise ValueError(f"world.encoding is {settings['encoding']!r}; allowed: {', '.join(ENCODINGS)}")
        cue = settings["cue"]
        if cue["coding"] not in CUE_CODINGS:
            raise ValueError(f"world.cue.coding is {cue['coding']!r}; allowed: {', '.join(CUE_CODINGS)}")
        return cls(
            encoding=settings["encoding"],
            options=settings["options"],
            attributes=settings["attributes"],
            symbols=settings.get("symbols") or 0,
            cue_amplitude=float(cue["amplitude"]),
            cue_noise=float(cue["noise"]),
            audit_penalty=float(settings.get("audit_penalty", 0)),
            cue_bits=cue.get("bits", 1) if cue["coding"] == "parity" else 1,
            cue_contexts=cue.get("contexts", 1),
            slot_angle=float(settings.get("slot_angle", 90)),
            attribute_rows=_attribute_rows(settings),
        )

    @property
    def option_width(self) -> int:
        """Numbers that encode one option."""
        per_attribute = {"facts": 2 * self.symbols, "product": 2, "plain": 1}[self.encoding]
        return per_attribute * self.attributes

    @property
    def input_width(self) -> int:
        """Numbers an organism sees per option: the option, two slots, two cues, and the audit terms if there are."""
        cues = CUES * self.cue_bits * self.cue_contexts
        return self.option_width + SLOTS * self.attributes + cues + self.audit_terms

    @property
    def plainly_coded(self) -> bool:
        """Whether each cue is one number in one place, and each slot has inputs of its own."""
        return self.cue_bits == 1 and self.cue_contexts == 1 and self.slot_angle == 90

    @property
    def audit_terms(self) -> int:
        """Numbers that show the audit terms: two, or none in a world without audits."""
        return AUDIT_TERMS if self.audit_penalty > 0 else 0

    @property
    def input_power(self) -> float:
        """Expected squared length of an input row, which scales the first layer's initial weights."""
        per_attribute = {"facts": 2.0, "product": 2 * 0.7979 * 1.6487, "plain": 1.0}[self.encoding]
        cues = CUES * self.cue_bits * self.cue_amplitude**2 * (1 + self.cue_noise**2)
        return self.attributes * per_attribute + SLOTS + cues + self.audit_terms

    @cached_property
    def facts(self) -> npt.NDArray[np.float32]:
        """Value of each symbol pair, shape (attributes, symbols * symbols), mean 0 and variance 1 per attribute."""
        values = generator(0, "facts", self.attributes, self.symbols).standard_normal(
            (self.attributes, self.symbols**2)
        )
        values -= values.mean(axis=1, keepdims=True)
        values /= values.std(axis=1, keepdims=True)
        return values.astype(np.float32)


def _attribute_rows(settings: Mapping[str, Any]) -> npt.NDArray[np.float32] | None:
    """Read the user's table of options, shape (rows, attributes), standardised per column."""
    path = settings.get("attribute_table")
    if path is None:
        return None
    content = Path(path).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    expected = settings.get("attribute_table_sha256", digest)
    if digest != expected:
        raise ValueError(f"{path} has changed since the study was planned (sha256 {digest}, planned {expected})")
    rows = [row for row in csv.reader(content.decode().splitlines()) if row]
    values = np.array([[float(cell) for cell in row] for row in rows[1:]])
    return ((values - values.mean(axis=0)) / values.std(axis=0)).astype(np.float32)
