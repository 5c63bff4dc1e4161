"""An optimiser that was taken apart and put back goes on bit for bit."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from ornstein.errors import ModelFileError
from ornstein.training.checkpoint import load_latest, save_checkpoint
from ornstein.training.optimizer import optimizer_tensors, restore_optimizer


def network() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(16, 3))
    return net.to(memory_format=torch.channels_last)


def adamw(net: nn.Module, *, fused: bool, amsgrad: bool) -> torch.optim.Optimizer:
    first, *rest = net.parameters()
    groups = [{"params": [first], "lr": 3e-3}, {"params": rest, "weight_decay": 0.1}]
    return torch.optim.AdamW(groups, betas=(0.9, 0.95), amsgrad=amsgrad, fused=fused)


def train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        x = torch.randn(5, 2, 4, 4, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        net(x).square().mean().backward()
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 / (step + 1)
        optimizer.step()


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("amsgrad", [False, True])
def test_training_goes_on_as_if_never_stopped(fused: bool, amsgrad: bool, tmp_path: Path) -> None:
    straight = network()
    optimizer = adamw(straight, fused=fused, amsgrad=amsgrad)
    train(straight, optimizer, range(4))
    tensors, scalars = optimizer_tensors(optimizer)
    save_checkpoint(tmp_path, 4, {"optim": tensors}, {"optim": scalars})
    resumed = copy.deepcopy(straight)
    train(straight, optimizer, range(4, 9))

    found = load_latest(tmp_path)
    assert found is not None
    other = adamw(resumed, fused=fused, amsgrad=amsgrad)
    restore_optimizer(other, found.tensors["optim"], found.state["optim"])
    assert other.param_groups[0]["betas"] == (0.9, 0.95)
    train(resumed, other, range(4, 9))
    for a, b in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_sgd_without_memory_and_with_it_comes_back() -> None:
    for momentum in (0.0, 0.9):
        net = network()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=momentum)
        train(net, optimizer, range(2))
        other = torch.optim.SGD(net.parameters(), lr=0.5)
        restore_optimizer(other, *optimizer_tensors(optimizer))
        first, second = optimizer.state_dict(), other.state_dict()
        assert first["param_groups"] == second["param_groups"]
        for key, memory in first["state"].items():
            for name, value in memory.items():
                if value is not None:
                    assert torch.equal(value, second["state"][key][name])


def test_another_network_is_refused_by_a_sentence() -> None:
    net = network()
    optimizer = torch.optim.AdamW(net.parameters())
    train(net, optimizer, range(1))
    other = torch.optim.AdamW(nn.Linear(2, 2).parameters())
    with pytest.raises(ModelFileError, match="does not fit this network"):
        restore_optimizer(other, *optimizer_tensors(optimizer))
