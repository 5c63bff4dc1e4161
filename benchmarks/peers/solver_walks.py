"""Walks of the peers' solvers on an exact law: ``python solver_walks.py CELL.npz 5,8,10``.

The archive holds a mixture of Gaussians, where walks start and where the exact flow leads. What is
written is a line of JSON for every setting of every library that is installed: its name, the
evaluations that it was allowed, and its error. Needs torch and numpy; knows nothing of ornstein.
"""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
import common

STEPS = 1000  # of the chains that diffusers knows
NEAR = 1e-3  # rho at which azula may stop as well, since it cannot step to clean data
BETAS: dict[str, dict[str, Any]] = {
    "linear": {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
}


@dataclass
class Cell:
    """A law, a process, and what a walk should do.

    Attributes:
        weights: Shares of the components, (K,).
        means: (K, D).
        eigenvalues: Of their covariances, (K, D).
        axes: Eigenvectors in columns, (K, D, D).
        start: Points at the noisiest level, (B, D).
        ends: Where the exact flow leads, (B, D).
        alpha: Of the noisiest level.
        rhos: sigma/alpha of the noisiest and of the cleanest level that a grid visits.
        process: "linear", "cosine" or "edm".
        asked: Evaluations since a walk began.
    """

    weights: Tensor
    means: Tensor
    eigenvalues: Tensor
    axes: Tensor
    start: Tensor
    ends: Tensor
    alpha: float
    rhos: tuple[float, float]
    process: str
    asked: int = field(default=0)

    @classmethod
    def read(cls, path: Path) -> Cell:
        """Read an archive."""
        with np.load(path, allow_pickle=False) as file:
            names = ("weights", "means", "eigenvalues", "axes", "start", "ends")
            parts = [torch.from_numpy(file[name]) for name in names]
            rhos = (float(file["rhos"][0]), float(file["rhos"][1]))
            return cls(*parts, float(file["alpha"]), rhos, str(file["process"]))

    def x0(self, x: Tensor, alpha: float, sigma: float) -> Tensor:
        """E[x0 | x], (B, D), at x = alpha x0 + sigma noise."""
        self.asked += 1
        off = torch.einsum("bkd,kde->bke", x[:, None] - alpha * self.means, self.axes)
        wide = alpha**2 * self.eigenvalues + sigma**2
        odds = self.weights.log() - (off**2 / wide + wide.log()).sum(-1) / 2
        inner = torch.einsum("bke,kde->bkd", alpha * self.eigenvalues / wide * off, self.axes)
        return torch.einsum("bk,bkd->bd", odds.softmax(1), self.means + inner)

    def plain(self, x: Tensor, sigma: Tensor, **_: object) -> Tensor:
        """The same for alpha 1, as k-diffusion asks it; sigma is (B,)."""
        return self.x0(x, 1.0, float(sigma.flatten()[0]))

    def error(self, end: Tensor) -> float:
        """RMS per dimension from the true ends."""
        return float((end.double() - self.ends).square().mean().sqrt())


Walk = Callable[[Cell, int], Tensor]


def diffusers_walks(process: str) -> dict[str, Walk]:
    """Its schedulers on its spacings."""
    common.allow_foreign_torchvision()
    import diffusers as lib

    lib.utils.logging.set_verbosity_error()
    if process == "edm":
        made: dict[str, Walk] = {"EDM-Euler karras": partial(_edm, lib.EDMEulerScheduler)}
        for order in (2, 3):
            for grid in ("karras", "exponential"):
                make = partial(
                    lib.EDMDPMSolverMultistepScheduler, solver_order=order, sigma_schedule=grid
                )
                made[f"DPM++{order}M {grid}"] = partial(_edm, make)
        return made
    spacings: dict[str, dict[str, Any]] = {
        name: {"timestep_spacing": name} for name in ("leading", "linspace", "trailing")
    }
    grids = {"karras": "use_karras_sigmas", "exponential": "use_exponential_sigmas"}
    kinds = {
        f"{name}-{order}": partial(make, solver_order=order)
        for name, make in {
            "DPM++": lib.DPMSolverMultistepScheduler,
            "UniPC": lib.UniPCMultistepScheduler,
            "DEIS": lib.DEISMultistepScheduler,
        }.items()
        for order in (2, 3)
    }
    makers = {
        f"{name} {spacing}": partial(make, **how)
        for name, make in {
            **kinds,
            "DDIM": partial(lib.DDIMScheduler, clip_sample=False),
            "PNDM": lib.PNDMScheduler,
        }.items()
        for spacing, how in spacings.items()
    }
    makers |= {
        f"{name} {grid}": partial(make, **{flag: True})
        for name, make in kinds.items()
        for grid, flag in {**grids, "log-snr": "use_lu_lambdas"}.items()
    }
    return {name: partial(_chain, make) for name, make in makers.items()}


def _chain(make: Callable[..., Any], cell: Cell, n: int) -> Tensor:
    """A scheduler of a chain of 1,000 steps, told the exact noise at its own timesteps."""
    scheduler = make(num_train_timesteps=STEPS, **BETAS[cell.process])
    scheduler.set_timesteps(n)
    kept, x = scheduler.alphas_cumprod.double(), cell.start
    for t in scheduler.timesteps:
        alpha, sigma = float(kept[int(t)] ** 0.5), float((1 - kept[int(t)]) ** 0.5)
        eps = (x - alpha * cell.x0(x, alpha, sigma)) / sigma
        x = scheduler.step(eps, t, x).prev_sample.double()
    return x


def _edm(make: Callable[..., Any], cell: Cell, n: int) -> Tensor:
    """A scheduler of EDM's, told what its preconditioning makes the exact denoiser of."""
    high, low = cell.rhos
    scheduler = make(sigma_min=low, sigma_max=high)
    scheduler.set_timesteps(n)
    x, wide = cell.start, scheduler.config.sigma_data**2
    for k, t in enumerate(scheduler.timesteps):
        sigma = float(scheduler.sigmas[k])
        skip, out = wide / (sigma**2 + wide), sigma * (wide / (sigma**2 + wide)) ** 0.5
        answer = (cell.x0(x, 1.0, sigma) - skip * x) / out
        x = scheduler.step(answer, t, x).prev_sample.double()
    return x


def k_diffusion_walks(process: str) -> dict[str, Walk]:
    """Its deterministic samplers; every process is sigma for it, with alpha 1."""
    common.allow_foreign_torchvision()
    # An import of an import of it asks for what newer setuptools lack.
    import packaging.version

    old = types.ModuleType("pkg_resources")
    old.packaging = packaging  # type: ignore[attr-defined]
    sys.modules.setdefault("pkg_resources", old)
    from k_diffusion import sampling

    made: dict[str, Walk] = {}
    for name in ("euler", "heun", "dpm_2", "lms", "dpmpp_2m"):
        for grid in ("karras", "exponential"):
            solver, sigmas = (
                getattr(sampling, f"sample_{name}"),
                getattr(sampling, f"get_sigmas_{grid}"),
            )
            made[f"{name} {grid}"] = partial(_sigmas, solver, sigmas)
    return made


def _sigmas(solver: Callable[..., Tensor], grid: Any, cell: Cell, n: int) -> Tensor:  # noqa: ANN401
    high, low = cell.rhos
    twice = solver.__name__ in ("sample_heun", "sample_dpm_2")
    steps = (n + 1) // 2 if twice else n
    return solver(
        cell.plain, cell.start / cell.alpha, grid(steps, low, high).double(), disable=True
    )


def azula_walks(process: str) -> dict[str, Walk]:
    """Its Adams methods; they cannot step to clean data, so they end near it."""
    from azula import sample as lib

    makes = {"zAB": lib.zABSampler, "vAB": lib.vABSampler, "zEAB": lib.zEABSampler,
             "xEAB": lib.xEABSampler, "REAB": lib.REABSampler}  # fmt: skip
    return {
        f"{name}-{order} {grid}{' to the end' * near}": partial(_adams, make, order, grid, near)
        for name, make in makes.items()
        for order in (2, 3)
        for grid in ("log-snr", "karras")
        for near in (False, True)
    }


def _adams(make: Any, order: int, grid: str, near: bool, cell: Cell, n: int) -> Tensor:  # noqa: ANN401
    from azula.denoise import Denoiser, DiracPosterior

    high, low = cell.rhos[0], min(NEAR, cell.rhos[1]) if near else cell.rhos[1]
    place = torch.linspace(1, 0, n + 1, dtype=torch.float64)
    power = 1 / 7
    rho = (low * (high / low) ** place if grid == "log-snr"
           else (low**power + place * (high**power - low**power)) ** 7)  # fmt: skip
    unit = torch.ones_like(rho) if cell.process == "edm" else (1 + rho**2).rsqrt()

    class Exact(Denoiser):
        """The exact denoiser at the levels of the grid; time says which."""

        @staticmethod
        def schedule(t: Tensor) -> tuple[Tensor, Tensor]:
            k = ((1 - t) * n).round().long()
            return unit[k], (unit * rho)[k]

        def forward(self, x_t: Tensor, t: Tensor, **_: object) -> DiracPosterior:
            alpha, sigma = self.schedule(t)
            return DiracPosterior(cell.x0(x_t, float(alpha), float(sigma)))

    start = cell.start / cell.alpha * unit[0]
    return make(Exact(), order=order, steps=n, silent=True, dtype=torch.float64)(start) / unit[-1]


LIBRARIES: dict[str, Callable[[str], dict[str, Walk]]] = {
    "diffusers": diffusers_walks,
    "k-diffusion": k_diffusion_walks,
    "azula": azula_walks,
}


def found(cell: Cell, allowed: list[int]) -> Iterator[dict[str, object]]:
    """Walk every setting; who crashes, diverges or asks more often than allowed is left out."""
    for library, walks in LIBRARIES.items():
        made: dict[str, Walk] = {}
        with suppress(ImportError):
            made = walks(cell.process)
        for name, walk in made.items():
            for n in allowed:
                cell.asked, error = 0, float("nan")
                with suppress(Exception), torch.no_grad():
                    error = cell.error(walk(cell, n))
                if cell.asked <= n and error < float("inf"):
                    yield {"setting": f"{library} {name}", "evaluations": n, "error": error}


if __name__ == "__main__":
    for line in found(Cell.read(Path(sys.argv[1])), [int(n) for n in sys.argv[2].split(",")]):
        print(json.dumps(line), flush=True)
