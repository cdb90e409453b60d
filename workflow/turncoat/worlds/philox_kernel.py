"""Philox4x32-10 as one Triton kernel: PyTorch's own operations would write some 200 tensors of 64 bits a number."""

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 256


@triton.jit
def _draw(seeds, window, step, out, total, blocks, key, last, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]
    index = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    inside = index < total
    member = index // blocks
    c0 = (index - member * blocks).to(tl.uint32)
    k0 = tl.load(seeds + member, mask=inside, other=0).to(tl.uint32)
    zero = c0 * 0
    k1 = zero + key.to(tl.uint32)
    c1 = zero + tl.load(step).to(tl.uint32)
    c2 = zero + tl.load(window).to(tl.uint32)
    c3 = zero + last.to(tl.uint32)
    for _ in tl.static_range(10):
        high0 = tl.umulhi(c0, zero + 0xD2511F53)
        low0 = c0 * (zero + 0xD2511F53)
        high1 = tl.umulhi(c2, zero + 0xCD9E8D57)
        low1 = c2 * (zero + 0xCD9E8D57)
        c0 = high1 ^ c1 ^ k0
        c1 = low1
        c2 = high0 ^ c3 ^ k1
        c3 = low0
        k0 = k0 + (zero + 0x9E3779B9)
        k1 = k1 + (zero + 0xBB67AE85)
    tl.store(out + index * 4, c0.to(tl.int32, bitcast=True), mask=inside)
    tl.store(out + index * 4 + 1, c1.to(tl.int32, bitcast=True), mask=inside)
    tl.store(out + index * 4 + 2, c2.to(tl.int32, bitcast=True), mask=inside)
    tl.store(out + index * 4 + 3, c3.to(tl.int32, bitcast=True), mask=inside)


def draw(seeds: Tensor, purpose: tuple[int, int], window: Tensor, step: Tensor, blocks: int) -> Tensor:
    """Random words, int32 (E, 4 * blocks); arguments as of `philox.words`."""
    members = len(seeds)
    out = torch.empty(members, 4 * blocks, dtype=torch.int32, device=seeds.device)
    total = members * blocks
    _draw[(triton.cdiv(total, BLOCK),)](seeds, window, step, out, total, blocks, *purpose, SIZE=BLOCK)
    return out
