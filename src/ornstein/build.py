"""From settings to objects: the one place where names become networks, targets and objectives."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import torch

from ornstein.bound import Decoder, Density, decoder_of, measure_uncertainty
from ornstein.bundle import Bundle, Recogniser, Sampler
from ornstein.config import Config
from ornstein.config.toml import toml_value
from ornstein.core import ItemNoise, Uncertainty
from ornstein.data import Dataset
from ornstein.data.cache import cache_folder
from ornstein.data.lowered import noised
from ornstein.errors import ConfigError
from ornstein.gaussians import fit_gaussians
from ornstein.guide import Guide
from ornstein.model import Classifier, Model
from ornstein.nets import NETS
from ornstein.nets.conditions import MOST
from ornstein.nets.sizes import SIZES
from ornstein.recognising import classifier, recogniser, recognition
from ornstein.training.batches import evenly
from ornstein.training.coupling import COUPLINGS
from ornstein.training.ema import width_text
from ornstein.training.leading import Leader
from ornstein.training.loop import Trainer
from ornstein.training.objective import LAWS, WEIGHTS, Criterion, Objective
from ornstein.training.ranks import ALONE, Ranks, Share
from ornstein.training.settings import Settings
from ornstein.training.times import Importance
from ornstein.training.variational import LOSSES


def fastest_device() -> torch.device:
    """Return the fastest device here: this rank's CUDA device, or else the CPU.

    Apple's MPS is not among them: it has no float64, in which all levels are kept.

    Raises:
        ConfigError: there are more ranks on this machine than CUDA devices.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    rank, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if rank >= count:
        raise ConfigError(
            f"rank {rank} on this machine has no CUDA device of its own: there are {count}. Start "
            f"at most {count} ranks here, such as --nproc {count}."
        )
    torch.cuda.set_device(rank)
    return torch.device("cuda", torch.cuda.current_device())


def net_options(config: Config, data: Dataset) -> dict[str, Any]:
    """Arguments of the network: those of its size, then the user's own.

    Raises:
        ConfigError: the data say more than a network can be told.
    """
    assert config.net.name is not None
    _check_conditions(data)
    options = dict(SIZES[config.net.name][config.net.size]) if config.net.size else {}
    outputs = 2 if config.model.variance == "learned" else 1
    given = {
        "shape": data.shape,
        "conditions": {c.name: c.declared.net for c in data.conditions},
        "entry": config.net.entry,
        "outputs": outputs,
    }
    return {**given, **options, **config.net.options}


def _check_conditions(data: Dataset) -> None:
    """Refuse more conditions than a network takes.

    Raises:
        ConfigError: how many there are, and how to choose.
    """
    names = [condition.name for condition in data.conditions]
    if len(names) > MOST:
        raise ConfigError(
            f"'{data.name}' has {len(names)} conditions, and at most {MOST} can be learned; name "
            f"the ones to learn: --set 'data.conditions={toml_value(names[:2])}'"
        )


def model(config: Config, data: Dataset) -> Model | Classifier:
    """Build what is trained, untrained."""
    return classifier(config, data) if recognises(config) else denoiser(config, data)


def recognises(config: Config) -> bool:
    """Whether a classifier of noisy items is trained, and no model that makes items."""
    return config.model.kind == "classifier"


def denoiser(config: Config, data: Dataset) -> Model:
    """Build the untrained model; its first weights are a function of the seed alone."""
    target, process = config.model.make_target(), config.model.make_process()
    target.check(process(1.0), f"the process '{config.model.process}'")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.train.seed)
        net = NETS[config.net.name or "unet"](**net_options(config, data))
    return Model(net, target, learned=config.model.variance == "learned")


def objective(config: Config, decoder: Decoder | None = None) -> Objective:
    """Build what training minimises; the decoder is that of the bound's last step."""
    chosen, process = config.objective, config.model.make_process()
    return Objective(
        process,
        LAWS[chosen.law](chosen.location, chosen.scale),
        WEIGHTS[chosen.weight],
        COUPLINGS[chosen.coupling],
        LOSSES[chosen.loss](process, decoder or Density()),
        Importance() if chosen.importance else None,
    )


def uncertainty(config: Config, trained: Model, data: Dataset) -> Uncertainty:
    """Measure the error of a trained model's x0 over the levels of its process.

    No more items are in memory at a time than training has there.
    """
    indices = torch.as_tensor(data.train)[evenly(len(data.train), 256)]
    device = next(trained.parameters()).device
    marks = torch.linspace(*config.model.make_process().span, 25, dtype=torch.float64).tolist()
    ratio = torch.zeros(len(marks), dtype=torch.float64)
    for part in indices.split(max(1, (config.train.batch or 256) // config.train.accumulate)):
        cond = {name: value.to(device) for name, value in data.condition_batch(part).items()}
        noise = ItemNoise(config.train.seed, part.tolist())
        clean = data.batch(part).to(device)
        found = measure_uncertainty(trained.given(cond), clean, marks, noise)
        ratio += torch.tensor(found.ratio) * (len(part) / len(indices))
    return Uncertainty(tuple(marks), tuple(ratio.tolist()))


def settings(config: Config) -> Settings:
    """Gather the loop's settings; batch and rate must have been planned."""
    train = config.train
    assert train.batch is not None
    assert train.learning_rate is not None
    return Settings(
        batch=train.batch,
        accumulate=train.accumulate,
        checkpoint_activations=train.checkpoint_activations,
        shard=train.shard,
        optimizer=train.optimizer or "adamw",
        learning_rate=train.learning_rate,
        matrix_rate=train.matrix_rate,
        betas=train.betas,
        weight_decay=train.weight_decay,
        clip=train.clip,
        warmup=train.warmup,
        decay=train.decay,
        ema=train.ema,
        snapshots=train.snapshots,
        condition_dropout=train.condition_dropout,
        flip=config.data.flip,
        seed=train.seed,
        compile=train.compile,
        precision=train.precision or "float32",
    )


def criterion(config: Config, data: Dataset) -> Criterion:
    """Build what training minimises, of a denoiser or of a classifier."""
    if recognises(config):
        return recognition(config)
    return objective(config, decoder_of(data.coding))


def trainer(config: Config, data: Dataset, device: torch.device, ranks: Share = ALONE) -> Trainer:
    """Build a training that has not begun; rank 0 of several leads the others."""
    pictures = noised([condition.declared for condition in data.conditions])
    built = model(config, data)
    fit_gaussians(built.net, data, ranks)
    how = replace(settings(config), bins=bins(config, data), noised=pictures)
    what = criterion(config, data)
    null = {condition.name: condition.declared.null(1) for condition in data.conditions}
    if how.compile and (cache := cache_folder()) is not None:
        # Torch's own place is in /tmp, where minutes of work are lost.
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache / "compiled"))
    many = isinstance(ranks, Ranks)
    make = Leader if many and ranks.rank == 0 else Trainer
    how = replace(how, shard=how.shard and many)  # one rank holds the whole
    return make(built, data, what, how, null, device, ranks)


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


def bundle(
    config: Config, trained: Model | Classifier, data: Dataset, provenance: dict[str, Any]
) -> Bundle | Recogniser:
    """Join a trained model with all that sampling it, or guiding by it, needs."""
    if isinstance(trained, Classifier):
        return recogniser(config, trained, data, provenance)
    chosen = config.sample
    return Bundle(
        model=trained,
        net=config.net.name or "unet",
        target=config.model.target,
        process=config.model.process,
        process_options=config.model.process_options,
        coding=data.coding,
        shape=data.shape,
        conditions=tuple(condition.declared for condition in data.conditions),
        sampler=Sampler(
            chosen.solver,
            chosen.grid,
            chosen.schedule,
            chosen.steps,
            1.0 if chosen.guidance is None else chosen.guidance,
            Guide("cfg", *chosen.interval) if chosen.interval else Guide(),
        ),
        weights=width_text(config.train.ema),
        provenance=provenance,
    )
