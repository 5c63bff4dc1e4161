"""What a network is made of and what it costs: parts, what they read, operations, memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ornstein.viz.watch import Row, kept_bytes, places, walk

WHOLE_COPIES = 4  # training keeps weights, gradients, the average and its copy
FITTED_COPIES = 2  # the network and that of the average


class Anatomy(NamedTuple):
    """What a network is made of and what it costs.

    Attributes:
        inputs: Shapes of what it is given: x, the noise number and the conditions.
        rows: Its parts.
        parameters: Numbers that are learned.
        flops: Floating-point operations for one item, forward.
        kept_bytes: What one item leaves in memory for the backward pass.
        fitted: Numbers that are fitted before training and not learned: those of Gaussians.
    """

    inputs: dict[str, tuple[int, ...]]
    rows: list[Row]
    parameters: int
    flops: int
    kept_bytes: int
    fitted: int = 0

    def training_bytes(self, batch: int, moments: int) -> int:
        """Estimate of the memory of a training, in float32.

        Args:
            batch: Items of a step.
            moments: Numbers that the optimiser remembers.
        """
        held = WHOLE_COPIES * self.parameters + FITTED_COPIES * self.fitted
        return 4 * (held + moments) + batch * self.kept_bytes

    def weights_bytes(self) -> int:
        """Size of the weights in float32, with all that is fitted: about that of the file."""
        return 4 * (self.parameters + self.fitted)


def examine(
    net: nn.Module, shape: tuple[int, ...], conditions: Mapping[str, Mapping[str, Any]]
) -> Anatomy:
    """Call a network on one empty item and watch it.

    Args:
        net: Called as net(x, noise, cond).
        shape: Of one item.
        conditions: What is declared of each condition, by name.
    """
    parameter = next(net.parameters())
    x = torch.zeros(1, *shape, device=parameter.device, dtype=parameter.dtype)
    cond = {name: _said(declared).to(x.device) for name, declared in conditions.items()}
    was_training = net.training
    net.eval()
    kept = kept_bytes(net, x, x.new_zeros(1), cond)
    rows, flops = walk(net, x, x.new_zeros(1), cond)
    sizes = places(net, x, x.new_zeros(1), cond)
    net.train(was_training)
    learned = sum(p.numel() for p in net.parameters())
    return Anatomy(
        {"x": shape, "noise": (), **{name: tuple(t.shape[1:]) for name, t in cond.items()}},
        [row._replace(places=sizes.get(row.name, 1)) for row in rows],
        learned,
        flops,
        kept,
        sum(t.numel() for t in net.state_dict().values()) - learned,
    )


def _said(declared: Mapping[str, Any]) -> Tensor:
    """A condition of one item."""
    if declared["kind"] == "class":
        return torch.zeros(1, dtype=torch.long)
    return torch.zeros(1, *declared.get("shape", [declared.get("count")]))


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape in words: 3x32x32."""
    return "x".join(str(n) for n in shape) or "-"


def count_text(number: float) -> str:
    """A large number in words: 12.3 M."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f} "


def bytes_text(number: float) -> str:
    """A size in memory: 12.3 MB."""
    return f"{count_text(number)}B" if math.isfinite(number) else "unknown"
