"""Solvers: each moves x from one level to the next by asking the denoiser."""

from collections.abc import Callable
from functools import partial

from ornstein.solvers.ancestral import Ancestral
from ornstein.solvers.base import Solver, Step, sample, trace
from ornstein.solvers.first_order import DDIM
from ornstein.solvers.frame import FLOW, RHO, Frame
from ornstein.solvers.multistep import DPMpp2M, DPMpp3M
from ornstein.solvers.runge_kutta import Heun

SOLVERS: dict[str, Callable[[], Solver]] = {
    "ddpm": Ancestral,
    "ddpm-large": partial(Ancestral, variance="large"),
    "ddim": DDIM,
    "euler": DDIM,  # Euler's step is DDIM's in every frame
    "heun": Heun,
    "heun-flow": partial(Heun, frame=FLOW),
    "dpmpp-1": DDIM,  # so is the first-order exponential step
    "dpmpp-2m": DPMpp2M,
    "dpmpp-3m": DPMpp3M,
    "dpmpp-3m-published": partial(DPMpp3M, as_published=True),
}

__all__ = [
    "DDIM",
    "FLOW",
    "RHO",
    "SOLVERS",
    "Ancestral",
    "DPMpp2M",
    "DPMpp3M",
    "Frame",
    "Heun",
    "Solver",
    "Step",
    "sample",
    "trace",
]
