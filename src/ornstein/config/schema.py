"""Every setting of a training: its section, type, bounds, default and what it means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ornstein.config.kinds import (
    Auto,
    Beta,
    Cadence,
    Choice,
    Count,
    CouplingName,
    EntryName,
    Factor,
    GridName,
    LawName,
    LayoutName,
    LossName,
    NetName,
    NetSize,
    OptimizerName,
    Precision,
    ProcessName,
    Rho,
    Said,
    Seed,
    Share,
    Side,
    Sides,
    SolverName,
    TargetName,
    VarianceName,
    WeightName,
    pair,
    writable,
)
from ornstein.config.options import bind, check_options

if TYPE_CHECKING:
    from ornstein.core import Process, Target


KINDS = ("denoiser", "classifier")


class Section(BaseModel):
    """Settings that belong together: frozen, strict about types, no unknown names."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


OPENING = (
    "source", "size", "limit", "columns", "label", "layout", "conditions", "allow_bad",
    "upscale",
)  # fmt: skip


class DataSettings(Section):
    """What is learnt."""

    source: Annotated[str, AfterValidator(writable)] = Field(
        default="",
        description="Built-in name, folder of pictures, .npy/.npz file, or table (.csv).",
    )
    size: Annotated[
        Side | Sides | None, Auto, Said("a whole number from 4 to 4,096, or two of them")
    ] = Field(
        default=None,
        description="Side of the pictures in pixels, or [height, width], or length of the windows "
        "of series; auto keeps theirs.",
    )
    limit: Annotated[Count | None, Auto] = Field(
        default=None, description="Use at most so many items; auto takes all."
    )
    conditions: Annotated[list[str] | None, Auto, Said("a list of names")] = Field(
        default=None,
        description="Names of the conditions that are learnt, of those that the data say; auto "
        "learns all, [] none.",
    )
    columns: Annotated[dict[str, str], Said("a table of columns")] = Field(
        default={},
        description="What columns of a table are: number, category, date (or date:%d/%m/%y) or "
        "omit; the others are told from their cells.",
    )
    label: Annotated[str | None, Auto] = Field(
        default=None, description="Column of a table that is the class; auto takes none."
    )
    layout: Annotated[LayoutName | None, Auto] = Field(
        default=None,
        description="What a CSV file holds: a table, a series in each of its rows, or one that "
        "runs down its columns; auto tells from its shape.",
    )
    allow_bad: bool = Field(
        default=False, description="Go on when more than 1 % of the pictures cannot be used."
    )
    upscale: Annotated[Factor | None, Auto] = Field(
        default=None,
        description="Tell the network of every item a version so many times smaller, and learn "
        "to make the item of it; auto tells none.",
    )
    flip: bool = Field(default=False, description="Mirror half of the pictures left to right.")
    dequantise: bool = Field(
        default=False,
        description="Add uniform noise as wide as a level to data of levels, which `ornstein "
        "likelihood` measures by; samples are rounded to levels either way.",
    )

    def opening(self) -> dict[str, Any]:
        """Arguments of :func:`ornstein.data.open_data`."""
        return self.model_dump(include={*OPENING})


class NetSettings(Section):
    """The network."""

    name: Annotated[NetName | None, Auto] = Field(
        default=None, description="Architecture; auto takes the one for the kind of data."
    )
    size: Annotated[NetSize | None, Auto] = Field(
        default=None, description="Size of the network; auto plans it from the time and the data."
    )
    entry: EntryName = Field(
        default="add",
        description="How conditions other than pictures enter: added or joined to the noise, or "
        "attended to at the levels that have attention.",
    )
    options: Annotated[dict[str, Any], Said("a table of options")] = Field(
        default={},
        description="Arguments of the architecture that are not left to the size.",
    )

    @model_validator(mode="after")
    def _check(self) -> NetSettings:
        if self.options and self.name is None:
            raise ValueError("net.options need net.name, the architecture they are for.")
        if self.name is not None:
            from ornstein.nets import NETS

            check_options(
                "net.options", f"net '{self.name}'", NETS[self.name], self.options, _GIVEN
            )
        return self


_GIVEN = frozenset({"shape", "conditions", "entry", "outputs"})  # from data and other settings


class ModelSettings(Section):
    """What the network predicts, and the forward process."""

    kind: Annotated[str, AfterValidator(Choice(lambda: KINDS))] = Field(
        default="denoiser",
        description="What is trained: a denoiser, which makes items, or a classifier of noisy "
        "items, which guides one (`--task classifier`).",
    )
    target: TargetName = Field(default="edm", description="What the network predicts.")
    process: ProcessName = Field(
        default="edm", description="Forward process that turns data into noise."
    )
    process_options: Annotated[dict[str, Any], Said("a table of options")] = Field(
        default={},
        description="Arguments of the process.",
    )
    variance: VarianceName = Field(
        default="small",
        description="Of a step of the solver ddpm: small (DDPM's smaller one), learned by the "
        "network, or analytic, from the error of x0 that is measured when the training ends.",
    )

    @model_validator(mode="after")
    def _check(self) -> ModelSettings:
        from ornstein.core import PROCESSES

        what, make = f"process '{self.process}'", PROCESSES[self.process]
        check_options("model.process_options", what, make, self.process_options)
        bind("model.process_options", make, self.process_options)
        return self

    def make_process(self) -> Process:
        """Build the forward process."""
        from ornstein.core import PROCESSES

        made: Process = bind(
            "model.process_options", PROCESSES[self.process], self.process_options
        )
        return made

    def make_target(self) -> Target:
        """Build the prediction target."""
        from ornstein.core import TARGETS

        return TARGETS[self.target]()


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
        default=None, description="Time for the training; net, batch and steps are planned to fit."
    )
    steps: Annotated[Count | None, Auto] = Field(
        default=None, description="Steps of the optimiser."
    )
    images: Annotated[Count | None, Auto] = Field(
        default=None, description="Items seen, with repeats."
    )
    batch: Annotated[Annotated[int, Field(ge=1, le=1_000_000)] | None, Auto] = Field(
        default=None, description="Items per step; auto measures what this machine does well."
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
        default=0.02, description="Peak rate of Muon."
    )
    learning_rate: Annotated[Annotated[float, Field(gt=0, le=10)] | None, Auto] = Field(
        default=None, description="Peak rate of AdamW; auto follows from net and batch."
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


class Config(Section):
    """All settings of a training."""

    recipe: str = Field(default="default", description="Recipe that the settings started from.")
    data: DataSettings = Field(default_factory=DataSettings)
    net: NetSettings = Field(default_factory=NetSettings)
    model: ModelSettings = Field(default_factory=ModelSettings)
    objective: ObjectiveSettings = Field(default_factory=ObjectiveSettings)
    train: TrainSettings = Field(default_factory=TrainSettings)
    sample: SampleSettings = Field(default_factory=SampleSettings)

    @model_validator(mode="after")
    def _check(self) -> Config:
        if self.model.variance == "learned" and self.objective.loss == "weighted":
            raise ValueError(
                "model.variance = 'learned' is trained by the bound, which objective.loss = "
                "'weighted' leaves out; set objective.loss = 'hybrid' too."
            )
        return self

    def flat(self) -> dict[str, Any]:
        """Every setting by its full name, such as "train.batch"."""
        flat: dict[str, Any] = {"recipe": self.recipe}
        for section, values in self:
            if isinstance(values, Section):
                flat.update({f"{section}.{name}": value for name, value in values})
        return flat

    def changes(self, other: Config) -> dict[str, tuple[Any, Any]]:
        """Settings that differ: full name to (mine, the other's)."""
        mine, theirs = self.flat(), other.flat()
        return {name: (mine[name], theirs[name]) for name in mine if mine[name] != theirs[name]}
