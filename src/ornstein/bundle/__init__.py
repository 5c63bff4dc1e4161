"""The trained thing: a model with all that is needed to sample it, in one file."""

from __future__ import annotations

from ornstein.bundle.bundle import Bundle
from ornstein.bundle.file import load, load_any
from ornstein.bundle.parts import Sampler, TunedGrid, Walk
from ornstein.bundle.recogniser import Recogniser

__all__ = ["Bundle", "Recogniser", "Sampler", "TunedGrid", "Walk", "load", "load_any"]
