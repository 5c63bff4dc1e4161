"""What a forward process leaves of a data set in its noisiest level (A9)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ornstein.core import Process
    from ornstein.data.dataset import Dataset

BOUND = (
    1e-3  # nats per dimension; DDPM's linear betas leave 2e-5, those of latent diffusion 2.3e-3
)
_ITEMS = 10_000  # read for the second moment


def left_in_noise(dataset: Dataset, process: Process) -> float:
    """Nats per dimension that the noisiest level tells of an item: L_T, for these data.

    The KL of q(x_T | x0) from the noise that samples start from, averaged over training items; it
    needs their second moment only (arXiv:2006.11239, eq. 5).
    """
    import torch

    from ornstein.core import prior_kl

    places = np.linspace(0, len(dataset.train) - 1, min(_ITEMS, len(dataset.train)))
    indices = dataset.train[places.astype(int)]
    parts = min(len(indices), max(1, len(indices) * dataset.dims // (1 << 22)))
    sums = [
        dataset.batch(part).double().square().mean(dtype=torch.float64) * len(part)
        for part in np.array_split(indices, parts)
    ]
    last = process(1.0)
    return float(prior_kl(last, torch.stack(sums).sum() / len(indices), last.sigma))


def prior_report(name: str, nats: float, dims: int) -> list[str]:
    """Say what is left in bits per dimension; one more sentence warns above a bound.

    Args:
        name: Of the process.
        nats: From :func:`left_in_noise`.
        dims: Values in an item.
    """
    bits, bound = nats / math.log(2), BOUND / math.log(2)
    said = f"at its noisiest '{name}' keeps {bits:.2g} bits per dimension of an item"
    lines = [f"{said}, {bits * dims:.2g} in all"]
    if nats > BOUND:
        lines.append(
            "warning: samples start without these bits, so what they tell (means, such as "
            f"brightness) will be off; more than {bound:.2g} is too much. Use a process that "
            "ends in more noise, such as zero-snr."
        )
    return lines
