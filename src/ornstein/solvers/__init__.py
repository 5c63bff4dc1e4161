"""Solvers: each moves x from one level to the next by asking the denoiser."""

from collections.abc import Callable
from functools import partial

from ornstein.core import VP
from ornstein.solvers.ancestral import Ancestral
from ornstein.solvers.base import Solver, Step, asked, sample, trace
from ornstein.solvers.euler_maruyama import EulerMaruyama
from ornstein.solvers.first_order import DDIM
from ornstein.solvers.frame import ANGLE, DATA, FLOW, LOG_SNR, RHO, Clock, Frame, clock_of
from ornstein.solvers.langevin import AnnealedLangevin, PredictorCorrector
from ornstein.solvers.multistep import (
    DEIS,
    IPNDM,
    LMS,
    AngleAB,
    DataAB,
    DPMpp2M,
    DPMpp3M,
    DPMSolver,
    FlowAB,
    Multistep,
    Tapered,
)
from ornstein.solvers.noised import Churn, Renoised
from ornstein.solvers.sde import SASolver, SDEDPMpp, noisy
from ornstein.solvers.single_step import DPM2, DPM3, DPMpp2S, DPMpp3S, Heun, SingleStep
from ornstein.solvers.unipc import BH1, BH2, UniPC
from ornstein.solvers.weights import ADAMS, EXACT, MIDPOINT, PUBLISHED, Rule

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
    "dpmpp-3m-published": partial(DPMpp3M, rule=PUBLISHED),
    "dpmpp-2s": DPMpp2S,
    "dpmpp-3s": DPMpp3S,
    "dpm-2": DPM2,
    "dpm-3": DPM3,
    "dpm-2m": DPMSolver,
    "dpm-3m": partial(DPMSolver, points=3),
    "unipc-2": UniPC,
    "unipc-3": partial(UniPC, points=3),
    "unipc-2-bh1": partial(UniPC, rule=BH1),
    "unipc-3-bh1": partial(UniPC, points=3, rule=BH1),
    "deis-2": partial(DEIS, points=2),
    "deis-3": DEIS,
    "deis-t-3": partial(DEIS, clock=clock_of(VP())),
    "data-ab-3": DataAB,
    "angle-ab-3": AngleAB,
    "flow-ab-2": partial(FlowAB, points=2),
    "flow-ab-3": FlowAB,
    "flow-eab-3": partial(FlowAB, clock=LOG_SNR),
    "lms": LMS,
    "ipndm": IPNDM,
    "euler-ancestral": Renoised,
    "dpm-2-ancestral": partial(Renoised, DPM2()),
    "dpmpp-2s-ancestral": partial(Renoised, DPMpp2S()),
    "sde-dpmpp-1": partial(SDEDPMpp, points=1),
    "sde-dpmpp-2m": SDEDPMpp,
    "sde-dpmpp-3m": partial(SDEDPMpp, points=3),
    "sa-solver": SASolver,
    "churn": Churn,
    "euler-maruyama": EulerMaruyama,
    "pc": PredictorCorrector,
    "langevin": AnnealedLangevin,
}

__all__ = [
    "ADAMS",
    "ANGLE",
    "BH1",
    "BH2",
    "DATA",
    "DDIM",
    "DEIS",
    "DPM2",
    "DPM3",
    "EXACT",
    "FLOW",
    "IPNDM",
    "LMS",
    "LOG_SNR",
    "MIDPOINT",
    "PUBLISHED",
    "RHO",
    "SOLVERS",
    "Ancestral",
    "AngleAB",
    "AnnealedLangevin",
    "Churn",
    "Clock",
    "DPMSolver",
    "DPMpp2M",
    "DPMpp2S",
    "DPMpp3M",
    "DPMpp3S",
    "DataAB",
    "EulerMaruyama",
    "FlowAB",
    "Frame",
    "Heun",
    "Multistep",
    "PredictorCorrector",
    "Renoised",
    "Rule",
    "SASolver",
    "SDEDPMpp",
    "SingleStep",
    "Solver",
    "Step",
    "Tapered",
    "UniPC",
    "asked",
    "clock_of",
    "noisy",
    "sample",
    "trace",
]
