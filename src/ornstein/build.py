"""From settings to objects: the one place where names become networks, targets and objectives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from ornstein.bundle import Bundle, Sampler
from ornstein.config import Config
from ornstein.data import Dataset
from ornstein.errors import ConfigError
from ornstein.model import Model
from ornstein.nets import NETS
from ornstein.nets.sizes import SIZES
from ornstein.training.coupling import COUPLINGS
from ornstein.training.loop import Settings, Trainer
from ornstein.training.objective import LAWS, WEIGHTS, Objective


def device() -> torch.device:
    """Return the fastest device here: CUDA, then MPS, then the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def net_options(config: Config, data: Dataset) -> dict[str, Any]:
    """Arguments of the network: those of its size, then the user's own."""
    assert config.net.name is not None
    options = dict(SIZES[config.net.name][config.net.size]) if config.net.size else {}
    return {"shape": data.shape, "classes": class_count(data), **options, **config.net.options}


def class_count(data: Dataset) -> int:
    """Number of classes a network for this data knows; 0 without labels."""
    return len(data.classes) if data.labels is not None else 0


def model(config: Config, data: Dataset) -> Model:
    """Build the untrained model; its first weights are a function of the seed alone."""
    target, process = config.model.make_target(), config.model.make_process()
    target.check(process(1.0), f"the process '{config.model.process}'")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.train.seed)
        net = NETS[config.net.name or "unet"](**net_options(config, data))
    return Model(net, target)


def objective(config: Config) -> Objective:
    """Build what training minimises."""
    chosen = config.objective
    law = LAWS[chosen.law](chosen.location, chosen.scale)
    weight, coupling = WEIGHTS[chosen.weight], COUPLINGS[chosen.coupling]
    return Objective(config.model.make_process(), law, weight, coupling)


def settings(config: Config) -> Settings:
    """Gather the loop's settings; batch and rate must have been planned."""
    train = config.train
    assert train.batch is not None
    assert train.learning_rate is not None
    return Settings(
        batch=train.batch,
        accumulate=train.accumulate,
        optimizer=train.optimizer or "adamw",
        learning_rate=train.learning_rate,
        matrix_rate=train.matrix_rate,
        betas=train.betas,
        weight_decay=train.weight_decay,
        clip=train.clip,
        warmup=train.warmup,
        decay=train.decay,
        ema=train.ema,
        class_dropout=train.class_dropout,
        flip=config.data.flip,
        seed=train.seed,
        precision=train.precision or "float32",
    )


def trainer(config: Config, data: Dataset, where: torch.device) -> Trainer:
    """Build a training that has not begun."""
    built, how = model(config, data), replace(settings(config), bins=bins(config, data))
    return Trainer(built, data, objective(config), how, class_count(data), where)


def bins(config: Config, data: Dataset) -> tuple[float, ...]:
    """Width of a level in each channel, standardised, where the data are to be dequantised.

    Raises:
        ConfigError: they are real numbers.
    """
    if not config.data.dequantise:
        return ()
    step = data.coding.step
    if step is None:
        raise ConfigError(
            f"data.dequantise is for data of levels, such as 8-bit pictures; '{data.name}' holds "
            "real numbers. Leave it out."
        )
    return tuple(step / std for std in data.coding.std)


def bundle(config: Config, trained: Model, data: Dataset, provenance: dict[str, Any]) -> Bundle:
    """Join a trained model with all that sampling it needs."""
    chosen = config.sample
    return Bundle(
        model=trained,
        net=config.net.name or "unet",
        target=config.model.target,
        process=config.model.process,
        process_options=config.model.process_options,
        coding=data.coding,
        shape=data.shape,
        classes=data.classes if data.labels is not None else (),
        sampler=Sampler(
            chosen.solver,
            chosen.grid,
            chosen.schedule,
            chosen.steps,
            1.0 if config.sample.guidance is None else config.sample.guidance,
        ),
        weights=f"average of relative width {config.train.ema:g}" if config.train.ema else "raw",
        provenance=provenance,
    )
