"""A normalising flow of the library zuko: neural splines (arXiv:1906.04032) where they are cheap.

Of few dimensions it is autoregressive, each value given all before it; of many it is a chain of
couplings, each half given the other, so that a sample takes two passes and not one for each value.
A spline asks 23 numbers of its network for each value: of very many dimensions the couplings are
affine (arXiv:1605.08803), which ask two.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from ornstein import build
from ornstein.comparing.family import Budget, Task
from ornstein.comparing.playing import PIECE, Played, Player, built, play
from ornstein.likelihood.fitting import between_levels
from ornstein.training.batches import dequantised

FEW, MANY = 16, 256  # dimensions up to which it is autoregressive, and up to which of splines
RATES = {"image": 5e-3, "series": 5e-3, "vector": 3e-3, "table": 3e-3}
TRANSFORMS, HIDDEN = 5, (128, 128)
DRAWS = 8  # of the noise between levels, averaged before the logarithm


class Flow(Played):
    """A trained flow; ``net`` is zuko's lazy distribution of flattened standardised items."""

    def draw(self, n: int) -> Tensor:
        made: Tensor = self.net().sample((n,))
        return made

    @torch.no_grad()
    def log_density(self, raw: np.ndarray, seed: int) -> Tensor | None:
        """Exact for real numbers; of levels the mean density of the noise between them."""
        coding, many = self.data.coding, len(raw)
        scale = -self.data.dims / len(coding.std) * sum(math.log(s) for s in coding.std)
        items = torch.as_tensor(raw)
        draws = 1 if coding.step is None else DRAWS
        found = []
        for draw in range(draws):
            numbers = range(draw * many, (draw + 1) * many)
            x = items if coding.step is None else between_levels(items, coding.step, numbers, seed)
            found.append(self._log_prob(coding.encode(x.double())))
        mean = torch.stack(found).logsumexp(0) - math.log(draws)
        return mean + scale + self.data.dims * math.log(coding.step or 1.0)

    def _log_prob(self, x: Tensor) -> Tensor:
        parts = [
            self.net().log_prob(part.to(build.fastest_device()))
            for part in x.flatten(1).split(PIECE)
        ]
        return torch.cat(parts).double().cpu()


def fit_flow(task: Task, budget: Budget, seed: int) -> Flow:
    """Train a flow on the likelihood itself."""
    data, passes = task.data, task.data.dims if task.data.dims <= FEW else 2
    net = built(lambda: _flow(data.dims, passes), seed)
    step = data.coding.step
    bins = None if step is None else [step / std for std in data.coding.std]

    def loss(x: Tensor) -> Tensor:
        if bins is not None:
            x = dequantised(x, bins, torch.rand_like(x))
        nats: Tensor = -net().log_prob(x.flatten(1)).mean() / data.dims
        return nats

    player = Player(net, loss, RATES[data.kind], clip=1.0)
    return Flow(net, data, play([player], net, task, budget, seed), passes)


def _flow(dims: int, passes: int) -> nn.Module:
    from zuko.flows import MAF, NSF

    make = NSF if dims <= MANY else MAF
    net: nn.Module = make(
        dims, transforms=TRANSFORMS, passes=passes, hidden_features=HIDDEN, randperm=dims > FEW
    )
    return net
