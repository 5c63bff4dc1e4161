"""The variational bound on -log p(x0) of any denoiser on any list of levels, term by term."""

from ornstein.bound.chain import Chain
from ornstein.bound.decoder import Bins, Decoder, Density, Softmax
from ornstein.bound.estimate import Bound, bound, measure_uncertainty, path_bound

__all__ = [
    "Bins", "Bound", "Chain", "Decoder", "Density", "Softmax", "bound", "measure_uncertainty",
    "path_bound",
]  # fmt: skip
