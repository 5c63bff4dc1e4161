"""Before a training: what its settings leave open, decided by trying it out."""

from __future__ import annotations

from ornstein.planning.planning import BATCH, Plan, fills, plan
from ornstein.planning.trying import FAR, Trials

__all__ = ["BATCH", "FAR", "Plan", "Trials", "fills", "plan"]
