"""A model: a network, and what its output means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ornstein.core import Denoiser, Estimate, Level, Target, Uncertainty, spread
from ornstein.errors import UsageError

Conditions = Mapping[str, Tensor]
"""Declared names to tensors of one row per item, such as {"class": (B,) int64}."""


class Net(Protocol):
    """What a network must be: (x, noise, cond) -> F, with noise one number per item, (B,)."""

    def __call__(self, x: Tensor, noise: Tensor, cond: Conditions, /) -> Tensor: ...


class Output(NamedTuple):
    """What a network says of x, (B, *D) each: F, and the interpolation of a learned variance."""

    F: Tensor
    interpolation: Tensor | None


def seen(x: Tensor, level: Level, data_std: float = 1.0) -> tuple[Tensor, Tensor]:
    """What a network sees of x at a level: x of unit variance, and log_snr/8 within ±2.5, (B,)."""
    scale = torch.hypot(level.alpha * data_std, level.sigma)
    noise = (level.log_snr / 8).clamp(-2.5, 2.5).to(x).expand(len(x))
    return x * spread(1 / scale, x), noise


class Model(nn.Module):
    """A denoiser made of any network and a prediction target.

    The network sees x scaled to unit variance and one number per item, log_snr/8 (within ±2.5).
    Both depend on the noise-to-signal ratio alone, so the model answers on every process: D(c·x;
    c·alpha, c·sigma) = D(x; alpha, sigma).

    The variance of a reverse step is ``learned`` by a network of twice the channels (axis 1), the
    second half being v in log-variance = v·upper + (1 - v)·lower, before a sigmoid that keeps it
    between (arXiv:2102.09672, eq. 15); or ``uncertainty`` gives the error of x0 to compute it of.

    Args:
        net: Called as net(x, noise, cond): x (B, *D), noise (B,), cond a mapping; returns (B, *D),
            or (B, 2·C, ...) to learn the variance as well.
        target: What the output predicts.
        data_std: Standard deviation of the data the network was trained on, 1 when standardised.
        learned: Whether the network's second output is the variance of a reverse step.
        uncertainty: Measured Var[x0 | x], for the analytic variance.
    """

    def __init__(
        self,
        net: nn.Module,
        target: Target,
        data_std: float = 1.0,
        *,
        learned: bool = False,
        uncertainty: Uncertainty | None = None,
    ) -> None:
        super().__init__()
        self.net = net
        self.target = target
        self.data_std = data_std
        self.learned = learned
        self.uncertainty = uncertainty
        self.precision = "float32"  # of the network's arithmetic when asked; see Trained.to

    def output(self, x: Tensor, level: Level, cond: Conditions | None = None) -> Output:
        """The network's F and interpolation for x at a level on the variance-preserving scale.

        Raises:
            UsageError: the network's answer has not the channels that x and ``learned`` ask for.
        """
        with self._in_precision(x.device):
            answer: Tensor = self.net(*seen(x, level, self.data_std), cond or {})
        answer = answer.to(x.dtype)
        parts = 2 if self.learned else 1
        if answer.shape != (len(x), parts * x.shape[1], *x.shape[2:]):
            raise UsageError(
                f"the network answered {tuple(answer.shape)} to x of {tuple(x.shape)}; "
                f"{'a learned variance needs twice the' if self.learned else 'it needs the same'} "
                "channels (axis 1). A second output is for Model(..., learned=True)."
            )
        if not self.learned:
            return Output(answer, None)
        F, v = answer.chunk(2, dim=1)
        return Output(F, v.sigmoid())

    def _in_precision(self, device: torch.device) -> AbstractContextManager[object]:
        """In half precision where that is asked for; else as it is around here."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(device.type, torch.bfloat16)

    def forward(self, x: Tensor, level: Level, cond: Conditions | None = None) -> Estimate:
        """Estimate x0 and eps at x, (B, *D); level is () or (B,), on any scale."""
        unit = level.unit()
        x = x * spread(1 / level.norm, x)
        F, v = self.output(x, unit, cond)
        known = None if self.uncertainty is None else self.uncertainty(x, unit)
        return self.target.estimate(F, x, unit)._replace(interpolation=v, variance=known)

    def given(self, cond: Conditions) -> Denoiser:
        """Bind a condition: the denoiser of p(x0 | cond)."""

        def denoise(x: Tensor, level: Level) -> Estimate:
            answer: Estimate = self(x, level, cond)
            return answer

        return denoise


class Classifier(nn.Module):
    """What class a noisy item is of, at every level: log p(class | x).

    The noisy classifier of arXiv:2105.05233 (section 4), on every process like :class:`Model`.

    Args:
        net: Called as net(x, noise): x (B, *D), noise (B,); returns logits (B, classes).
        data_std: Standard deviation of the data the network was trained on, 1 when standardised.
    """

    def __init__(self, net: nn.Module, data_std: float = 1.0) -> None:
        super().__init__()
        self.net = net
        self.data_std = data_std

    def forward(self, x: Tensor, level: Level) -> Tensor:
        """Log-probability of every class, (B, classes), of x (B, *D) on any scale."""
        unit = level.unit()
        logits: Tensor = self.net(*seen(x * spread(1 / level.norm, x), unit, self.data_std))
        return logits.log_softmax(1)

    def of(self, labels: Tensor) -> Callable[[Tensor, Level], Tensor]:
        """Return the log-probability of each item's class, for guidance.

        Args:
            labels: Classes, (B,); where it is one past the last, nothing is said: the answer is 0.
        """

        def log_prob(x: Tensor, level: Level) -> Tensor:
            said: Tensor = self(x, level)
            known = labels < said.shape[1]
            return said.gather(1, (labels * known)[:, None])[:, 0] * known

        return log_prob
