"""Log density of any denoiser, and the likelihood of data under a model (probability flow)."""

from ornstein.likelihood.answer import Likelihood
from ornstein.likelihood.bounded import bounded
from ornstein.likelihood.cost import Cost, cost
from ornstein.likelihood.density import Density, log_density
from ornstein.likelihood.divergence import Axes, Hutchinson, divergence
from ornstein.likelihood.trained import likelihood

__all__ = [
    "Axes", "Cost", "Density", "Hutchinson", "Likelihood", "bounded", "cost", "divergence",
    "likelihood", "log_density",
]  # fmt: skip
