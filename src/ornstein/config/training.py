"""Settings of the training: what it minimises, how long and how."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from ornstein.config.kinds import (
    Auto,
    Beta,
    Cadence,
    Count,
    CouplingName,
    LawName,
    LossName,
    OptimizerName,
    Precision,
    Said,
    Seed,
    Share,
    WeightName,
    pair,
)
from ornstein.config.section import Section

LENGTHS = ("minutes", "steps", "images")


class ObjectiveSettings(Section):
    """What training minimises."""

    loss: LossName = Field(
        default="weighted",
        description="The weighted error of x0, the variational bound (vlb), or hybrid: the first, "
        "and 0.001 of the second for the variance.",
    )
    law: LawName = Field(
        default="log-normal", description="Law of the noise levels that are trained."
    )
    location: Annotated[float, Field(ge=-20, le=20)] = Field(
        default=-0.5, description="Mean of log(sigma/alpha) under the log-normal law."
    )
    scale: Annotated[float, Field(gt=0, le=20)] = Field(
        default=1.2, description="Its standard deviation."
    )
    weight: WeightName = Field(default="edm", description="Weight of the error at each level.")
    coupling: CouplingName = Field(
        default="independent",
        description="Which noise meets which item; transport matches them within a batch, for "
        "flows that are sampled by a deterministic solver.",
    )
    importance: bool = Field(
        default=False,
        description="Meet levels of large losses more often, and weigh them less.",
    )

    @model_validator(mode="after")
    def _check(self) -> ObjectiveSettings:
        if self.weight == "likelihood" and self.law != "log-snr":
            raise ValueError(
                "objective.weight = 'likelihood' is the variational bound only with "
                f"objective.law = 'log-snr', not '{self.law}'; set that too."
            )
        if self.loss == "vlb" and self.law != "steps":
            raise ValueError(
                "objective.loss = 'vlb' is the variational bound only with "
                f"objective.law = 'steps', not '{self.law}'; set that too."
            )
        return self


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
