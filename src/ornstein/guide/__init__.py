"""Guidance: functions from denoisers to a denoiser, so they work with every solver.

A pair of answers, one to go to and one to go away from, is mixed into one: :func:`mixed` joins
any pair with any mix, :func:`within` keeps it to some levels, :class:`Guide` says all in plain
values.
"""

from ornstein.guide.classifier import LogProbability, classifier_guided
from ornstein.guide.manner import GUIDES, Guide
from ornstein.guide.mix import Mix, Pair, across, mixed, renoised, rescaled, towards, within
from ornstein.guide.pair import TOGETHER, Conditional, apart, classifier_free, together

__all__ = [
    "GUIDES",
    "TOGETHER",
    "Conditional",
    "Guide",
    "LogProbability",
    "Mix",
    "Pair",
    "across",
    "apart",
    "classifier_free",
    "classifier_guided",
    "mixed",
    "renoised",
    "rescaled",
    "together",
    "towards",
    "within",
]
