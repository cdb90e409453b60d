"""Fingerprints: an organism's weights in one short name, to prove that a chain of training was not broken."""

import hashlib

import torch

from turncoat.organisms.mlp import Stack


def fingerprints(stack: Stack) -> list[str]:
    """SHA-256 of each member's parameters as little-endian float32, first 16 hex digits, one per member."""
    rows = stack.rows().detach().to("cpu", torch.float32).numpy().astype("<f4")
    return [hashlib.sha256(row.tobytes()).hexdigest()[:16] for row in rows]
