"""Settings of the network, of what it predicts, and of the forward process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from ornstein.config.kinds import (
    Auto,
    Choice,
    EntryName,
    NetName,
    NetSize,
    ProcessName,
    Said,
    TargetName,
    VarianceName,
)
from ornstein.config.options import bind, check_options
from ornstein.config.section import Section

if TYPE_CHECKING:
    from ornstein.core import Process, Target

KINDS = ("denoiser", "classifier")


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
