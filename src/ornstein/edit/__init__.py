"""Editing: measurements of an item that is to be made, and walks that start from a given one."""

from ornstein.edit.operators import Blur, Grey, Linear, Mask, Shrink, pseudo_inverse
from ornstein.edit.posterior import (
    POSTERIORS,
    Measurement,
    moment_matched,
    projected,
    pseudoinverse_guided,
)
from ornstein.edit.steering import Descended, Replaced
from ornstein.edit.walks import Code, decode, encode, part_way, slerp

__all__ = [
    "POSTERIORS",
    "Blur",
    "Code",
    "Descended",
    "Grey",
    "Linear",
    "Mask",
    "Measurement",
    "Replaced",
    "Shrink",
    "decode",
    "encode",
    "moment_matched",
    "part_way",
    "projected",
    "pseudo_inverse",
    "pseudoinverse_guided",
    "slerp",
]
