"""Settings: what can be set, how layers of it are merged, and how it is written down."""

from __future__ import annotations

from ornstein.config.about import Field, fields
from ornstein.config.data import DataSettings
from ornstein.config.model import ModelSettings, NetSettings
from ornstein.config.resolve import (
    RECIPES,
    Resolved,
    load_config,
    recipe_about,
    resolve,
    settings_in,
)
from ornstein.config.sampling import SampleSettings
from ornstein.config.schema import Config
from ornstein.config.toml import to_toml
from ornstein.config.training import ObjectiveSettings, TrainSettings

__all__ = [
    "RECIPES",
    "Config",
    "DataSettings",
    "Field",
    "ModelSettings",
    "NetSettings",
    "ObjectiveSettings",
    "Resolved",
    "SampleSettings",
    "TrainSettings",
    "fields",
    "load_config",
    "recipe_about",
    "resolve",
    "settings_in",
    "to_toml",
]
