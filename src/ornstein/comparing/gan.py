"""A generative adversarial network, as small and as sound as they are made now.

The relativistic loss with zero-centred gradient penalties on real and made items, residual nets
without norms: R3GAN (arXiv:2501.05441), whose training converges near its optimum where that of
the articles' GAN need not.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import torch
from torch import Tensor
from torch.nn import functional

from ornstein import build
from ornstein.comparing.family import Budget, Task
from ornstein.comparing.nets import narrowing, widening
from ornstein.comparing.playing import Played, Player, built, play

LATENT = 64
RATES = {"image": 2e-3, "series": 2e-3, "vector": 1e-3, "table": 1e-3}
BETAS = (0.0, 0.99)
PENALTY = 1.0  # gamma of the paper: half of it weighs each penalty
EVERY = 4  # steps between penalties, weighted as many times (arXiv:1912.04958, section 3.1)


def penalty(critic: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Squared norm of the critic's gradient at each item of x (B, *shape), (B,): R1 and R2.

    (arXiv:1801.04406, eq. 9.)
    """
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return slope.square().flatten(1).sum(1)


class Gan(Played):
    """A trained generator; its law has no density that could be told."""

    def draw(self, n: int) -> Tensor:
        made: Tensor = self.net(torch.randn(n, LATENT, device=build.fastest_device()))
        return made


def fit_gan(task: Task, budget: Budget, seed: int) -> Gan:
    """Train a generator against its critic."""
    shape, rate = task.data.shape, RATES[task.data.kind]
    generator = built(lambda: widening(LATENT, shape), seed)
    critic = built(lambda: narrowing(shape, 1), seed)

    def made(real: Tensor) -> Tensor:
        out: Tensor = generator(torch.randn(len(real), LATENT, device=real.device))
        return out

    turns = count()

    def critics(real: Tensor) -> Tensor:
        fake = made(real).detach()
        loss = functional.softplus(critic(fake) - critic(real)).mean()
        if next(turns) % EVERY:
            return loss
        slopes = penalty(critic, real) + penalty(critic, fake)
        return loss + EVERY * 0.5 * PENALTY * slopes.mean()

    def generators(real: Tensor) -> Tensor:
        return functional.softplus(critic(real) - critic(made(real))).mean()

    players = Player(critic, critics, rate, BETAS), Player(generator, generators, rate, BETAS)
    return Gan(generator, task.data, play(players, generator, task, budget, seed))
