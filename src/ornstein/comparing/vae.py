"""A variational autoencoder (arXiv:1312.6114); its decoder gives each value mean and variance.

Its last term is the exact one of the data, as in the bound of the diffusion chain: the mass of a
level where the data are levels, a density where they are real numbers. So beta is 1, nothing is
weighted by hand, and the bound is one of the likelihood in raw units. Of vectors the latents are
weighed in slowly (arXiv:1602.02282), without which they are forgotten: on eight normal laws on a
circle one broad law was all that was learned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from torch import Tensor, nn

from ornstein import build
from ornstein.bound import decoder_of
from ornstein.comparing.family import Budget, Task
from ornstein.comparing.nets import narrowing, widening
from ornstein.comparing.playing import Played, Player, built, play
from ornstein.core import key
from ornstein.data import Dataset

LATENT = {"image": 32, "series": 32, "vector": 8, "table": 16}
RATES = {"image": 5e-3, "series": 5e-3, "vector": 3e-3, "table": 3e-3}
WARM = {"image": 0, "series": 0, "vector": 200, "table": 200}  # steps in which beta rises to 1
DRAWS = 128  # of the importance-weighted bound
NUMBERS = 1 << 22  # that are decoded at once, or one draw for each item
LOG_VARIANCE = (-12.0, 4.0)  # so that a value that never changes does not send it to infinity


class Autoencoder(nn.Module):
    """Encoder and decoder, both with a mean and a log-variance.

    Args:
        data: What is learnt.
    """

    def __init__(self, data: Dataset) -> None:
        super().__init__()
        latent = LATENT[data.kind]
        self.encoder = narrowing(data.shape, 2 * latent)
        self.decoder = widening(latent, data.shape, 2)
        self.term = decoder_of(data.coding)

    def decoded(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of items given latents z (B, latent), (B, *shape) each."""
        mean, log_variance = self.decoder(z).chunk(2, dim=1)
        return mean, log_variance.clamp(*LOG_VARIANCE).exp()

    def weights(self, x: Tensor, draws: int = 1, beta: float = 1.0) -> Tensor:
        """Log of p(x, z)/q(z | x) at draws of z ~ q, (B, draws) float64.

        Its mean bounds log p(x) from below, and so does the log of the mean of its exponential,
        more closely the more draws there are (arXiv:1509.00519, eq. 8). Beta weighs the latents.
        """
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        log_std = 0.5 * log_variance.clamp(-12, 12)
        eps = torch.randn(len(x), draws, mean.shape[1], device=x.device)
        z = mean[:, None] + log_std.exp()[:, None] * eps
        # The constants of both normal laws cancel.
        gap = 0.5 * (eps.square() - z.square()).sum(2) + log_std.sum(1)[:, None]
        pieces = z.split(max(1, NUMBERS // x.numel()), dim=1)
        found: Tensor = beta * gap.double() - torch.cat([self.nats(x, p) for p in pieces], 1)
        return found

    def nats(self, x: Tensor, z: Tensor) -> Tensor:
        """-log p(x | z) of items at several latents each, z (B, draws, latent), (B, draws)."""
        draws = z.shape[1]
        nats = self.term(x.repeat_interleave(draws, 0), *self.decoded(z.flatten(0, 1)))
        return nats.flatten(1).sum(1).view(len(x), draws)


@dataclass(frozen=True, eq=False)
class Vae(Played):
    """A trained autoencoder; ``net`` is its two halves."""

    net: Autoencoder

    def draw(self, n: int) -> Tensor:
        """Means of the decoder where items have space, as is the custom, else draws from it."""
        z = torch.randn(n, LATENT[self.data.kind], device=build.fastest_device())
        mean, variance = self.net.decoded(z)
        if len(self.data.shape) > 1:
            return mean
        return mean + variance.sqrt() * torch.randn_like(mean)

    @torch.no_grad()
    def log_density(self, raw: np.ndarray, seed: int, draws: int = DRAWS) -> Tensor | None:
        """A lower bound, importance-weighted."""
        found = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key(seed, "vae weights"))
            for part in self.data.coding.encode(raw).split(16):
                weights = self.net.weights(part.to(build.fastest_device()), draws)
                found.append(weights.logsumexp(1).cpu() - math.log(draws))
        return torch.cat(found)


def fit_vae(task: Task, budget: Budget, seed: int) -> Vae:
    """Train an autoencoder on its bound."""
    net = built(lambda: Autoencoder(task.data), seed)

    steps = count(1)

    def loss(x: Tensor) -> Tensor:
        beta = min(1.0, next(steps) / (WARM[task.data.kind] + 1))
        return -net.weights(x, beta=beta).mean() / task.data.dims

    player = Player(net, loss, RATES[task.data.kind], clip=1.0)
    return Vae(net, task.data, play([player], net, task, budget, seed))
