"""What this machine can do: how fast training and sampling are on it, measured."""

from __future__ import annotations

from ornstein.benching.gauge import Gauge, Watch, gauge, summed_up
from ornstein.benching.report import Asked, Told, advice, report

__all__ = ["Asked", "Gauge", "Told", "Watch", "advice", "gauge", "report", "summed_up"]
