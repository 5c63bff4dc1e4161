"""A self-supervised encoder of the user's own data: the judge where there are no labels.

Two views of one item (shifted, a patch erased, brightness and contrast changed) must be
recognised as one among many (contrastive learning, arXiv:2002.05709, with its loss). No view is
blurred or made noisy, for what the views do to an item the features learn not to see, and blur
and noise are what samples suffer from.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as nnf

from ornstein.errors import DataError
from ornstein.evaluate.classifier import Classifier, Progress, batches, channel_statistics

PROJECTION = 64  # numbers in which the views are compared; the features are what lies before
TEMPERATURE = 0.2
SHIFT, PATCH, TONE = 1 / 8, 1 / 3, 0.3  # shares of the side, of the side, of the deviation


def views(items: Tensor, random: torch.Generator) -> Tensor:
    """Another view of each item, (B, C, *space) float: shifted, a patch erased, tones changed."""
    x = items.float()
    middle = x.mean((0, *range(2, x.ndim)), keepdim=True)
    x = x - middle
    rows = torch.arange(len(x))
    for axis in range(2, x.ndim):
        side = x.shape[axis]
        most = max(1, round(SHIFT * side))
        shift = torch.randint(-most, most + 1, (len(x), 1), generator=random)
        place = (torch.arange(side) + shift).clamp(0, side - 1)
        x = x.movedim(axis, 1)[rows[:, None], place].movedim(1, axis)
    hidden = torch.ones(len(x), 1, *x.shape[2:], dtype=torch.bool)
    for axis in range(2, x.ndim):
        side = x.shape[axis]
        width = max(1, round(PATCH * side))
        start = torch.randint(0, side - width + 1, (len(x), 1), generator=random)
        inside = (torch.arange(side) >= start) & (torch.arange(side) < start + width)
        shape = [len(x)] + [1] * (x.ndim - 1)
        shape[axis] = side
        hidden = hidden & inside.view(shape)
    view = (-1,) + (1,) * (x.ndim - 1)
    spread = x.std()
    contrast = 1 + TONE * (2 * torch.rand(len(x), generator=random) - 1)
    brightness = TONE * spread * (2 * torch.rand(len(x), generator=random) - 1)
    x = x * contrast.view(view) + brightness.view(view)
    return x.masked_fill(hidden, 0.0) + middle


def contrast(one: Tensor, two: Tensor) -> Tensor:
    """NT-Xent loss (arXiv:2002.05709, eq. 1) of the projections of two views, (B, P) each."""
    both = nnf.normalize(torch.cat([one, two]), dim=1)
    alike = both @ both.T / TEMPERATURE
    alike.fill_diagonal_(-torch.inf)
    partner = torch.arange(len(both)).roll(len(one))
    return nnf.cross_entropy(alike, partner)


def train_encoder(
    items: np.ndarray,
    *,
    index: np.ndarray,
    seed: int = 0,
    steps: int = 300,
    batch: int = 128,
    progress: Progress | None = None,
) -> Classifier:
    """Train an encoder on the items (N, *shape) at ``index``; its weights depend on the seed.

    Raises:
        DataError: vectors, which have no views, or too few items to tell apart.
    """
    if items.ndim == 2 or len(index) < 16:
        raise DataError(
            f"an encoder is trained on 16 or more pictures or series, not on {len(index)} items "
            f"of shape {tuple(items.shape[1:])}; add items."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Classifier(tuple(items.shape[1:]), PROJECTION)
    net.mean, net.std = channel_statistics(items, index)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=3e-3, total_steps=steps, pct_start=0.2, cycle_momentum=False
    )
    random = torch.Generator().manual_seed(seed)
    net.train()
    for step, places in enumerate(batches(len(index), min(batch, len(index)), steps, seed)):
        x = torch.from_numpy(items[np.sort(index[places])])
        loss = contrast(*net(torch.cat([views(x, random), views(x, random)])).chunk(2))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        if progress is not None:
            progress(step + 1, steps)
    return net.eval()
