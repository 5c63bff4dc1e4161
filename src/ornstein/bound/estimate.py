"""The bound of data: the whole sum or a part of it, in its two forms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ornstein.bound.chain import Chain
from ornstein.bound.decoder import Decoder, Density
from ornstein.core import (
    Denoiser,
    ItemNoise,
    Level,
    Noise,
    Uncertainty,
    forward_path,
    prior_kl,
    spread,
    transition,
)
from ornstein.errors import UsageError

BITS = {"nats/dim": 1.0, "bits/dim": math.log(2)}


@dataclass(frozen=True, eq=False)
class Bound:
    """An upper bound on -log p(x0), averaged over items, for each dimension.

    Attributes:
        value: The bound: prior + steps + decoder.
        unit: "bits/dim" for quantised data, "nats/dim" for real ones; of all numbers here.
        error: Standard error of the value, over items, their noise and their times; nan for one
            item.
        prior: L_T, exact.
        steps: The sum of all L_{t-1}.
        decoder: L_0.
        items: Bound of each item, (B,).
        terms: Each L_{t-1} of each item, from noise to data, (n - 1, B); None where only some were
            drawn.
        evaluations: Of the denoiser, for each item.
    """

    value: float
    unit: str
    error: float
    prior: float
    steps: float
    decoder: float
    items: Tensor
    terms: Tensor | None
    evaluations: int

    def __str__(self) -> str:
        return (
            f"{self.value:.4f} ± {self.error:.4f} {self.unit} (L_T {self.prior:.4f}, steps "
            f"{self.steps:.4f}, L_0 {self.decoder:.4f}; {self.evaluations:,} evaluations an item)"
        )


@torch.no_grad()
def bound(
    denoise: Denoiser,
    x0: Tensor,
    levels: Level,
    *,
    variance: str = "own",
    decoder: Decoder | None = None,
    noise: Noise | None = None,
    draws: int | None = None,
    prior_std: Tensor | None = None,
) -> Bound:
    """Variational bound of items on a grid (arXiv:2006.11239, eq. 5).

    Each term is conditioned on x0 and so a divergence of two normal laws; what is left to chance
    is the noise, and the steps if only some are drawn.

    Args:
        denoise: Answers (x, level) with an Estimate.
        x0: Standardised items, (B, *D).
        levels: From noise to clean, (n + 1,): the chain that samples.
        variance: Of its steps, a key of ``VARIANCES``.
        decoder: Of the last step; default the density of real data.
        noise: Default a function of the place in the batch.
        draws: Steps drawn for each item; default all, the exact sum.
        prior_std: Standard deviation of the prior at levels[0]; default that of unit data there.

    Raises:
        LevelError: the grid does not lead from noise to clean data.
        UsageError: an unknown variance, one the denoiser does not answer, or no draws.
    """
    chain = Chain(levels.to(x0.device), variance, decoder or Density())
    noise = noise or ItemNoise(0, range(len(x0)))
    inner = chain.steps - 1
    if draws is not None and draws < 1:
        raise UsageError(f"at least one step is drawn for each item, not {draws}.")

    def term(i: int | Tensor, number: int) -> Tensor:
        t, s = chain.levels[i], chain.levels[i + 1]
        x = t.mix(x0, noise.at(number)(x0))
        return chain.term(denoise(x, t), x, x0, t, s).flatten(1).mean(1)

    if draws is None or inner == 0:
        terms = [term(i, i) for i in range(inner)]
        steps = torch.stack(terms).sum(0) if terms else chain.levels.sigma.new_zeros(len(x0))
    else:
        picked = [_pick(noise, x0, k, draws, inner) for k in range(draws)]
        steps = torch.stack([term(i, k) for k, i in enumerate(picked)]).mean(0) * inner
        terms = None
    return _summary(
        chain,
        prior_kl(chain.levels[0], x0.double() ** 2, prior_std).flatten(1).mean(1),
        steps,
        term(inner, max(inner, draws or 0)),
        terms,
        draws or inner,
    )


@torch.no_grad()
def path_bound(
    denoise: Denoiser,
    x0: Tensor,
    levels: Level,
    *,
    variance: str = "own",
    decoder: Decoder | None = None,
    noise: Noise | None = None,
) -> Bound:
    """The same bound along one path of each item, no term conditioned on x0.

    -log p(x_T) + sum of log q(x_t | x_s) - log p(x_s | x_t) (arXiv:1503.03585, eq. 11), with the
    mean of :func:`bound`. Term by term it varies far more, which is why training draws terms of
    the other form. Summed over the whole path of a nearly exact chain, its terms cancel and it is
    the quieter of the two: for an exact one it would be -log p(x0) itself.

    L_0 and the first q are told together as ``decoder``, and -log p(x_T) as ``prior``.
    """
    chain = Chain(levels.to(x0.device), variance, decoder or Density())
    path = forward_path(x0, chain.levels, noise or ItemNoise(0, range(len(x0)))).double()
    normal = Density()
    terms = []
    for i in range(chain.steps):
        t, s, x, y = chain.levels[i], chain.levels[i + 1], path[i], path[i + 1]
        estimate = denoise(x.to(x0), t)
        estimate = type(estimate)._make(p if p is None else p.double() for p in estimate)
        law, spread_out = chain.reverse(estimate, x, t, s)
        forward = transition(s, t)
        term = -normal(x, spread(forward.scale, x) * y, spread(forward.variance, x))
        if i + 1 < chain.steps:
            term = term + normal(y, law.mean, spread_out)
        else:
            term = term + chain.decode(estimate, x, y, t, s, spread_out)
        terms.append(term.flatten(1).mean(1))
    start = chain.levels[0].norm ** 2
    prior = normal(path[0], torch.zeros_like(path[0]), start).flatten(1).mean(1)
    steps = torch.stack(terms[:-1]).sum(0) if terms[:-1] else torch.zeros_like(prior)
    return _summary(chain, prior, steps, terms[-1], terms[:-1], chain.steps - 1)


@torch.no_grad()
def measure_uncertainty(
    denoise: Denoiser, x0: Tensor, log_snr: Sequence[float], noise: Noise | None = None
) -> Uncertainty:
    """Measure the squared error of a denoiser's x0 at some levels: its Var[x0 | x], on average.

    For an exact denoiser that is the posterior variance, and the step built on it Analytic-DPM's
    (arXiv:2201.06503, theorem 1); for any other it is still the number that makes the bound least,
    the denoiser's own error included.

    Args:
        denoise: Answers (x, level) with an Estimate.
        x0: Standardised items, (B, *D), that stand for the data.
        log_snr: Rising; what a process spans.
        noise: Default a function of the place in the batch.
    """
    noise = noise or ItemNoise(0, range(len(x0)))
    table = torch.tensor(log_snr, dtype=torch.float64)
    levels = Level.from_log_snr(table).to(x0.device)
    ratio = []
    for k in range(len(levels)):
        level = levels[k]
        error = denoise(level.mix(x0, noise.at(k)(x0)), level).x0 - x0
        ratio.append(float(error.double().square().mean() / level.sigma**2))
    return Uncertainty(tuple(table.tolist()), tuple(ratio))


def _pick(noise: Noise, x0: Tensor, k: int, draws: int, inner: int) -> Tensor:
    """One step of the k-th of ``draws`` equal parts of a chain for each item, (B,)."""
    u: Tensor = torch.special.ndtr(noise.at(-1 - k)(x0).flatten(1)[:, 0].double())
    return ((k + u) / draws * inner).long().clamp(max=inner - 1)


def _summary(
    chain: Chain,
    prior: Tensor,
    steps: Tensor,
    last: Tensor,
    terms: Sequence[Tensor] | None,
    evaluations: int,
) -> Bound:
    """Join the terms of each item, in nats, to an answer in the decoder's unit."""
    unit = BITS[chain.decoder.unit]
    prior, steps, last = prior / unit, steps / unit, last / unit
    items = prior + steps + last
    return Bound(
        value=float(items.mean()),
        unit=chain.decoder.unit,
        error=float(items.std() / math.sqrt(len(items))) if len(items) > 1 else math.nan,
        prior=float(prior.mean()),
        steps=float(steps.mean()),
        decoder=float(last.mean()),
        items=items,
        terms=torch.stack(list(terms)) / unit if terms else None,
        evaluations=evaluations + 1,
    )
