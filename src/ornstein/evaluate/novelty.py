"""Are samples new? Nearest training items of each, against a control of items never trained on.

How near an item lies is its distance to the nearest training item over the mean distance to its
50 nearest (arXiv:2301.13188, section 5): a plain picture lies near to many, a copy near to one.
How near is too near is asked of the held-out items: a threshold that 1 % of them undercut. And
the control is itself controlled, by the training items among each other, for held-out items that
are near copies of training items would make every copy look usual.

Where items repeat, as rows of a few categories do, a new item may well equal a training item. A
held-out one never does, since copies stay on one side of the split. So the training items among
each other are the control there: those with a twin are as near as can be, and of the others 1 %
are near enough.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ornstein.errors import DataError
from ornstein.evaluate.features import Rows
from ornstein.evaluate.neighbours import nearest

SHARE = 0.01  # of the control without twins that lies below the threshold
TWIN = 1e-5  # a relative distance that is but rounding
CROWD = 50  # neighbours that say what is usual around an item
SURE = 1e-3  # a chance below this is no chance
MOST, WORK = 2_000, 5e10  # items, and numbers that are subtracted; more items are left out
KEPT = 5  # neighbours that are told of each item


@dataclass(frozen=True, eq=False)
class Near:
    """Some items and the training items that are nearest to them.

    Attributes:
        distance: To the nearest, RMS over the numbers of an item, (n,).
        relative: The same over the mean distance of the 50 nearest, (n,).
        places: Which training items are the nearest, (n, KEPT).
    """

    distance: Tensor
    relative: Tensor
    places: Tensor


@dataclass(frozen=True, eq=False)
class Novelty:
    """How many samples are copies, in one space.

    Attributes:
        space: What distances are taken of.
        samples: The samples and their neighbours.
        control: The items they are compared with, and theirs.
        by: "held-out items", or "training items" where the held-out ones are near copies, too few
            or, since training items repeat, without the twins that new items would have.
        threshold: Relative distance up to which an item counts as copied.
        expected: Share that lies below it by chance.
        copied: Share of the samples that does.
        chance: Probability of so many, if the samples were like the control.
        control_copied: Share of held-out items below the threshold of the training items.
        control_chance: Probability of so many, if they were like the training items.
        twins: Share of training items that have an exact copy among the others.
    """

    space: str
    samples: Near
    control: Near
    by: str
    threshold: float
    expected: float
    copied: float
    chance: float
    control_copied: float
    control_chance: float
    twins: float

    @property
    def copies(self) -> bool:
        """Whether more samples are copies than chance allows."""
        return self.chance < SURE

    @property
    def contaminated(self) -> bool:
        """Whether held-out items are near copies of training items."""
        return self.control_chance < SURE

    @property
    def repeating(self) -> bool:
        """Whether training items have twins, so that held-out ones, without, are no control."""
        return self.twins > SHARE

    def to_json(self) -> dict[str, Any]:
        """The numbers, without those of each item."""
        names = ("space", "by", "threshold", "expected", "copied", "chance", "control_copied",
                 "control_chance", "twins", "copies", "contaminated")  # fmt: skip
        return {
            **{name: getattr(self, name) for name in names},
            "n": len(self.samples.distance),
            "control_n": len(self.control.distance),
            "distance": float(self.samples.distance.median()),
            "control_distance": float(self.control.distance.median()),
        }


def novelty(space: str, samples: Rows, train: Rows, heldout: Rows) -> Novelty:
    """Count the copies among samples (N, D), given training and held-out items in the same space.

    Of many only the first are looked at, so each side comes in a mixed order.

    Args:
        space: Its name.
        samples: A tensor, or rows that are read when they are asked for.
        train: Likewise.
        heldout: Likewise.

    Raises:
        DataError: too few training items to say what is near.
    """
    if len(train) < 2 * KEPT:
        raise DataError(
            f"{len(train)} training items are too few to tell a copy from chance; it takes "
            f"{2 * KEPT} or more."
        )
    most = max(200, min(MOST, int(WORK / (len(train) * train.shape[1]))))
    asked = [rows[:most] for rows in (samples, heldout, train)]
    # All at once, so that the training items are not read for each.
    far, places = nearest(torch.cat(asked), train, _crowd(train) + 1)
    sizes = [len(each) for each in asked]
    sides = zip(far.split(sizes), places.split(sizes), (False, False, True), strict=True)
    ours, held, own = (_near(d, p, train, itself) for d, p, itself in sides)
    twins = float((own.relative <= TWIN).double().mean())
    limit, rank = threshold_of(own.relative)
    found = int((held.relative <= limit).sum())
    control_chance = chance_of(found, len(held.relative), len(own.relative), rank)
    enough = len(held.relative) >= 1 / SHARE / 2
    usable = enough and control_chance >= SURE and twins <= SHARE
    control = held if usable else own
    threshold, rank = threshold_of(control.relative)
    copied = int((ours.relative <= threshold).sum())
    return Novelty(
        space=space,
        samples=ours,
        control=control,
        by="held-out items" if usable else "training items",
        threshold=threshold,
        expected=rank / (len(control.relative) + 1),
        copied=copied / len(ours.relative),
        chance=chance_of(copied, len(ours.relative), len(control.relative), rank),
        control_copied=found / max(1, len(held.relative)),
        control_chance=control_chance,
        twins=twins,
    )


def near(points: Tensor, train: Rows, itself: bool = False) -> Near:
    """Find the nearest training items (M, D) of points (N, D).

    Args:
        points: Items in the same space.
        train: Training items.
        itself: Whether the points are the first training items: then each is left out for itself.
    """
    return _near(*nearest(points, train, _crowd(train) + 1), train, itself)


def _crowd(train: Rows) -> int:
    return min(CROWD, len(train) - 1)


def _near(far: Tensor, places: Tensor, train: Rows, itself: bool) -> Near:
    crowd = _crowd(train)
    if itself:  # an exact copy may come before the item itself; one of the zeros is enough
        own = torch.arange(len(far))[:, None]
        keep = places != own
        keep[keep.all(1), -1] = False
        far, places = (part[keep].view(len(far), -1) for part in (far, places))
    far = far[:, :crowd] / math.sqrt(train.shape[1])
    usual = far.mean(1).clamp(min=1e-12)
    return Near(far[:, 0], far[:, 0] / usual, places[:, : min(KEPT, crowd)])


def rank_of(count: int) -> int:
    """Which of so many distances without twins is the threshold, counted from the least."""
    return max(1, round(SHARE * count))


def threshold_of(control: Tensor) -> tuple[float, int]:
    """Threshold of relative distances (N,), and how many of them lie at or below it, twins too."""
    single = control[control > TWIN]
    limit = float(single.kthvalue(rank_of(len(single))).values) if len(single) else TWIN
    return limit, int((control <= limit).sum())


def chance_of(found: int, n: int, control: int, rank: int | None = None) -> float:
    """Probability that ``found`` or more of n items come as near as the threshold of a control.

    The share that lies below the k-th least of m control items is Beta(k, m - k + 1) whatever the
    law of the distances, so that the number found is beta-binomial: the smallness of the control
    counts too.

    Args:
        found: Items at or below the threshold.
        n: Items in all.
        control: Items of the control.
        rank: How many of those are at or below it; default as many as without twins and ties.
    """
    if found == 0 or n == 0 or control == 0:
        return 1.0
    k = rank_of(control) if rank is None else rank
    j = torch.arange(found, n + 1, dtype=torch.float64)
    a, b = torch.tensor(float(k)).double(), torch.tensor(float(control - k + 1)).double()

    def log_beta(x: Tensor, y: Tensor) -> Tensor:
        return torch.lgamma(x) + torch.lgamma(y) - torch.lgamma(x + y)

    choose = -log_beta(n - j + 1, j + 1) - math.log(n + 1)
    log_p = choose + log_beta(j + a, n - j + b) - log_beta(a, b)
    return min(1.0, float(log_p.logsumexp(0).exp()))
