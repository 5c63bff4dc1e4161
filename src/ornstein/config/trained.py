"""How long and how it is trained, and how samples are made when nothing is said."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from ornstein.config.kinds import (
    Auto,
    Beta,
    Cadence,
    Count,
    GridName,
    OptimizerName,
    Precision,
    ProcessName,
    Rho,
    Said,
    Seed,
    Share,
    SolverName,
    pair,
)
from ornstein.config.section import Section


class TrainSettings(Section):
    """How long and how. At most one of minutes, steps and images is set."""

    minutes: Annotated[Annotated[float, Field(gt=0, le=1e6)] | None, Auto] = Field(
        default=None,
        description="Time for the training; the size of the network, precision and steps are "
        "planned to fit.",
    )
    steps: Annotated[Count | None, Auto] = Field(
        default=None, description="Steps of the optimiser."
    )
    images: Annotated[Count | None, Auto] = Field(
        default=None, description="Items seen, with repeats."
    )
    batch: Annotated[Annotated[int, Field(ge=1, le=1_000_000)] | None, Auto] = Field(
        default=None,
        description="Items per step, of all ranks together; auto is 64 pictures or series, 512 "
        "points or rows, whatever the machine.",
    )
    accumulate: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=1,
        description="Pieces a batch is computed in, to save memory; the result is the same.",
    )
    checkpoint_activations: bool = Field(
        default=False,
        description="Compute the inside of the network's blocks again in the backward pass, to "
        "save memory; the losses stay the same.",
    )
    shard: bool = Field(
        default=False,
        description="Let each of several ranks hold a part of the weights and of the optimiser "
        "only (FSDP2), for a model that does not fit one device.",
    )
    optimizer: Annotated[OptimizerName | None, Auto] = Field(
        default=None,
        description="AdamW, or Muon for the matrices inside the network and AdamW for the rest; "
        "auto takes Muon for all but the MLP.",
    )
    matrix_rate: Annotated[float, Field(gt=0, le=10)] = Field(
        default=0.01, description="Peak rate of Muon."
    )
    learning_rate: Annotated[Annotated[float, Field(gt=0, le=10)] | None, Auto] = Field(
        default=None, description="Peak rate of AdamW; auto is 0.003."
    )
    warmup: Share = Field(
        default=0.02, description="Share of the training over which the rate rises."
    )
    decay: Share = Field(
        default=0.5, description="Share over which it falls to 0, at the end; 0 keeps it constant."
    )
    betas: Annotated[
        tuple[Beta, Beta], BeforeValidator(pair), Said("two numbers from 0 and below 1")
    ] = Field(
        default=(0.9, 0.99),
        description="AdamW's averaging of the gradient and of its square.",
    )
    weight_decay: Annotated[float, Field(ge=0, le=10)] = Field(
        default=0.0, description="AdamW's decoupled decay."
    )
    clip: Annotated[float, Field(ge=0, le=1e6)] = Field(
        default=1.0, description="Bound on the norm of the gradient; 0 for none."
    )
    ema: Annotated[float, Field(ge=0, le=0.25)] = Field(
        default=0.05,
        description="Relative width of the average of the weights; 0 follows the weights.",
    )
    snapshots: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=0,
        description="Times that averages of widths 0.05 and 0.1 are stored, from which `ornstein "
        "ema` makes any width afterwards; each takes 8 bytes a weight on the disk.",
    )
    condition_dropout: Share = Field(
        default=0.1,
        description="Share of the items told nothing in training, so that guidance is possible.",
    )
    seed: Seed = Field(default=0, description="Where all randomness of the training comes from.")
    precision: Annotated[Precision | None, Auto] = Field(
        default=None,
        description="Precision of the network's arithmetic; auto takes what is fast here.",
    )
    compile: bool = Field(
        default=False,
        description="Let torch compile the network: the first step takes a minute or more, those "
        "after it less than before; `ornstein bench --compile` tells both.",
    )
    save_every: Cadence = Field(
        default=None, description="Steps between checkpoints; auto goes by time."
    )
    sample_every: Cadence = Field(default=None, description="Steps between sample grids.")
    log_every: Cadence = Field(default=None, description="Steps between lines of the log.")

    @model_validator(mode="after")
    def _check(self) -> TrainSettings:
        given = [name for name in LENGTHS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(
                f"train.{given[0]} and train.{given[1]} are both set; set only one of "
                f"{', '.join(LENGTHS)}."
            )
        if self.warmup + self.decay > 1:
            raise ValueError(
                f"train.warmup ({self.warmup:g}) and train.decay ({self.decay:g}) are shares of "
                "one training; together they must not exceed 1."
            )
        return self


LENGTHS = ("minutes", "steps", "images")


class SampleSettings(Section):
    """How samples are made when nothing else is said; the model file keeps it."""

    solver: SolverName = Field(default="dpmpp-2m", description="Solver.")
    grid: GridName = Field(default="karras", description="How the noise levels are spaced.")
    schedule: Annotated[ProcessName | None, Auto] = Field(
        default=None,
        description="Process whose levels are walked; auto takes the one of training.",
    )
    steps: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=20, description="Steps of the solver."
    )
    guidance: Annotated[Annotated[float, Field(ge=0, le=100)] | None, Auto] = Field(
        default=None,
        description="Scale of classifier-free guidance towards the class; 1 is off, auto is 2 "
        "for pictures and series with classes or tags, unless the model upscales.",
    )
    interval: Annotated[
        tuple[Rho, Rho] | None,
        BeforeValidator(pair),
        Auto,
        Said("two rising numbers from 0 to 1,000,000"),
    ] = Field(
        default=None,
        description="Levels of sigma/alpha, from and to, at which is guided; auto is 0.3 to 3 for "
        "the same, and all levels else.",
    )
    count: Annotated[Annotated[int, Field(ge=1, le=10_000)] | None, Auto] = Field(
        default=None,
        description="Items on the sample grids during training; auto makes 64, and 1,000 points.",
    )
    seed: Seed = Field(default=0, description="Seed of those grids.")

    @model_validator(mode="after")
    def _check(self) -> SampleSettings:
        if self.interval and self.interval[0] >= self.interval[1]:
            raise ValueError(
                "sample.interval goes from a low to a higher sigma/alpha, such as [0.3, 3.0], not "
                f"from {self.interval[0]:g} to {self.interval[1]:g}."
            )
        return self
