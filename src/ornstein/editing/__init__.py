"""Edits of items in raw units with a trained model: what ``ornstein edit`` and ``impute`` do."""

from ornstein.editing.imputing import Imputed, impute, impute_long
from ornstein.editing.upscaling import bicubic, cascade, misfit, psnr, upscale, versions
from ornstein.editing.verbs import fill, invert, mix, posed, restore, vary
from ornstein.editing.workbench import AUTO, METHODS, Ask, Edited, Workbench, settled

__all__ = [
    "AUTO",
    "METHODS",
    "Ask",
    "Edited",
    "Imputed",
    "Workbench",
    "bicubic",
    "cascade",
    "fill",
    "impute",
    "impute_long",
    "invert",
    "misfit",
    "mix",
    "posed",
    "psnr",
    "restore",
    "settled",
    "upscale",
    "vary",
    "versions",
]
