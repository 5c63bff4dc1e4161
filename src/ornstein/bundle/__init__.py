"""The trained thing: a model with all that is needed to sample it, in one file."""

from __future__ import annotations

from ornstein.bundle.bundle import Bundle
from ornstein.bundle.file import load
from ornstein.bundle.parts import Sampler, TunedGrid, Walk

__all__ = ["Bundle", "Sampler", "TunedGrid", "Walk", "load"]
