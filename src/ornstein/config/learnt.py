"""What is learnt: the data, the network, what it predicts and what training minimises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from ornstein.config.kinds import (
    Auto,
    Choice,
    Count,
    CouplingName,
    EntryName,
    Factor,
    LawName,
    LayoutName,
    LossName,
    NetName,
    NetSize,
    ProcessName,
    Said,
    Side,
    Sides,
    TargetName,
    VarianceName,
    WeightName,
    writable,
)
from ornstein.config.options import bind, check_options
from ornstein.config.section import Section

if TYPE_CHECKING:
    from ornstein.core import Process, Target

KINDS = ("denoiser", "classifier")
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
        "of series. auto: arrays, and pictures that all have one size up to 64x64, keep theirs; "
        "other pictures become squares of the median short side, at most 64, a multiple of 8, "
        "cropped at the centre; sounds are cut at 4,096 samples, CSV files at 64 lines.",
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
