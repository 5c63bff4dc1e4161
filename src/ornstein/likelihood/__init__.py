"""Log density of any denoiser, and the likelihood of data under a model (probability flow)."""

from ornstein.likelihood.answer import Likelihood
from ornstein.likelihood.bounded import bounded
from ornstein.likelihood.cost import Cost, cost
from ornstein.likelihood.density import LogDensity, log_density
from ornstein.likelihood.divergence import Axes, Hutchinson, divergence
from ornstein.likelihood.ode import likelihood

__all__ = [
    "Axes", "Cost", "Hutchinson", "Likelihood", "LogDensity", "bounded", "cost", "divergence",
    "likelihood", "log_density",
]  # fmt: skip
