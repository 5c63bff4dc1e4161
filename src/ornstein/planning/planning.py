"""Planning: from a budget and measured step times to a network, a batch and a number of steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ornstein import build
from ornstein.config import Config
from ornstein.data import Dataset
from ornstein.data.conditions import NAMED
from ornstein.errors import ConfigError
from ornstein.gaussians import GUESS, suited
from ornstein.nets.sizes import SIZES
from ornstein.planning.trying import Trials
from ornstein.training.budget import largest
from ornstein.training.ranks import ALONE, Share

DEFAULT_MINUTES = 10.0
PREVIEWS = 10
LOG_SECONDS = 1.0

# What each kind of data is trained with when nothing is said: items per step, learning rate.
BATCH = {"image": 64, "series": 64, "vector": 512, "table": 512}
RATE = {"image": 3e-3, "series": 3e-3, "vector": 3e-3, "table": 3e-3}
ITEMS, POINTS = 64, 1000  # on a sheet: points cost little, and few of them show no shape
FLAT = ("vector", "table")  # kinds without space, for which a perceptron does

# Towards the condition, where there is one; and the levels of sigma/alpha that are guided, the
# interval of arXiv:2404.07724 for data of unit variance (docs/design-notes.md has the numbers).
GUIDANCE, INTERVAL = 2.0, (0.3, 3.0)

# What a plan fills in where it is left open.
FILLED = {
    "net.name", "net.size", "train.minutes", "train.batch", "train.learning_rate",
    "train.optimizer", "train.precision", "train.log_every", "sample.guidance",
    "sample.interval", "sample.count",
}  # fmt: skip

# Half precision is taken where a step takes less than this share of the time. What gains nothing
# has 0.9 to 1.3, what gains 0.5 to 0.75: the same training planned twice is planned alike.
WORTH = 0.8

# Items a size must see within the budget before it beats the next smaller one.
NEEDS = {
    "unet": {"tiny": 0.0, "small": 250e3, "medium": 1e6, "large": 10e6},
    "dit": {"tiny": 0.0, "small": 250e3, "medium": 1e6, "large": 10e6},
    "mlp": {"tiny": 0.0, "small": 1e6, "medium": 10e6, "large": 100e6},
}


@dataclass(frozen=True)
class Plan:
    """A training as it will be done.

    Attributes:
        config: Every open setting filled in.
        steps: Total steps; for a time budget a first estimate.
        seconds: Time budget, None for a number of steps.
        step_seconds: Measured time of one step; None when a checkpoint is gone on from, or ranks
            hold the weights in parts.
        parameters: Weights of the network.
        previews: Sample grids over the training.
        memory_mb: What a trial of it took at most; None when it was not tried now, or is not told.
        compile_seconds: Of the first step of a trial, where the network is compiled.
    """

    config: Config
    steps: int
    seconds: float | None
    step_seconds: float | None
    parameters: int
    previews: int = PREVIEWS
    memory_mb: int | None = None
    compile_seconds: float | None = None

    @property
    def checkpoint_bytes(self) -> int:
        """Size of one checkpoint: weights, average and the optimiser's two averages, float32."""
        return 4 * 4 * self.parameters


def plan(
    config: Config,
    data: Dataset,
    device: torch.device,
    ranks: Share = ALONE,
    check: Callable[[], None] = lambda: None,
    *,
    resumed: bool = False,
) -> Plan:
    """Fill in what the settings leave open, measuring where it matters.

    A plan is made once: its settings are kept in the run's config.toml, and a resumed run uses
    them. Its steps are in a checkpoint; a run that has none yet measures its pace again.

    Args:
        config: The settings.
        data: What is trained on.
        device: Where.
        ranks: This rank's share of each batch.
        check: Called between the steps of a trial; what it raises ends the planning.
        resumed: Whether a checkpoint is gone on from.

    Raises:
        ConfigError: the settings do not fit the data, or a time is asked for that takes a trial to
            be turned into steps where there can be none.
    """
    config = _from_data(config, data, resumed)
    assert config.train.batch is not None
    ranks.rows(config.train.batch)  # refused here, where no other rank waits yet
    seconds = 60 * config.train.minutes if config.train.minutes else None
    # One device may not hold what the ranks hold in parts, so nothing is tried on this one alone.
    tried = not (resumed or (config.train.shard and ranks.count > 1))
    if not (tried or resumed or seconds is None):
        raise ConfigError(
            "weights held in parts (train.shard) are not tried out before the training, so a time "
            "cannot be turned into steps; say how many: --steps 100000."
        )
    trials = Trials(data, device, ranks, check)
    if not config.net.size and not sized(config):
        config = config.changed("net", size=_size(config, seconds, trials))
    if tried and not config.train.precision:
        config = config.changed("train", precision=_precision(config, trials))
    measured, memory, compiling = trials.whole(config) if tried else (None, None, None)
    if measured is not None:
        config = config.completed("train", log_every=max(1, round(LOG_SECONDS / measured)))
    return Plan(
        config,
        _steps(config, seconds, measured),
        seconds,
        measured,
        sum(p.numel() for p in build.model(config, data).parameters()),
        memory_mb=memory,
        compile_seconds=compiling,
    )


def _from_data(config: Config, data: Dataset, resumed: bool) -> Config:
    """Fill in what follows from the kind of data alone.

    Raises:
        ConfigError: data that are no pictures are to be mirrored. A training that began so before
            this was refused may go on.
    """
    if config.data.flip and data.kind != "image" and not resumed:
        raise ConfigError(
            f"data.flip mirrors pictures; '{data.name}' holds {data.coding.noun}, which it would "
            "scramble. Leave it out."
        )
    if not (config.train.minutes or config.train.steps or config.train.images):
        config = config.changed("train", minutes=DEFAULT_MINUTES)
    flat = data.kind in FLAT
    config = config.completed("net", name="mlp" if flat else "unet")
    optimizer = "adamw" if config.net.name == "mlp" else "muon"
    config = config.completed("train",
        batch=BATCH[data.kind], learning_rate=RATE[data.kind], optimizer=optimizer,
    )  # fmt: skip
    guidance, interval = _guidance(config, data)
    config = config.completed("sample", guidance=guidance)
    if resumed:
        return config
    config = config.changed("net", options=_with_guess(config, data))
    return config.completed("sample", interval=interval, count=POINTS if flat else ITEMS)


def fills(key: str, asked: object, planned: object) -> bool:
    """Whether what was planned is what is asked for, or fills in what that leaves open."""
    if key == "net.options" and isinstance(asked, dict) and isinstance(planned, dict):
        added = {name: planned[name] for name in GUESS & planned.keys()}
        return {**added, **asked} == planned
    return asked == planned or (key in FILLED and asked is None)


def _with_guess(config: Config, data: Dataset) -> dict[str, Any]:
    """Options of the network: it sees the guess of Gaussians, one of each class or cluster.

    Not where a recipe follows a paper or an item is made of a smaller version of itself.
    """
    options = dict(config.net.options)
    if config.net.name != "unet" or config.recipe != "default" or GUESS & options.keys():
        return options
    if config.model.kind == "classifier" or config.data.upscale:
        return options
    return {**options, **suited(data)}


def sized(config: Config) -> bool:
    """Say whether the options of the network hold one that its size would give."""
    assert config.net.name is not None
    return any(config.net.options.keys() & size.keys() for size in SIZES[config.net.name].values())


def _guidance(config: Config, data: Dataset) -> tuple[float, tuple[float, float] | None]:
    """On where classes or tags were learned, and off for vectors, which it bends.

    It leads beyond what is asked for: to a surer class, but past a number or a picture.
    """
    named = any(condition.declared.kind in NAMED for condition in data.conditions)
    learned = named and config.train.condition_dropout > 0
    bent = data.kind in FLAT or config.data.upscale is not None
    return (GUIDANCE, INTERVAL) if learned and not bent else (1.0, None)


def _size(config: Config, seconds: float | None, trials: Trials) -> str:
    """The largest size of the network that sees enough items within the budget."""
    assert config.net.name is not None
    assert config.train.batch is not None
    needs, batch = NEEDS[config.net.name], config.train.batch
    if seconds is None:
        items = config.train.images or (config.train.steps or 0) * batch
        return largest(needs, lambda name: items)

    def seen(name: str) -> float:
        return seconds * batch / trials.affordable(config.changed("net", size=name))

    return largest(needs, seen)


def _precision(config: Config, trials: Trials) -> str:
    """Half precision where the chip computes in it and a step is really faster so."""
    if not has_bfloat16(trials.device):
        return "float32"
    whole, half = (config.changed("train", precision=n) for n in ("float32", "bfloat16"))
    return "bfloat16" if trials.share(whole, half) < WORTH else "float32"


def has_bfloat16(device: torch.device) -> bool:
    """Say whether the device has instructions for bfloat16, rather than imitating them."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Of the CPU there is no public question in all versions of torch.
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return device.type == "cpu" and any(getattr(torch.cpu, a, bool)() for a in asked)


def _steps(config: Config, seconds: float | None, measured: float | None) -> int:
    train = config.train
    if seconds is not None:
        return max(1, round(seconds / measured)) if measured else 1
    return train.steps or -(-(train.images or 1) // (train.batch or 1))
