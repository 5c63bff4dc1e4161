"""Laws with known densities, and a trained model whose law is known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ornstein.core import EDM, Denoiser, Gaussian, Level, Mixture, Process
from ornstein.data.coding import Coding

MEAN = np.array([0.3, -0.2, 0.1])
COVARIANCE = np.array([[1.0, 0.3, -0.2], [0.3, 0.5, 0.1], [-0.2, 0.1, 0.25]])
GAUSS3 = Gaussian(torch.tensor(MEAN), torch.tensor(COVARIANCE))
GMM3 = Mixture(
    torch.tensor([0.5, 0.3, 0.2]),
    torch.tensor([[1.0, 0.4], [-0.8, 0.9], [0.2, -1.1]]),
    torch.tensor([0.25, 0.35, 0.15]),
)


def ends(process: Process) -> tuple[Level, Level]:
    """The cleanest and the noisiest level of a process."""
    low, high = process.span
    return process.level(high), process.level(low)


def points(law: Mixture, level: Level, count: int, seed: int = 0) -> Tensor:
    """Noisy points of a law, (count, D) float64."""
    source = torch.Generator().manual_seed(seed)
    x0 = law.sample(count, source)
    return level.mix(x0, torch.randn(x0.shape, generator=source, dtype=torch.float64))


def carried(x: np.ndarray, data: Level, noise: Level, prior_std: float) -> np.ndarray:
    """Log density at x of the flow of GAUSS3 from N(0, prior_std²), in closed form.

    Along each principal axis the flow stretches by the ratio of the deviations.
    """
    values, axes = np.linalg.eigh(COVARIANCE)
    a, s, b, r = (float(v) for v in (data.alpha, data.sigma, noise.alpha, noise.sigma))
    here, there = a * a * values + s * s, b * b * values + r * r
    z = ((x - a * MEAN) @ axes * np.sqrt(there / here)) @ axes.T + b * MEAN
    prior = -0.5 * ((z / prior_std) ** 2 + math.log(2 * math.pi * prior_std**2)).sum(1)
    return np.asarray(prior + 0.5 * np.log(there / here).sum())


@dataclass
class Known:
    """A trained model that has learned a Gaussian perfectly, in standardised units."""

    law: Gaussian
    coding: Coding

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.law.dim,)

    def make_process(self) -> Process:
        return EDM(0.001, 300.0)

    def denoiser(self, cond: Mapping[str, Tensor] | None = None) -> Denoiser:
        return self.law


def normal(stds: Sequence[float]) -> Gaussian:
    """An independent Gaussian of mean 0."""
    return Gaussian(torch.zeros(len(stds)), torch.diag(torch.tensor(stds) ** 2))
