"""Editing on laws whose conditional law is known: E2, E3, E6 and the closed forms of Gaussians."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from ornstein.core import EDM, GRIDS, VP, Flow, Gaussian, ItemNoise, Level, Mixture
from ornstein.edit import (
    POSTERIORS,
    Blur,
    Descended,
    Grey,
    Mask,
    Measurement,
    Replaced,
    Shrink,
    decode,
    encode,
    moment_matched,
    part_way,
    pseudo_inverse,
    slerp,
)
from ornstein.edit.operators import adjoint, solve
from ornstein.errors import UsageError
from ornstein.guide import classifier_guided
from ornstein.solvers import DDIM, Ancestral, Heun, sample
from ornstein.testing import law_after
from ornstein.testing.solver import GAUSSIAN

MEAN = np.array([0.3, -0.2, 0.1])
COVARIANCE = np.array([[1.0, 0.3, -0.2], [0.3, 0.5, 0.1], [-0.2, 0.1, 0.25]])
LAW = Gaussian(torch.tensor(MEAN), torch.tensor(COVARIANCE))
A = np.array([[1.0, -0.5, 0.25], [0.0, 2.0, 1.0]])
SEEN = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)


def conditioned(y: np.ndarray, a: np.ndarray, std: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of GAUSS3 given a·x0 + std·n = y, by the textbook formula in numpy."""
    gain = COVARIANCE @ a.T @ np.linalg.inv(a @ COVARIANCE @ a.T + std**2 * np.eye(len(a)))
    return MEAN + gain @ (y - a @ MEAN), COVARIANCE - gain @ a @ COVARIANCE


def matrix(x0: Tensor) -> Tensor:
    return x0 @ torch.tensor(A).to(x0).T


def measured(std: float, rows: int = 5) -> tuple[Measurement, np.ndarray]:
    y = np.array([0.4, -0.9])
    return Measurement(matrix, torch.tensor(y).expand(rows, 2), std), y


@pytest.mark.parametrize("level", [VP()(0.05), VP()(0.4), VP()(0.95), EDM()(0.02)])
@pytest.mark.parametrize("std", [0.1, 1.0])
def test_the_moment_matched_posterior_of_gaussian_data_is_exact(level: Level, std: float) -> None:
    known, y = measured(std)
    mean, covariance = conditioned(y, A, std)
    truth = Gaussian(torch.tensor(mean), torch.tensor(covariance))
    x = torch.linspace(-2, 2, 15, dtype=torch.float64).reshape(5, 3) * float(level.norm)
    answer, right = moment_matched(LAW, known, products=20)(x, level), truth(x, level)
    # A floor on the measurement's variance, (r/1000)², keeps float32 in order.
    assert (answer.x0 - right.x0).abs().max() < 1e-5
    assert (answer.eps - right.eps).abs().max() < 1e-4


@pytest.mark.parametrize("method", POSTERIORS)
def test_points_and_levels_of_another_scale_have_the_same_answer(method: str) -> None:
    known, level = measured(0.1)[0], VP()(0.6)
    x = torch.linspace(-2, 2, 15, dtype=torch.float64).reshape(5, 3)
    large = Level(50 * level.alpha, 50 * level.sigma)
    one, other = (
        POSTERIORS[method](LAW, known)(points, at) for points, at in ((x, level), (50 * x, large))
    )
    torch.testing.assert_close(one.x0, other.x0, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(one.eps, other.eps, rtol=1e-6, atol=1e-6)


def test_pseudoinverse_guidance_is_exact_for_white_data_and_off_by_a_known_amount_else() -> None:
    level, rows = VP()(0.4), 5
    x = torch.linspace(-2, 2, 15, dtype=torch.float64).reshape(rows, 3)
    known, y = measured(0.5)
    white = Gaussian(torch.zeros(3), torch.eye(3))
    gain = A.T @ np.linalg.inv(A @ A.T + 0.25 * np.eye(2))
    truth = Gaussian(torch.tensor(gain @ y), torch.tensor(np.eye(3) - gain @ A))
    found = POSTERIORS["pigdm"](white, known)(x, level).x0
    assert (found - truth(x, level).x0).abs().max() < 1e-5

    mean, covariance = conditioned(y, A, 0.5)
    truth = Gaussian(torch.tensor(mean), torch.tensor(covariance))
    off = (POSTERIORS["pigdm"](LAW, known)(x, level).x0 - truth(x, level).x0).abs().max()
    assert 0.05 < off < 0.5


@pytest.mark.parametrize("method", POSTERIORS)
def test_a_noiseless_measurement_is_kept_by_the_sample(method: str) -> None:
    y = torch.tensor([0.4, -0.9], dtype=torch.float64).expand(64, 2)
    levels = GRIDS["log-snr"](VP(), 60)
    noise = ItemNoise(3, range(64))
    start = noise.start((3,)).double()
    denoise = POSTERIORS[method](LAW, Measurement(matrix, y))
    made = sample(denoise, start, levels, DDIM(), noise)
    assert (matrix(made) - y).abs().max() < 2e-3


def test_samples_of_the_posterior_have_its_mean_and_covariance() -> None:
    """Inpainting of GAUSS3 with coordinate 0 known to be 0.7 (oracle inpaint.first)."""
    rows = 4000
    levels, noise = GRIDS["log-snr"](VP(), 100), ItemNoise(5, range(rows))
    y = torch.tensor([0.7, 0.0, 0.0], dtype=torch.float64).expand(rows, 3)
    denoise = POSTERIORS["mmps"](LAW, Measurement(Mask(SEEN), y))
    made = sample(denoise, noise.start((3,)).double(), levels, DDIM(), noise).numpy()
    assert np.abs(made[:, 0] - 0.7).max() < 1e-3
    # Oracle: mean (-0.08, 0.02), covariance ((0.41, 0.16), (0.16, 0.21)); 4 standard errors.
    assert np.abs(made[:, 1:].mean(0) - [-0.08, 0.02]).max() < 4 * 0.64 / rows**0.5
    expected = np.array([[0.41, 0.16], [0.16, 0.21]])
    assert np.abs(np.cov(made[:, 1:].T) - expected).max() < 4 * 0.41 * (2 / rows) ** 0.5


WHITE = (np.zeros(3), np.eye(3))


@pytest.mark.parametrize(("method", "law"), [("mmps", (MEAN, COVARIANCE)), ("pigdm", WHITE)])
def test_a_walk_from_pure_noise_ends_in_the_posterior(
    method: str, law: tuple[np.ndarray, np.ndarray]
) -> None:
    """A rectified flow starts where there is no signal at all, and sigma²/alpha is infinite."""
    rows, (mean, covariance), y = 4000, law, np.array([0.9, 1.6])
    levels, noise = GRIDS["uniform"](Flow(), 100), ItemNoise(5, range(rows))
    assert float(levels.alpha[0]) == 0
    known = Measurement(matrix, torch.tensor(y).expand(rows, 2), 0.5)
    data = Gaussian(torch.tensor(mean), torch.tensor(covariance))
    start = noise.start((3,)).double()
    made = sample(POSTERIORS[method](data, known), start, levels, DDIM(), noise).numpy()
    gain = covariance @ A.T @ np.linalg.inv(A @ covariance @ A.T + 0.25 * np.eye(2))
    # What is not heard at the first level moves the mean by a hundredth of where y leads it.
    assert np.abs(made.mean(0) - mean - gain @ (y - A @ mean)).max() < 0.06
    assert np.abs(np.cov(made.T) - covariance + gain @ A @ covariance).max() < 0.06


@pytest.mark.parametrize("method", POSTERIORS)
def test_a_classifier_leads_a_denoiser_of_which_something_is_measured(method: str) -> None:
    """exp(b·x0) moves the mean of Gaussian data by C·b; at a level its log is b·D and a number."""
    b = torch.tensor([0.8, -0.5, 1.1], dtype=torch.float64)
    moved = Gaussian(torch.tensor(MEAN) + torch.tensor(COVARIANCE) @ b, torch.tensor(COVARIANCE))
    led = classifier_guided(LAW, lambda x, level: LAW(x, level).x0 @ b, 1.0)
    known, level = measured(0.3)[0], VP()(0.4)
    x = torch.linspace(-2, 2, 15, dtype=torch.float64).reshape(5, 3)
    found, right = (POSTERIORS[method](law, known)(x, level) for law in (led, moved))
    assert (found.x0 - right.x0).abs().max() < 1e-9
    assert (found.x0 - POSTERIORS[method](LAW, known)(x, level).x0).abs().max() > 1e-2


def test_replacement_is_biased_and_repeating_every_step_takes_most_of_the_bias_away() -> None:
    """RePaint: the unknown part of GAUSS3 given a first coordinate of 2.3, two deviations off."""
    rows = 1000
    mean, _ = conditioned(np.array([2.3]), np.array([[1.0, 0.0, 0.0]]), 0.0)
    known = torch.tensor([2.3, 0.0, 0.0], dtype=torch.float64).expand(rows, 3)
    levels, noise = GRIDS["log-snr"](VP(), 25), ItemNoise(1, range(rows))
    off = {}
    for goes in (1, 8):
        solver = Replaced(Ancestral("small"), known, SEEN, goes)
        made = sample(LAW, noise.start((3,)).double(), levels, solver, noise).numpy()
        assert (made[:, 0] == 2.3).all()
        off[goes] = np.abs(made[:, 1:].mean(0) - mean[1:]).max()
    # 0.2 of a true shift of 0.6 is missing in one go.
    assert off[1] > 0.12
    assert off[8] < off[1] / 3


def test_where_nothing_is_known_steps_noised_again_keep_the_law() -> None:
    """RePaint, algorithm 1, line 10: exactly as much noise as the step had taken away."""
    levels, nothing = GRIDS["log-snr"](VP(), 60)[:-1], torch.zeros(1, GAUSSIAN.dim)
    truth = levels.alpha[-1] ** 2 * GAUSSIAN.covariance
    truth = truth + levels.sigma[-1] ** 2 * torch.eye(GAUSSIAN.dim)
    for goes in (1, 4):
        solver = Replaced(Heun(), nothing, nothing[0], goes)
        mean, covariance = law_after(solver, GAUSSIAN, levels)
        assert (mean - levels.alpha[-1] * GAUSSIAN.mean).abs().max() < 0.01
        assert (covariance - truth).abs().max() < 0.01


def test_descending_the_misfit_pulls_the_sample_to_the_measurement() -> None:
    rows = 500
    known, y = measured(0.0, rows)
    levels, noise = GRIDS["uniform"](VP(), 100), ItemNoise(2, range(rows))
    start = noise.start((3,)).double()
    free = sample(LAW, start, levels, Ancestral("small"), noise)
    steered = sample(LAW, start, levels, Descended(Ancestral("small"), known, 0.05), noise)
    misfit = [(matrix(made).numpy() - y).std(0).max() for made in (free, steered)]
    assert misfit[1] < 0.2 * misfit[0]


def test_a_step_down_the_misfit_has_the_length_of_the_paper_on_any_scale() -> None:
    """DPS, algorithm 1, line 7, with zeta = zeta'/|y - A·D|: of Gaussian data D is linear in x."""
    known, y = measured(0.0)
    t, s, strength = VP()(0.6), VP()(0.5), 0.3
    x = torch.linspace(-2, 2, 15, dtype=torch.float64).reshape(5, 3)
    alpha, sigma = float(t.alpha), float(t.sigma)
    gain = alpha * COVARIANCE @ np.linalg.inv(alpha**2 * COVARIANCE + sigma**2 * np.eye(3))
    gap = y - (MEAN + (x.numpy() - alpha * MEAN) @ gain.T) @ A.T
    slope = -2 * gap @ A @ gain / np.linalg.norm(gap, axis=1)[:, None]
    plain, _ = DDIM().step(LAW, x, t, s, None, torch.zeros_like)
    moved, _ = Descended(DDIM(), known, strength).step(LAW, x, t, s, None, torch.zeros_like)
    assert np.abs((moved - plain).numpy() + strength * slope).max() < 1e-9
    # Points and levels three times as large, and each level on a scale of its own.
    up, down = Level(3 * t.alpha, 3 * t.sigma), Level(torch.tensor(1.0), s.rho)
    other, _ = Descended(DDIM(), known, strength).step(
        LAW, 3 * x, up, down, None, torch.zeros_like
    )
    torch.testing.assert_close(other / down.norm, moved)


@pytest.mark.parametrize(
    ("operator", "shape"),
    [
        (Shrink(2), (2, 6, 4)),
        (Shrink(3), (1, 9)),
        (Blur(1.2), (1, 7, 5)),
        (Blur(0.8), (2, 11)),
        (Grey(), (3, 4, 4)),
        (Mask(torch.arange(12).reshape(1, 3, 4) % 3 == 0), (1, 3, 4)),
    ],
)
def test_operators_equal_their_matrices_and_the_inverse_that_numpy_finds(
    operator: object, shape: tuple[int, ...]
) -> None:
    size = int(np.prod(shape))
    basis = torch.eye(size, dtype=torch.float64).reshape(size, *shape)
    whole = operator(basis).flatten(1).numpy().T  # type: ignore[operator]
    x = torch.linspace(-1, 1, 3 * size, dtype=torch.float64).sin().reshape(3, *shape)
    y = operator(x)  # type: ignore[operator]
    assert np.allclose(y.flatten(1).numpy(), x.flatten(1).numpy() @ whole.T, atol=1e-12)
    back = adjoint(operator, x)(y)  # type: ignore[arg-type]
    assert np.allclose(back.flatten(1).numpy(), y.flatten(1).numpy() @ whole, atol=1e-12)
    if not isinstance(operator, Blur):  # whose smallest singular values are noise to anybody
        found = pseudo_inverse(operator, y, x).flatten(1).numpy()  # type: ignore[arg-type]
        assert np.allclose(found, y.flatten(1).numpy() @ np.linalg.pinv(whole).T, atol=1e-8)


def test_no_stride_is_wild_where_the_system_is_no_covariance() -> None:
    """A quarter turn and 1e-4 of symmetry, whose curvature along any direction is 1e-4."""
    system = torch.tensor([[1e-4, 1.0], [-1.0, 1e-4]], dtype=torch.float64)
    right = torch.tensor([[1.0, 0.0], [0.6, -0.8]], dtype=torch.float64)
    for most in (1, 2, 3):
        free, bounded = (
            solve(lambda x: x @ system.T, right, most=most, reach=reach) for reach in (math.inf, 2)
        )
        # A stride of twice the residual leaves at most three times as much of it.
        left = (right - bounded @ system.T).norm(dim=1)
        assert (left <= 3**most * (1 + 1e-9)).all()
        assert free.norm(dim=1).min() > 1e3


def test_conjugate_gradients_find_what_numpy_finds_in_as_many_products_as_dimensions() -> None:
    rng = np.random.default_rng(3)
    root = rng.normal(size=(5, 5))
    system, right = root @ root.T + 0.1 * np.eye(5), rng.normal(size=(4, 5))
    matrix = torch.tensor(system)
    found = solve(lambda x: x @ matrix, torch.tensor(right), rtol=1e-12, most=5).numpy()
    assert np.abs(found - np.linalg.solve(system, right.T).T).max() < 1e-6


def test_operators_are_what_their_names_say() -> None:
    picture = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert Shrink(2)(picture).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    spot = torch.zeros(1, 1, 31)
    spot[..., 15] = 1
    at = torch.arange(31.0) - 15
    blurred = Blur(2.0)(spot).flatten()
    assert float(blurred.sum()) == pytest.approx(1)
    assert float((blurred * at**2).sum()) == pytest.approx(4, rel=0.03)
    assert torch.allclose(Blur(2.0)(torch.ones(1, 1, 5, 5)), torch.ones(1, 1, 5, 5))
    with pytest.raises(UsageError, match="cannot be shrunk by 3"):
        Shrink(3)(picture)
    with pytest.raises(UsageError, match="cannot be shrunk by 2"):
        Shrink(2)(torch.zeros(3, 4))


@pytest.mark.parametrize("method", POSTERIORS)
def test_an_edited_item_does_not_depend_on_its_neighbours(method: str) -> None:
    levels = GRIDS["log-snr"](VP(), 12)
    y = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(6, 2)

    def made(items: range) -> Tensor:
        rows = list(items)
        noise = ItemNoise(0, rows)
        denoise = POSTERIORS[method](LAW, Measurement(matrix, y[rows], 0.1))
        return sample(denoise, noise.start((3,)).double(), levels, DDIM(), noise)

    assert (made(range(6))[4] - made(range(4, 6))[0]).abs().max() < 1e-9


def test_a_code_is_the_point_that_the_exact_flow_reaches_and_leads_back() -> None:
    process = EDM()
    noisy, clean = process.level(torch.tensor(-2 * np.log(80.0))), process(1e-6)
    x0 = LAW.sample(50, torch.Generator().manual_seed(0))
    code = encode(LAW, x0, noisy, clean, rtol=1e-6)
    assert (code.x - LAW.flow(x0, clean, noisy)).abs().max() < 2e-3  # of a norm of 80
    assert (decode(LAW, code.x, noisy, clean, rtol=1e-6) - x0).abs().max() < 1e-4
    assert int(code.evaluations.min()) > 10

    law = Mixture(
        torch.tensor([0.6, 0.4]), torch.tensor([[-1.0], [0.7]]), torch.tensor([0.2, 0.4])
    )
    x0 = torch.linspace(-1.5, 1.5, 20, dtype=torch.float64)[:, None]
    code = encode(law, x0, noisy, clean, rtol=1e-7)
    assert (code.x - law.transport(x0, clean, noisy)).abs().max() < 1e-2
    assert (decode(law, code.x, noisy, clean, rtol=1e-7) - x0).abs().max() < 1e-4


def test_strength_is_the_share_of_steps_and_little_of_it_keeps_the_item() -> None:
    levels, noise = GRIDS["uniform"](VP(), 100), ItemNoise(0, range(2000))
    x0 = LAW.sample(2000, torch.Generator().manual_seed(1))
    kept = {}
    for strength, steps in ((0.1, 10), (0.5, 50), (1.0, 100)):
        x, rest = part_way(x0, levels, strength, noise)
        assert len(rest) - 1 == steps
        made = sample(LAW, x, rest, DDIM(), noise)
        kept[strength] = float((made - x0).square().mean().sqrt())
        # The data's law is left as it was: only the items change.
        assert np.abs(np.cov(made.numpy().T) - COVARIANCE).max() < 0.12
    assert kept[0.1] < kept[0.5] < kept[1.0]
    assert kept[0.1] < 0.35
    # Without any memory, twice the variance: sqrt(2·1.75/3).
    assert kept[1.0] == pytest.approx(1.08, abs=0.06)
    for wrong in (0.0, 1.1):
        with pytest.raises(UsageError, match="strength is above 0 and at most 1"):
            part_way(x0, levels, wrong, noise)


def test_a_round_mixture_keeps_the_length_and_ends_at_both_ends() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 3, 4, 8, 8, generator=generator, dtype=torch.float64)
    assert torch.allclose(slerp(a, b, 0.0), a)
    assert torch.allclose(slerp(a, b, 1.0), b)
    assert torch.allclose(slerp(a, a, 0.3), a)
    unit = [v / v.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1) for v in (a, b)]
    middle = slerp(unit[0], unit[1], 0.5)
    assert torch.allclose(middle.flatten(1).norm(dim=1), torch.ones(3, dtype=torch.float64))
    # Half way the angle to either end is the same.
    to = [(middle * v).flatten(1).sum(1) for v in unit]
    assert torch.allclose(to[0], to[1])
