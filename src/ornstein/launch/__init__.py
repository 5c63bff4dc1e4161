"""Starting a training, or going on with one: names, settings, plans, refusals, who is told."""

from __future__ import annotations

from ornstein.launch.launch import train
from ornstein.launch.tracking import TRACKERS

__all__ = ["TRACKERS", "train"]
