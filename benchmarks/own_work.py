"""ornstein: one step of its Trainer, or a walk by its bundle; ``python -m benchmarks.own_work``.

The network is its own default for these data and ten minutes, or, with the option "twin", the
architecture of diffusers' UNet2DModel.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.peers.serving import Ask, Work, serve
from benchmarks.twin import Twin
from ornstein import build
from ornstein.config import Config, resolve
from ornstein.core import TARGETS
from ornstein.data import Dataset, open_data
from ornstein.model import Model
from ornstein.planning import plan
from ornstein.training.loop import Trainer

CPU = torch.device("cpu")


def prepare(ask: Ask) -> Work:
    """Build the network and what is done with it."""
    data = _pictures(max(1000, ask.batch))
    half = ("precision=bfloat16",) if ask.has("bfloat16") else ()
    if ask.has("twin"):
        same = (f"batch={ask.batch}", "optimizer=adamw", "learning_rate=1e-3", "net.name=unet")
        config = resolve(sets=(*same, *half)).config
    else:
        config = plan(resolve(sets=half).config, data, CPU).config
    trainer = _trainer(ask, config, data)
    says = {"net": "diffusers' architecture" if ask.has("twin") else config.net.size}
    bundle = build.bundle(config, trainer.model, data, {})
    evaluations = bundle.sample(1).evaluations
    if ask.task == "sample":
        chosen = bundle.to(CPU, "bfloat16" if ask.has("bfloat16") else None)

        def walk() -> object:
            return chosen.sample(
                ask.batch, solver="ddim", grid="uniform", steps=ask.steps, guidance=1.0
            )

        return Work(trainer.model, walk, evaluations, ask.batch, says)
    trainer.model.train()
    batch = trainer.settings.batch
    return Work(trainer.model, lambda: trainer.step(10**6), evaluations, batch, says)


def _trainer(ask: Ask, config: Config, data: Dataset) -> Trainer:
    """A training of the network that is asked for."""
    if not ask.has("twin"):
        return build.trainer(config, data, CPU)
    net = Twin()
    called = torch.compile(net) if ask.has("compile") else net
    model = Model(called, TARGETS["eps"]())
    return Trainer(model, data, build.objective(config), build.settings(config))


def _pictures(count: int) -> Dataset:
    """Pictures of noise, 32x32x1, in memory as bytes: what they show costs no time."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "noise.npy"
        noise = np.random.default_rng(0).integers(0, 256, (count, 1, 32, 32), dtype=np.uint8)
        np.save(path, noise, allow_pickle=False)
        return open_data(str(path))


if __name__ == "__main__":
    serve(prepare)
