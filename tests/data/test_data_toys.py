"""Toys: moments from geometry, not from the code; a function of the seed."""

from __future__ import annotations

from math import pi

import numpy as np
import pytest

from ornstein.data import TOYS, open_data

N = 100_000


def points(name: str) -> np.ndarray:
    return np.asarray(open_data(f"{name}:{N}", seed=3).items, dtype=np.float64)


@pytest.mark.parametrize("name", TOYS)
def test_toys_are_float32_points_made_by_the_seed_alone(name: str) -> None:
    first, again, other = (open_data(name, seed=s) for s in (1, 1, 2))
    assert (len(first), first.shape, first.items.dtype) == (10_000, (2,), np.float32)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert len(open_data(name, limit=77)) == 77


# A circle of radius r has variance r²/2 in each coordinate; noise adds its own.
MOMENTS = {
    # Half circle: mean (0, 2/pi), var x 1/2, var y 1/2 - 4/pi²; the lower is (1 - x, 1/2 - y).
    # Between the halves: means (0, 2/pi) and (1, 1/2 - 2/pi), each half the weight.
    "two-moons": (
        (0.5, 0.25),
        (0.5 + 0.25 + 0.0036, 0.5 - 4 / pi**2 + (2 / pi - 0.25) ** 2 + 0.0036),
        0.5 * (0.25 - 2 / pi),
    ),
    "gaussians": ((0, 0), (2.0225, 2.0225), 0.0),
    # Uniform on the board: each coordinate uniform on [-2, 2], variance 16/12.
    "checkerboard": ((0, 0), (4 / 3, 4 / 3), None),
    "rings": ((0, 0), ((1 + 4 + 9) / 6 + 0.0018, (1 + 4 + 9) / 6 + 0.0018), 0.0),
}


@pytest.mark.parametrize("name", MOMENTS)
def test_toys_have_the_moments_of_their_geometry(name: str) -> None:
    mean, variance, covariance = MOMENTS[name]
    xy = points(name)
    np.testing.assert_allclose(xy.mean(0), mean, atol=0.025)
    np.testing.assert_allclose(xy.var(0), variance, rtol=0.02)
    if covariance is not None:
        assert np.cov(xy.T)[0, 1] == pytest.approx(covariance, abs=0.025)


def test_two_moons_lie_on_two_half_circles_that_face_each_other() -> None:
    data = open_data(f"two-moons:{N}")
    assert data.labels is not None
    upper, lower = (data.items[data.labels == label].astype(np.float64) for label in (0, 1))
    for points, centre, sign in ((upper, (0.0, 0.0), 1), (lower, (1.0, 0.5), -1)):
        away = points - centre
        # Noise along the circle is not seen; across it, it is the deviation 0.06.
        inner = away[np.abs(away[:, 0]) < 0.7]
        assert float(np.std(np.hypot(*inner.T) - 1)) == pytest.approx(0.06, rel=0.03)
        assert (sign * inner[:, 1] > 0).all()


def test_the_checkerboard_fills_exactly_the_squares_of_one_colour() -> None:
    cell = np.floor(points("checkerboard")).astype(int) + 2
    assert cell.min() == 0
    assert cell.max() == 3
    assert set((cell.sum(1) % 2).tolist()) == {0}
    counts = np.bincount(cell[:, 0] * 4 + cell[:, 1])
    counts = counts[counts > 0]
    assert len(counts) == 8
    assert np.abs(counts - N / 8).max() < 5 * np.sqrt(N / 8)


def test_the_rolls_wind_as_often_as_they_should() -> None:
    """Radius grows with the angle: roll 3 pi..9 pi halves, spiral pi/2..3 pi on two arms."""
    roll = np.hypot(*points("swiss-roll").T)
    assert np.quantile(roll, [0.05, 0.5, 0.95]) == pytest.approx(
        [1.65 * pi, 3 * pi, 4.35 * pi], rel=0.02
    )
    arms = points("spiral")
    radius, angle = np.hypot(*arms.T), np.arctan2(arms[:, 1], arms[:, 0])
    # On an arm angle - pi * radius is a multiple of pi (the other arm is half a turn on).
    wrong = (angle - pi * radius + pi / 2) % pi - pi / 2
    assert np.sqrt((wrong**2).mean()) < 0.06 * pi * 1.3
    assert np.quantile(radius, 0.5) == pytest.approx(1.75, rel=0.02)
