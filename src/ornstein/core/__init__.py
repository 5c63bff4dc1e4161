"""Floor 0: levels, processes, targets, kernels, grids, noise and exact laws."""

from ornstein.core.chain import DDPM, ZeroSNR
from ornstein.core.denoiser import Denoiser, Estimate, from_x0
from ornstein.core.exact import FiniteData, Gaussian, Mixture, Principal
from ornstein.core.families import EDM, PROCESSES, VE, VP, Flow, SubVP, Trig
from ornstein.core.grid import GRIDS
from ornstein.core.kernel import Bridge, Transition, bridge, transition
from ornstein.core.level import Level, check_descent, per_item, spread
from ornstein.core.noise import Draw, FreshNoise, ItemNoise, Noise, generator, item_normal, key
from ornstein.core.path import forward_path, forward_sde
from ornstein.core.prior import prior_kl
from ornstein.core.process import Process, Shifted
from ornstein.core.target import TARGETS, X0, EDMTarget, Eps, Score, Target, V, Velocity
from ornstein.core.variance import VARIANCES, Uncertainty, knowing

__all__ = [
    "DDPM", "EDM", "GRIDS", "PROCESSES", "TARGETS", "VARIANCES", "VE", "VP", "X0", "Bridge",
    "Denoiser", "Draw", "EDMTarget", "Eps", "Estimate", "FiniteData", "Flow", "FreshNoise",
    "Gaussian", "ItemNoise", "Level", "Mixture", "Noise", "Principal", "Process", "Score",
    "Shifted", "SubVP", "Target", "Transition", "Trig", "Uncertainty", "V", "Velocity", "ZeroSNR",
    "bridge", "check_descent", "forward_path", "forward_sde", "from_x0", "generator",
    "item_normal", "key", "knowing", "per_item", "prior_kl", "spread", "transition",
]  # fmt: skip
