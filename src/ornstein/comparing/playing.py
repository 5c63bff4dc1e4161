"""What GAN, VAE and flow share: how they are built, trained and asked for samples.

A training is a game of one or more players, each of which moves its own weights to lower its own
loss: a flow and a VAE are one player, a GAN is two. The rate rises, stays and falls to zero over
the budget, and the weights are averaged, as in the house's own training.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ornstein import build
from ornstein.comparing.family import Budget, Spent, Task
from ornstein.core import key
from ornstein.data import Dataset
from ornstein.errors import DivergedError
from ornstein.planning import BATCH
from ornstein.training.ema import PowerEMA

WARMUP, DECAY = 0.02, 0.4  # shares of the budget
EMA = 0.1  # relative width
PIECE = 256  # samples made together

Net = TypeVar("Net", bound=nn.Module)


def built(make: Callable[[], Net], seed: int) -> Net:
    """A network on the fastest device, its first weights a function of the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(seed, "build"))
        return make().to(build.fastest_device())


@dataclass(frozen=True, eq=False)
class Played(ABC):
    """A trained model of any of them.

    Attributes:
        net: What makes items.
        data: Whose coding leads back to raw units.
        spent: What the training took.
        evaluations: Passes through the network for one sample.
    """

    net: nn.Module
    data: Dataset
    spent: Spent
    evaluations: int = 1

    @abstractmethod
    def draw(self, n: int) -> Tensor:
        """New standardised items, from torch's global generator."""

    @torch.no_grad()
    def sample(self, n: int, seed: int) -> np.ndarray:
        """New items in raw units, (n, *shape)."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key(seed, "sample"))
            made = [self.draw(min(PIECE, n - first)) for first in range(0, n, PIECE)]
        return self.data.coding.decode(torch.cat(made).reshape(n, *self.data.shape))

    def log_density(self, raw: np.ndarray, seed: int) -> Tensor | None:
        """None; who has a likelihood says it."""
        return None


@dataclass(frozen=True, eq=False)
class Player:
    """One of those that are trained.

    Attributes:
        module: Whose weights it moves.
        loss: Of a batch of standardised items (B, *shape); less is better for this player.
        rate: Peak learning rate of Adam.
        betas: Of Adam.
        clip: Greatest norm of the gradient.
    """

    module: nn.Module
    loss: Callable[[Tensor], Tensor]
    rate: float
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = math.inf


def play(
    players: Sequence[Player], kept: nn.Module, task: Task, budget: Budget, seed: int
) -> Spent:
    """Let the players take turns until the budget is spent; ``kept`` ends with averaged weights.

    Raises:
        DivergedError: a loss is not finite.
        StoppedEarly: somebody asked to stop.
    """
    done, ema = 0, PowerEMA(kept, EMA)
    train, where = torch.as_tensor(task.data.train), next(kept.parameters()).device
    optimizers = [
        torch.optim.Adam(player.module.parameters(), player.rate, player.betas)
        for player in players
    ]
    began = time.monotonic()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(seed, "play"))
        for share in budget.shares():
            chosen = train[torch.randint(len(train), (BATCH[task.data.kind],))]
            batch = task.data.batch(chosen).to(where)
            for player, optimizer in zip(players, optimizers, strict=True):
                _turn(player, optimizer, batch, rate_share(share), done)
            done += 1
            ema.update(kept, done)
    ema.copy_to(kept)
    kept.eval()
    weights = sum(p.numel() for player in players for p in player.module.parameters())
    return Spent(weights, done, time.monotonic() - began)


def rate_share(share: float) -> float:
    """Share of the peak rate where this share of the budget is spent."""
    return min(1.0, (share + 1e-3) / WARMUP, (1 - share) / DECAY)


def _turn(
    player: Player, optimizer: torch.optim.Optimizer, batch: Tensor, share: float, done: int
) -> None:
    """One step of one player; the gradient is that of its own weights alone."""
    weights = list(player.module.parameters())
    loss = player.loss(batch)
    if not math.isfinite(value := float(loss.detach())):
        raise DivergedError(f"the loss is {value:g} after {done:,} steps.")
    for weight, slope in zip(weights, torch.autograd.grad(loss, weights), strict=True):
        weight.grad = slope
    nn.utils.clip_grad_norm_(weights, player.clip)
    for group in optimizer.param_groups:
        group["lr"] = share * player.rate
    optimizer.step()
