"""Is a solver of the order it claims, unbiased, and blind to the rest of the batch?"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ornstein.core import PROCESSES, Draw, Estimate, Gaussian, ItemNoise, Level, Mixture, generator
from ornstein.core.grid import uniform
from ornstein.solvers import DDIM, Ancestral, Solver, sample
from ornstein.testing.affine import draws_of, gap, law_after, noised
from ornstein.testing.report import Finding, Report, report

GAUSSIAN = Gaussian(torch.tensor([0.7, -0.4]), torch.tensor([[1.1, 0.35], [0.35, 0.25]]))
MIXTURE = Mixture(
    torch.tensor([0.6, 0.4]), torch.tensor([[-1.0], [0.7]]), torch.tensor([0.2, 0.4])
)
PURE = Level(torch.tensor(0.0), torch.tensor(1.0))
COUNT = 2048
"""Points that the bias is measured with."""


def check_solver(solver: Solver) -> Report:
    """Measure a solver against a mixture of Gaussians and a Gaussian, whose flows are known.

    The findings are "order" (claimed ±0.2), "bias" (mean and variance of the mixture's samples are
    off by at most twice what a first-order step errs by, and three standard errors), "batch" (each
    item as if it were alone), "ends" (finite from pure noise to clean data, and the mean in one
    step), "evaluations" and "precision".
    """
    name = type(solver).__name__
    return report(
        name,
        {
            "order": lambda: _order(solver),
            "bias": lambda: _bias(solver),
            "batch": lambda: _batch(solver),
            "ends": lambda: _ends(solver),
            "evaluations": lambda: _evaluations(solver),
            "precision": lambda: _precision(solver),
        },
    )


def path(first: float, last: float, steps: int) -> Level:
    """Levels uniform in log-SNR on the variance-preserving scale; the end is not clean."""
    log_snr = torch.linspace(first, last, steps + 1, dtype=torch.float64)
    return Level.from_log_snr(log_snr)


def measure_order(solver: Solver, steps: int = 128) -> float:
    """How the error falls when the steps double, as a power of two.

    Deterministic solvers are held to the exact transport of a mixture in one dimension, which
    keeps the distribution function; those that draw noise to mean and covariance of Gaussian data.
    """
    coarse, fine = (_error(solver, path(-10, 5, n)) for n in (steps, 2 * steps))
    return math.log2(coarse / fine) if fine > 0 else math.inf


def _error(solver: Solver, levels: Level) -> float:
    if draws_of(solver):
        pairs = zip(law_after(solver, GAUSSIAN, levels), noised(GAUSSIAN, levels[-1]), strict=True)
        return max(float((got - want).abs().max()) for got, want in pairs)
    x = torch.linspace(-2.5, 2.5, 41, dtype=torch.float64)[:, None]
    truth = MIXTURE.transport(x, levels[0], levels[-1])
    return float((sample(MIXTURE, x, levels, solver) - truth).abs().mean())


def _order(solver: Solver) -> Finding:
    if solver.order == 0:
        return Finding(True, "none claimed")
    order = measure_order(solver)
    good = abs(order - solver.order) < 0.2
    return Finding(good, f"{order:.2f} measured, {solver.order} claimed", order)


class _Stream:
    """Noise of many points at once, by the number of the step."""

    def at(self, step: int, /) -> Draw:
        source = generator("testing", step)
        return lambda x: torch.randn(x.shape, dtype=x.dtype, generator=source)


def _errors(solver: Solver, levels: Level) -> Tensor:
    """Mean and variance of the mixture's samples, less the exact ones, (2,).

    The start is spread evenly over its law, so only fresh noise makes a statistical error.
    """
    even = (torch.arange(COUNT, dtype=torch.float64) + 0.5) / COUNT
    x = MIXTURE.transport(torch.special.ndtri(even)[:, None], PURE, levels[0])
    x = sample(MIXTURE, x, levels, solver, _Stream())
    last = levels[-1]
    variance = last.alpha**2 * MIXTURE.covariance[0, 0] + last.sigma**2
    return torch.stack([x.mean() - last.alpha * MIXTURE.mean[0], x.var() - variance])


def _bias(solver: Solver) -> Finding:
    random, levels = draws_of(solver) > 0, path(-10, 8, 40)
    plain = Ancestral("small") if random else DDIM()
    own, first = _errors(solver, levels), _errors(plain, levels)
    chance = 1.5 * float(MIXTURE.covariance) / math.sqrt(COUNT) if random else 0.0
    text = "mean off by {:+.4f} and variance by {:+.4f} after 40 steps".format(*own.tolist())
    text += ", {:+.4f} and {:+.4f} at first order".format(*first.tolist())
    good = bool((own.abs() < 2 * first.abs().max() + 3 * chance).all())
    return Finding(good, text + f", ±{chance:.4f} by chance" * random, float(own.abs().max()))


def _batch(solver: Solver) -> Finding:
    items = list(range(6))
    levels, noise = path(-8, 5, 6), ItemNoise(1, items)
    start = noise.start((2,)).double()
    together = sample(GAUSSIAN, start, levels, solver, noise)
    alone = torch.cat(
        [
            sample(GAUSSIAN, start[k : k + 1], levels, solver, ItemNoise(1, [k]))
            for k in reversed(items)
        ]
    ).flip(0)
    error = gap([together], [alone])
    return Finding(error < 1e-9, f"each item is as if it were alone, within {error:.0e}", error)


def _ends(solver: Solver) -> Finding:
    """Pure noise says nothing, so that a single step from there leads to the mean of the data."""
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    once, thrice = (
        sample(MIXTURE, x, uniform(PROCESSES["flow"](), steps), solver) for steps in (1, 3)
    )
    error = gap([once], [MIXTURE.mean.expand_as(once)])
    if not bool(torch.isfinite(thrice).all()):
        return Finding(False, "not finite in 3 steps from pure noise to clean data")
    text = f"one step from pure noise to clean data gives the mean of the data within {error:.0e}"
    return Finding(error < 1e-6, text, error)


def _evaluations(solver: Solver) -> Finding:
    calls = 0

    def count(x: Tensor, level: Level) -> Estimate:
        nonlocal calls
        calls += 1
        return GAUSSIAN(x, level)

    sample(count, torch.ones(1, 2, dtype=torch.float64), path(-6, 4, 11), solver)
    made = calls / 11
    text = f"{made:g} a step measured, {solver.evaluations} claimed"
    return Finding(made == solver.evaluations, text, made)


def _precision(solver: Solver) -> Finding:
    x, levels = torch.ones(4, 2, dtype=torch.float64), path(-8, 5, 8)
    single, double = (
        sample(GAUSSIAN, start, levels, solver, ItemNoise(2, range(4))) for start in (x.float(), x)
    )
    error = gap([single.double()], [double])
    kind = str(single.dtype).removeprefix("torch.")
    text = f"float32 gives {kind}, {error:.0e} from float64"
    return Finding(kind == "float32" and error < 1e-3, text, error)
