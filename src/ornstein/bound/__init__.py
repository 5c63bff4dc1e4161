"""The variational bound on -log p(x0) of any denoiser on any list of levels, term by term."""

from ornstein.bound.chain import Chain
from ornstein.bound.decoder import Bins, Decoder, Density, Softmax, decoder_of
from ornstein.bound.estimate import Bound, bound, measure_uncertainty, path_bound

__all__ = [
    "Bins", "Bound", "Chain", "Decoder", "Density", "Softmax", "bound", "decoder_of",
    "measure_uncertainty", "path_bound",
]  # fmt: skip
