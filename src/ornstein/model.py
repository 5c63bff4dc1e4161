"""A model: a network, and what its output means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from ornstein.core import Denoiser, Estimate, Level, Target, spread

Conditions = Mapping[str, Tensor]
"""Declared names to tensors of one row per item, such as {"class": (B,) int64}."""


class Net(Protocol):
    """What a network must be: (x, noise, cond) -> F, with noise one number per item, (B,)."""

    def __call__(self, x: Tensor, noise: Tensor, cond: Conditions, /) -> Tensor: ...


class Model(nn.Module):
    """A denoiser made of any network and a prediction target.

    The network sees x scaled to unit variance and one number per item, log_snr/8 (within ±2.5).
    Both depend on the noise-to-signal ratio alone, so the model answers on every process: D(c·x;
    c·alpha, c·sigma) = D(x; alpha, sigma).

    Args:
        net: Called as net(x, noise, cond): x (B, *D), noise (B,), cond a mapping; returns (B, *D).
        target: What the output predicts.
        data_std: Standard deviation of the data the network was trained on, 1 when standardised.
    """

    def __init__(self, net: nn.Module, target: Target, data_std: float = 1.0) -> None:
        super().__init__()
        self.net = net
        self.target = target
        self.data_std = data_std

    def output(self, x: Tensor, level: Level, cond: Conditions | None = None) -> Tensor:
        """The network's F, (B, *D), for x at a level on the variance-preserving scale."""
        scale = torch.hypot(level.alpha * self.data_std, level.sigma)
        noise = (level.log_snr / 8).clamp(-2.5, 2.5).to(x).expand(len(x))
        answer: Tensor = self.net(x * spread(1 / scale, x), noise, cond or {})
        return answer

    def forward(self, x: Tensor, level: Level, cond: Conditions | None = None) -> Estimate:
        """Estimate x0 and eps at x, (B, *D); level is () or (B,), on any scale."""
        unit = level.unit()
        x = x * spread(1 / level.norm, x)
        return self.target.estimate(self.output(x, unit, cond), x, unit)

    def given(self, cond: Conditions) -> Denoiser:
        """Bind a condition: the denoiser of p(x0 | cond)."""

        def denoise(x: Tensor, level: Level) -> Estimate:
            answer: Estimate = self(x, level, cond)
            return answer

        return denoise


Guidance = Callable[[Denoiser], Denoiser]
