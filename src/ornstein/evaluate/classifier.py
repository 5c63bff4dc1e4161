"""A small classifier of the user's own data: the judge of samples, trained once.

Inception's weights are not needed and not fitting for small grey pictures, series or
tables; features that were learned on the data themselves see what matters there. The net
holds its own standardisation, so it takes raw arrays, as stored: what is judged is what a
user would look at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from ornstein.errors import DataError, UsageError

Progress = Callable[[int, int], None]  # batches done, batches in all

LARGEST = 64  # longer sides are averaged down before the first convolution
NUMBERS = 1 << 20  # in float64 at once, for means and deviations


class Classifier(nn.Module):
    """Convolutions down to about 4 to 7 pixels, one wide layer, one logit per class.

    Pictures (C, H, W), series (C, L) and vectors (D,) by the same lines: convolutions of
    two, one or no dimensions.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, shape: tuple[int, ...], classes: int, base: int = 32, width: int = 128):
        super().__init__()
        if len(shape) not in (1, 2, 3):
            raise UsageError(f"items must be (C, H, W), (C, L) or (D,), not {shape}.")
        self.shape, self.classes, self.base, self.width = tuple(shape), classes, base, width
        channels = shape[0]
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))
        self.body, flat = _vector_body(channels) if len(shape) == 1 else _body(shape, base)
        self.wide = nn.Linear(flat, width)
        self.norm = nn.BatchNorm1d(width)
        self.head = nn.Linear(width, classes)

    def options(self) -> dict[str, Any]:
        """Return the arguments that build this net again, fit for JSON."""
        return {
            "shape": list(self.shape),
            "classes": self.classes,
            "base": self.base,
            "width": self.width,
        }

    def features(self, items: Tensor) -> Tensor:
        """Return the activations before the last layer, (B, width), of raw items (B, *shape)."""
        view = (1, -1) + (1,) * (len(self.shape) - 1)
        x = (items.float() - self.mean.view(view)) / self.std.view(view)
        x = shrink(x)
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        return nnf.relu(self.norm(self.wide(self.body(x).flatten(1))))

    def forward(self, items: Tensor) -> Tensor:
        """Return logits (B, classes) of raw items (B, *shape)."""
        return self.head(self.features(items))  # type: ignore[no-any-return]


def shrink(x: Tensor) -> Tensor:
    """Average pictures whose longer side exceeds LARGEST down by a whole factor."""
    if x.ndim != 4:
        return x
    factor = math.ceil(max(x.shape[2:]) / LARGEST)
    return x if factor == 1 else nnf.avg_pool2d(x, factor, ceil_mode=True)


def _vector_body(size: int) -> tuple[nn.Module, int]:
    layers = [nn.Linear(size, 256), nn.BatchNorm1d(256), nn.ReLU()]
    layers += [nn.Linear(256, 256), nn.BatchNorm1d(256), nn.ReLU()]
    return nn.Sequential(*layers), 256


def _body(shape: tuple[int, ...], base: int) -> tuple[nn.Module, int]:
    """Build conv-norm-relu blocks of widths base, 2 base, 4 base, then constant.

    Strides, not pooling: max pooling alone took a fifth of the time on a CPU. The first
    block halves big items with a kernel of 5, so that no pixel is skipped.
    """
    series = len(shape) == 2
    conv: type[nn.Module] = nn.Conv1d if series else nn.Conv2d
    norm: type[nn.Module] = nn.BatchNorm1d if series else nn.BatchNorm2d
    size = list(shrink(torch.zeros(1, *shape)).shape[2:])
    layers: list[nn.Module] = []
    last = shape[0]
    for depth in range(12):
        width = min(base * 2**depth, 4 * base)
        stride = [2 if n >= (12 if depth == 0 else 8) else 1 for n in size]
        kernel = 5 if depth == 0 or series else 3
        layers += [conv(last, width, kernel, stride=stride, padding=kernel // 2, bias=False)]
        layers += [norm(width), nn.ReLU()]
        size = [(n + s - 1) // s for n, s in zip(size, stride, strict=True)]
        last = width
        if depth >= 2 and max(size) <= 8:
            break
    return nn.Sequential(*layers), last * math.prod(size)


def train_classifier(
    items: np.ndarray,
    labels: np.ndarray,
    classes: int,
    *,
    index: np.ndarray | None = None,
    seed: int = 0,
    passes: float | None = None,
    batch: int | None = None,
    progress: Progress | None = None,
) -> Classifier:
    """Train a Classifier on items (N, *shape) and labels (N,) in [0, classes).

    Only the items at ``index`` (default all) are read, a batch at a time, so that items may
    be a memory map larger than memory.
    One-cycle AdamW with label smoothing; the weights depend on data and seed alone (and,
    in the last bits, on the machine's arithmetic). By default 4 passes over the data in
    batches of 128; more passes and smaller batches for a few thousand items or fewer.
    """
    if len(items) != len(labels) or len(items) < 2:
        raise DataError(
            f"{len(items)} items and {len(labels)} labels: both must be as many, at least 2."
        )
    index = np.arange(len(items)) if index is None else index
    count = len(index)
    if batch is None:
        batch = 128 if count > 10_000 else max(8, min(64, count // 8))
    if passes is None:
        passes = max(4.0, min(15.0, 1000 * batch / count))
    steps = max(1, round(passes * count / batch))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Classifier(tuple(items.shape[1:]), classes)
    net.mean, net.std = channel_statistics(items, index)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=4e-3, total_steps=steps, pct_start=0.2, cycle_momentum=False
    )
    net.train()
    for step, places in enumerate(batches(count, batch, steps, seed)):
        now = np.sort(index[places])
        x, y = torch.from_numpy(items[now]), torch.from_numpy(labels[now])
        loss = nnf.cross_entropy(net(x), y.long(), label_smoothing=0.05)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        if progress is not None:
            progress(step + 1, steps)
    return net.eval()


def batches(count: int, batch: int, steps: int, seed: int) -> Iterator[np.ndarray]:
    """Places of each batch: shuffled passes, cut without regard to their ends."""
    rng = np.random.default_rng(seed)
    queue = np.empty(0, dtype=np.int64)
    for _ in range(steps):
        while len(queue) < batch:
            queue = np.concatenate([queue, rng.permutation(count)])
        yield queue[:batch]
        queue = queue[batch:]


def channel_statistics(
    items: np.ndarray, index: np.ndarray, limit: int = 10_000
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, from at most ``limit`` evenly spread items."""
    picked = np.sort(index[:: -(-len(index) // limit)])
    size = max(1, NUMBERS // math.prod(items.shape[1:]))
    blocks = [picked[start : start + size] for start in range(0, len(picked), size)]
    axes, count = (0, *range(2, items.ndim)), len(picked) * math.prod(items.shape[2:])
    mean, variance = np.zeros(items.shape[1]), np.zeros(items.shape[1])
    for block in blocks:
        mean += items[block].sum(axes, dtype=np.float64) / count
    # Squares of differences: those of the values themselves would lose a small deviation.
    column = mean.reshape(-1, *[1] * (items.ndim - 2))
    for block in blocks:
        variance += ((items[block] - column) ** 2).sum(axes) / count
    std = np.sqrt(variance)
    return (
        torch.from_numpy(mean).float(),
        torch.from_numpy(np.where(std > 1e-12, std, 1.0)).float(),
    )
