"""Edits that start from an item: part of the way up and down again, codes, and mixtures."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ornstein.core import Denoiser, Level, Noise
from ornstein.errors import UsageError
from ornstein.solvers.adaptive import flow


def part_way(x0: Tensor, levels: Level, strength: float, noise: Noise) -> tuple[Tensor, Level]:
    """Noise items part of the way, to be walked down again (SDEdit, arXiv:2108.01073, alg. 1).

    Args:
        x0: Clean items, (B, *D).
        levels: Grid of n + 1 levels from noise to data.
        strength: Share of the steps that are walked, above 0 and at most 1: little keeps the
            item, 1 forgets all but what the noisiest level leaves of it.
        noise: Its step -1 is used.

    Returns:
        The noisy items, and the rest of the grid from their level on.

    Raises:
        UsageError: a strength out of bounds.
    """
    if not 0 < strength <= 1:
        raise UsageError(f"strength is above 0 and at most 1, got {strength:g}.")
    steps = len(levels) - 1
    rest = levels[steps - max(1, round(strength * steps)) :]
    return rest[0].mix(x0, noise.at(-1)(x0)), rest


class Code(NamedTuple):
    """The point of pure noise that the probability flow carries to an item.

    Attributes:
        x: (B, *D), at the noisiest level.
        evaluations: Calls of the denoiser for each item, (B,).
    """

    x: Tensor
    evaluations: Tensor


def encode(denoise: Denoiser, x0: Tensor, noisy: Level, clean: Level, rtol: float = 1e-4) -> Code:
    """Follow the probability flow from an item up to noise (DDIM inversion, to a tolerance).

    Args:
        denoise: The denoiser.
        x0: Clean items, (B, *D).
        noisy: Level to reach.
        clean: Level taken for clean: its sigma is far below anything that matters.
        rtol: Error allowed in each step.
    """
    end = flow(denoise, clean.mix(x0, torch.zeros_like(x0)), clean, noisy, rtol=rtol, atol=rtol)
    return Code(end.parts[0], end.evaluations)


def decode(denoise: Denoiser, x: Tensor, noisy: Level, clean: Level, rtol: float = 1e-4) -> Tensor:
    """Follow the probability flow from a code at level ``noisy`` down to its item, (B, *D)."""
    end = flow(denoise, x, noisy, clean, rtol=rtol, atol=rtol).parts[0]
    with torch.no_grad():
        return denoise(end, clean).x0


def slerp(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Go ``share`` of the way from a to b on a great circle, each item for itself, (B, *D).

    Codes are nearly orthogonal and of one length; a straight mixture of two would be too short to
    be noise (Shoemake 1985).
    """
    one, two = a.flatten(1), b.flatten(1)
    cosine = torch.nn.functional.cosine_similarity(one, two).clamp(-1, 1)
    angle = cosine.acos()[:, None]
    near = angle < 1e-4  # straight and round are the same there, and the quotient is 0/0
    sine = torch.where(near, 1, angle.sin())
    first = torch.where(near, 1 - share, ((1 - share) * angle).sin() / sine)
    second = torch.where(near, share, (share * angle).sin() / sine)
    return (first * one + second * two).reshape(a.shape)
