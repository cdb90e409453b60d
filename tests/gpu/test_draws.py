"""Random numbers on the GPU are those on the CPU."""

import pytest
import torch
from common import CPU, CUDA, make_stream, make_world

from turncoat.worlds import philox

SEEDS = [0, 7, 2**32 - 1]


def drawn(device: torch.device, count: int = 1003) -> torch.Tensor:
    numbers = torch.tensor(SEEDS, device=device), "finetuning", torch.tensor(3, device=device)
    return philox.words(*numbers, torch.tensor(5, device=device), count)


def test_kernel_gives_the_integers_of_the_cpu() -> None:
    assert philox._kernel() is not None, "no Triton: draws would be slow"
    assert torch.equal(drawn(CUDA).cpu(), drawn(CPU))


def test_pytorch_operations_give_the_same_integers() -> None:
    seeds, window, step = torch.tensor(SEEDS, device=CUDA), torch.tensor(3, device=CUDA), torch.tensor(5, device=CUDA)
    assert torch.equal(philox.plain_words(seeds, "finetuning", window, step, 1003).cpu(), drawn(CPU))


def test_floats_are_those_of_the_cpu() -> None:
    words = {device.type: drawn(device, 1000) for device in (CPU, CUDA)}
    assert torch.equal(philox.uniform(words["cuda"]).cpu(), philox.uniform(words["cpu"]))
    normal = {name: philox.normal(value.view(3, 2, 500)) for name, value in words.items()}
    assert float((normal["cuda"].cpu() - normal["cpu"]).abs().max()) < 2e-6  # of numbers up to 5


@pytest.mark.parametrize("encoding", ["facts", "plain", "product"])
def test_batches_are_those_of_the_cpu(encoding: str) -> None:
    world = make_world(encoding)
    streams = [make_stream(world, range(5), device, "deceptive") for device in (CPU, CUDA)]
    found = [stream.batch(torch.tensor(37, device=device)) for stream, device in zip(streams, (CPU, CUDA), strict=True)]
    for name in ("inputs", "attributes", "signs", "rewards", "values"):
        here, there = (getattr(batch, name).cpu() for batch in found)
        assert float((here - there).abs().max()) < 1e-4 * max(1.0, float(here.abs().max())), name
    assert float((found[0].targets == found[1].targets.cpu()).float().mean()) > 0.999  # ties may turn
