"""Sampling in half precision: near the same items, said in their settings, asked for by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from makers import make_bundle
from torch import Tensor

from ornstein.core import TARGETS, Level
from ornstein.errors import UsageError
from ornstein.model import Model


def test_items_are_near_those_of_single_precision_and_say_how_they_were_made() -> None:
    whole = make_bundle("image").sample(20, seed=3, steps=6)
    bundle = make_bundle("image").to("cpu", "bfloat16")
    half = bundle.sample(20, seed=3, steps=6)
    assert not np.array_equal(half.items, whole.items)
    # Bytes of deviation 79: three digits of the network are about one of them.
    assert np.abs(half.items.astype(int) - whole.items.astype(int)).mean() < 2
    assert half.settings["precision"] == "bfloat16"
    assert "precision" not in whole.settings
    again = bundle.to("cpu").sample(3, seed=3, first=4, steps=6, batch=2)
    assert np.array_equal(again.items, half.items[4:7])  # kept, and the same in any batch
    back = bundle.to("cpu", "float32").sample(20, seed=3, steps=6)
    assert np.array_equal(back.items, whole.items)


def test_only_the_network_computes_in_it() -> None:
    seen: list[torch.dtype] = []

    class Net(torch.nn.Module):
        def forward(self, x: Tensor, noise: Tensor, cond: dict[str, Tensor]) -> Tensor:
            made = x.flatten(1) @ torch.eye(x[0].numel())
            seen.extend((x.dtype, noise.dtype, made.dtype))
            return made.reshape(x.shape)

    model = Model(Net(), TARGETS["edm"]())
    level = Level(torch.tensor(1.0), torch.tensor(1e-4))
    x = torch.randn(2, 1, 4, 4) + 100
    model.precision = "bfloat16"
    found = model(x, level)
    assert seen == [torch.float32, torch.float32, torch.bfloat16]
    # Where there is next to no noise, x0 is x: nothing else rounds it to three digits.
    assert found.x0.dtype == torch.float32
    assert model.output(x, level).F.dtype == torch.float32
    torch.testing.assert_close(found.x0, x, atol=0.02, rtol=0)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(UsageError, match=r"precision 'bfloat61'\. Did you mean 'bfloat16'"):
        make_bundle("vector").to("cpu", "bfloat61")


@pytest.mark.parametrize("what", ["walk", "sample"])
def test_the_settings_of_a_walk_tell_it(what: str) -> None:
    bundle = make_bundle("vector").to("cpu", "bfloat16")
    made: Any = getattr(bundle, what)(3)
    assert made.settings["precision"] == "bfloat16"
