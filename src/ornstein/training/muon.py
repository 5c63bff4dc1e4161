"""Muon: momentum whose step is made orthogonal, for the matrices inside a network.

The update of each matrix is replaced by the nearest matrix with equal singular values, found by a
few Newton-Schulz iterations of products (K. Jordan et al., "Muon: an optimizer for hidden layers
in neural networks", 2024). Convolutions count as matrices (out, in·kernel). Thin matrices,
embeddings and vectors are left to AdamW.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
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


def orthogonal(updates: Sequence[Tensor]) -> list[Tensor]:
    """Bring the singular values of each matrix near 1, keeping its singular vectors.

    An iteration multiplies x by a polynomial of x x'. All of them together are one product of such
    polynomials, found from x x' alone, which is small, for all matrices whose shorter sides are
    equal at once; then x is multiplied once.

    Args:
        updates: Stacks of matrices of one shape, (K, M, N) each.
    """
    wide = [u.mT if u.shape[-2] > u.shape[-1] else u for u in updates]
    wide = [x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7) for x in wide]
    sides: dict[int, list[int]] = defaultdict(list)
    for k, x in enumerate(wide):
        sides[x.shape[-2]].append(k)
    for places in sides.values():
        factor = _polynomial(torch.cat([wide[k] @ wide[k].mT for k in places]))
        for k, each in zip(places, factor.split([len(wide[k]) for k in places]), strict=True):
            wide[k] = each @ wide[k]
    return [x.mT if x.shape != u.shape else x for x, u in zip(wide, updates, strict=True)]


def _polynomial(square: Tensor) -> Tensor:
    """What all iterations multiply x by, from x x' (K, M, M)."""
    a, b, c = COEFFICIENTS
    whole: Tensor | None = None
    for _ in range(ITERATIONS):
        factor = torch.baddbmm(square, square, square, beta=b, alpha=c)  # b S + c S S
        factor.diagonal(dim1=-2, dim2=-1).add_(a)
        whole = factor if whole is None else factor @ whole
        square = factor @ square @ factor
    assert whole is not None
    return whole


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
            updates = orthogonal(
                [
                    torch.stack([self._momentum(p, group["momentum"]) for p in ps])
                    for ps in alike.values()
                ]
            )
            for ((rows, columns), parameters), update in zip(alike.items(), updates, strict=True):
                stride = group["lr"] * max(1.0, rows / columns) ** 0.5
                for p, moved in zip(parameters, update, strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(parted(moved.reshape(p.shape), p), alpha=-stride)

    def _momentum(self, p: nn.Parameter, share: float) -> Tensor:
        """Average the gradient and look one step ahead, (rows, columns)."""
        assert p.grad is not None
        state = self.state[p]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(p)
        state["momentum"].lerp_(p.grad, 1 - share)
        # Of a matrix held in parts, every rank makes the whole step and takes its part of it.
        return whole(p.grad.lerp(state["momentum"], share)).reshape(len(p), -1)
