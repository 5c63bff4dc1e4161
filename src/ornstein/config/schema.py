"""All settings of a training, and what of them must fit together."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from ornstein.config.data import DataSettings
from ornstein.config.model import ModelSettings, NetSettings
from ornstein.config.sampling import SampleSettings
from ornstein.config.section import Section
from ornstein.config.training import ObjectiveSettings, TrainSettings


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

    def changed(self, section: str, **values: object) -> Config:
        """Return the settings with some of one section changed, all of that section checked again.

        Raises:
            ValidationError: no such setting, or a value that it cannot have.
        """
        part = getattr(self, section)
        made = type(part).model_validate({**part.model_dump(), **values})
        return self.model_copy(update={section: made})

    def completed(self, section: str, **values: object) -> Config:
        """Return the settings with those of one section filled in that are still open (None)."""
        part = getattr(self, section)
        left_open = {name: value for name, value in values.items() if getattr(part, name) is None}
        return self.changed(section, **left_open)

    def changes(self, other: Config) -> dict[str, tuple[Any, Any]]:
        """Settings that differ: full name to (mine, the other's)."""
        mine, theirs = self.flat(), other.flat()
        return {name: (mine[name], theirs[name]) for name in mine if mine[name] != theirs[name]}
