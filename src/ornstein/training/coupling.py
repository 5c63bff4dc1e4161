"""Which noise meets which item in training: any, or the nearest on the whole of a batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ornstein.errors import UsageError
from ornstein.model import Conditions
from ornstein.training.conditions import groups

Coupling = Callable[[Tensor, Tensor, Conditions], Tensor]
"""(data (B, *D), noise (B, *D), conditions of the items) to the noise of each item, (B, *D)."""


def independent(clean: Tensor, eps: Tensor, cond: Conditions) -> Tensor:
    """Leave the noise as it was drawn: the forward process of diffusion."""
    return eps


def transport(clean: Tensor, eps: Tensor, cond: Conditions) -> Tensor:
    """Permute the noise of a batch so that the sum of |x0 - eps|² is least.

    Minibatch optimal transport (arXiv:2302.00482, arXiv:2304.14772): paths from noise to data
    cross less, so the flow is straighter and needs fewer steps. Noise is exchanged between items
    told the same only; otherwise it would tell what that is, and sampling a class would have to
    start elsewhere. (Numbers that differ for all items therefore leave the noise as it was drawn.)
    The flow still ends at the data, but eps is no longer the score times -sigma: sample such a
    model with a deterministic solver.

    Raises:
        UsageError: scipy is not installed.
    """
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError as error:
        raise UsageError(
            "objective.coupling = 'transport' needs scipy, which is not installed: "
            "pip install scipy."
        ) from error
    order = torch.arange(len(clean))
    each = groups(cond, len(clean)).cpu()
    for group in each.unique():
        rows = (each == group).nonzero().flatten()
        # |x0 - eps|² less the terms that do not depend on who meets whom, halved.
        x0, z = (x[rows.to(x.device)].flatten(1).double() for x in (clean, eps))
        _, found = linear_sum_assignment((-x0 @ z.T).cpu().numpy())
        order[rows] = rows[torch.from_numpy(found)]
    return eps[order.to(eps.device)]


COUPLINGS: dict[str, Coupling] = {
    "independent": independent,
    "transport": transport,
}
