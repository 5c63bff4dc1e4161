"""How a model is trained, as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Settings:
    """How a model is trained; every default is sane for a first run.

    Attributes:
        batch: Items per step, over all pieces.
        accumulate: Pieces a batch is computed in, to save memory.
        checkpoint_activations: Compute the inside of a network's blocks twice, to save memory.
        shard: Each rank holds a part of every weight and of the optimiser's memory (FSDP2).
        optimizer: "adamw", or "muon" for the matrices inside the network and AdamW for the rest.
        learning_rate: Peak rate of AdamW.
        matrix_rate: Peak rate of Muon.
        betas: AdamW's averaging.
        weight_decay: AdamW's decoupled decay.
        clip: Bound on the gradient norm.
        warmup: Share of the training over which the rate rises.
        decay: Share of the training over which the rate falls to zero, at the end.
        ema: Relative width of the weight average.
        snapshots: Times that two more averages are stored; 0 follows none.
        condition_dropout: Share of the items told nothing, so that guidance is possible.
        flip: Mirror half of the pictures left to right.
        noised: Names of conditions that are pictures, on which noise is put at a random share; the
            condition "NAME-noise" tells it.
        bins: Width of a level in each channel, standardised: uniform noise so wide is added to the
            data, which are levels, so that a density is learned (arXiv:1511.01844). () adds none.
        seed: Where all randomness comes from.
        compile: Let torch compile the network.
        precision: "float32", or "bfloat16" for the network's inner arithmetic (autocast); weights,
            optimiser and averages stay in float32.
    """

    batch: int = 128
    accumulate: int = 1
    checkpoint_activations: bool = False
    shard: bool = False
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    matrix_rate: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    clip: float = 1.0
    warmup: float = 0.02
    decay: float = 0.5
    ema: float = 0.05
    snapshots: int = 0
    condition_dropout: float = 0.1
    flip: bool = False
    noised: tuple[str, ...] = ()
    bins: tuple[float, ...] = ()
    seed: int = 0
    compile: bool = False
    precision: str = "float32"


class Rates(Protocol):
    """What says how fast is learned: Settings, or those of a file."""

    @property
    def optimizer(self) -> str | None:
        """As in Settings; None where none is chosen yet."""

    @property
    def learning_rate(self) -> float | None:
        """Likewise."""

    @property
    def matrix_rate(self) -> float:
        """As in Settings."""


def slower(rates: Rates, share: float) -> str:
    """Say what to type for a new training with a share of the rates that there are."""
    told = [f"--set learning_rate={(rates.learning_rate or Settings.learning_rate) * share:.1g}"]
    if rates.optimizer == "muon":  # which trains the matrices, and AdamW what is left
        told.append(f"--set matrix_rate={rates.matrix_rate * share:.1g}")
    return " ".join([*told, "--name NAME"])
