"""Dropout whose masks do not depend on which rows are computed together."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

# The finaliser of MurmurHash3 (A. Appleby, public domain): 32 bits in, 32 well mixed bits out.
FIRST, SECOND = 0x85EBCA6B, 0xC2B2AE35
WORD = 0xFFFFFFFF


class Dropout(nn.Module):
    """Dropout; with ``rows`` given, the mask of a row is a function of its key alone.

    So a batch drops the same in one piece or in several, on one rank or on many. Without keys it
    is torch's own, from its global generator.

    Args:
        share: Share of the numbers that is dropped.

    Attributes:
        rows: A key for each row that comes next, (B,) int64; None draws at random. A tensor, since
            a compiled network would be compiled anew for every list of other numbers.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.rows: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Drop numbers of x, (B, ...), in training, and scale up what stays."""
        if not self.training or self.share == 0 or self.rows is None:
            return functional.dropout(x, self.share, self.training)
        rows = self.rows.to(x.device)
        low, high = rows & WORD, rows >> 32 & WORD
        places = torch.arange(x[0].numel(), device=x.device)
        bits = _mixed(_mixed((places + low[:, None]) & WORD) ^ high[:, None])
        kept = (bits >= self.share * 2.0**32).reshape(x.shape)
        return x * kept / (1 - self.share)


def _mixed(x: Tensor) -> Tensor:
    """Mix 32-bit words, held in int64."""
    x = ((x ^ (x >> 16)) * FIRST) & WORD
    x = ((x ^ (x >> 13)) * SECOND) & WORD
    return x ^ (x >> 16)
