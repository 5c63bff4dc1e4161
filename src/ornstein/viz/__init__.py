"""Pictures of data, samples and processes: arrays and tensors in, images out."""

from ornstein.viz.forward import ascent, joint_path
from ornstein.viz.pictures import film, grid, strip
from ornstein.viz.reverse import Reversal, record
from ornstein.viz.sheets import limits_of, sheet, strip_rows

__all__ = [
    "Reversal",
    "ascent",
    "film",
    "grid",
    "joint_path",
    "limits_of",
    "record",
    "sheet",
    "strip",
    "strip_rows",
]
