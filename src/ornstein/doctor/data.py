"""Checks of data: range, channels, copies, labels, and what the process leaves of them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from ornstein.config import Config
from ornstein.data import left_in_noise
from ornstein.data.prior import BOUND
from ornstein.doctor.patient import Finding, Patient

FEW, MOST = 0.002, 0.5  # this share of the values, and of the variance
COPIES = 0.05
RARE = 0.02  # of an even share of the items
NEIGHBOURS, COMPARED = 5, 2000


def spread(patient: Patient) -> Iterator[Finding]:
    """Numbers so far out that the scale of all others is lost."""
    power = patient.items.transpose(0, 1).flatten(1).double().square()  # (C, n·...)
    few = max(1, round(FEW * power.shape[1]))
    share = power.topk(few, dim=1).values.sum(1) / power.sum(1).clamp(min=1e-12)
    if float(share.max()) > MOST and power.shape[1] >= 50:
        yield Finding(
            f"{few:,} of {power.shape[1]:,} values of channel {int(share.argmax())} make up "
            f"{float(share.max()):.0%} of its variance, so all others stand close together",
            f"below {MOST:.0%}; 2 % for a Gaussian",
            "remove such items, or take the logarithm of that channel before training",
        )


def constant(patient: Patient) -> Iterator[Finding]:
    """Channels that never change."""
    deviation = patient.items.transpose(0, 1).flatten(1).std(1)
    still = (deviation < 1e-4).nonzero().flatten().tolist()
    if still and len(patient.items) > 1:
        listed = ", ".join(map(str, still[:8])) + (", ..." if len(still) > 8 else "")
        yield Finding(
            f"{len(still)} of {len(deviation)} channels are constant: {listed}",
            "every channel changes (its deviation is 1 after standardising)",
            "leave them out of the data; a network only learns their rounding",
        )


def copies(patient: Patient) -> Iterator[Finding]:
    """Items that are there more than once."""
    flat = patient.items.flatten(1)
    share = 1 - len(torch.unique(flat, dim=0)) / len(flat)
    if share > COPIES:
        yield Finding(
            f"{share:.0%} of {len(flat):,} training items are copies of others",
            f"below {COPIES:.0%}",
            "leave copies out: what is there twenty times is learned by heart first",
        )


def labels(patient: Patient) -> Iterator[Finding]:
    """Labels of one class only, of classes hardly met, or that the items know nothing of."""
    data, labels = patient.data, patient.labels
    if data is None or labels is None:
        return
    assert data.labels is not None
    # All of them are counted: among the few items that are read a class of many may be missing.
    every = torch.from_numpy(data.labels[data.train])
    counts = torch.bincount(every, minlength=len(data.classes))
    if int((counts > 0).sum()) < 2:
        yield Finding(
            f"all items are of one class, '{data.classes[int(counts.argmax())]}'",
            "two classes or more",
            "put the pictures of each class into a folder of its own, or leave the labels out",
        )
        return
    even = len(every) / len(counts)
    rare = (counts < max(2.0, RARE * even)).nonzero().flatten().tolist()
    if rare:
        names = ", ".join(f"'{data.classes[k]}' ({int(counts[k])})" for k in rare[:5])
        yield Finding(
            f"{len(rare)} of {len(counts)} classes are hardly met: {names}",
            f"each at least {RARE:.0%} of an even share, {even:.0f} items here",
            "join such classes, or leave them out",
        )
    yield from _meaningless(patient.items, labels)


def _meaningless(items: torch.Tensor, said: torch.Tensor) -> Iterator[Finding]:
    """Labels that nearest neighbours do not share more often than by chance: shuffled ones."""
    step = max(1, len(said) // COMPARED)
    flat, said = items.flatten(1)[::step], said[::step]
    if len(said) < 50:
        return
    distance = torch.cdist(flat, flat)
    distance.fill_diagonal_(math.inf)
    near = distance.topk(NEIGHBOURS, largest=False).indices
    shared = float((said[near] == said[:, None]).double().mean())
    share = torch.bincount(said).double() / len(said)
    chance = float((share**2).sum())
    doubt = math.sqrt(chance * (1 - chance) / len(said))
    if shared < chance + 3 * doubt:
        yield Finding(
            f"nearest neighbours share their class in {shared:.1%} of cases, by chance it would "
            f"be {chance:.1%}: the labels tell nothing of the items",
            f"above {chance + 3 * doubt:.1%}",
            "look whether labels and items are in the same order ('ornstein data' shows both)",
        )


def prior(patient: Patient) -> Iterator[Finding]:
    """What the noisiest level still tells of an item, while samples start from pure noise."""
    assert patient.data is not None
    model = (patient.config or Config()).model
    nats = left_in_noise(patient.data, model.make_process())
    if nats > BOUND:
        yield Finding(
            f"at its noisiest, '{model.process}' keeps {nats / math.log(2):.2g} bits per "
            "dimension of an item, and samples start without them",
            f"below {BOUND / math.log(2):.2g}",
            "train with --set model.process=zero-snr, or with options that end in more noise",
        )
