"""Edits of items in raw units with a trained model: what ``ornstein edit`` does."""

from ornstein.editing.verbs import fill, invert, mix, posed, restore, vary
from ornstein.editing.workbench import AUTO, METHODS, Ask, Edited, Workbench, settled

__all__ = [
    "AUTO",
    "METHODS",
    "Ask",
    "Edited",
    "Workbench",
    "fill",
    "invert",
    "mix",
    "posed",
    "restore",
    "settled",
    "vary",
]
