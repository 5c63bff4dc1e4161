"""A classifier of noisy items as something to train: the same data, session and files."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ornstein.bundle import Recogniser
from ornstein.config import Config
from ornstein.core import Level, generator
from ornstein.data import Dataset
from ornstein.data.conditions import CLASS
from ornstein.errors import ConfigError
from ornstein.model import Classifier
from ornstein.nets.encoder import Encoder
from ornstein.nets.sizes import SIZES
from ornstein.training.batches import afforded, evenly
from ornstein.training.ema import width_text
from ornstein.training.objective import LAWS
from ornstein.training.recognition import Recognition

ITEMS = 512  # on which the classifier is measured
RHOS = (0.0, 0.3, 1.0, 3.0)


def classifier(config: Config, data: Dataset) -> Classifier:
    """Build the untrained classifier; its first weights are a function of the seed alone.

    Raises:
        ConfigError: the data have no classes, or the settings are for a denoiser.
    """
    if not data.classes:
        raise ConfigError(
            f"a classifier needs data with classes, such as a folder for each; '{data.name}' has "
            "none."
        )
    if config.net.options:
        raise ConfigError("a classifier takes no net.options; its size is net.size.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.train.seed)
        net = Encoder(data.shape, len(data.classes), **_options(config, data))
    return Classifier(net)


def _options(config: Config, data: Dataset) -> dict[str, Any]:
    """The way down of the U-Net of that size, or the layers of the MLP."""
    size = config.net.size or "small"
    if len(data.shape) == 1:
        flat = SIZES["mlp"][size]
        return {"widths": [flat["width"]], "blocks": [flat["layers"]], "attention": []}
    return {name: SIZES["unet"][size][name] for name in ("widths", "blocks", "attention")}


def recognition(config: Config) -> Recognition:
    """Build what the training of a classifier minimises."""
    chosen = config.objective
    law = LAWS[chosen.law](chosen.location, chosen.scale)
    return Recognition(config.model.make_process(), law)


def recogniser(
    config: Config, trained: Classifier, data: Dataset, provenance: dict[str, Any]
) -> Recogniser:
    """Join a trained classifier with all that guiding by it needs."""
    return Recogniser(
        trained,
        data.coding,
        data.shape,
        data.classes,
        weights=width_text(config.train.ema),
        provenance=provenance,
    )


def _classed(data: Dataset) -> tuple[Tensor, Tensor]:
    """Indices of items that say their class, and the classes: held-out ones if any do.

    Of many some, evenly spread.
    """
    most = afforded(ITEMS, data.dims)
    told = next(condition for condition in data.conditions if condition.name == CLASS)
    pools = (part[told.said[part]] for part in (data.heldout, data.train))
    pool = next(part for part in pools if len(part))  # some training item does, at least
    pool = pool[evenly(len(pool), most).numpy()]
    return torch.as_tensor(pool), told.batch(pool)


@torch.no_grad()
def accuracies(
    trained: Classifier, data: Dataset, seed: int, piece: int = 128
) -> dict[str, float]:
    """Share of held-out items of known class that are recognised, by sigma/alpha of their noise.

    They are asked about in pieces of at most 128, and of at most ``piece``.
    """
    pool, labels = _classed(data)
    device, most = next(trained.parameters()).device, min(128, piece)
    clean = data.batch(pool)
    eps = torch.randn(clean.shape, generator=generator(seed, "recognised"))
    told: dict[str, float] = {}
    for rho in RHOS:
        # At no noise at all the network would see an infinite number; 0.002 is EDM's cleanest.
        level = Level(torch.tensor(1.0), torch.tensor(max(rho, 0.002)))
        parts = zip(clean.split(most), eps.split(most), strict=True)
        noised = (level.mix(x0, z).to(device) for x0, z in parts)
        said = torch.cat([trained(x, level).argmax(1).cpu() for x in noised])
        told[f"{rho:g}"] = float((said == labels).double().mean())
    return told
