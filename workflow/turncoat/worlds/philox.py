"""Counter-based random numbers, drawn where they are used: Philox4x32-10 (Salmon, Moraes, Dror and Shaw 2011).

A number depends on its key and counter alone, so any step of any member is drawn by itself, without state and with the
same integers on every device. The key is (seed, purpose), the counter (place, step, window, purpose).
"""

import hashlib
import math
from functools import cache
from types import ModuleType

import torch
from torch import Tensor

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
WORD = 0xFFFFFFFF
LARGEST_SEED = WORD


def philox(counter: tuple[Tensor | int, ...], key: tuple[Tensor | int, ...]) -> tuple[Tensor, ...]:
    """The four 32-bit words of a block, int64 tensors of values 0 to 2^32 - 1; `counter` four and `key` two such words.

    A product of two words is taken modulo 2^64 in a signed number, of which shifts and masks read the halves rightly.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        left, right = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = ((right >> 32) & WORD) ^ c1 ^ k0, right & WORD, ((left >> 32) & WORD) ^ c3 ^ k1, left & WORD
        k0, k1 = (k0 + WEYL[0]) & WORD, (k1 + WEYL[1]) & WORD
    return c0, c1, c2, c3  # type: ignore[return-value]  # tensors, once a counter or the key is one


def purpose_words(purpose: str) -> tuple[int, int]:
    """Two 32-bit words of the purpose's SHA-256, for the key and for the counter."""
    digest = hashlib.sha256(purpose.encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")


def words(seeds: Tensor, purpose: str, window: Tensor, step: Tensor, count: int) -> Tensor:
    """`count` random words for each member, int32 (E, count), its 32 bits all random.

    seeds: (E,) int64, 0 to 2^32 - 1; window, step: int64 scalars on the same device, read when the kernel runs.
    """
    blocks = -(-count // 4)
    kernel = _kernel() if seeds.device.type == "cuda" else None
    if kernel is not None:
        return kernel.draw(seeds, purpose_words(purpose), window, step, blocks)[:, :count]
    return plain_words(seeds, purpose, window, step, count)


def plain_words(seeds: Tensor, purpose: str, window: Tensor, step: Tensor, count: int) -> Tensor:
    """`words` in PyTorch's own operations, on any device."""
    key, last = purpose_words(purpose)
    places = torch.arange(-(-count // 4), device=seeds.device)
    members = torch.zeros_like(seeds).unsqueeze(1)
    drawn = philox((places + members, step + members, window + members, last + members), (seeds.unsqueeze(1), key))
    stacked = torch.stack(drawn, dim=2).flatten(1)[:, :count]
    return torch.where(stacked >= 2**31, stacked - 2**32, stacked).to(torch.int32)


def unsigned(drawn: Tensor) -> Tensor:
    """Words as int64 of 0 to 2^32 - 1."""
    return drawn.to(torch.int64) & WORD


def uniform(drawn: Tensor) -> Tensor:
    """Uniform in [0, 1), float32, of the words' upper 24 bits: exact on every device."""
    return ((drawn >> 8) & 0xFFFFFF).to(torch.float32) * 2.0**-24


def below(drawn: Tensor, count: int) -> Tensor:
    """Uniform whole numbers 0 to count - 1, int64; the largest bias is count / 2^32 (Lemire 2019, unrejected)."""
    return (unsigned(drawn) * count) >> 32


def normal(drawn: Tensor) -> Tensor:
    """Standard normal numbers, float32, of words (E, 2, n): as many, by Box and Muller's transform (1958).

    The first word of a pair gives the radius, up to 6.7, the second the angle; the two numbers of a pair are a quarter
    turn apart.
    """
    share = (unsigned(drawn[:, :1]).to(torch.float32) * 2.0**-32 + 2.0**-33).clamp_max(1.0)
    radius = (-2 * share.log()).sqrt()
    turn = uniform(drawn[:, 1:])
    quarter = torch.arange(2, device=drawn.device, dtype=torch.float32).view(1, 2, 1) * 0.25
    return radius * torch.cos((turn - quarter) * (2 * math.pi))


@cache
def _kernel() -> ModuleType | None:
    """The same generator as one kernel, where there is Triton."""
    try:
        from turncoat.worlds import philox_kernel
    except ImportError:
        return None
    return philox_kernel
