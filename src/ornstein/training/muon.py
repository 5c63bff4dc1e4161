"""Muon: momentum whose step is made orthogonal, for the matrices inside a network.

The update of each matrix is replaced by the nearest matrix with equal singular values, found by a
few Newton-Schulz iterations of products (K. Jordan et al., "Muon: an optimizer for hidden layers
in neural networks", 2024). Convolutions count as matrices (out, in·kernel). Thin matrices,
embeddings and vectors are left to AdamW.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ornstein.training.blocks import parted, whole

# Of the odd quintic that drives singular values towards 1, and how often it is applied.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
LEAST_SIDE = 16  # a thinner matrix has too few directions for the step to gain anything


def matrices(module: nn.Module) -> list[nn.Parameter]:
    """Parameters that Muon is for: matrices and kernels, neither thin nor tables."""
    tables = {
        id(p)
        for m in module.modules()
        if isinstance(m, nn.Embedding) or getattr(m, "is_table", False)
        for p in m.parameters(recurse=False)
    }
    return [
        p
        for p in module.parameters()
        if p.ndim >= 2
        and id(p) not in tables
        and min(len(p), math.prod(p.shape[1:])) >= LEAST_SIDE
    ]


def orthogonal(update: Tensor) -> Tensor:
    """Bring the singular values of each matrix (K, M, N) near 1, keeping its singular vectors."""
    a, b, c = COEFFICIENTS
    tall = update.shape[-2] > update.shape[-1]
    x = update.mT if tall else update
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.mT
        inner = torch.baddbmm(square, square, square, beta=b, alpha=c)  # b S + c S S
        x = torch.baddbmm(x, inner, x, beta=a)
    made: Tensor = x.mT if tall else x
    return made


class Muon(torch.optim.Optimizer):
    """Nesterov momentum with orthogonal steps.

    Args:
        parameters: Matrices and kernels, see :func:`matrices`.
        lr: Length of a step; each singular direction moves by about this much.
        momentum: Share of the past in the averaged gradient.
        weight_decay: Decoupled decay.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float = 0.01,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(list(parameters), defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            alike: dict[tuple[int, int], list[nn.Parameter]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    alike[len(p), math.prod(p.shape[1:])].append(p)
            for (rows, columns), parameters in alike.items():
                # Matrices of one shape are made orthogonal together.
                updates = torch.stack([self._momentum(p, group["momentum"]) for p in parameters])
                stride = group["lr"] * max(1.0, rows / columns) ** 0.5
                for p, update in zip(parameters, orthogonal(updates), strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(parted(update.reshape(p.shape), p), alpha=-stride)

    def _momentum(self, p: nn.Parameter, share: float) -> Tensor:
        """Average the gradient and look one step ahead, (rows, columns)."""
        assert p.grad is not None
        state = self.state[p]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(p)
        state["momentum"].lerp_(p.grad, 1 - share)
        # Of a matrix held in parts, every rank makes the whole step and takes its part of it.
        return whole(p.grad.lerp(state["momentum"], share)).reshape(len(p), -1)
