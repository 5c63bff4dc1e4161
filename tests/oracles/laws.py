"""The problems of the oracle records, in numpy alone: nothing here knows the project.

Every denoiser is D(x, alpha, sigma) = E[x0 | alpha·x0 + sigma·eps = x], x of shape (B, D).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

Array = np.ndarray
Denoise = Callable[[Array, float, float], Array]

GAUSS3_MEAN = np.array([0.3, -0.2, 0.1])
GAUSS3_COVARIANCE = np.array([[1.0, 0.3, -0.2], [0.3, 0.5, 0.1], [-0.2, 0.1, 0.25]])

# Isotropic components: weights, means, standard deviations.
GMM1 = ([0.6, 0.4], [[-1.0], [0.7]], [0.2, 0.4])
GMM3 = ([0.5, 0.3, 0.2], [[1.0, 0.4], [-0.8, 0.9], [0.2, -1.1]], [0.25, 0.35, 0.15])


def gauss3(x: Array, a: float, s: float) -> Array:
    """E[x0 | x] by the textbook rule for joint Gaussians."""
    inner = a * a * GAUSS3_COVARIANCE + s * s * np.eye(3)
    return GAUSS3_MEAN + a * np.linalg.solve(inner, (x - a * GAUSS3_MEAN).T).T @ GAUSS3_COVARIANCE


def mixture(law: tuple[list[float], list[list[float]], list[float]]) -> Denoise:
    """E[x0 | x] of an isotropic mixture, by Bayes over the components."""
    weights, means, stds = (np.array(part) for part in law)

    def denoise(x: Array, a: float, s: float) -> Array:
        variance = (a * stds) ** 2 + s * s
        gap = x[:, None, :] - a * means
        log_share = (
            np.log(weights)
            - 0.5 * (gap**2).sum(-1) / variance
            - 0.5 * means.shape[1] * np.log(variance)
        )
        share = np.exp(log_share - log_share.max(1, keepdims=True))
        share /= share.sum(1, keepdims=True)
        inside = means + (a * stds**2 / variance)[:, None] * gap
        return (share[:, :, None] * inside).sum(1)

    return denoise


def pseudo(shape: Sequence[int], key: int) -> Array:
    """Bounded reproducible numbers that need no random generator."""
    i = np.arange(1, math.prod(shape) + 1, dtype=np.float64)
    z = np.sin(12.9898 * i + 78.233 * (key + 1)) * 43758.5453
    return ((z - np.floor(z)) * 2 - 1).reshape(shape) * math.sqrt(3)


def ramp(reverse: bool = False) -> Array:
    """The sample (4, 3, 8, 8) of diffusers' own scheduler tests."""
    n = 4 * 3 * 8 * 8
    numbers = np.arange(n, dtype=np.float64)[:: -1 if reverse else 1]
    return numbers.reshape(3, 8, 8, 4).transpose(3, 0, 1, 2) / n


def labelled(prediction: str, labels: list[tuple[float, float]]) -> Denoise:
    """diffusers' dummy model x·t/(t + 1), t read off the noise-to-signal ratio, as a denoiser."""
    labels = sorted(labels)
    clock, times = np.log([r for r, _ in labels]), [t for _, t in labels]

    def denoise(x: Array, a: float, s: float) -> Array:
        t = float(np.interp(math.log(s / a), clock, times))
        norm = math.hypot(a, s)
        x, a, s = x / norm, a / norm, s / norm
        output = x * t / (t + 1)
        return (x - s * output) / a if prediction == "epsilon" else a * x - s * output

    return denoise


def preconditioned(data_std: float) -> Denoise:
    """The same dummy inside EDM's preconditioning."""

    def denoise(x: Array, a: float, s: float) -> Array:
        y, rho = x / a, s / a
        t = 0.25 * math.log(rho)
        total = rho * rho + data_std * data_std
        output = y / math.sqrt(total) * t / (t + 1)
        return data_std**2 / total * y + rho * data_std / math.sqrt(total) * output

    return denoise
