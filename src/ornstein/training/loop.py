"""The training loop, to be read from top to bottom.

A step is a function of (weights, optimiser, seed, step number): which items, which noise, which
levels, which labels are dropped, all follow from counters (and from the losses remembered, where
levels are importance-sampled). So a stopped run goes on bit for bit, and nothing random is saved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ornstein.core import generator, key
from ornstein.model import Model
from ornstein.training.ema import PowerEMA
from ornstein.training.muon import Muon, matrices
from ornstein.training.objective import Objective, stratified

if TYPE_CHECKING:
    import numpy as np


class Items(Protocol):
    """What training needs of a data set; ``ornstein.data.Dataset`` is one, tensors wrap easily."""

    @property
    def train(self) -> Tensor | np.ndarray:
        """Indices of the items to train on, (n,) int64."""

    @property
    def heldout(self) -> Tensor | np.ndarray:
        """Indices of the items kept aside, (m,) int64, may be empty."""

    def batch(self, indices: Tensor) -> Tensor:
        """Standardised items, (B, *D) float32."""

    def label_batch(self, indices: Tensor) -> Tensor:
        """Class numbers, (B,) int64; asked only when the network knows classes."""


@dataclass(frozen=True)
class Settings:
    """How a model is trained; every default is sane for a first run.

    Attributes:
        batch: Items per step, over all pieces.
        accumulate: Pieces a batch is computed in, to save memory.
        optimizer: "adamw", or "muon" for the matrices inside the network and AdamW for the rest.
        learning_rate: Peak rate of AdamW.
        matrix_rate: Peak rate of Muon.
        betas: AdamW's averaging.
        weight_decay: AdamW's decoupled decay.
        clip: Bound on the gradient norm.
        warmup: Share of the training over which the rate rises.
        decay: Share of the training over which the rate falls to zero, at the end.
        ema: Relative width of the weight average.
        class_dropout: Share of the labels hidden, so that guidance is possible.
        flip: Mirror half of the pictures left to right.
        bins: Width of a level in each channel, standardised: uniform noise so wide is added to the
            data, which are levels, so that a density is learned (arXiv:1511.01844). () adds none.
        seed: Where all randomness comes from.
        precision: "float32", or "bfloat16" for the network's inner arithmetic (autocast); weights,
            optimiser and averages stay in float32.
    """

    batch: int = 128
    accumulate: int = 1
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    matrix_rate: float = 0.02
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    clip: float = 1.0
    warmup: float = 0.02
    decay: float = 0.5
    ema: float = 0.1
    class_dropout: float = 0.1
    flip: bool = False
    bins: tuple[float, ...] = ()
    seed: int = 0
    precision: str = "float32"


class Report(NamedTuple):
    """What one step did.

    Attributes:
        step: Steps done, this one included.
        loss: Mean over the batch.
        grad_norm: Before clipping.
        rate: Learning rate used.
        trouble: What was not finite, for which the step was left out; None for a step that was
            taken.
    """

    step: int
    loss: float
    grad_norm: float
    rate: float
    trouble: str | None = None


class Trainer:
    """One training: model, average, optimiser, and the step that moves them.

    Args:
        model: Trained in place.
        items: The data.
        objective: What is minimised.
        settings: How.
        classes: Number of classes the network knows; 0 trains without labels.
        device: Where the model lives.
    """

    def __init__(
        self,
        model: Model,
        items: Items,
        objective: Objective,
        settings: Settings,
        classes: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.model = model.to(device).train()
        self.items = items
        self.objective = objective
        self.settings = settings
        self.classes = classes
        self.device = torch.device(device)
        self.ema = PowerEMA(model, settings.ema)
        self.optimizers = _optimizers(model, settings, self.device)
        self.done = 0
        self.cut = 1.0  # share of the planned rate that is left after divergences
        self._epoch: tuple[int, Tensor] = (-1, torch.empty(0))

    def run(self, steps: Callable[[], int]) -> Iterator[Report]:
        """Train until ``steps()`` steps are done, yielding after each.

        The total is asked before every step, since a time budget may change its mind.
        """
        while self.done < steps():
            yield self.step(steps())

    def step(self, total: int) -> Report:
        """Do one step of a training of ``total`` steps.

        A loss or gradient that is not finite changes nothing: the step is left out, its report
        says why, and the next one meets other items.
        """
        share = self.cut * self.share(self.done, total)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = share * group["peak"]
            optimizer.zero_grad(set_to_none=True)
        loss, seen = self.backward(self.done)
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self.done += 1
            return Report(self.done, loss, norm, 0.0, self._trouble(*seen))
        for optimizer in self.optimizers:
            optimizer.step()
        self.done += 1
        self.ema.update(self.model, self.done)
        if self.objective.times is not None:
            self.objective.times.observe(*seen)
        return Report(self.done, loss, norm, share * self.settings.learning_rate)

    def _trouble(self, place: Tensor, losses: Tensor) -> str:
        """Say what of the last step was not finite: the loss of an item, or a gradient."""
        bad = (~torch.isfinite(losses)).nonzero().flatten()
        if len(bad):
            k = int(bad[0])
            item = int(self.order(self.done - 1)[k])
            rho = float(self.objective.levels(place[k : k + 1]).rho)
            return f"the loss of item {item} at rho {rho:.3g} is {float(losses[k]):g}"
        for name, parameter in self.model.named_parameters():
            if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
                return f"the gradient of {name} is not finite"
        return "the norm of the gradient is not finite"

    def share(self, step: int, total: int) -> float:
        """Share of the peak rate at a step: a linear rise, a plateau, a linear fall to zero."""
        s = self.settings
        rise = (step + 1) / max(1.0, s.warmup * total)
        fall = (total - step) / max(1.0, s.decay * total)
        return min(1.0, rise, fall)

    def backward(self, step: int) -> tuple[float, tuple[Tensor, Tensor]]:
        """Accumulate the gradient of step number ``step``.

        Returns:
            Its loss; the quantiles of the level law that were met, and the loss of each item.
        """
        s = self.settings
        indices = self.order(step)
        clean = self.items.batch(indices)
        labels = self.items.label_batch(indices) if self.classes else None
        source = generator(s.seed, "step", step)
        eps = torch.randn(clean.shape, generator=source)
        u = stratified(len(clean), source)
        hidden = torch.rand(len(clean), generator=source) < s.class_dropout
        if s.flip:
            mirrored = torch.rand(len(clean), generator=source) < 0.5
            clean = torch.where(
                mirrored.reshape(-1, *(1,) * (clean.ndim - 1)), clean.flip(-1), clean
            )
        clean = dequantised(clean, s.bins, source)
        if labels is not None:
            labels = torch.where(hidden, self.classes, labels)
        eps = self.objective.coupling(clean, eps, labels)
        torch.manual_seed(key(s.seed, "dropout", step))  # dropout inside the network
        place, weight = self.objective.choose(u)
        losses = []
        for piece in torch.arange(len(clean)).chunk(s.accumulate):
            part = self.loss(
                clean[piece], eps[piece], place[piece], None if labels is None else labels[piece]
            )
            losses.append(part.detach())
            (weight[piece].to(part) * part).sum().div(len(clean)).backward()
        each = torch.cat(losses).cpu()
        return float((weight * each).mean()), (place, each)

    def loss(self, clean: Tensor, eps: Tensor, u: Tensor, labels: Tensor | None) -> Tensor:
        """Loss of each item at quantile u of the level law, unweighted, (B,)."""
        cond = {} if labels is None else {"class": labels.to(self.device)}
        level = self.objective.levels(u).to(self.device)
        half = self.settings.precision == "bfloat16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half):
            return self.objective.loss(
                self.model, clean.to(self.device), eps.to(self.device), level, cond
            )

    def order(self, step: int) -> Tensor:
        """Indices of the items of a step: each epoch is a permutation of its own, (batch,)."""
        pool = torch.as_tensor(self.items.train)
        places = torch.arange(step * self.settings.batch, (step + 1) * self.settings.batch)
        epochs, inside = places // len(pool), places % len(pool)
        picked = torch.empty_like(places)
        for epoch in epochs.unique().tolist():
            if self._epoch[0] != epoch:
                source = generator(self.settings.seed, "order", epoch)
                self._epoch = (epoch, torch.randperm(len(pool), generator=source))
            here = epochs == epoch
            picked[here] = pool[self._epoch[1][inside[here]]]
        return picked

    @torch.no_grad()
    def heldout_loss(self, model: Model, limit: int = 512) -> float | None:
        """Loss of ``model`` on held-out items at fixed noise and levels; None without any."""
        pool = torch.as_tensor(self.items.heldout)[:limit]
        if len(pool) == 0:
            return None
        clean = self.items.batch(pool).to(self.device)
        labels = self.items.label_batch(pool) if self.classes else None
        source = generator(self.settings.seed, "heldout")
        eps = torch.randn(clean.shape, generator=source).to(self.device)
        level = self.objective.levels(
            stratified(len(pool), source)[torch.randperm(len(pool), generator=source)]
        )
        clean = dequantised(clean, self.settings.bins, source)
        cond = {} if labels is None else {"class": labels.to(self.device)}
        couple = self.objective.coupling
        losses = [
            self.objective.loss(
                model,
                clean[i],
                couple(clean[i], eps[i], None if labels is None else labels[i]),
                level[i].to(self.device),
                {k: v[i] for k, v in cond.items()},
            )
            for i in torch.arange(len(pool)).split(128)
        ]
        return float(torch.cat(losses).mean())

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Everything a checkpoint holds, besides the step number."""
        optim = {}
        for name, parameter in self.model.named_parameters():
            for part, value in self._owner(parameter).state.get(parameter, {}).items():
                optim[f"{name}/{part}"] = value
        times = self.objective.times
        return {
            "model": {name: p.detach() for name, p in self.model.state_dict().items()},
            "ema": dict(self.ema.average),
            "optim": optim,
            **({} if times is None else {"times": times.tensors()}),
        }

    def restore(self, tensors: Mapping[str, Mapping[str, Tensor]], step: int) -> None:
        """Go on from a checkpoint's tensors after ``step`` steps."""
        self.model.load_state_dict(dict(tensors["model"]))
        self.ema.load(dict(tensors["ema"]))
        parameters = dict(self.model.named_parameters())
        for key_, value in tensors["optim"].items():
            name, _, part = key_.rpartition("/")
            self._owner(parameters[name]).state[parameters[name]][part] = value.to(self.device)
        if self.objective.times is not None:
            self.objective.times.load(tensors["times"])
        self.done = step

    def _owner(self, parameter: nn.Parameter) -> torch.optim.Optimizer:
        """Return the optimiser that moves a parameter."""
        return next(
            optimizer
            for optimizer in self.optimizers
            if any(parameter is p for group in optimizer.param_groups for p in group["params"])
        )


def dequantised(clean: Tensor, bins: Sequence[float], source: torch.Generator) -> Tensor:
    """Levels with uniform noise as wide as a level added, (B, C, ...); unchanged without bins."""
    if not bins:
        return clean
    widths = clean.new_tensor(bins).reshape(1, -1, *(1,) * (clean.ndim - 2))
    return clean + widths * (torch.rand(clean.shape, generator=source).to(clean) - 0.5)


def _optimizers(
    model: nn.Module, settings: Settings, device: torch.device
) -> list[torch.optim.Optimizer]:
    """AdamW for all, or Muon for inner matrices and AdamW for the rest; ``peak`` is the rate."""
    inner = matrices(model) if settings.optimizer == "muon" else []
    taken = {id(p) for p in inner}
    made: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [{"params": [p for p in model.parameters() if id(p) not in taken]}],
            lr=settings.learning_rate,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
            fused=device.type in ("cpu", "cuda"),
        )
    ]
    if inner:
        made.append(Muon(inner, settings.matrix_rate, weight_decay=settings.weight_decay))
    for optimizer in made:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return made
