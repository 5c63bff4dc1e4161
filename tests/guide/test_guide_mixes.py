"""C8, C9: every kind of guidance against a closed form, or against the paper's own loop."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from ornstein.core import (
    EDM,
    GRIDS,
    VP,
    Denoiser,
    Estimate,
    Gaussian,
    ItemNoise,
    Level,
    Mixture,
    generator,
)
from ornstein.errors import UsageError
from ornstein.guide import (
    GUIDES,
    Guide,
    Mix,
    across,
    apart,
    classifier_guided,
    mixed,
    renoised,
    rescaled,
    together,
    towards,
    within,
)
from ornstein.solvers import SOLVERS, sample

MEANS = torch.tensor([[1.0, 0.5, -0.3], [-1.0, 0.2, 0.4]], dtype=torch.float64)
SPREADS = torch.diag_embed(torch.tensor([[0.5, 0.4, 0.2], [0.3, 0.6, 0.1]], dtype=torch.float64))
SHARES = torch.tensor([0.3, 0.7], dtype=torch.float64)
WANTED, BOTH = Gaussian(MEANS[0], SPREADS[0]), Mixture(SHARES, MEANS, SPREADS)
PAIR = apart(WANTED, BOTH)


def points(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, 3, dtype=torch.float64, generator=generator(seed))


def count(denoise: Denoiser) -> tuple[Denoiser, list[int]]:
    asked: list[int] = []

    def counted(x: Tensor, level: Level) -> Estimate:
        asked.append(len(x))
        return denoise(x, level)

    return counted, asked


def test_two_gaussians_one_to_go_to_and_one_to_leave_have_a_flow_in_closed_form() -> None:
    """Autoguidance of N(0, a²) by N(0, b²): the ends of the flow shrink by a known power."""
    a, b, scale, process = 0.5, 0.8, 2.5, EDM()
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    pair = apart(Gaussian(zero, a**2 * one), Gaussian(zero, b**2 * one))
    levels = GRIDS["karras"](process, 200)
    top = float(levels.sigma[0])
    start = torch.tensor([[top], [-2 * top]], dtype=torch.float64)
    ends = sample(mixed(pair, towards(scale)), start, levels, SOLVERS["heun"]())
    # d log x / d log sigma = scale·sigma²/(a² + sigma²) + (1 - scale)·sigma²/(b² + sigma²).
    share = (a**2 / (a**2 + top**2)) ** (scale / 2)
    share *= (b**2 / (b**2 + top**2)) ** ((1 - scale) / 2)
    np.testing.assert_allclose(ends.numpy(), share * start.numpy(), rtol=1e-3)


@pytest.mark.parametrize("grid", ["log-snr", "karras", "uniform"])
def test_cfg_plus_plus_is_the_loop_of_its_paper(grid: str) -> None:
    levels, scale = GRIDS[grid](VP(), 7), 0.6
    x = points(5)
    made = sample(mixed(PAIR, renoised(scale, levels)), x, levels, SOLVERS["ddim"]())
    for k in range(7):  # algorithm 2: mix the clean points, noise again by the unconditional eps
        level = levels[k]
        sure, free = WANTED(x, level), BOTH(x, level)
        x0 = free.x0 + scale * (sure.x0 - free.x0)
        x = levels.alpha[k + 1] * x0 + levels.sigma[k + 1] * free.eps
    torch.testing.assert_close(made, x, rtol=1e-9, atol=1e-9)


def test_cfg_plus_plus_between_two_levels_belongs_to_the_step_that_passes_them() -> None:
    levels = GRIDS["log-snr"](VP(), 5)
    between = VP().level((levels.log_snr[2] + levels.log_snr[3]) / 2)
    x, scale = points(4), 0.5
    ratio = float(levels.rho[3] / levels.rho[2])
    found = mixed(PAIR, renoised(scale, levels))(x, between)
    expected = mixed(PAIR, towards(scale / (1 - ratio)))(x, between)
    torch.testing.assert_close(found.x0, expected.x0)
    torch.testing.assert_close(found.eps, expected.eps)


def test_apg_keeps_what_is_at_right_angles_to_the_answer() -> None:
    level, x, scale = VP()(0.4), points(6), 3.0
    to, away = (answer.x0.numpy() for answer in PAIR(x, level))
    found = mixed(PAIR, across(scale))(x, level)
    for k in range(6):
        basis, _ = np.linalg.qr(np.stack([to[k], np.eye(3)[0], np.eye(3)[1]], axis=1))
        right = basis[:, 1:] @ basis[:, 1:].T @ (to[k] - away[k])
        np.testing.assert_allclose(found.x0[k].numpy(), to[k] + (scale - 1) * right, atol=1e-12)
    torch.testing.assert_close(level.mix(found.x0, found.eps), x)


def test_apg_bounds_the_size_of_the_difference() -> None:
    level, x = VP()(0.4), 5 * points(6)
    to, away = (answer.x0 for answer in PAIR(x, level))
    size = (to - away).square().mean(1).sqrt()
    bound = float(size.median())
    bounded = mixed(PAIR, across(2.0, bound))(x, level).x0 - to
    free = mixed(PAIR, across(2.0))(x, level).x0 - to
    ratio = (bound / size).clamp(max=1)
    torch.testing.assert_close(bounded, ratio[:, None] * free)
    assert 0 < int((ratio < 1).sum()) < 6


def test_rescaling_gives_each_item_the_deviation_of_the_unguided_answer() -> None:
    level, x = VP()(0.5), points(6)
    plain = WANTED(x, level).x0
    strong = mixed(PAIR, towards(4.0))(x, level).x0
    for share in (0.0, 0.7, 1.0):
        found = mixed(PAIR, rescaled(towards(4.0), share))(x, level)
        # Equation 15-16 of the paper, item by item.
        for k in range(6):
            whole = strong[k] * (plain[k].std(correction=0) / strong[k].std(correction=0))
            torch.testing.assert_close(found.x0[k], share * whole + (1 - share) * strong[k])
        torch.testing.assert_close(level.mix(found.x0, found.eps), x)


@pytest.mark.parametrize("mix", [towards(3.0), across(3.0), rescaled(towards(3.0), 0.7)])
def test_an_empty_batch_is_mixed_to_an_empty_answer(mix: Mix) -> None:
    found = mixed(PAIR, mix)(points(0), VP()(0.5))
    assert found.x0.shape == found.eps.shape == (0, 3)


def test_outside_its_interval_guidance_asks_for_nothing_more() -> None:
    plain, asked = count(WANTED)
    pair, more = count(BOTH)
    guided = within(mixed(apart(plain, pair), towards(3.0)), plain, 0.3, 2.0)
    levels, x = EDM(), points(4)
    for rho, expected in ((5.0, 0), (2.0, 4), (1.0, 8), (0.3, 8), (0.1, 8)):
        level = levels.level(torch.tensor(-2 * math.log(rho), dtype=torch.float64))
        # The edges are of float64, so the upper one is met from inside.
        answer = guided(x, Level(level.alpha, level.sigma.clamp(max=rho)))
        assert sum(more) == expected
        if rho in (5.0, 0.3, 0.1):
            torch.testing.assert_close(answer.x0, WANTED(x, level).x0)
    assert sum(asked) == 5 * 4


def test_each_item_of_a_batch_is_guided_by_its_own_level() -> None:
    x = points(3)
    rho = torch.tensor([5.0, 1.0, 0.1], dtype=torch.float64)
    level = Level(torch.ones_like(rho), rho)
    guide = Guide(low=0.3, high=2.0)
    bound = guide.bind(WANTED, PAIR, 3.0, level)(x, level)
    alone = [guide.bind(WANTED, PAIR, 3.0, level)(x[k : k + 1], level[k]) for k in range(3)]
    torch.testing.assert_close(bound.x0, torch.cat([one.x0 for one in alone]))
    expected = [WANTED(x, level), mixed(PAIR, towards(3.0))(x, level), WANTED(x, level)]
    for k, answer in enumerate(expected):
        torch.testing.assert_close(bound.x0[k], answer.x0[k])


@pytest.mark.parametrize("time", [0.05, 0.4, 1.0])
def test_c9_a_perfect_classifier_turns_the_mixture_into_its_class(time: float) -> None:
    """Bayes' rule: p(x)·p(class | x) is p(x | class), so scale 1 is the class's own denoiser."""
    level, x = VP()(time), points(5)

    def posterior(x: Tensor, level: Level) -> Tensor:
        return SHARES[0].log() + WANTED.log_prob(x, level) - BOTH.log_prob(x, level)

    found = classifier_guided(BOTH, posterior, 1.0)(x, level)
    expected = WANTED(x, level)
    torch.testing.assert_close(found.x0, expected.x0, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.eps, expected.eps, rtol=1e-6, atol=1e-6)
    twice = classifier_guided(BOTH, posterior, 2.0)(x, level)
    mix = mixed(PAIR, towards(2.0))(x, level)  # and classifier-free guidance is the same thing
    torch.testing.assert_close(twice.x0, mix.x0, rtol=1e-6, atol=1e-6)


def test_a_classifier_adds_nothing_to_pure_noise_and_works_without_gradients() -> None:
    pure = Level(torch.tensor(0.0), torch.tensor(1.0))
    x = points(3)
    with torch.no_grad():
        found = classifier_guided(BOTH, lambda x, level: x.sum(1), 5.0)(x, pure)
    torch.testing.assert_close(found.x0, BOTH(x, pure).x0)


def test_a_negative_condition_takes_the_place_of_none() -> None:
    laws = {0: WANTED, 1: Gaussian(MEANS[1], SPREADS[1])}

    def model(x: Tensor, level: Level, cond: Mapping[str, Tensor]) -> Estimate:
        answers = [laws[int(c)](x[k : k + 1], level) for k, c in enumerate(cond["class"])]
        return Estimate(*(torch.cat([a[part] for a in answers]) for part in (0, 1)))

    x, level = points(4), VP()(0.5)
    pair = together(model, {"class": torch.zeros(4)}, {"class": torch.ones(4)})
    found = mixed(pair, towards(1.5))(x, level).x0
    torch.testing.assert_close(found, 1.5 * laws[0](x, level).x0 - 0.5 * laws[1](x, level).x0)


@pytest.mark.parametrize("kind", GUIDES)
@pytest.mark.parametrize("solver", ["ddim", "heun", "dpmpp-2m", "ddpm"])
def test_every_kind_works_with_every_sort_of_solver_and_item_by_item(
    kind: str, solver: str
) -> None:
    levels = GRIDS["log-snr"](VP(), 8)
    scale = 0.8 if kind == "cfg++" else 2.0
    walk = Guide(kind, rescale=0.5).bind(WANTED, PAIR, scale, levels)
    x = points(4, seed=3)

    def ends(rows: range) -> Tensor:
        return sample(walk, x[rows], levels, SOLVERS[solver](), ItemNoise(1, rows))

    whole, pieces = ends(range(4)), torch.cat([ends(range(k, k + 1)) for k in range(4)])
    assert torch.isfinite(whole).all()
    torch.testing.assert_close(whole, pieces)


def test_a_manner_that_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match=r"unknown guidance 'apq'.*apg"):
        Guide("apq")
    with pytest.raises(UsageError, match="from a low to a higher number, not 3 to 1"):
        Guide(low=3.0, high=1.0)
    with pytest.raises(UsageError, match="share from 0"):
        Guide(rescale=2.0)
    with pytest.raises(UsageError, match="from a low to a higher"):
        within(WANTED, WANTED, 2.0, 1.0)


def test_scale_one_is_off_but_for_cfg_plus_plus() -> None:
    assert [Guide(kind).off(1.0) for kind in GUIDES] == [True, False, True]
    levels = GRIDS["log-snr"](VP(), 3)
    assert Guide().bind(WANTED, PAIR, 1.0, levels) is WANTED


def test_each_name_stands_for_its_mix() -> None:
    levels, x, level = GRIDS["log-snr"](VP(), 5), points(4), GRIDS["log-snr"](VP(), 5)[2]
    for kind, mix in (
        ("cfg", towards(0.7)),
        ("apg", across(0.7)),
        ("cfg++", renoised(0.7, levels)),
    ):
        named = Guide(kind).bind(WANTED, PAIR, 0.7, levels)(x, level).x0
        torch.testing.assert_close(named, mixed(PAIR, mix)(x, level).x0)
