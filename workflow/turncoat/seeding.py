"""Random generators: every draw in turncoat comes from one that is seeded by (seed, purpose, index).

Nothing is carried from draw to draw, so the data of any training window can be drawn again without replaying
what came before, and no draw depends on which other organisms train beside it.
"""

import hashlib

import numpy as np


def generator(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """Return the generator of one purpose of one seed.

    The purpose enters as four 32-bit words of its SHA-256, so that streams of two purposes are unrelated and
    equal on every machine (numpy's `SeedSequence`; O'Neill 2015). Raises ValueError for a negative seed or index.
    """
    if seed < 0 or any(part < 0 for part in index):
        raise ValueError(f"seed and index must be 0 or more, got seed={seed}, index={index}")
    words = np.frombuffer(hashlib.sha256(purpose.encode()).digest()[:16], dtype="<u4")
    entropy = [seed, *(int(word) for word in words), *index]
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(entropy)))
