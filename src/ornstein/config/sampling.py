"""Settings of sampling."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from ornstein.config.kinds import Auto, GridName, ProcessName, Rho, Said, Seed, SolverName, pair
from ornstein.config.section import Section


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
