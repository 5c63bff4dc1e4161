"""Settings of the data."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from ornstein.config.kinds import Auto, Count, Factor, LayoutName, Said, Side, Sides, writable
from ornstein.config.section import Section

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
