"""The training loop, to be read from top to bottom.

A step is a function of (weights, optimiser, seed, step number): which items, which noise, which
levels, which labels are dropped, all follow from counters (and from the losses remembered, where
levels are importance-sampled). So a stopped run goes on bit for bit, and nothing random is saved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ornstein.core import generator, key
from ornstein.model import Classifier, Conditions, Model
from ornstein.training.batches import Batches, Items, afforded, dequantised, evenly
from ornstein.training.blocks import parted, recomputed, split_over_ranks, whole
from ornstein.training.compiling import compiled
from ornstein.training.conditions import picked
from ornstein.training.ema import PROFILES, PowerEMA, Profiles
from ornstein.training.memory import fitting, keep_freed
from ornstein.training.objective import Criterion, stratified
from ornstein.training.optimizer import optimizers
from ornstein.training.ranks import ALONE, Share
from ornstein.training.settings import Settings

SMALL = 1 << 15  # values of items for which there is memory in any case


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
        null: What stands for "not said", one row under each name that the network knows, such as
            {"class": tensor([10])}; without names it is told nothing.
        device: Where the model lives.
        ranks: This rank's share of each batch; all of it when alone.
    """

    def __init__(
        self,
        model: Model | Classifier,
        items: Items,
        objective: Criterion,
        settings: Settings,
        null: Conditions | None = None,
        device: torch.device | str = "cpu",
        ranks: Share = ALONE,
    ) -> None:
        keep_freed()
        self.model = model.to(device).train()
        if settings.checkpoint_activations:
            recomputed(model.net)
        if settings.shard:
            split_over_ranks(model.net)
        if settings.compile:
            compiled(model.net)
        self.weights = list(model.parameters())  # walking the modules at each step takes its time
        self.items = items
        self.batches = Batches(items, objective, settings, dict(null or {}), ranks)
        self.objective = objective
        self.settings = settings
        self.device = torch.device(device)
        self.ranks = ranks
        # Layers that draw random numbers, and are told which rows they draw for.
        self.drawing: list[Any] = [module for module in model.modules() if hasattr(module, "rows")]
        self.ema = PowerEMA(model, settings.ema)
        self.profiles = Profiles(model, PROFILES if settings.snapshots else ())
        self.optimizers = optimizers(model, settings, self.device)
        self.done = 0
        self.cut = 1.0  # share of the planned rate that is left after divergences

    def piece(self, dims: int) -> int:
        """Items of so many values to ask about at once, beside the steps.

        As many as a step computes at a time, for which there is memory, or small ones up to SMALL
        values.
        """
        mine = self.settings.batch // self.ranks.count
        return max(-(-mine // self.settings.accumulate), SMALL // dims)

    def run(self, steps: Callable[[], int]) -> Iterator[Report]:
        """Train until ``steps()`` steps are done, yielding after each.

        The total is asked before every step, since a time budget may change its mind.
        """
        while self.done < steps():
            yield fitting(self, steps())

    def step(self, total: int) -> Report:
        """Do one step of a training of ``total`` steps.

        A loss or gradient that is not finite changes nothing: the step is left out, its report
        says why, and the next one meets other items.
        """
        share = self.cut * self.rate_share(self.done, total)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = share * group["peak"]
            optimizer.zero_grad(set_to_none=True)
        loss, seen = self.backward(self.done)
        total_norm = nn.utils.get_total_norm([p.grad for p in self.weights if p.grad is not None])
        norm = float(whole(total_norm))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self.done += 1
            return Report(self.done, loss, norm, 0.0, self._trouble(*seen))
        bound = self.settings.clip or math.inf
        nn.utils.clip_grads_with_norm_(self.weights, bound, total_norm)
        for optimizer in self.optimizers:
            optimizer.step()
        self.done += 1
        self.ema.update(self.model, self.done)
        self.profiles.update(self.model, self.done)
        if self.objective.times is not None:
            self.objective.times.observe(*seen)
        return Report(self.done, loss, norm, share * self.settings.learning_rate)

    def _trouble(self, place: Tensor, losses: Tensor) -> str:
        """Say what of the last step was not finite: the loss of an item, or a gradient."""
        bad = (~torch.isfinite(losses)).nonzero().flatten()
        if len(bad):
            k = int(bad[0])
            item = int(self.batches.order(self.done - 1)[k])
            rho = float(self.objective.levels(place[k : k + 1]).rho)
            return f"the loss of item {item} at rho {rho:.3g} is {float(losses[k]):g}"
        for name, parameter in self.model.named_parameters():
            grad = parameter.grad
            if grad is not None and not bool(torch.isfinite(whole(grad)).all()):
                return f"the gradient of {name} is not finite"
        return "the norm of the gradient is not finite"

    def rate_share(self, step: int, total: int) -> float:
        """Share of the peak rate at a step: a linear rise, a plateau, a linear fall to zero."""
        s = self.settings
        rise = (step + 1) / max(1.0, s.warmup * total)
        fall = (total - step) / max(1.0, s.decay * total)
        return min(1.0, rise, fall)

    def backward(self, step: int) -> tuple[float, tuple[Tensor, Tensor]]:
        """Accumulate the gradient of step number ``step``, over all ranks.

        Returns:
            Its loss; the quantiles of the level law that were met, and the loss of each item.
        """
        rows, clean, eps, u, cond = self.batches(step)
        place, weight = self.objective.choose(u)
        # For layers of other makers: the same draws whenever this rank comes to this step.
        self._seed(key(self.settings.seed, "dropout", step, rows.start))
        losses = torch.zeros(len(u))
        # FSDP2 takes the mean over ranks, where the sum is meant.
        parts = len(u) / (self.ranks.count if self.settings.shard else 1)
        pieces = min(self.settings.accumulate, len(u) // self.ranks.count)
        for piece in torch.arange(len(clean)).tensor_split(pieces):
            here = rows.start + piece
            self._name_rows(step, here)
            part = self.loss(clean[piece], eps[piece], place[here], picked(cond, piece))
            losses[here] = part.detach().to(losses)
            (weight[here].to(part) * part).sum().div(parts).backward()
        losses = self.ranks.add_up(losses, self.weights)
        return float((weight * losses).mean()), (place, losses)

    def _seed(self, number: int) -> None:
        """Seed torch's own generators."""
        if self.device.type == "cpu":
            # All that torch.manual_seed does there; for devices that are not there it writes down
            # three stack traces, half a millisecond.
            torch.default_generator.manual_seed(number)
        else:
            torch.manual_seed(number)

    def _name_rows(self, step: int, rows: Tensor) -> None:
        """Tell the layers that draw which rows of the batch come next."""
        if not self.drawing:
            return
        keys = [key(self.settings.seed, "dropout", step, k) for k in rows.tolist()]
        told = torch.tensor(keys, device=self.device)
        for layer in self.drawing:
            layer.rows = told

    def loss(self, clean: Tensor, eps: Tensor, u: Tensor, cond: Conditions) -> Tensor:
        """Loss of each item at quantile u of the level law, unweighted, (B,)."""
        cond = {name: value.to(self.device) for name, value in cond.items()}
        level = self.objective.levels(u).to(self.device)
        half = self.settings.precision == "bfloat16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half):
            return self.objective.loss(
                self.model, clean.to(self.device), eps.to(self.device), level, cond
            )

    @torch.no_grad()
    def heldout_loss(self, model: Model | Classifier, limit: int = 512) -> float | None:
        """Loss of ``model`` on held-out items at fixed noise and levels; None without any.

        On at most ``limit`` of them, and on fewer large ones, evenly spread: data that lie class
        by class begin with one class.
        """
        pool = torch.as_tensor(self.items.heldout)
        if len(pool) == 0:
            return None
        most = afforded(limit, self.items.batch(pool[:1]).numel())
        pool = pool[evenly(len(pool), most)]
        clean, cond = self.items.batch(pool), self.batches.told(pool)
        source = generator(self.settings.seed, "heldout")
        eps = torch.randn(clean.shape, generator=source)
        level = self.objective.levels(
            stratified(len(pool), source)[torch.randperm(len(pool), generator=source)]
        )
        if self.settings.bins:
            even = torch.rand(clean.shape, generator=source)
            clean = dequantised(clean, self.settings.bins, even)
        couple = self.objective.coupling
        losses = [
            self.objective.loss(
                model,
                clean[i].to(self.device),
                couple(clean[i], eps[i], picked(cond, i)).to(self.device),
                level[i].to(self.device),
                {name: value.to(self.device) for name, value in picked(cond, i).items()},
            )
            for i in torch.arange(len(pool)).split(min(128, self.piece(clean[0].numel())))
        ]
        return float(torch.cat(losses).mean())

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Everything a checkpoint holds, besides the step number."""
        kept, optim = self.ranks.gather, {}
        for name, parameter in self.model.named_parameters():
            for part, value in self._owner(parameter).state.get(parameter, {}).items():
                optim[f"{name}/{part}"] = kept(value)
        times, profiles = self.objective.times, self.profiles.tensors()
        return {
            "model": {name: kept(p.detach()) for name, p in self.model.state_dict().items()},
            "ema": Trainer.average(self),
            "optim": optim,
            **({"profiles": {k: kept(v) for k, v in profiles.items()}} if profiles else {}),
            **({} if times is None else {"times": times.tensors()}),
        }

    def average(self) -> dict[str, Tensor]:
        """The averaged weights by name."""
        return {name: self.ranks.gather(value) for name, value in self.ema.average.items()}

    def average_to(self, model: Model | Classifier) -> None:
        """Write the averaged weights, and what is no weight, into a model of the same make."""
        average, own = self.average(), dict(self.model.named_buffers())
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(own[name])
            for name, parameter in model.named_parameters():
                parameter.copy_(average[name])

    def restore(self, tensors: Mapping[str, Mapping[str, Tensor]], step: int) -> None:
        """Go on from a checkpoint's tensors after ``step`` steps."""
        kept, parameters = self.model.state_dict(), dict(self.model.named_parameters())
        self.model.load_state_dict({k: parted(v, kept[k]) for k, v in tensors["model"].items()})
        self.ema.load({k: parted(v, parameters[k]) for k, v in tensors["ema"].items()})
        likes = self.profiles.tensors().items()
        self.profiles.load({k: parted(tensors["profiles"][k], like) for k, like in likes})
        for key_, value in tensors["optim"].items():
            name, _, part = key_.rpartition("/")
            owner = parameters[name]
            like = owner if value.shape == owner.shape else value
            self._owner(owner).state[owner][part] = parted(value, like).to(self.device)
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
