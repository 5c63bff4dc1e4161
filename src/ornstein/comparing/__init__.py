"""Diffusion beside the other families of generative models: same data, same time, same judge."""

from ornstein.comparing.comparison import Comparison, compare, done
from ornstein.comparing.families import FAMILIES, Family, check_needs
from ornstein.comparing.family import Budget, Fit, Fitted, Spent, Task
from ornstein.comparing.measuring import Part, samples

__all__ = [
    "FAMILIES",
    "Budget",
    "Comparison",
    "Family",
    "Fit",
    "Fitted",
    "Part",
    "Spent",
    "Task",
    "check_needs",
    "compare",
    "done",
    "samples",
]
