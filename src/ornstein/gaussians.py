"""Fitting what a network sees of the data in closed form: Gaussians of classes, or of clusters."""

from __future__ import annotations

import math
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional

from ornstein.core import Principal, generator
from ornstein.data import Dataset
from ornstein.data.conditions import CLASS
from ornstein.nets.wiener import NEVER, Wiener, fold_of, folded
from ornstein.training.batches import evenly
from ornstein.training.ranks import ALONE, Ranks, Share

MOST_ITEMS = 1 << 16  # that are read
READ, HELD, FITTED = 1 << 30, 1 << 26, 1 << 24  # values that are read, held and fitted at once
EACH = 12  # items for each direction: of fewer it would be theirs, and not the data's
GUESS = {"wiener", "gaussians"}  # options of a network that sees them
# Directions of the Gaussians whose guess is seen, and numbers of all of them together: 16 MB.
# Where a class has several they may take half of both, and are fewer before they have too few.
DIRECTIONS, LEAST_DIRECTIONS, FEW_DIRECTIONS, NUMBERS = 128, 8, 32, 1 << 22
# How many clusters have one each, in a class or where there is none, and of how many items.
IN_CLASS, IN_ALL = (4, 768), (64, 192)
PLANE, PLANE_ITEMS, ROUNDS = 50, 4096, 50  # of the clustering
_KNOWN: WeakKeyDictionary[Dataset, dict[tuple[int, ...], dict[str, Tensor]]] = WeakKeyDictionary()


def fit_gaussians(net: nn.Module, data: Dataset, ranks: Share = ALONE) -> None:
    """Fit the Gaussians whose guess a network sees, where it sees one, to training items.

    That is done once for a data set: the planning of a training builds several trainers. Several
    ranks take those of rank 0, for another kind of processor may round items into other clusters.
    """
    guess = getattr(net, "guess", None)
    if not isinstance(guess, Wiener):
        return
    if ranks.rank == 0:
        _fit_to(guess, data)
    if isinstance(ranks, Ranks):
        for buffer in guess.buffers():
            ranks.tell(buffer)


def _fit_to(guess: Wiener, data: Dataset) -> None:
    known = _KNOWN.setdefault(data, {})
    kind = (guess.groups, guess.rank, guess.parts)
    if kind not in known:
        some = torch.as_tensor(data.train)[evenly(len(data.train), fitted_items(data))]
        piece = max(1, min(1024, FITTED // math.prod(data.shape)))
        clean = torch.cat([guess.seen(data.batch(part)) for part in some.split(piece)])
        fit(guess, clean, data.condition_batch(some).get(CLASS))
        known[kind] = {name: value.clone() for name, value in guess.state_dict().items()}
    guess.load_state_dict(known[kind])


def suited(data: Dataset) -> dict[str, int]:
    """Options of a network for these data: how many Gaussians of how many directions.

    None where one of all items is all there would be, which is worth nothing, nor where there are
    so many classes or values that they would outweigh the network.
    """
    classes, dims = len(data.classes), folded(data.shape, fold_of(data.shape))
    most, items = IN_CLASS if classes else IN_ALL
    parts = max(1, min(most, fitted_items(data) // (max(1, classes) * items)))

    def rank() -> int:
        count, share = parts * max(1, classes) + (classes > 0), 1 + (parts > 1)
        return min(DIRECTIONS // share, dims, NUMBERS // share // (count * dims))

    while parts > 1 and rank() < min(FEW_DIRECTIONS, dims):
        parts -= 1
    found = max(parts, classes) > 1 and rank() >= LEAST_DIRECTIONS
    return {"wiener": rank(), "gaussians": parts} if found else {}


def fitted_items(data: Dataset) -> int:
    """How many training items the Gaussians are fitted to."""
    seen = folded(data.shape, fold_of(data.shape))
    most = min(MOST_ITEMS, READ // math.prod(data.shape), HELD // seen)
    return min(len(data.train), max(1, most))


def fit(guess: Wiener, clean: Tensor, group: Tensor | None = None) -> None:
    """Fit each Gaussian to its items: those of a class, or of a cluster among them.

    It has at most one direction for EACH items; one of fewer items than that is the one of all.

    Args:
        guess: What is fitted.
        clean: Items of unit variance as they are seen, (N, *D).
        group: Class of each, (N,).
    """
    most = max(EACH, FITTED // guess.dims)
    whole = _fitted(clean, guess.rank, most)
    if group is None or guess.groups == 1:
        group = torch.full((len(clean),), guess.groups - 1)
    for k in range(guess.groups):
        # Where there are classes the last is the one of all.
        own = clean[group == k] if k < guess.groups - 1 or guess.groups == 1 else clean[:0]
        label = clusters(own, guess.parts)
        for j, part in enumerate(guess.owned(k)):
            mine = own[label == j]
            found = whole if len(mine) < EACH else _fitted(mine, guess.rank, most)
            guess.learn(part, found.mean, found.axes, found.variances, found.rest)
            if guess.share is not None and len(own):
                guess.share[k, part] = math.log(len(mine) / len(own)) if len(mine) else NEVER


def _fitted(items: Tensor, rank: int, most: int) -> Principal:
    """The Gaussian of items, or of so many of them, with a direction for EACH at most."""
    some = items[evenly(len(items), most)]
    return Principal.fit(some, min(rank, len(some) // EACH))


def clusters(items: Tensor, count: int) -> Tensor:
    """Divide items (N, *D) into so many clusters by k-means: the number of each one's, (N,).

    In the plane of most variance, from starts that lie far from each other (k-means++, Arthur and
    Vassilvitskii 2007), the same for the same items.
    """
    if count == 1 or len(items) < 2 * count:
        return torch.zeros(len(items), dtype=torch.long)
    plane = Principal.fit(items[:: -(-len(items) // PLANE_ITEMS)], PLANE)
    points = (items.flatten(1) - plane.mean.flatten().to(items)) @ plane.axes.to(items).mT
    source = generator(0)
    centres = points[:1]
    while len(centres) < count:
        far = torch.cdist(points, centres).square().amin(1)
        if not bool(far.any()):
            break  # there are no more different ones
        centres = torch.cat([centres, points[torch.multinomial(far, 1, generator=source)]])
    label = torch.cdist(points, centres).argmin(1)
    for _ in range(ROUNDS):
        own = functional.one_hot(label, len(centres)).to(points)
        filled = own.sum(0) > 0
        means = own.mT @ points / own.sum(0).clamp(min=1)[:, None]
        centres = torch.where(filled[:, None], means, centres)
        before, label = label, torch.cdist(points, centres).argmin(1)
        if torch.equal(before, label):
            break
    return label
