"""Fitting what a network sees of the data in closed form: a Gaussian for each class."""

from __future__ import annotations

import math
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ornstein.core import Principal
from ornstein.data import Dataset
from ornstein.data.conditions import CLASS
from ornstein.nets.wiener import Wiener

MOST_ITEMS, MOST_VALUES = 1 << 14, 1 << 24  # that are read
EACH = 12  # items for each direction: of fewer it would be theirs, and not the data's
_KNOWN: WeakKeyDictionary[Dataset, dict[tuple[int, int], dict[str, Tensor]]] = WeakKeyDictionary()


def fit_gaussians(net: nn.Module, data: Dataset) -> None:
    """Fit the Gaussians whose guess a network sees, where it sees one, to training items.

    That is done once for a data set: the planning of a training builds several trainers.
    """
    guess = getattr(net, "guess", None)
    if not isinstance(guess, Wiener):
        return
    known = _KNOWN.setdefault(data, {})
    kind = (guess.groups, guess.rank)
    if kind not in known:
        every = torch.as_tensor(data.train)
        most = max(1, min(MOST_ITEMS, MOST_VALUES // math.prod(data.shape)))
        some = every[:: -(-len(every) // most)]
        clean = torch.cat([data.batch(part) for part in some.split(1024)])
        fit(guess, clean, data.condition_batch(some).get(CLASS))
        known[kind] = {name: value.clone() for name, value in guess.state_dict().items()}
    guess.load_state_dict(known[kind])


def fit(guess: Wiener, clean: Tensor, group: Tensor | None = None) -> None:
    """Fit each Gaussian to its items, the last to all.

    It has at most one direction for EACH items; one of fewer items than that is the one of all.

    Args:
        guess: What is fitted.
        clean: Items of unit variance, (N, *shape).
        group: Number of the Gaussian of each, (N,).
    """
    whole = Principal.fit(clean, min(guess.rank, len(clean) // EACH))
    for k in range(guess.groups):
        own = clean[group == k] if group is not None and k < guess.groups - 1 else clean[:0]
        many = min(guess.rank, len(own) // EACH)
        found = Principal.fit(own, many) if many else whole
        guess.learn(k, found.mean, found.axes, found.variances, found.rest)
