"""Every size builds for every shape of data, and each is several times dearer than the last."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ornstein.nets import NETS
from ornstein.nets.conditions import of_classes
from ornstein.nets.sizes import SIZES


def work(net: str, size: str, shape: tuple[int, ...]) -> int:
    """Count the multiplications and additions of one item."""
    with torch.device("meta"):
        built = NETS[net](shape, of_classes(10), **SIZES[net][size])
        x, noise = torch.empty(1, *shape), torch.zeros(1)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            built(x, noise, {})
    return counter.get_total_flops()


@pytest.mark.parametrize(
    ("net", "shape"),
    [("unet", (1, 28, 28)), ("unet", (1, 8, 8)), ("unet", (1, 256)), ("mlp", (2,))]
    + [("dit", shape) for shape in ((1, 28, 28), (1, 8, 8), (1, 256))],
)
def test_each_size_costs_two_to_eight_times_the_one_before(
    net: str, shape: tuple[int, ...]
) -> None:
    costs = [work(net, size, shape) for size in SIZES[net]]
    assert all(2 * a < b < 8 * a for a, b in pairwise(costs))


def test_every_net_has_the_same_names_of_sizes() -> None:
    assert set(SIZES) == set(NETS)
    assert len({tuple(sizes) for sizes in SIZES.values()}) == 1
