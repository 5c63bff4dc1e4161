"""Train, sample, evaluate and edit with your own diffusion models."""

from __future__ import annotations

__version__ = "0.1.0"
