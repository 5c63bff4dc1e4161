"""Prediction targets: one 2x2 system against the conversion tables of the papers (B7, B12)."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ornstein.core import TARGETS, X0, EDMTarget, Eps, Level, Score, Target, V, Velocity, from_x0
from ornstein.errors import TargetError

PURE, CLEAN = (0.0, 1.3), (0.8, 0.0)
PAIRS = [
    PURE,
    (1e-6, 1.0),
    (0.03, 0.9),
    (0.6, 0.8),
    (1.0, 80.0),
    (1.0, 2e-3),
    (1 - 1e-8, 1e-4),
    CLEAN,
]
# Where F holds no trace of x0 (pure noise) or of eps (clean data), or is not finite.
REFUSED = {("eps", PURE), ("score", PURE), ("x0", CLEAN), ("score", CLEAN)}
x0 = torch.linspace(-1.7, 2.1, 24, dtype=torch.float64).reshape(4, 3, 2)
eps = torch.sin(7 * x0) + 0.1


def level(pair: tuple[float, float]) -> Level:
    return Level(*torch.tensor(pair, dtype=torch.float64))


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("name", TARGETS)
def test_every_target_gives_back_x0_and_eps_or_is_refused(
    name: str, pair: tuple[float, float]
) -> None:
    target, at = TARGETS[name](), level(pair)
    if (name, pair) in REFUSED:
        with pytest.raises(TargetError, match="pure noise" if pair == PURE else "clean data"):
            target.check(at)
        return
    target.check(at)
    x = at.mix(x0, eps)
    got = target.estimate(target.of(x0, eps, at), x, at)
    # What float64 keeps of the smaller part of x.
    slack = 1e-14 * max(pair) / min(p for p in pair if p > 0)
    torch.testing.assert_close(got.x0, x0, rtol=0, atol=1e-13 + slack)
    torch.testing.assert_close(got.eps, eps, rtol=0, atol=1e-13 + slack)


@pytest.mark.parametrize("name", TARGETS)
def test_one_level_per_item_is_the_same_as_each_item_alone(name: str) -> None:
    target = TARGETS[name]()
    both = Level(torch.tensor([0.9, 0.3]), torch.tensor([0.2, 0.7]))
    x = both.mix(x0[:2], eps[:2])
    got = target.estimate(target.of(x0[:2], eps[:2], both), x, both)
    for i in range(2):
        row = slice(i, i + 1)
        alone = target.estimate(target.of(x0[row], eps[row], both[i]), x[row], both[i])
        torch.testing.assert_close(got.x0[row], alone.x0, rtol=0, atol=1e-14)
        torch.testing.assert_close(got.eps[row], alone.eps, rtol=0, atol=1e-14)


def test_v_is_that_of_progressive_distillation() -> None:
    # arXiv:2202.00512, appendix D: v = alpha·eps - sigma·x0 and x0 = alpha·x - sigma·v.
    at = level((0.6, 0.8))
    v = V().of(x0, eps, at)
    torch.testing.assert_close(v, 0.6 * eps - 0.8 * x0)
    torch.testing.assert_close(0.6 * at.mix(x0, eps) - 0.8 * v, x0)


def test_velocity_is_the_time_derivative_of_the_straight_path() -> None:
    t = torch.tensor(0.37, dtype=torch.float64)
    u = Velocity().of(x0, eps, Level(1 - t, t))
    step = 1e-3
    moved = Level(1 - t - step, t + step).mix(x0, eps) - Level(1 - t, t).mix(x0, eps)
    torch.testing.assert_close(u, moved / step, rtol=1e-9, atol=1e-10)


def test_score_is_the_gradient_of_the_log_density_of_the_kernel() -> None:
    # B12, and Tweedie's formula x0 = (x + sigma²·score)/alpha.
    at = level((0.6, 0.5))
    x = at.mix(x0, eps).requires_grad_()
    log_density = (-0.5 * (x - 0.6 * x0) ** 2 / 0.25).sum()
    (score,) = torch.autograd.grad(log_density, x)
    torch.testing.assert_close(Score().of(x0, eps, at), score)
    torch.testing.assert_close(Score().estimate(score, x.detach(), at).x0, x0)


def edm_denoiser(F: Tensor, y: Tensor, rho: float, std: float) -> Tensor:
    """arXiv:2206.00364, eq. 7 and table 1, with F already applied to its scaled input."""
    skip = std**2 / (rho**2 + std**2)
    out = rho * std / math.sqrt(rho**2 + std**2)
    return skip * y + out * F


@pytest.mark.parametrize("std", [0.5, 1.0, 2.3])
@pytest.mark.parametrize("pair", [(1.0, 0.7), (0.3, 0.9)])
def test_edm_output_is_that_of_the_paper_on_any_scale(
    std: float, pair: tuple[float, float]
) -> None:
    at = level(pair)
    target = EDMTarget(std)
    x = at.mix(x0, eps)
    F = target.of(x0, eps, at)
    torch.testing.assert_close(edm_denoiser(F, x / pair[0], pair[1] / pair[0], std), x0)


def test_edm_output_has_unit_variance_at_every_level() -> None:
    for pair in ((1.0, 0.01), (1.0, 0.5), (0.2, 3.0)):
        a, b = EDMTarget(0.5).coefficients(level(pair))
        assert float(a**2 * 0.25 + b**2) == pytest.approx(1, abs=1e-12)


def test_edm_with_unit_data_is_minus_v() -> None:
    at = level((0.6, 0.8))
    torch.testing.assert_close(EDMTarget(1.0).of(x0, eps, at), -V().of(x0, eps, at))


@pytest.mark.parametrize("name", TARGETS)
def test_a_weight_on_x0_gives_equal_gradients_as_weight_on_the_output(name: str) -> None:
    # B7, with the weight of min-SNR: the same loss, written in x0 and in F.
    target, at = TARGETS[name](), level((0.6, 0.8))
    weight = torch.clamp(at.alpha**2 / at.sigma**2, max=5.0)
    x, F_true = at.mix(x0, eps), target.of(x0, eps, at)
    F = (F_true + 0.3 * torch.cos(3 * x0)).requires_grad_()
    in_x0 = (weight * (target.estimate(F, x, at).x0 - x0) ** 2).sum()
    in_output = (weight / target.gain2(at) * (F - F_true) ** 2).sum()
    one, other = (torch.autograd.grad(loss, F)[0] for loss in (in_x0, in_output))
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("target", "factor"),
    [
        (Eps(), lambda a, s: a**2 / s**2),  # SNR
        (V(), lambda a, s: a**2 / s**2 + 1),
        (Score(), lambda a, s: a**2 / s**4),
        (X0(), lambda a, s: 1.0),
    ],
)
def test_errors_of_one_model_in_other_targets_are_those_of_the_table(
    target: Target, factor: Callable[[float, float], float]
) -> None:
    # On the variance-preserving scale: |eps error|² = SNR·|x0 error|² and so on.
    assert float(target.gain2(level((0.6, 0.8)))) == pytest.approx(factor(0.6, 0.8), rel=1e-12)


def test_velocity_error_is_the_x0_error_over_time_squared() -> None:
    assert float(Velocity().gain2(level((0.7, 0.3)))) == pytest.approx(1 / 0.3**2, rel=1e-12)


def test_edm_weight_on_x0_is_exactly_one_on_the_output() -> None:
    rho, std = 0.37, 0.5
    weight = (rho**2 + std**2) / (rho * std) ** 2  # arXiv:2206.00364, eq. 8 and table 1
    assert weight / float(EDMTarget(std).gain2(level((1.0, rho)))) == pytest.approx(1, rel=1e-12)


def test_float32_points_stay_float32() -> None:
    at = level((0.6, 0.8))
    for make in TARGETS.values():
        target = make()
        F = target.of(x0.float(), eps.float(), at)
        estimate = target.estimate(F, at.mix(x0.float(), eps.float()), at)
        assert {F.dtype, estimate.x0.dtype, estimate.eps.dtype} == {torch.float32}


def test_from_x0_completes_the_pair() -> None:
    at = level((0.6, 0.8))
    torch.testing.assert_close(from_x0(x0, at.mix(x0, eps), at).eps, eps)


@pytest.mark.parametrize("name", sorted(set(TARGETS) - {"score"}))
def test_targets_do_not_change_when_x_and_level_are_rescaled(name: str) -> None:
    # D(c·x; c·alpha, c·sigma) = D(x; alpha, sigma), so what the network predicts must not either.
    target = TARGETS[name]()
    one, other = (target.of(x0, eps, level(pair)) for pair in ((0.6, 0.8), (1.8, 2.4)))
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_the_score_falls_as_the_scale_grows() -> None:
    one, other = (Score().of(x0, eps, level(pair)) for pair in ((0.6, 0.8), (1.8, 2.4)))
    torch.testing.assert_close(one, 3 * other, rtol=1e-12, atol=1e-12)
