"""The bound on known laws: above the truth, its two forms, its parts drawn at random (B4, B5)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ornstein.bound import Chain, Density, bound, measure_uncertainty, path_bound
from ornstein.core import (
    DDPM,
    PROCESSES,
    Estimate,
    ItemNoise,
    Level,
    Mixture,
    Uncertainty,
    generator,
    knowing,
)
from ornstein.core.grid import log_snr as log_snr_grid
from ornstein.errors import LevelError, UsageError

MIXTURE = Mixture(
    *(torch.tensor(p, dtype=torch.float64) for p in ([0.6, 0.4], [[-1.0], [0.7]], [0.2, 0.4]))
)
X0 = MIXTURE.sample(2000, generator("bound"))
EXACT = knowing(MIXTURE, MIXTURE.variance)
GRIDS = {n: DDPM.linear(1000).levels[torch.linspace(0, 1000, n + 1).long()] for n in (25, 100)}


def excess(name: str, grid: Level) -> tuple[float, float]:
    """How far the bound is above the truth on the same items, and the error of that."""
    form = {"given": bound, "path": path_bound}[name]
    above = form(EXACT, X0, grid, variance="analytic").items + MIXTURE.log_prob(X0)
    return float(above.mean()), float(above.std()) / math.sqrt(len(X0))


def test_b4_the_bound_lies_above_the_truth_and_nears_it_with_more_steps() -> None:
    few, many = excess("path", GRIDS[25]), excess("path", GRIDS[100])
    assert few[0] > many[0] + 4 * few[1]
    assert -2 * many[1] < many[0] < 0.01


def test_b4_the_terms_add_up_to_the_bound() -> None:
    got = bound(EXACT, X0[:50], GRIDS[25])
    assert got.unit == "nats/dim"
    assert got.evaluations == 25
    assert got.value == pytest.approx(got.prior + got.steps + got.decoder)
    assert got.value == pytest.approx(float(got.items.mean()))
    assert got.terms is not None
    assert got.terms.shape == (24, 50)
    assert float(got.terms.sum(0).mean()) == pytest.approx(got.steps)


def test_b3_the_analytic_variance_gives_the_least_bound_at_few_steps() -> None:
    value = {
        name: bound(EXACT, X0, GRIDS[25], variance=name).value
        for name in ("small", "large", "analytic")
    }
    assert value["analytic"] < value["large"] - 0.01
    assert value["analytic"] < value["small"] - 0.1
    assert bound(EXACT, X0, GRIDS[25]).value == value["analytic"]


def test_b5_both_forms_agree_in_mean_and_a_term_given_x0_varies_less() -> None:
    given, plain = (
        form(EXACT, X0, GRIDS[25], variance="analytic") for form in (bound, path_bound)
    )
    apart = given.items - plain.items
    assert float(apart.mean()) == pytest.approx(0, abs=4 * float(apart.std()) / math.sqrt(len(X0)))
    # One term drawn at random, times their number, as in training.
    assert given.terms is not None
    assert plain.terms is not None
    assert float((24 * given.terms).var()) < 0.2 * float((24 * plain.terms).var())


def test_along_whole_paths_of_an_almost_exact_chain_the_terms_cancel() -> None:
    truth = -MIXTURE.log_prob(X0)
    given, plain = (form(EXACT, X0, GRIDS[100]) for form in (bound, path_bound))
    assert float((plain.items - truth).var()) < 0.1 * float((given.items - truth).var())


def test_steps_drawn_at_random_give_the_sum_of_all_within_the_error() -> None:
    whole = bound(EXACT, X0, GRIDS[100])
    for draws in (1, 4):
        part = bound(EXACT, X0, GRIDS[100], draws=draws, noise=ItemNoise(1, range(len(X0))))
        assert part.evaluations == draws + 1
        assert part.value == pytest.approx(
            whole.value, abs=4 * math.hypot(part.error, whole.error)
        )
        assert part.terms is None
    with pytest.raises(UsageError, match="at least one step"):
        bound(EXACT, X0, GRIDS[25], draws=0)


def test_the_standard_error_is_that_of_repeated_estimates() -> None:
    few = X0[:200]
    values, errors = [], []
    for seed in range(60):
        items = MIXTURE.sample(200, generator("repeat", seed))
        got = bound(EXACT, items, GRIDS[25], draws=2, noise=ItemNoise(seed, range(200)))
        values.append(got.value)
        errors.append(got.error)
    spread_out = float(torch.tensor(values).std())
    assert spread_out == pytest.approx(sum(errors) / 60, rel=4 / math.sqrt(2 * 59))
    assert math.isnan(bound(EXACT, few[:1], GRIDS[25]).error)


def test_the_bound_of_an_item_does_not_depend_on_the_others() -> None:
    for draws in (None, 3):
        together = bound(EXACT, X0[:5], GRIDS[25], draws=draws, noise=ItemNoise(3, range(5)))
        for k in range(5):
            alone = bound(EXACT, X0[k : k + 1], GRIDS[25], draws=draws, noise=ItemNoise(3, [k]))
            assert float(together.items[k]) == pytest.approx(float(alone.items), rel=1e-12)


@pytest.mark.parametrize("variance", ["small", "large", "analytic"])
def test_a_change_of_scale_changes_no_term(variance: str) -> None:
    grid = GRIDS[25]
    exploding = Level(grid.alpha / grid.alpha, grid.sigma / grid.alpha)
    one, other = (bound(EXACT, X0[:50], g, variance=variance) for g in (grid, exploding))
    torch.testing.assert_close(one.items, other.items, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", ["vp", "ve", "edm", "flow"])
def test_every_process_has_a_bound_above_the_truth(name: str) -> None:
    mean, error = excess("path", log_snr_grid(PROCESSES[name](), 30))
    assert 2.5 * error < mean < 0.06


def test_a_measured_uncertainty_is_analytic_dpms_and_makes_the_bound_least() -> None:
    table = torch.linspace(-10, 10, 41).tolist()
    known = measure_uncertainty(MIXTURE, X0, table)
    # arXiv:2201.06503, eq. 8: rho²·(1 - E|eps estimate|²/D), for a denoiser that is exact.
    for k in (18, 20, 24):
        level = DDPM.linear().level(table[k])
        noisy = level.mix(X0, torch.randn(X0.shape, generator=generator(k)).double())
        gain = 1 - float(MIXTURE(noisy, level).eps.square().mean())
        want = gain * math.exp(-table[k])
        assert known.ratio[k] / (1 + math.exp(table[k])) == pytest.approx(want, rel=0.15)

    def value(factor: float) -> float:
        other = Uncertainty(known.log_snr, tuple(factor * r for r in known.ratio))
        return bound(knowing(MIXTURE, other), X0, GRIDS[25]).value

    assert value(1.0) < min(value(0.7), value(1.4))


def test_the_gradient_of_a_term_reaches_mean_and_variance() -> None:
    grid = GRIDS[25]
    chain = Chain(grid, "learned")
    x0, x = X0[:8], X0[8:16]
    guess, share = (torch.full_like(x0, value).requires_grad_() for value in (0.1, 0.4))
    at = torch.tensor([0, 3, 7, 12, 20, 23, 24, 24])
    t, s = grid[at], grid[at + 1]
    chain.term(Estimate(guess, guess, share), x, x0, t, s).sum().backward()
    assert guess.grad is not None
    assert share.grad is not None
    assert bool((guess.grad.isfinite() & (guess.grad != 0)).all())
    assert bool((share.grad.isfinite() & (share.grad != 0)).all())


def test_a_learned_range_can_reach_the_optimum_between_the_bounds() -> None:
    # B10: at each level the interpolation that minimises the term is that of the exact variance.
    law = Mixture(torch.ones(1), torch.zeros(1, 1), torch.tensor([0.6], dtype=torch.float64))
    grid = DDPM.linear(50).levels
    t, s = grid[30], grid[31]
    x0 = law.sample(4000, generator(1))
    x = t.mix(x0, torch.randn(x0.shape, generator=generator(2)).double())
    chain = Chain(grid, "learned")

    def term(share: float) -> float:
        answer = law(x, t)._replace(interpolation=torch.full_like(x, share))
        return float(chain.term(answer, x, x0, t, s).mean())

    shares = torch.linspace(0, 1, 101).tolist()
    best = min(shares, key=term)
    answer = law(x[:1], t)
    low, high, right = (
        Chain(grid, name).reverse(answer._replace(variance=law.variance(x[:1], t)), x[:1], t, s)[1]
        for name in ("small", "large", "analytic")
    )
    want = float((right / low).log() / (high / low).log())
    assert 0 < want < 1
    assert best == pytest.approx(want, abs=0.1)


def denoise_nothing(x: Tensor, level: Level) -> Estimate:
    return Estimate(torch.zeros_like(x), x / level.sigma)


def test_what_cannot_be_bounded_is_refused() -> None:
    grid = GRIDS[25]
    with pytest.raises(LevelError, match="grid ends at Level"):
        bound(EXACT, X0[:2], grid[:-1])
    with pytest.raises(UsageError, match="Did you mean 'learned'"):
        bound(EXACT, X0[:2], grid, variance="leaned")
    with pytest.raises(UsageError, match="learned no variance"):
        bound(EXACT, X0[:2], grid, variance="learned")
    with pytest.raises(UsageError, match="nobody has measured"):
        bound(denoise_nothing, X0[:2], grid, variance="analytic")


def test_one_step_is_prior_and_decoder_alone() -> None:
    # From pure noise nothing is known: the decoder is the density of N(0, 1) for unit data.
    pure = Level(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0]))
    got = bound(denoise_nothing, X0[:100], pure)
    want = Density()(X0[:100], torch.zeros(100, 1).double(), torch.ones(1).double()).mean()
    assert (got.prior, got.steps) == (0.0, 0.0)
    assert got.value == pytest.approx(float(want))


class Homeless(TorchFunctionMode):
    """Refuses zeros of no device: they lie on the CPU, wherever the data are."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        assert func is not torch.zeros or "device" in (kwargs or {})
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("steps", [1, 5])
def test_nothing_of_a_bound_lies_elsewhere_than_its_levels(steps: int) -> None:
    grid = DDPM.linear(1000).levels[torch.linspace(0, 1000, steps + 1).long()]
    with Homeless():
        assert math.isfinite(bound(EXACT, X0[:3], grid).value)
