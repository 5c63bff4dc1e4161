"""Small bundles with random weights, for tests."""

from __future__ import annotations

from typing import Any

import torch

from ornstein.bundle import Bundle, Sampler
from ornstein.core import TARGETS
from ornstein.data.coding import Coding
from ornstein.data.conditions import class_of
from ornstein.model import Model
from ornstein.nets import NETS
from ornstein.nets.conditions import of_classes

CODINGS = {
    "image": Coding((33.0,), (79.0,), "image", 0.0, 255.0, 256),
    "series": Coding((0.25,), (2.0,), "series"),
    "vector": Coding((1.0, -2.0), (0.5, 3.0), "vector"),
}
_NETS: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "image": (
        "unet", (1, 9, 12), {"widths": [8, 16], "blocks": [1, 1], "attention": [1], "patch": 1},
    ),
    "series": ("unet", (1, 21), {"widths": [8, 16], "blocks": [1, 1], "attention": [1]}),
    "vector": ("mlp", (2,), {"width": 16, "layers": 2}),
}  # fmt: skip


def make_bundle(
    kind: str,
    *,
    classes: tuple[str, ...] = ("zero", "one", "two"),
    target: str = "edm",
    process: str = "edm",
    process_options: dict[str, Any] | None = None,
    sampler: Sampler | None = None,
    seed: int = 0,
) -> Bundle:
    """A bundle whose network answers something, unlike a fresh one, which answers 0."""
    name, shape, options = _NETS[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = NETS[name](shape, of_classes(len(classes)), **options)
        for parameter in net.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.2)
    return Bundle(
        model=Model(net, TARGETS[target]()),
        net=name,
        target=target,
        process=process,
        process_options=process_options or {},
        coding=CODINGS[kind],
        shape=shape,
        conditions=(class_of(classes),) if classes else (),
        sampler=sampler or Sampler(),
        weights="average of relative width 0.1",
        provenance={"data": "toy", "licence": "CC0-1.0", "steps": 12, "seconds": 0.1 + 0.2},
    )
